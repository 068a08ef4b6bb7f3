//! The same by whole operations, against a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nbd_server::fuzzing::fuzz_transmission_ops(bytes));
