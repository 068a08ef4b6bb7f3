//! The calls that Pacemaker's agent `ocf:linbit:drbd` makes of `drbdadm` and `drbdsetup`, in
//! repadm's spelling, and what it makes of the answers.

use crate::node::Node;
use std::process::Command;

/// What a shell prints that evaluates the output of a command, then runs `script`.
fn evaluated(output: &str, script: &str) -> String {
    let ran = Command::new("sh")
        .arg("-c")
        .arg(format!("{script}\neval \"$1\"\n: ${{after:=}}\neval \"$after\""))
        .arg("sh")
        .arg(output)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// What the agent takes from the events of now: is it there, is it Primary, are the disks good.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    role: Option<String>,
    peer_role: Option<String>,
    disks: Vec<String>,
    peer_disks: Vec<String>,
    has_quorum: bool,
    complete: bool,
}

fn judged(events: &str) -> Judged {
    let mut judged = Judged { has_quorum: true, ..Judged::default() };
    for line in events.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "exists", "{line}");
        if words[1] == "-" {
            judged.complete = true;
            break;
        }
        assert_eq!(words[2], "name:r0", "{line}");
        let key = |key: &str| {
            let word = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix(':'));
            word.map(ToOwned::to_owned)
        };
        match words[1] {
            "resource" => judged.role = key("role"),
            "connection" => {
                assert_eq!(key("peer-node-id").as_deref(), Some("1"), "{line}");
                judged.peer_role = key("role");
            }
            "device" => {
                judged.disks.extend(key("disk"));
                judged.has_quorum &= key("quorum").as_deref() != Some("no");
            }
            "peer-device" => judged.peer_disks.extend(key("peer-disk")),
            "path" => {}
            other => panic!("the agent does not know {other}"),
        }
    }
    judged
}

fn state(node: &Node) -> (Option<String>, Vec<String>) {
    let judged = judged(&node.ends(0, &["events2", "--now", "r0"]).out);
    assert!(judged.complete && judged.has_quorum, "{judged:?}");
    (judged.role, judged.disks)
}

#[test]
fn validation_finds_the_release_the_devices_and_two_primaries() {
    let node = Node::new("net { allow-two-primaries yes; }");
    let conf = node.place.path("r0.res").display().to_string();
    let version = node.ends(0, &["--version"]).out;
    let script =
        r#"after='echo $((DRBD_KERNEL_VERSION_CODE >= 0x090000)) $((DRBDADM_VERSION_CODE))'"#;
    assert_eq!(evaluated(&version, script), "1 595456\n");
    assert_eq!(node.ends(0, &["-c", &conf, "sh-dev", "r0"]).out, "/dev/drbd1\n");
    // What is not there fails, stacked or not.
    node.ends(1, &["-c", &conf, "sh-dev", "nosuch"]);
    node.ends(1, &["-c", &conf, "--stacked", "sh-dev", "nosuch"]);
    let dump = node.ends(0, &["-c", &conf, "-d", "-v", "dump", "r0"]).out;
    let says_so = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], ["allow-two-primaries", "yes;"] | ["allow-two-primaries;"])
    };
    assert!(dump.lines().any(says_so), "{dump}");
    assert_eq!(node.ends(0, &["sh-mod-parms"]).out.trim(), "");
}

#[test]
fn start_promote_demote_and_stop() {
    let node = Node::new("");
    node.ends(0, &["create-md", "r0"]);
    // Monitor before start: not running.
    assert_eq!(state(&node), (None, vec![]));
    for words in [&["check-resize", "r0"][..], &["new-resource", "r0"], &["new-minor", "r0"]] {
        assert_eq!(node.ends(0, words).out, "");
    }
    // The agent of the 9 path brings disks up first, and the link when it may.
    node.ends(0, &["adjust", "--skip-net", "r0"]);
    assert_eq!(node.ends(0, &["cstate", "r0"]).out, "StandAlone\n");
    node.ends(0, &["adjust", "--skip-net", "r0"]);
    assert_eq!(node.ends(0, &["cstate", "r0"]).out, "StandAlone\n");
    node.ends(0, &["adjust", "r0"]);
    assert_eq!(node.ends(0, &["cstate", "r0"]).out, "Connecting\n");
    let secondary = || Some("Secondary".to_owned());
    assert_eq!(state(&node), (secondary(), vec!["Inconsistent".to_owned()]));
    assert!(node.ends(0, &["-d", "connect", "r0:beta"]).out.contains("beta"));
    node.ends(5, &["wait-connect", "r0", "--wfc-timeout=1"]);
    let times = ["--wfc-timeout=3", "--degr-wfc-timeout=2", "--outdated-wfc-timeout=1"];
    node.ends(5, &[&["wait-connect", "r0"][..], &times].concat());
    // 17 ends the agent's attempts to promote.
    node.ends(17, &["primary", "r0"]);
    node.ends(0, &["primary", "--force", "r0"]);
    assert_eq!(state(&node), (Some("Primary".to_owned()), vec!["UpToDate".to_owned()]));
    node.ends(0, &["secondary", "r0"]);
    node.ends(0, &["outdate", "r0"]);
    assert_eq!(state(&node), (secondary(), vec!["Outdated".to_owned()]));
    node.ends(0, &["down", "r0"]);
    assert_eq!(state(&node), (None, vec![]));
    // It is taken down once more for safety.
    node.ends(0, &["down", "r0"]);
}

#[test]
fn the_state_as_variables_for_the_agent_of_drbd_8_4() {
    let node = Node::new("");
    let script = r#"_sh_status_process() {
        echo "$_res_name/$_volume $_minor ${_role:-Unconfigured} ${_peer:-Unknown} $_cstate \
${_disk:-Unconfigured} ${_pdsk:-DUnknown}"
    }"#;
    let told = || evaluated(&node.ends(0, &["sh-status", "r0"]).out, script);
    assert_eq!(told(), "r0/0 1 Unconfigured Unknown Unconfigured Unconfigured DUnknown\n");
    node.ends(0, &["create-md", "r0"]);
    node.ends(0, &["up", "r0"]);
    node.ends(0, &["primary", "--force", "r0"]);
    assert_eq!(told(), "r0/0 1 Primary Unknown WFConnection UpToDate DUnknown\n");
}

#[test]
fn notifications_unfence_and_their_code_is_the_handlers() {
    let told = "echo $DRBD_RESOURCE $DRBD_PEER $DRBD_MINOR $DRBD_VOLUME $DRBD_NODE_ID_1; exit 4";
    let node = Node::new(&format!("handlers {{ unfence-peer \"{told}\"; }}"));
    assert_eq!(node.ends(4, &["unfence-peer", "r0"]).out, "r0 beta 1 0 beta\n");
    assert_eq!(node.ends(4, &["unfence-peer", "minor-1"]).out, "r0 beta 1 0 beta\n");
    // Without a handler there is nothing to do, and that is no failure.
    assert_eq!(node.ends(0, &["before-resync-target", "minor-1"]).out, "");
    let dry = node.ends(0, &["-d", "unfence-peer", "r0"]).out;
    assert!(dry.starts_with("r0: sh -c 'echo $DRBD_RESOURCE"), "{dry}");
    node.ends(1, &["unfence-peer", "minor-7"]);
}

#[test]
fn what_runs_is_shown_and_not_what_the_file_says() {
    let node = Node::new("net { timeout 90; }");
    node.ends(1, &["show", "r0"]);
    assert_eq!(node.ends(0, &["show"]).out, "");
    node.ends(0, &["create-md", "r0"]);
    node.ends(0, &["up", "r0"]);
    node.place.edit(|text| text.replace("timeout 90", "timeout 50"));
    let shown = node.ends(0, &["show", "r0"]).out;
    assert!(shown.starts_with("resource \"r0\" {\n"), "{shown}");
    assert!(shown.contains("timeout         \t90; # 1/10 seconds\n"), "{shown}");
    assert!(!shown.contains("default"), "{shown}");
    let all = node.ends(0, &["show", "--show-defaults"]).out;
    assert!(all.contains("after-sb-0pri   \tdisconnect; # default\n"), "{all}");
    let json = node.ends(0, &["show", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["connections"][0]["net"]["timeout"], 90);
    assert_eq!(json[0]["connections"][0]["_cstate"], "Connecting");
    let proc = node.ends(0, &["proc"]).out;
    let line = "\n 1: cs:Connecting ro:Secondary/Unknown ds:Inconsistent/DUnknown C r-----\n";
    assert!(proc.contains(line), "{proc}");
}
