//! Digests of blocks, by which two nodes find out whether they have the same without sending it.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use std::fmt;
use types::{BLOCK_BYTES, BlockRange};

/// How blocks are compared: `verify-alg` and `csums-alg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// CRC-32C: finds what disks and controllers do to data. Of all pairs of different blocks one in
    /// 2^32 has equal digests.
    Crc32c,
    /// XXH3 with 128 bits: as fast, and no two blocks have equal digests by chance.
    Xxh3,
    /// SHA-256: nobody can make two blocks with equal digests on purpose either.
    Sha256,
}

impl Digest {
    /// Every digest.
    pub const ALL: [Self; 3] = [Self::Crc32c, Self::Xxh3, Self::Sha256];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crc32c => "crc32c",
            Self::Xxh3 => "xxh3",
            Self::Sha256 => "sha256",
        }
    }

    /// The length of one digest in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Xxh3 => 16,
            Self::Sha256 => 32,
        }
    }

    /// The digests of the blocks of some data, one behind the other; the last block may be short.
    pub fn of_blocks(self, data: &[u8]) -> Bytes {
        let blocks = data.chunks(BLOCK_BYTES as usize);
        let mut all = BytesMut::with_capacity(blocks.len() * self.size());
        for block in blocks {
            match self {
                Self::Crc32c => all.extend_from_slice(&crc32c::crc32c(block).to_le_bytes()),
                Self::Xxh3 => {
                    let digest = xxhash_rust::xxh3::xxh3_128(block);
                    all.extend_from_slice(&digest.to_le_bytes());
                }
                Self::Sha256 => all.extend_from_slice(Sha256::digest(block).as_slice()),
            }
        }
        all.freeze()
    }

    /// Whether these are the digests of so many blocks.
    pub(crate) fn fits(self, digests: &[u8], blocks: u64) -> bool {
        digests.len() as u64 == blocks * self.size() as u64
    }

    /// The blocks, of those that begin with `first`, whose digests differ: in runs of neighbours.
    pub(crate) fn differing(self, first: u64, ours: &[u8], theirs: &[u8]) -> Vec<BlockRange> {
        assert_eq!(ours.len(), theirs.len(), "digests of the same blocks");
        let pairs = ours.chunks(self.size()).zip(theirs.chunks(self.size()));
        let mut runs: Vec<BlockRange> = Vec::new();
        for (block, _) in (first..).zip(pairs).filter(|(_, (one, other))| one != other) {
            match runs.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => runs.push(BlockRange::new(block, block + 1)),
            }
        }
        runs
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_what_others_say_they_are() {
        let hex = |digest: Digest| -> String {
            let bytes = digest.of_blocks(b"123456789");
            assert_eq!(bytes.len(), digest.size());
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(Digest::Crc32c), "839206e3");
        let sha = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        assert_eq!(hex(Digest::Sha256), sha);
        assert_eq!(Digest::Xxh3.of_blocks(&[0; 9000]).len(), 3 * 16);
    }

    #[test]
    fn the_blocks_that_differ_are_told_in_runs() {
        let mut data = vec![7_u8; 6 * BLOCK_BYTES as usize];
        for digest in Digest::ALL {
            let one = digest.of_blocks(&data);
            for block in [0, 2, 3, 5] {
                data[block * BLOCK_BYTES as usize + 4095] ^= 1;
            }
            let other = digest.of_blocks(&data);
            let runs = digest.differing(10, &one, &other);
            assert_eq!(runs, [(10, 11), (12, 14), (15, 16)].map(|(s, e)| BlockRange::new(s, e)));
            assert!(digest.differing(10, &one, &one).is_empty());
            assert!(digest.fits(&one, 6) && !digest.fits(&one, 5));
        }
    }
}
