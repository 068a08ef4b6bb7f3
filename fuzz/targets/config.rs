//! The configuration language: whatever the file, it loads or says why not.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::fuzz_one(bytes));
