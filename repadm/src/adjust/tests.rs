#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use super::*;
use crate::render::samples;
use config::{Override, Section, TextLoader};
use std::path::Path;

const FILE: &str = "\
resource r0 {
  on alpha { device /dev/drbd1; disk /dev/vda3; meta-disk internal; address 10.0.0.1:7789; }
  on beta { device /dev/drbd1; disk /dev/vda3; meta-disk internal; address 10.0.0.2:7789; }
  net { shared-secret hush; allow-two-primaries; }
}
";

fn read(text: &str) -> Resource {
    load(text, &[])
}

fn load(text: &str, given: &[Override]) -> Resource {
    let loader = TextLoader(text.as_bytes());
    let loaded = config::load_given(Path::new("x"), "r0", given, &loader).unwrap();
    loaded.config.resources.into_iter().next().unwrap()
}

fn planned(status: &ResourceStatus, old: &str, new: &str) -> Outcome<String> {
    let (old, new) = (read(old), read(new));
    let running = Running { resource: &old, node: "alpha", status };
    let steps = plan(running, &new, "alpha", Spare::default())?;
    Ok(steps.iter().map(|step| format!("{step}\n")).collect())
}

fn steps(change: impl Fn(String) -> String) -> String {
    planned(&samples::both_primary(), FILE, &change(FILE.to_owned())).unwrap()
}

#[test]
fn a_secret_is_hidden_and_not_whether_there_is_one() {
    let without = FILE.replace("shared-secret hush; ", "");
    let status = samples::both_primary();
    let other = FILE.replace("hush", "other");
    let shown = |old: &str, new: &str| planned(&status, old, new).unwrap();
    assert_eq!(shown(&without, FILE), "set\n    net shared-secret: (none) → (hidden)\n");
    assert_eq!(shown(FILE, &without), "set\n    net shared-secret: (hidden) → (none)\n");
    assert_eq!(shown(FILE, &other), "set\n    net shared-secret: (hidden) → (hidden)\n");
}

#[test]
fn who_becomes_primary_is_shown_as_one_would_type_it() {
    let startup = |who: &str| {
        let startup = format!("  startup {{ become-primary-on {who}; }}\n  net {{");
        FILE.replacen("  net {", &startup, 1)
    };
    let shown = |old: &str, new: &str| planned(&samples::both_primary(), old, new).unwrap();
    let line = |change: &str| format!("set\n    startup become-primary-on: {change}\n");
    assert_eq!(shown(FILE, &startup("beta")), line("(none) → beta"));
    assert_eq!(shown(&startup("beta"), &startup("both")), line("beta → both"));
    assert_eq!(shown(&startup("alpha beta"), FILE), line("alpha beta → (none)"));
}

#[test]
fn nothing_is_done_where_nothing_differs() {
    assert_eq!(steps(|text| text), "");
    // Comments, places in the file and the order of lines say nothing.
    assert_eq!(steps(|text| format!("# a comment\n\n{text}")), "");
    let options =
        |text: String| text.replace("allow-two-primaries;", "timeout 60; allow-two-primaries yes;");
    assert_eq!(steps(options), "", "a default that is written out is no difference");
}

#[test]
fn options_change_by_their_names_and_units() {
    let more = "\
  net { shared-secret other; allow-two-primaries; timeout 50; ping-int 5; after-sb-0pri discard-zero-changes; }
  options { durable-interval 20; auto-promote yes; }
  disk { on-io-error pass_on; c-fill-target 200; }
  handlers { split-brain \"/bin/tell root\"; }
  startup { wfc-timeout 30; become-primary-on both; }
}";
    let told = steps(|text| {
        let start = text.find("  net").unwrap();
        format!("{}{more}", &text[..start])
    });
    insta::assert_snapshot!(told);
}

#[test]
fn a_disk_is_attached_anew_for_what_is_fixed_then() {
    let disk = |text: String| text.replacen("/dev/vda3", "/dev/vdb", 1);
    assert_eq!(steps(disk), "detach 0: disk /dev/vda3 → /dev/vdb\nattach 0\n");
    let none = |text: String| text.replacen("disk /dev/vda3;", "disk none;", 1);
    assert_eq!(steps(none), "detach 0: disk /dev/vda3 → none\n");
    let log = |text: String| text.replace("  net", "  disk { al-extents 67; }\n  net");
    assert_eq!(steps(log), "detach 0: al-extents 1237 → 67\nattach 0\n");
    let no_log = |text: String| text.replace("  net", "  disk { al-updates no; }\n  net");
    assert_eq!(steps(no_log), "detach 0: al-updates yes → no\nattach 0\n");
    // What the peer does with its own disk is its own business.
    let peers = |text: String| {
        text.replace(
            "on beta { device /dev/drbd1; disk /dev/vda3",
            "on beta { device /dev/drbd1; disk /dev/vdz",
        )
    };
    assert_eq!(steps(peers), "");
}

#[test]
fn what_was_let_go_is_taken_again() {
    assert_eq!(planned(&samples::diskless(), FILE, FILE).unwrap(), "attach 0\n");
    assert_eq!(planned(&samples::split_brain(), FILE, FILE).unwrap(), "connect\n");
    let text = FILE.replace("10.0.0.2:7789", "10.0.0.3:7789");
    let moved = "disconnect: an address has changed\n\
                 set\n    node 1 address: 10.0.0.2:7789 → 10.0.0.3:7789\n\
                 connect\n";
    assert_eq!(planned(&samples::both_primary(), FILE, &text).unwrap(), moved);
    let alone = moved.split_once('\n').unwrap().1;
    assert_eq!(planned(&samples::split_brain(), FILE, &text).unwrap(), alone);
}

#[test]
fn what_cannot_change_while_it_is_up_waits_until_nobody_uses_it() {
    let two = FILE.replace("device /dev/drbd1; disk /dev/vda3; meta-disk internal;", "volume 0 { device /dev/drbd1; disk /dev/vda3; meta-disk internal; } volume 1 { device /dev/drbd2; disk /dev/vda4; meta-disk internal; }");
    let ids = FILE
        .replace("on alpha {", "on alpha { node-id 1;")
        .replace("on beta {", "on beta { node-id 0;");
    let failure = planned(&samples::both_primary(), FILE, &two).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.text.contains("repadm secondary r0"), "{}", failure.text);
    let told = planned(&samples::just_created(), FILE, &two).unwrap();
    assert_eq!(told, "down: it has other volumes now\nup\n");
    // An address that changes the order changes the ids.
    let moved = FILE.replace("10.0.0.1:7789", "10.0.0.9:7789");
    for text in [&ids, &moved] {
        for status in [samples::both_primary(), samples::just_created()] {
            let failure = planned(&status, FILE, text).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            for words in ["`node-id 0;` into `on alpha`", "`node-id 1;` into `on beta`"] {
                assert!(failure.text.contains(words), "{}", failure.text);
            }
        }
    }
    let kept = moved.replace("on alpha {", "on alpha { node-id 0;");
    let kept = kept.replace("on beta {", "on beta { node-id 1;");
    let told = planned(&samples::both_primary(), FILE, &kept).unwrap();
    assert!(told.starts_with("disconnect: ") && told.ends_with("connect\n"), "{told}");
}

#[test]
fn what_is_spared_is_left_alone() {
    let (old, new) = (read(FILE), read(&FILE.replacen("/dev/vda3", "/dev/vdb", 1)));
    let of = |status: &ResourceStatus, new: &Resource, spare: Spare| {
        let running = Running { resource: &old, node: "alpha", status };
        plan(running, new, "alpha", spare)
    };
    let spare = Spare { disks: true, link: false };
    assert_eq!(of(&samples::both_primary(), &new, spare).unwrap(), []);
    let spare = Spare { disks: false, link: true };
    assert_eq!(of(&samples::split_brain(), &old, spare).unwrap(), []);
    let moved = read(&FILE.replace("10.0.0.2", "10.0.0.3"));
    let failure = of(&samples::both_primary(), &moved, spare).unwrap_err();
    assert!(failure.text.contains("--skip-net"), "{}", failure.text);
}

#[test]
fn options_given_beside_the_file_win_over_it() {
    let given = |name: &str, value: &str| Override {
        section: Section::Net,
        name: name.into(),
        value: value.into(),
    };
    let resource = load(FILE, &[given("timeout", "50"), given("shared-secret", "a \"b\"")]);
    assert_eq!(resource.net.timeout, types::Span::secs(5));
    assert_eq!(resource.net.shared_secret.as_deref(), Some("a \"b\""));
    assert!(resource.net.allow_two_primaries, "what is not given is as in the file");
    let loader = TextLoader(FILE.as_bytes());
    let error = config::load_given(Path::new("x"), "r0", &[given("timeout", "0")], &loader);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("command line") && error.contains("timeout"), "{error}");
}
