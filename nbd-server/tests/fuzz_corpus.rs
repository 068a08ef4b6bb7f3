//! What fuzzing has found worth keeping is read again.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::path::Path;

fn replay(name: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(!entries.is_empty(), "the corpus {name} is empty");
    for entry in entries {
        body(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

#[test]
fn negotiation() {
    replay("nbd_negotiation", nbd_server::fuzzing::fuzz_negotiation);
}

#[test]
fn transmission() {
    replay("nbd_transmission", nbd_server::fuzzing::fuzz_transmission);
}

#[test]
fn negotiation_ops() {
    replay("nbd_negotiation_ops", nbd_server::fuzzing::fuzz_negotiation_ops);
}

#[test]
fn transmission_ops() {
    replay("nbd_transmission_ops", nbd_server::fuzzing::fuzz_transmission_ops);
}
