//! Two engines, and a link on which anything may happen to what they say.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replicator::fuzz::fuzz_handshake(bytes));
