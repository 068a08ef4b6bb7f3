//! The program against a daemon that answers as it is told.

use crate::support::{Daemon, Place, done, r0, refused, report};
use control::{Answer, Command, HelperEvent, Outcome, Patience, Reply, SplitBrainReport};
use serde_json::Value;
use types::{Role, Span, VolumeId};

fn quiet(place: &Place) -> Daemon {
    Daemon::start(&place.path("control.sock"), vec![r0()], |_| done())
}

#[test]
fn up_tells_the_daemon_the_resolved_resource() {
    let place = Place::new();
    let daemon = quiet(&place);
    place.ends(0, &["up", "r0"]);
    let [Command::Up { resource, node, .. }] = &daemon.orders()[..] else {
        panic!("{:?}", daemon.orders())
    };
    assert_eq!((resource["name"].as_str(), node.as_str()), (Some("r0"), "alpha"));
}

#[test]
fn both_spellings_force_and_the_answer_says_where_to_connect() {
    let place = Place::new();
    let daemon = quiet(&place);
    let ran = place.ends(0, &["--", "--overwrite-data-of-peer", "primary", "all"]);
    assert_eq!(ran.out, "r0/0: nbd+unix:///r0?socket=/x/nbd.sock\n");
    assert!(ran.err.contains("--force was not needed"), "{}", ran.err);
    place.ends(0, &["primary", "--force", "r0"]);
    let forced = Command::Primary { resource: "r0".into(), force: true };
    assert_eq!(daemon.orders(), [forced.clone(), forced]);
}

#[test]
fn words_for_scripts() {
    let place = Place::new();
    let _daemon = quiet(&place);
    assert_eq!(place.ends(0, &["role", "r0"]).out, "Primary/Secondary\n");
    assert_eq!(place.ends(0, &["cstate", "r0"]).out, "Connected\n");
    assert_eq!(place.ends(0, &["dstate", "r0/0"]).out, "UpToDate/UpToDate\n");
    let overview = place.ends(0, &["overview"]).out;
    assert_eq!(overview, " 1:r0/0  Connected Primary/Secondary UpToDate/UpToDate C r-----\n");
    assert!(place.ends(0, &["status"]).out.starts_with("r0 role:Primary\n"));
    let json: Value = serde_json::from_str(&place.ends(0, &["status", "--json"]).out).unwrap();
    assert_eq!(json[0]["devices"][0]["disk-state"], "UpToDate");
}

#[test]
fn what_is_not_up() {
    let place = Place::new();
    let daemon = Daemon::start(&place.path("control.sock"), Vec::new(), |_| done());
    assert_eq!(place.ends(0, &["cstate", "r0"]).out, "Unconfigured\n");
    assert!(place.ends(1, &["role", "r0"]).err.contains("repadm up r0"));
    assert!(place.ends(1, &["status", "r0"]).err.contains("repadm up r0"));
    assert!(place.ends(0, &["status"]).out.contains("no resource is up"));
    assert_eq!(place.ends(0, &["overview"]).out, " 1:r0/0  Unconfigured . .\n");
    assert_eq!(place.ends(0, &["status", "--json"]).out, "[]\n");
    place.ends(0, &["down", "r0"]);
    assert_eq!(daemon.orders(), []);
}

#[test]
fn a_resource_that_is_no_longer_configured_can_still_be_taken_down() {
    let place = Place::new();
    let mut old = r0();
    old.name = "old".into();
    let daemon = Daemon::start(&place.path("control.sock"), vec![old], |_| done());
    place.ends(0, &["down", "old"]);
    assert_eq!(daemon.orders(), [Command::Down { resource: "old".into(), force: false }]);
    assert!(place.ends(0, &["overview"]).out.contains("old/0"));
    assert!(place.ends(1, &["up", "old"]).err.contains("no such resource"));
}

#[test]
fn a_refusal_keeps_its_code_and_its_words() {
    for code in [1, 5, 10, 11, 17, 18, 20] {
        let place = Place::new();
        let answer = move |_: &Command| refused(code, "the way out");
        let _daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
        let ran = place.ends(i32::from(code), &["secondary", "r0"]);
        assert_eq!(ran.err, "r0: the way out\n");
    }
}

#[test]
fn notes_go_to_standard_error() {
    let place = Place::new();
    let answer = |_: &Command| {
        let mut replies = vec![Reply::Note("r0: already so".into())];
        replies.extend(done());
        replies
    };
    let _daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
    let ran = place.ends(0, &["primary", "r0"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "r0: already so\n"));
}

#[test]
fn events_are_told_until_the_daemon_goes_away() {
    let place = Place::new();
    let answer = |_: &Command| {
        let mut secondary = r0();
        secondary.role = Role::Secondary;
        let (resource, helper) = (|| "r0".to_owned(), || "fence-peer".to_owned());
        vec![
            Reply::Status(vec![secondary]),
            Reply::Status(vec![r0()]),
            Reply::Helper(HelperEvent::Called { resource: resource(), helper: helper() }),
            Reply::Helper(HelperEvent::Missed(3)),
            Reply::Helper(HelperEvent::Ended { resource: resource(), helper: helper(), status: 7 }),
            Reply::Status(Vec::new()),
        ]
    };
    let daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
    let ran = place.ends(20, &["events2", "r0"]);
    let expected = "\
exists resource name:r0 role:Secondary suspended:no force-io-failures:no may_promote:yes \
promotion_score:10102 split-brain:no
exists connection name:r0 peer-node-id:1 conn-name:beta connection:Connected role:Secondary
exists path name:r0 peer-node-id:1 conn-name:beta local:ipv4:127.0.0.1:7001 \
peer:ipv4:127.0.0.1:7002 established:yes
exists device name:r0 volume:0 minor:1 disk:UpToDate backing_dev:/x/alpha.img client:no \
quorum:yes open:no
exists peer-device name:r0 peer-node-id:1 conn-name:beta volume:0 replication:Established \
peer-disk:UpToDate peer-client:no resync-suspended:no
exists -
change resource name:r0 role:Primary may_promote:no
call helper name:r0 helper:fence-peer
response helper name:r0 helper:fence-peer status:7
destroy peer-device name:r0 peer-node-id:1 conn-name:beta volume:0
destroy device name:r0 volume:0 minor:1
destroy path name:r0 peer-node-id:1 conn-name:beta local:ipv4:127.0.0.1:7001 \
peer:ipv4:127.0.0.1:7002
destroy connection name:r0 peer-node-id:1 conn-name:beta
destroy resource name:r0
";
    assert_eq!(ran.out, expected);
    assert!(ran.err.starts_with("3 calls and ends of helpers were missed"), "{}", ran.err);
    assert!(ran.err.contains("went away"), "{}", ran.err);
    assert_eq!(daemon.orders(), [Command::Watch]);
}

#[test]
fn events_of_now_are_what_there_is() {
    let place = Place::new();
    let daemon = quiet(&place);
    let ran = place.ends(0, &["events2", "--now", "--statistics", "--timestamps"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.out);
    for line in &lines {
        let (stamp, event) = line.split_once(' ').unwrap();
        assert!(stamp.ends_with("+00:00") && event.starts_with("exists "), "{line}");
    }
    assert!(lines[3].contains(" conflicts-won:0 conflicts-lost:0 "), "{}", lines[3]);
    assert!(lines[5].ends_with(" exists -"));
    assert_eq!(daemon.orders(), []);
}

#[test]
fn waiting_has_the_patience_it_is_given() {
    let place = Place::new();
    let daemon = quiet(&place);
    place.ends(0, &["wait-sync", "--wfc-timeout", "0", "r0/0"]);
    place.ends(0, &["wait-connect", "r0"]);
    place.ends(0, &["wait-connect", "--wfc-timeout=3", "r0"]);
    let options = "wfc-timeout 30; degr-wfc-timeout 20; outdated-wfc-timeout 10; wait-after-sb;";
    place.edit(|text| {
        text.replace("resource r0 {", &format!("resource r0 {{ startup {{ {options} }}"))
    });
    place.ends(0, &["wait-connect", "--degr-wfc-timeout", "7", "r0"]);
    place.ends(0, &["wait-con-int"]);
    let orders = daemon.orders();
    let (resource, seconds) = (|| "r0".to_owned(), |n| Some(Span::secs(n)));
    let volume = Some(VolumeId(0));
    let patience = Patience::default();
    assert_eq!(orders[0], Command::WaitSync { resource: resource(), volume, patience });
    assert_eq!(orders[1], Command::WaitConnect { resource: resource(), patience });
    let patience = Patience::of(seconds(3));
    assert_eq!(orders[2], Command::WaitConnect { resource: resource(), patience });
    let configured = Patience {
        wfc_timeout: seconds(30),
        degr_wfc_timeout: seconds(20),
        outdated_wfc_timeout: seconds(10),
        wait_after_sb: true,
    };
    let patience = Patience { degr_wfc_timeout: seconds(7), ..configured };
    assert_eq!(orders[3], Command::WaitConnect { resource: resource(), patience });
    assert_eq!(orders[4], Command::WaitConnect { resource: resource(), patience: configured });
}

#[test]
fn a_dry_run_asks_for_nothing() {
    let place = Place::new();
    let daemon = quiet(&place);
    for words in [&["up", "r0"][..], &["down", "r0"], &["primary", "--force", "r0"]] {
        let ran = place.ends(0, &[&["--dry-run"], words].concat());
        assert!(ran.out.starts_with("r0: "), "{}", ran.out);
    }
    assert_eq!(daemon.orders(), []);
}

#[test]
fn one_volume_cannot_change_the_role_of_all() {
    let place = Place::new();
    let daemon = quiet(&place);
    for command in [
        "up",
        "down",
        "primary",
        "secondary",
        "connect",
        "disconnect",
        "suspend-io",
        "resume-io",
        "outdate",
        "split-brain",
    ] {
        assert!(place.ends(1, &[command, "r0/0"]).err.contains("whole resource"));
    }
    assert_eq!(daemon.orders(), []);
}

#[test]
fn what_is_passed_to_the_daemon_as_it_is() {
    let place = Place::new();
    let daemon = quiet(&place);
    for words in [
        &["connect", "--discard-my-data", "r0"][..],
        &["connect", "r0"],
        &["suspend-io", "r0"],
        &["resume-io", "r0"],
        &["outdate", "r0"],
    ] {
        place.ends(0, words);
    }
    let resource = || "r0".to_owned();
    let asked = [
        Command::Connect { resource: resource(), discard_my_data: true },
        Command::Connect { resource: resource(), discard_my_data: false },
        Command::SuspendIo { resource: resource() },
        Command::ResumeIo { resource: resource() },
        Command::Outdate { resource: resource() },
    ];
    assert_eq!(daemon.orders(), asked);
    place.ends(1, &["connect", "--tentative", "--discard-my-data", "r0"]);
}

#[test]
fn outdate_has_drbds_codes() {
    for code in [5, 11, 17] {
        let place = Place::new();
        let answer = move |_: &Command| refused(code, "no");
        let _daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
        place.ends(i32::from(code), &["outdate", "r0"]);
    }
}

/// A node alone with a daemon that reports that; `found` is what its status says.
fn alone(place: &Place, report: SplitBrainReport, found: Option<&str>) -> Daemon {
    let mut status = r0();
    status.peer.connection = types::ConnectionState::StandAlone;
    status.split_brain = found.map(ToOwned::to_owned);
    let answer = move |_: &Command| vec![Reply::Done(Answer::SplitBrain(Box::new(report.clone())))];
    Daemon::start(&place.path("control.sock"), vec![status], answer)
}

#[test]
fn a_split_brain_is_reported_and_exits_with_18() {
    let place = Place::new();
    let _daemon = alone(&place, report(Outcome::SplitBrain, None), Some("both wrote"));
    let ran = place.ends(18, &["split-brain", "r0"]);
    assert!(ran.out.contains("SPLIT BRAIN") && ran.err == "r0: split brain\n", "{}", ran.out);
    assert!(ran.out.contains("repadm connect --discard-my-data r0"), "{}", ran.out);
    let json: Value =
        serde_json::from_str(&place.ends(18, &["split-brain", "--json", "r0"]).out).unwrap();
    assert_eq!((&json["split-brain"], &json["discard-here-bytes"]), (&true.into(), &4096.into()));
    let ran = place.ends(18, &["connect", "--tentative", "r0"]);
    assert!(ran.out.starts_with("r0/0: split brain\n"), "{}", ran.out);
}

#[test]
fn a_split_brain_that_a_policy_settles_does_not_keep_from_connecting() {
    let place = Place::new();
    let mut report = report(Outcome::SplitBrain, None);
    report.volumes[0].policy.as_mut().unwrap().discards = Some("beta".into());
    let _daemon = alone(&place, report, None);
    place.ends(0, &["connect", "--tentative", "r0"]);
    place.ends(18, &["split-brain", "r0"]);
}

#[test]
fn no_split_brain_is_0_and_a_refusal_is_foretold() {
    let place = Place::new();
    let _daemon = alone(&place, report(Outcome::SourceOfMarks, None), None);
    assert!(place.ends(0, &["split-brain", "all"]).out.starts_with("r0: no split brain\n"));
    assert!(place.ends(0, &["connect", "--tentative", "r0"]).out.contains("resync from alpha"));
    let place = Place::new();
    let _daemon = alone(&place, report(Outcome::Refused, None), None);
    place.ends(11, &["connect", "--tentative", "r0"]);
}

#[test]
fn a_silent_peer_is_20_unless_the_split_brain_is_known() {
    let silent = || report(Outcome::SplitBrain, Some("no answer"));
    let place = Place::new();
    let _daemon = alone(&place, silent(), None);
    let ran = place.ends(20, &["split-brain", "r0"]);
    assert!(ran.out.contains("no answer") && ran.err.contains("no answer"), "{}", ran.out);
    place.ends(20, &["connect", "--tentative", "r0"]);
    let place = Place::new();
    let _daemon = alone(&place, silent(), Some("both wrote"));
    assert!(place.ends(18, &["split-brain", "r0"]).out.contains("both wrote"));
}

#[test]
fn connected_nodes_have_no_split_brain() {
    let place = Place::new();
    let connected = report(Outcome::InSync, Some("the nodes are connected"));
    let answer =
        move |_: &Command| vec![Reply::Done(Answer::SplitBrain(Box::new(connected.clone())))];
    let _daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
    for words in [&["split-brain", "r0"][..], &["connect", "--tentative", "r0"]] {
        assert!(place.ends(0, words).out.contains("alpha and beta are connected"));
    }
}
