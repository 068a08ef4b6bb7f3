//! Rings of the activity log, damaged or made up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metadata::fuzz::fuzz_activity_log(bytes));
