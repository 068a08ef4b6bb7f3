//! What an NBD client may send before it has chosen an export.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nbd_server::fuzzing::fuzz_negotiation(bytes));
