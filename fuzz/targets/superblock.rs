//! Superblocks and whole disks of metadata, damaged or made up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metadata::fuzz::fuzz_superblock(bytes));
