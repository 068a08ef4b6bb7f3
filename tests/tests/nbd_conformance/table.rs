//! The table of requirements, `docs/nbd-conformance.md`, and the tests name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How a row begins that has no test.
const REASONS: [&str; 2] = ["not applicable: ", "by choice: "];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of each row, the number first.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/nbd-conformance.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    cells.filter(|cells| cells[0] != "#").collect()
}

/// The names in backquotes that are those of tests.
fn tests_of(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The tests in a directory and below it, with the comment of each.
fn tests_below(directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests_in(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

fn tests_in(source: &str, found: &mut BTreeMap<String, String>) {
    let (mut comment, mut is_test) = (String::new(), false);
    for line in source.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if !line.starts_with("#[") {
            let line = line.trim_start_matches("async ");
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
            if let Some(name) = name.filter(|_| is_test) {
                found.insert(name.to_owned(), std::mem::take(&mut comment));
            }
            comment.clear();
            is_test = false;
        }
    }
}

/// The tests of this suite, with what they say of themselves.
fn suite() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    tests_below(&root().join("tests/tests/nbd_conformance"), &mut found);
    found
}

/// The numbers of rows that a test's comment names: those in brackets at its end.
fn numbers(comment: &str) -> BTreeSet<&str> {
    let named = comment.trim_end().strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    named.map_or_else(BTreeSet::new, |(_, named)| named.split(", ").collect())
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let mut everywhere = BTreeMap::new();
    for entry in fs::read_dir(root()).unwrap() {
        let package = entry.unwrap().path();
        for directory in ["src", "tests"].map(|name| package.join(name)) {
            if package.join("Cargo.toml").is_file() && directory.is_dir() {
                tests_below(&directory, &mut everywhere);
            }
        }
    }
    let rows = rows();
    assert!(rows.len() > 150, "{} rows: is the page read as it should be?", rows.len());
    let mut seen = BTreeSet::new();
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let (number, shown) = (&row[0], &row[3]);
        assert!(seen.insert(number), "{number} twice");
        let reason = REASONS.iter().find_map(|reason| shown.strip_prefix(reason));
        if let Some(reason) = reason {
            assert!(reason.len() > 10, "{number}: why?");
            continue;
        }
        assert!(tests_of(shown).next().is_some(), "{number} has neither a test nor a reason");
        for name in tests_of(shown) {
            assert!(everywhere.contains_key(name), "{number} names {name}, which is no test");
        }
    }
}

#[test]
fn tests_and_requirements_name_each_other() {
    let suite = suite();
    let mut by_test: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let rows = rows();
    for row in rows.iter().filter(|row| !REASONS.iter().any(|reason| row[3].starts_with(reason))) {
        for name in tests_of(&row[3]).filter(|name| suite.contains_key(*name)) {
            by_test.entry(name).or_default().insert(&row[0]);
        }
    }
    let none = BTreeSet::new();
    let ours =
        ["every_requirement_has_a_test_or_a_reason", "tests_and_requirements_name_each_other"];
    let others = ["every_transcript_is_replayed"];
    for (name, comment) in suite.iter().filter(|(name, _)| !ours.contains(&&***name)) {
        let rows = by_test.get(&**name).unwrap_or(&none);
        assert_eq!(&numbers(comment), rows, "{name} and the table");
        assert!(!rows.is_empty() || others.contains(&&**name), "{name} shows no requirement");
    }
}
