//! What is in dist/ for systemd, held to what systemd makes of it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::foreign;

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// The units of dist/, with programs that exist, in a directory of their own.
fn units(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dist()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".service") || name.ends_with(".socket") {
            let text = fs::read_to_string(dist().join(&name)).unwrap();
            fs::write(directory.join(&name), text.replace("/usr/sbin/rep", "/bin/true #rep"))
                .unwrap();
            names.push(name);
        }
    }
    // A template is looked at as one of its instances.
    symlink("repd@.service", directory.join("repd@r0.service")).unwrap();
    names.retain(|name| name != "repd@.service");
    names.push("repd@r0.service".to_owned());
    names.sort();
    names
}

/// What systemd has to say about the units of that directory. Others of the machine are its own.
fn complaints(directory: &Path, names: &[String]) -> Vec<String> {
    let ran = Command::new(foreign::locate("systemd-analyze").unwrap())
        .args(["verify", "--man=no"])
        .args(names.iter().map(|name| directory.join(name)))
        .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    text.lines().filter(|line| line.contains("repd")).map(ToOwned::to_owned).collect()
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let names = units(directory.path());
    let expected = [
        "repd-nbd.socket",
        "repd-resources.service",
        "repd.service",
        "repd.socket",
        "repd@r0.service",
    ];
    assert_eq!(names, expected);
    assert_eq!(complaints(directory.path(), &names), Vec::<String>::new());
    // It would say so.
    let unit = directory.path().join("repd.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("KillMode=mixed", "KillMode=sometimes")).unwrap();
    let said = complaints(directory.path(), &names);
    assert!(said.iter().any(|line| line.contains("sometimes")), "{said:?}");
}

#[test]
fn the_service_comes_before_what_is_on_top_and_after_what_is_below() {
    for name in ["repd.service", "repd-resources.service", "repd@.service"] {
        let text = fs::read_to_string(dist().join(name)).unwrap();
        let named = |key: &str| -> Vec<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key));
            lines.flat_map(str::split_whitespace).collect()
        };
        for later in ["remote-fs-pre.target", "blk-availability.service"] {
            assert!(named("Before=").contains(&later), "{name}: {later}");
        }
        // A target of this kind orders nothing unless somebody pulls it in.
        assert!(named("Wants=").contains(&"remote-fs-pre.target"), "{name}");
        assert!(named("After=").contains(&"network-online.target"), "{name}");
        assert!(!text.contains("\nRequires="), "{name}: a restart of the daemon is an upgrade");
    }
}

#[test]
fn every_file_for_installation_is_explained() {
    let readme = fs::read_to_string(dist().join("README.md")).unwrap();
    let mut files = Vec::new();
    for directory in [dist(), dist().join("lvm")] {
        files.extend(fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()));
    }
    for file in files.iter().filter(|file| file.is_file()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || readme.contains(&format!("{name}`")), "{name}");
    }
}
