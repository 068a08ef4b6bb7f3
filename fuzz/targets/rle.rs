//! Bitmaps that the peer sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metadata::fuzz::fuzz_rle(bytes));
