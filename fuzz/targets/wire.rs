//! The replication protocol: messages of the peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replicator::wire::fuzz_wire(bytes));
