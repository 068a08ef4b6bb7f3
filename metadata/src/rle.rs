//! Lengths of runs, in turn of blocks in sync and out-of-sync, each as a little-endian base-128
//! number (7 bits a byte, the lowest first, bit 7 set on all but the last byte). The first run is
//! of blocks in sync and may be empty; no other is. The code ends at any run's end; the receiver
//! goes on from the block where it ended. An all-clear petabyte is six bytes.

use crate::bitmap::OutOfSync;
use types::BlockRange;

/// The longest code of one length.
const LENGTH_BYTES: usize = 10;
/// The least room that [`encode`] needs to get on: one pair of runs.
pub const MIN_BYTES: usize = 2 * LENGTH_BYTES;

/// Why a code is refused: it was not made by [`encode`], or for a volume of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// The code starts past the end of the volume.
    #[error("a piece of bitmap starts at block {from} of {blocks}")]
    Start {
        /// Where it starts.
        from: u64,
        /// How many blocks the volume has.
        blocks: u64,
    },
    /// The code ends within a length.
    #[error("byte {at}: a run length of the bitmap is cut off")]
    CutOff {
        /// Index of the length's first byte.
        at: usize,
    },
    /// A length above 2^64, or written with more bytes than it needs.
    #[error("byte {at}: a run length of the bitmap is malformed")]
    Malformed {
        /// Index of the length's first byte.
        at: usize,
    },
    /// A run of no blocks that is not the first.
    #[error("byte {at}: an empty run in the bitmap")]
    Empty {
        /// Index of the length's first byte.
        at: usize,
    },
    /// A run past the end of the volume.
    #[error("byte {at}: a run of the bitmap reaches past the end of {blocks} blocks")]
    PastEnd {
        /// Index of the length's first byte.
        at: usize,
        /// How many blocks the volume has.
        blocks: u64,
    },
}

/// The map from block `from` on, in at most `max_bytes`; and the block to go on from, which is
/// `map.blocks()` when all is said.
///
/// # Panics
/// If `max_bytes` is below [`MIN_BYTES`].
pub fn encode(map: &OutOfSync, from: u64, max_bytes: usize) -> (Vec<u8>, u64) {
    assert!(max_bytes >= MIN_BYTES, "{max_bytes} bytes are too few for a pair of runs");
    let mut out = Vec::new();
    let mut at = from;
    while at < map.blocks() && out.len() + MIN_BYTES <= max_bytes {
        let Some(run) = map.next_run(at, u64::MAX) else {
            put_length(&mut out, map.blocks() - at);
            return (out, map.blocks());
        };
        put_length(&mut out, run.start - at);
        put_length(&mut out, run.len());
        at = run.end;
    }
    (out, at)
}

/// The out-of-sync runs that a code from block `from` tells of, and the block to go on from. Safe
/// with hostile bytes: at most one run per two bytes, none past `blocks`.
///
/// # Errors
/// If the bytes are no code for a volume of that many blocks.
pub fn decode(bytes: &[u8], from: u64, blocks: u64) -> Result<(Vec<BlockRange>, u64), RleError> {
    if from > blocks {
        return Err(RleError::Start { from, blocks });
    }
    let mut runs = Vec::new();
    let mut next = from;
    let mut at = 0;
    let mut out_of_sync = false;
    while at < bytes.len() {
        let (length, used) = take_length(&bytes[at..], at)?;
        if length == 0 && at > 0 {
            return Err(RleError::Empty { at });
        }
        let end = next.checked_add(length).filter(|&end| end <= blocks);
        let end = end.ok_or(RleError::PastEnd { at, blocks })?;
        if out_of_sync {
            runs.push(BlockRange::new(next, end));
        }
        out_of_sync = !out_of_sync;
        next = end;
        at += used;
    }
    Ok((runs, next))
}

fn put_length(out: &mut Vec<u8>, mut length: u64) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// A length and how many bytes it took; `at` is only for the error.
fn take_length(bytes: &[u8], at: usize) -> Result<(u64, usize), RleError> {
    let mut length = 0;
    for (i, &byte) in bytes.iter().take(LENGTH_BYTES).enumerate() {
        // The tenth byte has room for the 64th bit alone.
        if i == LENGTH_BYTES - 1 && byte > 1 {
            return Err(RleError::Malformed { at });
        }
        length |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let padded = byte == 0 && i > 0;
            return if padded { Err(RleError::Malformed { at }) } else { Ok((length, i + 1)) };
        }
    }
    Err(RleError::CutOff { at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::PAGE_BLOCKS;
    use proptest::prelude::*;
    use types::BLOCK_BYTES;

    fn map(blocks: u64, runs: &[(u64, u64)]) -> OutOfSync {
        let mut map = OutOfSync::new(blocks * BLOCK_BYTES);
        for &(start, len) in runs {
            map.set(BlockRange::new(start.min(blocks), (start + len).min(blocks)));
        }
        map
    }

    #[test]
    fn a_code_is_the_golden_bytes() {
        let map = map(1000, &[(3, 2), (300, 500)]);
        assert_eq!(encode(&map, 0, 100), (vec![3, 2, 0xa7, 2, 0xf4, 3, 0xc8, 1], 1000));
        assert_eq!(encode(&map, 4, 100).0[..2], [0, 1]);
        assert_eq!(encode(&map, 1000, 100), (vec![], 1000));
    }

    #[test]
    fn what_is_empty_or_full_is_short() {
        let blocks = 10 * PAGE_BLOCKS;
        assert_eq!(encode(&map(blocks, &[]), 0, MIN_BYTES).0.len(), 3);
        assert_eq!(encode(&map(blocks, &[(0, blocks)]), 0, MIN_BYTES).0.len(), 4);
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        let refused = |bytes: &[u8]| decode(bytes, 10, 100).unwrap_err();
        assert_eq!(refused(&[91]), RleError::PastEnd { at: 0, blocks: 100 });
        assert_eq!(refused(&[5, 86]), RleError::PastEnd { at: 1, blocks: 100 });
        assert_eq!(refused(&[1, 0, 1]), RleError::Empty { at: 1 });
        assert_eq!(refused(&[1, 0x80]), RleError::CutOff { at: 1 });
        assert_eq!(refused(&[0x81, 0x00]), RleError::Malformed { at: 0 });
        let mut huge = [0xff; 10];
        assert_eq!(refused(&huge), RleError::Malformed { at: 0 });
        huge[9] = 1;
        assert_eq!(refused(&huge), RleError::PastEnd { at: 0, blocks: 100 });
        assert_eq!(decode(&[], 101, 100), Err(RleError::Start { from: 101, blocks: 100 }));
        assert_eq!(decode(&[0, 90], 10, 100), Ok((vec![BlockRange::new(10, 100)], 100)));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            blocks in 1..3 * PAGE_BLOCKS,
            runs in prop::collection::vec((0..3 * PAGE_BLOCKS, 1..2000u64), 0..60),
            max_bytes in MIN_BYTES..200,
        ) {
            let map = map(blocks, &runs);
            let mut copy = OutOfSync::new(blocks * BLOCK_BYTES);
            let mut at = 0;
            while at < blocks {
                let (bytes, next) = encode(&map, at, max_bytes);
                prop_assert!(bytes.len() <= max_bytes && next > at);
                let (runs, told) = decode(&bytes, at, blocks).unwrap();
                prop_assert_eq!(told, next);
                for run in runs {
                    prop_assert_eq!(copy.set(run), run.len());
                }
                at = next;
            }
            prop_assert_eq!(copy.save_some(9), map.clone().save_some(9));
            prop_assert_eq!(copy.weight(), map.weight());
        }

        #[test]
        fn hostile_bytes_stay_within_bounds(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4u8], 0..300),
            from in 0..5000u64,
            blocks in 0..5000u64,
        ) {
            if let Ok((runs, next)) = decode(&bytes, from, blocks) {
                prop_assert!(next <= blocks && runs.len() <= bytes.len() / 2);
                let mut last = from;
                for run in runs {
                    prop_assert!(last <= run.start && !run.is_empty() && run.end <= blocks);
                    last = run.end;
                }
                prop_assert!(last <= next);
            }
        }
    }
}
