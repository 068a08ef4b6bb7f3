//! What must be in each block of an export: so that a wrong byte is seen.

use anyhow::ensure;
use types::BLOCK_BYTES;

const SECTOR_BYTES: usize = 512;
const WORD_BYTES: usize = 8;

/// The contents follow from the place and from the round of writes that wrote there last. Two writes
/// of one round that meet write the same, so the order of requests in flight means nothing; reads
/// and writes are never in flight together.
#[derive(Debug)]
pub(crate) struct Contents {
    rounds: Vec<u32>,
    round: u32,
}

impl Contents {
    /// Of an export of so many bytes that nothing is known of.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { rounds: vec![0; (bytes / BLOCK_BYTES) as usize], round: 0 }
    }

    /// How many bytes are kept account of.
    pub(crate) const fn bytes(&self) -> u64 {
        self.rounds.len() as u64 * BLOCK_BYTES
    }

    /// What is written from now on differs from all that is there.
    pub(crate) const fn next_round(&mut self) {
        self.round += 1;
    }

    /// Appends what this round writes at a place, which counts as written.
    pub(crate) fn write(&mut self, offset: u64, len: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + len, 0);
        let first = (offset / BLOCK_BYTES) as usize;
        for (at, block) in out[begin..].chunks_mut(BLOCK_BYTES as usize).enumerate() {
            self.rounds[first + at] = self.round;
            for (sector, bytes) in block.chunks_mut(SECTOR_BYTES).enumerate() {
                let word = word(first + at, sector, self.round);
                for place in bytes.chunks_exact_mut(WORD_BYTES) {
                    place.copy_from_slice(&word);
                }
            }
        }
    }

    /// Whether that was read where it was: one word of each sector, or `all` of them.
    pub(crate) fn check(&self, offset: u64, data: &[u8], all: bool) -> anyhow::Result<()> {
        let first = (offset / BLOCK_BYTES) as usize;
        for (at, bytes) in data.chunks(SECTOR_BYTES).enumerate() {
            let sectors = BLOCK_BYTES as usize / SECTOR_BYTES;
            let (block, sector) = (first + at / sectors, at % sectors);
            let word = word(block, sector, self.rounds[block]);
            let bytes = if all { bytes } else { &bytes[..WORD_BYTES] };
            ensure!(
                bytes.chunks_exact(WORD_BYTES).all(|there| there == word),
                "what was read at {} is not what was written there",
                offset + (at * SECTOR_BYTES) as u64
            );
        }
        Ok(())
    }
}

/// What a sector is full of: never zero, and another for each sector and round.
fn word(block: usize, sector: usize, round: u32) -> [u8; WORD_BYTES] {
    let place = (block * (BLOCK_BYTES as usize / SECTOR_BYTES) + sector) as u64;
    (place << 24 ^ u64::from(round) ^ 0x5a5a_5a5a_5a5a_5a5a).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_an_old_round_and_a_wrong_place_are_seen() {
        let (mut contents, mut data, mut old) = (Contents::new(1 << 20), Vec::new(), Vec::new());
        contents.next_round();
        contents.write(8192, 4096, &mut old);
        contents.check(8192, &old, true).unwrap();
        contents.next_round();
        contents.write(8192, 8192, &mut data);
        contents.check(8192, &data, true).unwrap();
        assert!(contents.check(8192, &old, false).is_err());
        assert!(contents.check(4096, &data, false).is_err());
        data[4999] ^= 1;
        assert!(contents.check(8192, &data, true).is_err());
    }
}
