//! `service start` and `service stop` against a daemon that answers as it is told.

use crate::support::{Daemon, Place, done, r0, refused};
use control::{Circumstance, Command, Patience, Reply, WaitLimit};
use types::Span;

/// Alpha is to become Primary, and waits no longer than a minute.
fn primary_on_alpha() -> Place {
    let place = Place::new();
    let startup = "resource r0 { startup { become-primary-on alpha; wfc-timeout 60; }";
    place.edit(|text| text.replace("resource r0 {", startup));
    place
}

fn names(daemon: &Daemon) -> Vec<String> {
    let name = |command: &Command| {
        let resource = command.resource().unwrap_or("-");
        format!("{} {resource}", command.name())
    };
    daemon.orders().iter().map(name).collect()
}

#[test]
fn start_brings_up_waits_and_promotes_where_that_is_wanted() {
    let place = primary_on_alpha();
    let daemon = Daemon::start(&place.path("control.sock"), vec![r0()], |_| done());
    let ran = place.ends(0, &["service", "start"]);
    assert_eq!(ran.out, "");
    assert_eq!(names(&daemon), ["up r0", "wait-connect r0", "primary r0"]);
    let patience = Patience::of(Some(Span::secs(60)));
    assert_eq!(daemon.orders()[1], Command::WaitConnect { resource: "r0".into(), patience });
    let force = false;
    assert_eq!(daemon.orders()[2], Command::Primary { resource: "r0".into(), force });

    place.edit(|text| text.replace("become-primary-on alpha;", "become-primary-on beta;"));
    place.ends(0, &["service", "start", "r0"]);
    assert_eq!(names(&daemon)[3..], ["up r0", "wait-connect r0"]);
    let dry = place.ends(0, &["-d", "service", "start"]).out;
    assert!(dry.contains("r0: bring up") && dry.contains("wait up to"), "{dry}");
    assert!(!dry.contains("become Primary"), "{dry}");
    assert_eq!(names(&daemon).len(), 5);
}

#[test]
fn a_peer_that_does_not_come_is_gone_on_without_and_one_that_does_not_agree_is_not() {
    for (code, promotes) in [(5, true), (18, false), (11, false)] {
        let place = primary_on_alpha();
        let limit = WaitLimit { circumstance: Circumstance::Degraded, limit: Some(Span::secs(60)) };
        let answer = move |command: &Command| match command {
            Command::WaitConnect { .. } => {
                let mut replies = vec![Reply::Waiting(limit)];
                replies.extend(refused(code, "r0: not reached"));
                replies
            }
            _ => done(),
        };
        let mut up = r0();
        up.role = types::Role::Secondary;
        let daemon = Daemon::start(&place.path("control.sock"), vec![up], answer);
        let ran = place.ends(i32::from(code), &["service", "start"]);
        assert!(ran.err.contains("r0: not reached"), "{}", ran.err);
        let promoted = names(&daemon).contains(&"primary r0".to_owned());
        assert_eq!(promoted, promotes, "{code}");
        assert_eq!(ran.err.contains("not made Primary"), !promotes, "{}", ran.err);
        // In a split brain that is no way out.
        assert_eq!(ran.err.contains("«repadm primary r0»"), code == 11, "{}", ran.err);
    }
}

#[test]
fn of_what_is_primary_already_it_is_not_said_that_it_is_not() {
    let place = primary_on_alpha();
    let answer = |command: &Command| match command {
        Command::WaitConnect { .. } => refused(18, "r0: split brain"),
        _ => done(),
    };
    let _daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
    let ran = place.ends(18, &["service", "start"]);
    assert!(ran.err.contains("«repadm split-brain r0»"), "{}", ran.err);
    assert!(!ran.err.contains("Primary"), "{}", ran.err);
}

#[test]
fn a_resource_that_fails_keeps_no_other_from_starting() {
    let place = primary_on_alpha();
    place.edit(|text| {
        let other = text.replace("resource r0", "resource r1").replace("drbd1", "drbd2");
        let other = other.replace("alpha.img", "a1.img").replace("beta.img", "b1.img");
        format!("{text}\n{}", other.replace(":7001", ":7003").replace(":7002", ":7004"))
    });
    let answer = |command: &Command| match command {
        Command::Up { resource, .. } if resource["name"] == "r0" => refused(10, "no metadata"),
        _ => done(),
    };
    let daemon = Daemon::start(&place.path("control.sock"), Vec::new(), answer);
    let ran = place.ends(10, &["service", "start"]);
    assert_eq!(ran.err, "r0: no metadata\n");
    let mut names = names(&daemon);
    names.sort();
    assert_eq!(names, ["primary r1", "up r0", "up r1", "wait-connect r1"]);
}

#[test]
fn to_become_primary_is_tried_five_times_and_the_way_out_is_told() {
    let place = primary_on_alpha();
    let answer = |command: &Command| match command {
        Command::Primary { .. } => refused(17, "r0/0: no UpToDate data"),
        _ => done(),
    };
    let daemon = Daemon::start(&place.path("control.sock"), vec![r0()], answer);
    let ran = place.ends(17, &["service", "start"]);
    let tries = names(&daemon).into_iter().filter(|name| name == "primary r0").count();
    assert_eq!(tries, 5);
    for words in ["no UpToDate data", "tried 5 times", "repadm service start r0"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn stop_takes_down_what_is_up_whatever_the_configuration_says() {
    let place = Place::new();
    let mut other = r0();
    other.name = "old".into();
    let answer = |command: &Command| match command.resource() {
        Some("old") => refused(11, "its device is in use: old/0 by pid 7"),
        _ => done(),
    };
    let daemon = Daemon::start(&place.path("control.sock"), vec![other, r0()], answer);
    place.configure("resource r0 { broken");
    let ran = place.ends(11, &["service", "stop"]);
    assert_eq!(ran.err, "old: its device is in use: old/0 by pid 7\n");
    let mut stopped = names(&daemon);
    stopped.sort();
    assert_eq!(stopped, ["down old", "down r0"]);
    place.ends(11, &["service", "stop", "--force", "all"]);
    let forced = |command: &Command| matches!(command, Command::Down { force: true, .. });
    assert_eq!(daemon.orders().iter().filter(|command| forced(command)).count(), 2);
}

#[test]
fn without_a_resource_there_is_nothing_to_do() {
    let place = Place::new();
    let daemon = Daemon::start(&place.path("control.sock"), Vec::new(), |_| done());
    place.ends(0, &["service", "stop"]);
    place.configure("global { usage-count no; }");
    let ran = place.ends(0, &["service", "start"]);
    assert!(ran.err.contains("no resource is configured"), "{}", ran.err);
    assert!(names(&daemon).is_empty());
    place.ends(1, &["service"]);
}
