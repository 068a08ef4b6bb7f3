//! Whole sessions, byte by byte: the files of `tests/golden/nbd`.

use super::served;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tests::conformance::{run, transcript::Transcript};

/// Each is replayed by the test of its name below.
const SESSIONS: [&str; 9] = [
    "export-name",
    "export-name-zeroes",
    "kernel",
    "libnbd",
    "qemu",
    "negotiation-errors",
    "simple-errors",
    "structured-errors",
    "extended-errors",
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/nbd")
}

fn replay(name: &str) {
    let text = std::fs::read_to_string(directory().join(format!("{name}.txt"))).unwrap();
    let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    run(async {
        for address in [served().unix(), served().tcp()] {
            let replayed = transcript.replay(&address).await;
            replayed.unwrap_or_else(|error| panic!("{name}, {address:?}: {error:#}"));
        }
    });
}

/// No file is forgotten.
#[test]
fn every_transcript_is_replayed() {
    let files = std::fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let named: BTreeSet<String> = SESSIONS.iter().map(|name| format!("{name}.txt")).collect();
    assert_eq!(files, named);
}

/// An old client: EXPORT_NAME, no zeros, simple replies.
/// [H8, F2, A8]
#[test]
fn transcript_of_export_name() {
    replay("export-name");
}

/// An older one, which knows neither fixed newstyle nor NO_ZEROES.
/// [H8, H10, A8]
#[test]
fn transcript_of_export_name_with_zeroes() {
    replay("export-name-zeroes");
}

/// nbd-client and the Linux driver: GO without requests, simple replies, one kind of request after
/// the other.
/// [H13, M1, M9, Z5, P4, A1, A5]
#[test]
fn transcript_of_the_linux_driver() {
    replay("kernel");
}

/// A client that wants everything: extended headers, contexts, 64-bit status.
/// [V4, V17]
#[test]
fn transcript_of_a_client_with_extended_headers() {
    replay("libnbd");
}

/// A client with structured replies: contexts, block status, reads with DF.
/// [R8, B1, P7, Y7, Q39]
#[test]
fn transcript_of_a_client_with_structured_replies() {
    replay("qemu");
}

/// Each error of the negotiation.
/// [H11, E3, L4, P9]
#[test]
fn transcript_of_errors_in_the_negotiation() {
    replay("negotiation-errors");
}

/// Each error in simple replies.
/// [M9, Q3, N1]
#[test]
fn transcript_of_simple_errors() {
    replay("simple-errors");
}

/// Each error in structured replies.
/// [R4, Y14, Q40]
#[test]
fn transcript_of_structured_errors() {
    replay("structured-errors");
}

/// Each error in replies with extended headers.
/// [R4, V9, V10]
#[test]
fn transcript_of_extended_errors() {
    replay("extended-errors");
}
