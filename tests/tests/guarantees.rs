//! The page of what is promised names tests, and they exist.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All functions in sources of the workspace's crates.
fn functions() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").is_file() {
            directories.extend(["src", "tests"].map(|name| path.join(name)));
        }
    }
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let page = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let functions = functions();
    let mut tests = 0;
    for name in page.split('`').skip(1).step_by(2) {
        if name.contains('/') {
            assert!(
                root().join(name).exists(),
                "docs/guarantees.md names {name}, which is not there"
            );
        } else if name.contains('_') && is_name(name) {
            assert!(functions.contains(name), "docs/guarantees.md names {name}, which is no test");
            tests += 1;
        }
    }
    assert!(tests > 20, "only {tests} tests are named: is the page read as it should be?");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    for row in rows {
        let enforced = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named = enforced.contains('`') || enforced.contains("sim:");
        assert!(named || enforced.contains("untested"), "no test and no «untested»: {row}");
    }
}
