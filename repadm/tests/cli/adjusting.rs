//! `adjust` against a real daemon: what it refuses leaves everything as it was.

use crate::node::Node;

/// The hosts with `volume 1` besides the volume that they have; alpha's disk of it is `disk`.
fn two_volumes(text: &str, disk: &str) -> String {
    let mut text = text.to_owned();
    for (host, disk) in [("alpha", disk), ("beta", "/nonexistent/beta-1.img")] {
        let start = text.find(&format!("on {host} {{")).unwrap();
        let device = start + text[start..].find("device /dev/drbd1;").unwrap();
        let address = device + text[device..].find("address").unwrap();
        let disk_line = text[device..address].to_owned();
        let volumes =
            format!("volume 0 {{ {disk_line} }} volume 1 {{ device /dev/drbd2; disk {disk}; }} ");
        text.replace_range(device..address, &volumes);
    }
    text
}

/// A resource of one volume that is up; the configuration has one more now, on a blank disk.
fn up_with_one_and_configured_with_two() -> Node {
    let node = Node::new("");
    node.ends(0, &["create-md", "r0"]);
    node.ends(0, &["up", "r0"]);
    let disk = node.place.path("alpha-1.img");
    std::fs::File::create(&disk).unwrap().set_len(8 << 20).unwrap();
    node.place.edit(|text| two_volumes(text, &disk.display().to_string()));
    node
}

#[test]
fn a_volume_that_cannot_be_attached_costs_no_other() {
    let node = up_with_one_and_configured_with_two();
    for words in [&["-d", "adjust", "r0"][..], &["adjust", "r0"]] {
        let ran = node.ends(10, words);
        assert!(ran.err.contains("create-md r0/1"), "{}", ran.err);
        let status = node.ends(0, &["status", "r0"]).out;
        assert!(status.contains("disk:Inconsistent") && !status.contains("volume:1"), "{status}");
    }
    node.ends(0, &["create-md", "r0/1"]);
    assert_eq!(
        node.ends(0, &["-d", "adjust", "r0"]).out,
        "r0: down: it has other volumes now\nr0: up\n"
    );
    node.ends(0, &["adjust", "r0"]);
    let status = node.ends(0, &["status", "r0"]).out;
    assert!(status.contains("volume:1"), "{status}");
    assert_eq!(node.ends(0, &["-d", "adjust", "r0"]).out, "");
}

#[test]
fn what_cannot_be_brought_up_as_it_is_to_be_comes_up_as_it_was() {
    let node = up_with_one_and_configured_with_two();
    node.ends(0, &["create-md", "r0/1"]);
    // Nobody can listen there: that is found when it comes up.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    node.place.edit(|text| {
        let at = text.find("address 127.0.0.1:").unwrap() + "address 127.0.0.1:".len();
        let end = at + text[at..].find(';').unwrap();
        let text = format!("{}{port}{}", &text[..at], &text[end..]);
        let text = text.replace("on alpha {", "on alpha { node-id 0;");
        text.replace("on beta {", "on beta { node-id 1;")
    });
    node.ends(0, &["disconnect", "r0"]);
    let ran = node.ends(10, &["adjust", "r0"]);
    assert!(ran.err.contains("cannot listen"), "{}", ran.err);
    assert!(ran.err.contains("up again with the configuration that it had"), "{}", ran.err);
    let status = node.ends(0, &["status", "r0"]).out;
    assert!(status.contains("disk:Inconsistent") && !status.contains("volume:1"), "{status}");
    assert_eq!(node.ends(0, &["cstate", "r0"]).out, "StandAlone\n", "as it was");
}

#[test]
fn what_is_up_and_not_for_this_host_any_more_can_be_taken_down() {
    let node = Node::new("");
    node.ends(0, &["create-md", "r0"]);
    node.ends(0, &["up", "r0"]);
    node.place.edit(|text| text.replacen("resource r0 {", "resource r0 { ignore-on alpha;", 1));
    let ran = node.ends(1, &["adjust", "all"]);
    assert!(ran.err.contains("«repadm down r0»"), "{}", ran.err);
    node.ends(1, &["up", "r0"]);
    node.ends(0, &["down", "r0"]);
    node.ends(1, &["down", "r0"]);
}

#[test]
fn ids_that_would_change_with_an_address_are_kept_by_being_written_down() {
    let node = Node::new("");
    node.ends(0, &["create-md", "r0"]);
    node.ends(0, &["up", "r0"]);
    // Alpha's address is the smaller one until then.
    node.place.edit(|text| {
        let at = text.find("address 127.0.0.1:").unwrap();
        format!("{}address 127.0.0.9:{}", &text[..at], &text[at + "address 127.0.0.1:".len()..])
    });
    let ran = node.ends(10, &["adjust", "r0"]);
    assert!(ran.err.contains("`node-id 0;` into `on alpha`"), "{}", ran.err);
    node.ends(0, &["down", "r0"]);
    let ran = node.ends(10, &["up", "r0"]);
    let [kept, lost] = ["`node-id 0;`", "lose its data"].map(|words| ran.err.find(words).unwrap());
    assert!(kept < lost, "{}", ran.err);
    node.place.edit(|text| {
        let text = text.replace("on alpha {", "on alpha { node-id 0;");
        text.replace("on beta {", "on beta { node-id 1;")
    });
    node.ends(0, &["adjust", "r0"]);
    assert!(node.ends(0, &["status", "r0"]).out.contains("disk:Inconsistent"));
}
