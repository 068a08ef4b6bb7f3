//! The configuration: printed, checked, explained; and which host of it this one is.

use crate::support::Place;
use serde_json::Value;

/// Two resources, the second for other hosts.
fn two(place: &Place) {
    place.edit(|text| {
        format!(
            "common {{ net {{ timeout 50; max-epoch-size 99; }} }}\n\
             {} resource r1 {{ device /dev/drbd2; disk /dev/b; net {{ shared-secret hunter2; }}\n\
             on gamma {{ address 10.0.0.1:7003; }} on delta {{ address 10.0.0.2:7003; }} }}\n",
            text.replacen("resource r0 {", "resource r0 { net { shared-secret hunter2; }", 1)
        )
    });
}

#[test]
fn a_dump_is_of_everything_or_of_what_is_named() {
    let place = Place::new();
    two(&place);
    let all = place.ends(0, &["dump"]);
    assert!(all.out.starts_with("# DIR/r0.res\ncommon {\n"), "{}", all.out);
    assert!(all.out.contains("# resource r1 on alpha: ignored, not stacked\n"), "{}", all.out);
    assert!(all.err.contains("r0.res:1:28: `max-epoch-size` has no effect"), "{}", all.err);
    let one = place.ends(0, &["dump", "r0"]).out;
    assert!(one.starts_with("# resource r0 on alpha: not ignored, not stacked\n"), "{one}");
    assert!(one.contains("        shared-secret    hunter2;\n"), "{one}");
    assert!(!one.contains("r1") && !one.contains("common"), "{one}");
    let ran = place.ends(1, &["dump", "r1"]);
    assert!(ran.err.contains("it is for gamma and delta"), "{}", ran.err);
}

#[test]
fn a_verbose_dump_shows_what_is_inherited_and_the_warnings_in_full() {
    let place = Place::new();
    two(&place);
    let ran = place.ends(0, &["-v", "dump", "r0"]);
    for part in [
        "        path {\n            host alpha address ipv4 127.0.0.1:7001;\n",
        "            timeout       50;\n",
    ] {
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    assert!(ran.err.contains(" --> DIR/r0.res:1:28\n"), "{}", ran.err);
}

#[test]
fn json_hides_secrets_and_xml_is_drbdadms() {
    let place = Place::new();
    two(&place);
    let json: Value = serde_json::from_str(&place.ends(0, &["dump", "--json"]).out).unwrap();
    assert_eq!(json["resources"][1]["name"], "r1");
    assert_eq!(json["resources"][0]["net"]["shared_secret"], "(secret)");
    let xml = place.ends(0, &["dump-xml", "r0"]).out;
    assert!(xml.starts_with("<config file=\"DIR/r0.res\">\n"), "{xml}");
    assert!(xml.contains("    <resource name=\"r0\" conf-file-line=\"DIR/r0.res:2\">\n"), "{xml}");
    assert!(!xml.contains("r1"), "{xml}");
}

#[test]
fn a_candidate_is_tried_out_and_nothing_is_done_by_it() {
    let place = Place::new();
    let old = std::fs::read_to_string(place.path("r0.res")).unwrap();
    std::fs::write(place.path("old.res"), &old).unwrap();
    let new = old.replacen("resource r0 {", "resource r0 { net { timeout 77; }", 1);
    std::fs::write(place.path("new"), new).unwrap();
    place.configure("include \"*.res\";\n");
    let (new, old) = (place.path("new"), place.path("old.res"));
    let (new, old) = (new.to_str().unwrap(), old.to_str().unwrap());
    assert!(!place.ends(0, &["dump"]).out.contains("timeout"));
    assert!(place.ends(0, &["-t", new, "-E", old, "dump"]).out.contains("timeout           77;"));
    assert!(place.ends(10, &["dump", "-t", new]).err.contains("resource `r0` twice"));
    place.ends(0, &["config", "check", "--config-to-exclude", old]);
    let ran = place.ends(1, &["-t", new, "-E", old, "up", "r0"]);
    assert!(ran.err.contains("-t and -E try a configuration out"), "{}", ran.err);
}

#[test]
fn a_check_prints_everything_and_counts_it() {
    let place = Place::new();
    two(&place);
    let ran = place.ends(0, &["config", "check"]);
    assert!(ran.out.contains("warning: `max-epoch-size` has no effect"), "{}", ran.out);
    let end = "DIR/r0.res: 0 errors, 1 warning; 2 resources, 1 of them for this host, alpha\n";
    assert!(ran.out.ends_with(end), "{}", ran.out);
    std::fs::write(place.path("bad"), "resource r9 {\n  net { timeout 0; protocl C; }\n}\n")
        .unwrap();
    let bad = place.path("bad");
    let bad = bad.to_str().unwrap();
    let ran = place.ends(10, &["config", "check", bad]);
    assert!(ran.out.contains("did you mean `protocol`?"), "{}", ran.out);
    assert_eq!(ran.err, "DIR/bad: 2 errors, 0 warnings: it cannot be used\n");
    let ran = place.ends(10, &["--json", "config", "check", bad]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&2.into(), &0.into()));
    let first = &json["diagnostics"][0];
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &17.into()));
    assert_eq!(first["severity"], "error");
    place.ends(20, &["config", "check", "/nonexistent/repd.conf"]);
}

#[test]
fn an_address_that_is_not_of_this_host_is_shown_where_it_is_written() {
    let place = Place::new();
    // An address for documentation: nobody has it. Who names the node by hand is believed.
    place.edit(|text| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        text.replacen("on alpha", &format!("on {}", name.trim()), 1)
            .replacen("127.0.0.1:7001", "192.0.2.7:7001", 1)
            .replacen("127.0.0.1:7002", "192.0.2.8:7002", 1)
    });
    let ran = place.ends(10, &["--node", "", "config", "check"]);
    assert!(ran.out.contains("error: the address 192.0.2.7:7001 of `"), "{}", ran.out);
    assert!(ran.out.contains("this node is to listen here"), "{}", ran.out);
    let ran = place.ends(10, &["--node", "", "up", "r0"]);
    assert!(
        ran.err.contains("192.0.2.7:7001") && ran.err.contains("--> DIR/r0.res"),
        "{}",
        ran.err
    );
    place.edit(|text| format!("global {{ disable-ip-verification; }} {text}"));
    place.ends(0, &["--node", "", "config", "check"]);
}

#[test]
fn a_word_is_explained_or_the_nearest_one_is_named() {
    let place = Place::new();
    let text = place.ends(0, &["config", "explain", "after-sb-0pri"]).out;
    for part in
        ["in       net\n", "discard-zero-changes", "default  disconnect\n", "here     works"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        place.ends(0, &["config", "explain", "floating"]).out.contains("floating ADDRESS:PORT")
    );
    let ran = place.ends(1, &["config", "explain", "timeot"]);
    assert!(ran.err.contains("did you mean timeout?"), "{}", ran.err);
}

#[test]
fn a_floating_host_is_found_by_its_address_or_named_by_it() {
    let place = Place::new();
    place.configure(
        "resource r0 { device /dev/drbd1; disk /dev/vdb;\n\
         floating 127.0.0.1:7001; floating 192.0.2.8:7002; }\n",
    );
    let up = |node: &'static str| place.ends(0, &["--node", node, "-d", "up", "r0"]).out;
    for node in ["alpha", "127.0.0.1", "127.0.0.1:7001"] {
        assert!(up(node).contains("bring up as 127.0.0.1:7001 (node 0)"), "{node}");
    }
    assert!(up("192.0.2.8:7002").contains("bring up as 192.0.2.8:7002 (node 1)"));
    place.ends(1, &["--node", "192.0.2.9", "-d", "up", "r0"]);
    place.edit(|text| text.replace("192.0.2.8", "127.0.0.1"));
    let ran = place.ends(1, &["up", "r0"]);
    assert!(ran.err.contains("--node ADDRESS:PORT"), "{}", ran.err);
    assert!(up("127.0.0.1:7002").contains("seek 127.0.0.1:7001 at"));
}

#[test]
fn a_resource_can_be_ignored_on_a_host_that_it_names() {
    let place = Place::new();
    place.edit(|text| text.replacen("resource r0 {", "resource r0 { ignore-on alpha;", 1));
    assert!(place.ends(0, &["dump"]).out.contains("on alpha: ignored, not stacked"));
    let ran = place.ends(1, &["up", "r0"]);
    assert!(ran.err.contains("`ignore-on` says"), "{}", ran.err);
    assert!(place.ends(0, &["--node", "beta", "-d", "up", "r0"]).out.contains("bring up as beta"));
}
