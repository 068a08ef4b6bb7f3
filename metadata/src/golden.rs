//! Bytes of the format as text: lines of 16 bytes, repeated lines as a star, as hexdump has it.

use std::fmt::Write;

/// The text of the bytes.
pub(crate) fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut last: Option<&[u8]> = None;
    let mut starred = false;
    for (i, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            if !starred {
                out.push_str("*\n");
            }
            starred = true;
            continue;
        }
        (last, starred) = (Some(line), false);
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "{:04x}: {}", i * 16, hex.join(" ")).unwrap();
    }
    writeln!(out, "{:04x}", bytes.len()).unwrap();
    out
}

/// The bytes of the text.
pub(crate) fn parse(text: &str) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for line in text.lines().filter(|&line| line != "*") {
        let (offset, hex) = line.split_once(": ").unwrap_or((line, ""));
        let offset = usize::from_str_radix(offset, 16).unwrap();
        while out.len() < offset {
            out.extend_from_within(out.len() - 16..);
        }
        out.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    out
}

/// The bytes are what the file says. With the variable REPD_WRITE_GOLDEN set, the file is
/// written instead, and the test fails all the same: only for a new version of the format.
pub(crate) fn check(name: &str, golden: &str, bytes: &[u8]) {
    let found = dump(bytes);
    assert_eq!(parse(&found), bytes, "the dump loses something");
    if found != golden {
        if std::env::var_os("REPD_WRITE_GOLDEN").is_some() {
            let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, &found).unwrap();
        }
        panic!("{name} differs from the golden bytes; found:\n{found}");
    }
}
