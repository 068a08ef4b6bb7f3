//! The demo as a person starts it, and as a person ends it.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn demo(temporary: &Path, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_repadm"))
        .arg("demo")
        .args(words)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A temporary directory with a short path: there are sockets in it.
fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("d").tempdir_in("/tmp").unwrap()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// Processes whose command line names that directory.
fn processes_in(directory: &Path) -> Vec<i32> {
    let name = directory.display().to_string();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(&name).then_some(pid)
    });
    pids.collect()
}

#[test]
fn the_story_ends_well_and_leaves_nothing() {
    let temporary = temporary();
    let output = demo(temporary.path(), &[]).wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for told in [
        "SyncTarget Secondary/Primary",
        "r0 role:Primary",
        "*** cut ***",
        "sync'ed:",
        "identical",
        "byte for byte",
    ] {
        assert!(out.contains(told), "nothing about {told} in\n{out}");
    }
    assert_eq!(err, "");
    assert!(is_empty(temporary.path()));
    assert_eq!(processes_in(temporary.path()), Vec::<i32>::new());
}

#[test]
fn an_interruption_takes_everything_away() {
    let temporary = temporary();
    let mut child = demo(temporary.path(), &[]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // By now both daemons run.
    let mut line = String::new();
    while !line.contains("primary --force") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the demo ended early");
    }
    assert!(!processes_in(temporary.path()).is_empty());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    out.read_to_string(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(20));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert!(is_empty(temporary.path()));
    assert_eq!(processes_in(temporary.path()), Vec::<i32>::new());
}

#[test]
fn what_is_kept_runs_on_until_it_is_ended() {
    let temporary = temporary();
    let output = demo(temporary.path(), &["--keep"]).wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let end = out.lines().find_map(|line| line.strip_prefix("To end it all:")).unwrap();
    let kill = end.split("; ").find_map(|words| words.strip_prefix("kill ")).unwrap();
    let pids: Vec<Pid> =
        kill.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    assert_eq!(pids.len(), 3, "two daemons and a cable: {end}");
    for pid in pids {
        assert!(test_kill_process(pid).is_ok(), "{pid:?} runs");
        kill_process(pid, Signal::KILL).unwrap();
    }
}
