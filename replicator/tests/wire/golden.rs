//! The bytes of each kind of message, as they are for ever (of protocol version 1).

use super::samples::samples;
use super::{bytes_of, read};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"))
}

/// Lines of 16 bytes.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", hex.join(" ")).unwrap();
    }
    text
}

/// With the variable REPD_WRITE_GOLDEN set, the files are written instead, and the test fails all
/// the same: only for a new version of the format.
#[test]
fn every_message_is_the_golden_bytes() {
    for (name, message) in samples() {
        let found = dump(&bytes_of(&message));
        if std::env::var_os("REPD_WRITE_GOLDEN").is_some() {
            std::fs::write(path(name), &found).unwrap();
        }
        let golden = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found, golden, "{name}");
    }
    assert!(std::env::var_os("REPD_WRITE_GOLDEN").is_none(), "written, not compared");
}

/// What an older release has sent is still understood.
#[test]
fn the_golden_bytes_are_every_message() {
    for (name, message) in samples() {
        let text = std::fs::read_to_string(path(name)).unwrap();
        let bytes: Vec<u8> =
            text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert_eq!(read(&bytes).as_ref(), Ok(&message), "{name}");
    }
}

/// The samples have every kind, and the page on the protocol has a row for each, by its number.
#[test]
fn the_documentation_has_every_kind() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut kinds = BTreeSet::new();
    for (_, message) in samples() {
        let bytes = bytes_of(&message);
        let number = u16::from_le_bytes([bytes[16], bytes[17]]);
        let row = format!("| {number} | {} |", message.name());
        assert!(page.contains(&row), "docs/protocol.md has no row that begins with {row}");
        kinds.insert(number);
    }
    let section = page.split("\n## ").find(|section| section.starts_with("Kinds")).unwrap();
    let documented = section.lines().filter(|line| {
        let number = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
        number.is_some_and(|number| number.parse::<u16>().is_ok())
    });
    assert_eq!(documented.count(), kinds.len(), "as many rows as kinds");
}
