//! Words of drbdadm's, asked of the program as a process.

use crate::support::{Daemon, Place, done, r0};
use control::Command;
use serde_json::Value;

fn quiet(place: &Place) -> Daemon {
    Daemon::start(&place.path("control.sock"), vec![r0()], |_| done())
}

#[test]
fn a_volume_has_four_names() {
    let place = Place::new();
    let _daemon = quiet(&place);
    for target in ["r0", "r0/0", "minor-1", "r0:beta", "r0:beta/0", "r0:BETA.example.org"] {
        assert_eq!(place.ends(0, &["dstate", target]).out, "UpToDate/UpToDate\n", "{target}");
    }
    let ran = place.ends(1, &["dstate", "minor-2"]);
    assert!(ran.err.contains("minor-2: no device of this host has that number"), "{}", ran.err);
    let ran = place.ends(1, &["dstate", "r0:gamma"]);
    assert!(ran.err.contains("the other host of r0 is beta"), "{}", ran.err);
    let ran = place.ends(1, &["dstate", "r0:alpha"]);
    assert!(ran.err.contains("it is this host"), "{}", ran.err);
    let ran = place.ends(1, &["dstate", "r9:beta"]);
    assert!(ran.err.contains("'r9': no such resource"), "{}", ran.err);
    assert!(place.ends(1, &["up", "minor-1"]).err.contains("whole resource"));
}

#[test]
fn a_device_of_what_is_no_longer_configured_is_found_by_its_number() {
    let place = Place::new();
    let mut old = r0();
    old.name = "old".into();
    old.volumes[0].minor = Some(9);
    let _daemon = Daemon::start(&place.path("control.sock"), vec![old], |_| done());
    assert_eq!(place.ends(0, &["dstate", "minor-9"]).out, "UpToDate/UpToDate\n");
}

#[test]
fn general_options_that_are_not_obeyed_say_why() {
    let place = Place::new();
    let daemon = quiet(&place);
    for (options, why) in [
        (&["-S"][..], "no stacked resources"),
        (&["--stacked"], "no stacked resources"),
        (&["-n", "DEV"], "DEV=$(repadm sh-dev RESOURCE)"),
        (&["-P", "beta"], "RESOURCE:beta"),
        (&["--peer", "beta"], "RESOURCE:beta"),
        (&["-s", "/sbin/drbdsetup"], "--drbdsetup"),
        (&["--drbdmeta", "/sbin/drbdmeta"], "--drbdmeta"),
        (&["-p", "/sbin/drbd-proxy-ctl"], "--drbd-proxy-ctl"),
        (&["-W", "timeout:90"], "net-options"),
        (&["--setup-option=timeout:90"], "net-options"),
    ] {
        let ran = place.ends(1, &[options, &["down", "r0"]].concat());
        assert!(ran.err.contains(why), "{options:?}: {}", ran.err);
    }
    assert_eq!(daemon.orders(), []);
}

#[test]
fn plain_words_for_scripts() {
    let place = Place::new();
    for (words, answer) in [
        (&["sh-resources"][..], "r0\n"),
        (&["sh-resource", "minor-1"], "r0\n"),
        (&["sh-dev", "all"], "/dev/drbd1\n"),
        (&["sh-minor", "r0"], "1\n"),
        (&["sh-ll-dev", "r0"], "DIR/alpha.img\n"),
        (&["sh-md-dev", "r0"], "DIR/alpha.img\n"),
        (&["sh-md-idx", "r0"], "internal\n"),
        (&["sh-ip", "r0"], "127.0.0.1\n"),
        (&["sh-mod-parms"], "\n"),
        (&["sh-list-config-file"], "DIR/r0.res\n"),
        (&["sh-b-pri", "r0"], ""),
    ] {
        assert_eq!(place.ends(0, words).out, answer, "{words:?}");
    }
    let udev = place.ends(0, &["sh-udev", "minor-1"]).out;
    assert!(udev.starts_with("RESOURCE=r0\nDEVICE=drbd1\nSYMLINK_BY_RES=drbd/by-res/r0/0\n"));
    assert!(place.ends(10, &["sh-lr-of", "r0"]).err.contains("not stacked"));
    assert!(place.ends(0, &["sh-nop"]).out.contains("\nREPADM_VERSION="));
    assert_eq!(place.ends(0, &["sh-nop"]).out, place.ends(0, &["-V"]).out);
    place.configure("resource r0 {");
    place.ends(10, &["sh-nop"]);
}

#[test]
fn who_is_to_become_primary_is_asked_of_the_configuration() {
    let place = Place::new();
    place.edit(|text| {
        text.replacen("resource r0 {", "resource r0 { startup { become-primary-on both; }", 1)
    });
    let daemon = quiet(&place);
    place.ends(0, &["sh-b-pri", "r0"]);
    let primary = Command::Primary { resource: "r0".into(), force: false };
    assert_eq!(daemon.orders(), [primary]);
}

#[test]
fn a_size_that_does_not_go_with_the_metadata_is_found() {
    let place = Place::new();
    place.ends(0, &["create-md", "r0"]);
    place.ends(0, &["check-resize", "r0"]);
    let disk = std::fs::File::options().write(true).open(place.path("alpha.img")).unwrap();
    disk.set_len(crate::support::DISK_BYTES * 2).unwrap();
    assert!(place.ends(10, &["check-resize", "r0"]).err.contains("r0/0"));
}

#[test]
fn words_for_scripts_have_one_form_and_say_so() {
    let place = Place::new();
    let _daemon = quiet(&place);
    for word in ["role", "cstate", "dstate", "proc"] {
        let ran = place.ends(1, &["--json", word]);
        assert!(ran.err.contains("--json status"), "{word}: {}", ran.err);
    }
}

#[test]
fn what_the_help_hides_is_listed() {
    let place = Place::new();
    let listed = place.ends(0, &["hidden-commands"]).out;
    for name in ["sh-dev ", "sh-status ", "fence-peer ", "new-minor ", "hidden-commands "] {
        assert!(listed.contains(&format!("\n{name}")) || listed.starts_with(name), "{name}");
    }
    assert!(!listed.contains("__"), "{listed}");
    let help = place.ends(0, &["--help"]).out;
    assert!(!help.contains("sh-dev") && !help.contains("pri-lost"), "{help}");
    // They have a help of their own all the same, and a slip is helped.
    assert!(place.ends(0, &["sh-dev", "--help"]).out.contains("Print the devices"));
    assert!(place.ends(1, &["sh-resorces"]).err.contains("did you mean sh-resources?"));
}

#[test]
fn a_word_that_is_not_there_leads_nobody_astray() {
    let place = Place::new();
    for word in ["restore-md", "repair-md", "forget-peer", "del-peer"] {
        let said = place.ends(1, &[word, "r0"]).err;
        assert!(said.contains("is not there: ") && !said.contains("did you mean"), "{said}");
    }
    assert_eq!(place.ends(0, &["help"]).out, place.ends(0, &["--help"]).out);
    assert_eq!(
        place.ends(0, &["help", "service", "start"]).out,
        place.ends(0, &["service", "start", "--help"]).out
    );
    let said = place.ends(1, &["up", "--force", "r0"]).err;
    assert!(said.contains("'--force'") && !said.contains("tip:"), "{said}");
    let said = place.ends(1, &["down", "--forse", "r0"]).err;
    assert!(said.contains("tip: a similar argument exists: '--force'"), "{said}");
}

#[test]
fn what_is_up_and_ignored_now_is_named_by_adjust() {
    let place = Place::new();
    place.edit(|text| text.replacen("resource r0 {", "resource r0 { ignore-on alpha;", 1));
    let daemon = quiet(&place);
    let said = place.ends(1, &["adjust", "all"]).err;
    assert!(said.contains("r0: up, and not for this host any more"), "{said}");
    assert!(said.contains("`ignore-on` names alpha") && !said.contains("--node"), "{said}");
    assert_eq!(daemon.orders(), []);
}

#[test]
fn colour_is_for_those_who_want_it() {
    let place = Place::new();
    let _daemon = quiet(&place);
    for command in ["status", "overview"] {
        let painted = |option: &str| place.ends(0, &[command, option]).out.contains("\u{1b}[32m");
        assert!(painted("--color") && painted("--color=always"), "{command}");
        assert!(!painted("--color=never") && !painted("--color=auto"), "{command}");
    }
    let json = place.ends(0, &["status", "--color=always", "--json"]).out;
    assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
}

#[test]
fn events_are_lines_of_json_if_asked() {
    let place = Place::new();
    let _daemon = quiet(&place);
    let ran = place.ends(0, &["events2", "--now", "--json", "--timestamps"]);
    let lines: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let objects: Vec<_> = lines.iter().map(|line| line["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["resource", "connection", "path", "device", "peer-device", "-"]);
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["event"] == "exists"));
    assert_eq!(lines[3]["minor"], 1);
}

#[test]
fn a_look_at_what_is_done_needs_no_terminal() {
    let place = Place::new();
    let _daemon = quiet(&place);
    let shown = place.ends(0, &["top", "--once"]).out;
    assert!(shown.starts_with(" 1:r0/0  Connected Primary/Secondary"), "{shown}");
    assert!(shown.contains("\n VOLUME  IOPS") && !shown.contains('\u{1b}'), "{shown}");
}

/// The commands that the help shows.
fn commands(place: &Place) -> Vec<String> {
    let help = place.ends(0, &["--help"]).out;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // A name stands two blanks in; what is said of it, further.
    commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_dry_run_of_any_command_changes_nothing() {
    let place = Place::new();
    let daemon = quiet(&place);
    let before = std::fs::read(place.path("alpha.img")).unwrap();
    // These look, and ask the peer or the daemon for what they show; or they are about no resource.
    const LOOK: [&str; 5] = ["split-brain", "show", "completions", "events2", "top"];
    for name in commands(&place).iter().filter(|name| !LOOK.contains(&name.as_str())) {
        let target: &[&str] = if name == "demo" { &[] } else { &["r0"] };
        place.repadm(&[&["-d", name.as_str()], target].concat());
    }
    // To ask what runs is to look.
    let mut orders = daemon.orders();
    orders.retain(|order| !matches!(order, Command::Running { .. }));
    assert_eq!(orders, []);
    assert_eq!(std::fs::read(place.path("alpha.img")).unwrap(), before);
    let told = place.ends(0, &["-d", "demo"]).out;
    assert!(told.contains("temporary directory"), "{told}");
}

#[test]
fn man_pages_and_completions_have_every_command_and_option() {
    let place = Place::new();
    let pages = place.path("man");
    place.ends(0, &["__man", &pages.display().to_string()]);
    let names = commands(&place);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(names.len() > 30 && names.contains(&"wait-connect"), "{names:?}");
    let shells = ["bash", "zsh", "fish"].map(|shell| place.ends(0, &["completions", shell]).out);
    for name in names {
        let page = std::fs::read_to_string(pages.join(format!("repadm-{name}.1"))).unwrap();
        let page = page.replace("\\-", "-");
        let help = place.ends(0, &[name, "--help"]).out;
        // What is said of them stands further in.
        let options = help.lines().filter(|line| !line.starts_with("        "));
        let options = options.map(str::trim_start).filter(|line| line.starts_with('-'));
        let options = options.filter_map(|line| {
            let long = line.split(' ').find_map(|word| word.strip_prefix("--"))?;
            Some(long.split(['[', '=', ',']).next().unwrap().to_owned())
        });
        let options: Vec<String> = options.collect();
        assert!(options.contains(&"dry-run".to_owned()), "{name}: {options:?}");
        assert_eq!(options.contains(&"wfc-timeout".to_owned()), name.starts_with("wait-"));
        for option in &options {
            assert!(page.contains(&format!("--{option}")), "{name}: {option} is not in\n{page}");
            assert!(shells.iter().all(|text| text.contains(option.as_str())), "{name}: {option}");
        }
        assert!(shells.iter().all(|text| text.contains(name)), "{name}");
    }
    assert!(shells.iter().all(|text| !text.contains("__daemon")));
    place.ends(1, &["completions", "cmd.exe"]);
}
