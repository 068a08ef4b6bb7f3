//! Knowledge flows one way: which crate may know which, as ARCHITECTURE.md has it.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Every crate of the workspace, and the ones that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("config", &["types"]),
    ("metadata", &["types"]),
    ("control", &["types"]),
    ("storage", &["types"]),
    ("nbd-server", &["types"]),
    ("replicator", &["types", "metadata"]),
    ("sim", &["types", "metadata", "replicator"]),
    ("repd", &["types", "config", "metadata", "replicator", "storage", "nbd-server", "control"]),
    // `repd` for the daemons of the demo, `storage` for the metadata tools.
    ("repadm", &["types", "config", "metadata", "control", "storage", "repd"]),
    ("tests", &["types", "metadata", "replicator", "control", "sim", "repd", "repadm"]),
];

/// All that the engine, and what decides with it, may use from outside: no runtime, no clock, no
/// files, no random numbers of the system.
const PURE: &[(&str, &[&str])] = &[
    ("types", &["serde"]),
    ("config", &["annotate-snippets", "thiserror", "serde"]),
    ("metadata", &["bitvec", "bytes", "crc32c", "thiserror", "zerocopy"]),
    (
        "replicator",
        &[
            "bincode",
            "bytes",
            "crc32c",
            "hmac",
            "sha2",
            "subtle",
            "thiserror",
            "xxhash-rust",
            "zerocopy",
            "zeroize",
        ],
    ),
    ("sim", &["bytes", "clap"]),
];

/// What each package of the workspace depends on, tests aside.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("an array").iter();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().expect("an array").iter();
        all.filter(|dependency| dependency["kind"] != "dev").map(name).collect()
    };
    packages.map(|package| (name(package), of(package))).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_crate_knows_only_those_before_it() {
    let dependencies = dependencies();
    let crates: BTreeSet<String> = dependencies.keys().cloned().collect();
    for (name, allowed) in ARROWS {
        let found = dependencies.get(*name).unwrap_or_else(|| panic!("no crate {name}"));
        let wrong: Vec<_> =
            found.iter().filter(|to| crates.contains(*to) && !set(allowed).contains(*to)).collect();
        assert!(wrong.is_empty(), "{name} must not know {wrong:?}");
    }
}

#[test]
fn every_crate_has_its_place_and_nobody_knows_the_outermost() {
    let dependencies = dependencies();
    let placed: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let outermost = set(&["bench"]);
    for name in dependencies.keys() {
        assert!(placed.contains(name) || outermost.contains(name), "{name} has no place in ARROWS");
    }
    for (name, found) in &dependencies {
        assert!(found.is_disjoint(&outermost), "{name} must not know {outermost:?}");
    }
}

#[test]
fn what_decides_sees_no_runtime_no_clock_and_no_file() {
    let dependencies = dependencies();
    let crates: BTreeSet<String> = dependencies.keys().cloned().collect();
    for (name, allowed) in PURE {
        let outside: BTreeSet<String> = dependencies[*name].difference(&crates).cloned().collect();
        let allowed = set(allowed);
        let wrong: Vec<_> = outside.difference(&allowed).collect();
        assert!(wrong.is_empty(), "{name} must not use {wrong:?}");
    }
}
