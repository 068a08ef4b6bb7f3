//! Bytes that were damaged on the way, and bytes that somebody made up.

use super::samples::samples;
use super::{bytes_of, read, seal};
use proptest::prelude::*;
use replicator::wire::{HEADER_BYTES, Header, MAX_PAYLOAD_BYTES, WireError, fuzz_wire};
use std::path::Path;

/// A burst of up to 32 bits is always found by the checksum that covers it.
#[test]
fn every_damaged_byte_is_refused() {
    for (name, message) in samples() {
        let good = bytes_of(&message);
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert!(read(&bad).is_err(), "{name}: byte {at} ^ {flip:#x}");
            }
        }
    }
}

/// With checksums that fit: either refused, or another message that is said by these bytes only.
#[test]
fn every_meant_byte_is_refused_or_says_what_it_is() {
    for (_, message) in samples() {
        let good = bytes_of(&message);
        for at in (16..good.len()).take(400) {
            for flip in [0x01, 0x02, 0x80, 0xFF] {
                let mut meant = good.clone();
                meant[at] ^= flip;
                seal(&mut meant);
                if let Ok(other) = read(&meant) {
                    assert_eq!(bytes_of(&other), meant, "byte {at} ^ {flip:#x} of {message:?}");
                }
            }
        }
    }
}

/// Fields that a kind does not use are zero: a later version can give them a meaning.
#[test]
fn what_is_not_used_must_be_zero() {
    let ping = bytes_of(&replicator::wire::Message::Ping);
    for at in 18..HEADER_BYTES {
        let mut meant = ping.clone();
        meant[at] = 1;
        seal(&mut meant);
        assert!(matches!(read(&meant), Err(WireError::Field { .. })), "byte {at}");
    }
}

/// Before a byte of payload is waited for, its length is known to be one that we send.
#[test]
fn a_length_that_nobody_sends_is_refused_with_the_header() {
    let write = samples().into_iter().find(|(name, _)| *name == "write").unwrap().1;
    for (len, fits) in
        [(MAX_PAYLOAD_BYTES as u32, true), (MAX_PAYLOAD_BYTES as u32 + 1, false), (u32::MAX, false)]
    {
        let mut header = write.encode().header;
        header[12..16].copy_from_slice(&len.to_le_bytes());
        header[4..8].fill(0);
        let crc = crc32c::crc32c(&header);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        match Header::parse(&header) {
            Ok(header) => assert!(fits && header.payload_len() == len as usize),
            Err(error) => assert!(!fits && error == WireError::TooLong(len), "{error}"),
        }
    }
}

/// A list in a body that claims more than the body has is refused before memory is taken for it.
#[test]
fn a_list_that_claims_too_much_is_refused() {
    for name in ["settled", "in-sync"] {
        let message = samples().into_iter().find(|(sample, _)| *sample == name).unwrap().1;
        for claim in [3, 1 << 20, u64::MAX / 8, u64::MAX] {
            let mut bytes = bytes_of(&message);
            bytes[HEADER_BYTES..HEADER_BYTES + 8].copy_from_slice(&claim.to_le_bytes());
            seal(&mut bytes);
            assert!(matches!(read(&bytes), Err(WireError::Body { .. })), "{name} of {claim}");
        }
    }
}

#[test]
fn a_body_with_bytes_left_over_is_refused() {
    for name in ["hello", "auth", "state", "settled", "in-sync"] {
        let message = samples().into_iter().find(|(sample, _)| *sample == name).unwrap().1;
        let mut bytes = bytes_of(&message);
        bytes.push(0);
        let len = (bytes.len() - HEADER_BYTES) as u32;
        bytes[12..16].copy_from_slice(&len.to_le_bytes());
        seal(&mut bytes);
        assert!(matches!(read(&bytes), Err(WireError::Body { .. })), "{name}");
    }
}

/// What fuzzing has found worth keeping.
#[test]
fn the_fuzz_corpus_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/wire");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        fuzz_wire(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_wire(&bytes);
    }

    /// Garbage of a known kind gets further.
    #[test]
    fn garbage_of_a_kind_does_no_harm(
        kind in 0u16..60,
        fields in prop::collection::vec(prop_oneof![Just(0), 1..5u64, any::<u64>()], 5),
        flags in 0..4u32,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = vec![0; 12];
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(flags.to_le_bytes());
        fields.iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend(payload);
        fuzz_wire(&bytes);
    }
}
