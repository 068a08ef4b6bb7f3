//! A disk that loses power: for every way in which a batch may have reached it, the disk after.

use crate::plan::{Batch, MetaWrite};
use types::{ByteRange, SECTOR_BYTES};

const SECTOR: usize = SECTOR_BYTES as usize;

/// A metadata device in memory.
#[derive(Clone)]
pub(crate) struct Disk(pub(crate) Vec<u8>);

impl Disk {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(vec![0; bytes as usize])
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn read(&self, range: ByteRange) -> Vec<u8> {
        self.0[range.offset as usize..range.end() as usize].to_vec()
    }

    /// All of it reached the disk.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for write in &batch.writes {
            self.apply_sectors(write, |_| true);
        }
    }

    fn apply_sectors(&mut self, write: &MetaWrite, lands: impl Fn(usize) -> bool) {
        for (i, sector) in write.data.chunks(SECTOR).enumerate() {
            if lands(i) {
                let at = write.offset as usize + i * SECTOR;
                self.0[at..at + SECTOR].copy_from_slice(sector);
            }
        }
    }

    /// Calls `look` with the disk after each way in which power may be lost before the flush of
    /// the batch: each write whole, absent or torn, in every combination. A single write is torn
    /// in every way there is; of two writes each is torn at every sector, or has one sector, or
    /// all but one; with more, each is torn in the middle, or has every second sector.
    pub(crate) fn each_crash(&self, batch: &Batch, mut look: impl FnMut(Self)) {
        let masks: Vec<u32> = match batch.writes.len() {
            0..=1 => (0..256).collect(),
            2 => (0..8)
                .flat_map(|i| [0xff << i, 0xff >> i, 1 << i, 0xff ^ 1 << i])
                .chain([0x00, 0x55, 0xaa])
                .map(|mask| mask & 0xff)
                .collect(),
            _ => vec![0x00, 0xff, 0x0f, 0xf0, 0xaa],
        };
        let ways = masks.len().pow(batch.writes.len() as u32);
        assert!(ways <= 70_000, "{ways} ways are too many to try");
        for way in 0..ways {
            let mut disk = self.clone();
            let mut rest = way;
            for write in &batch.writes {
                let mask = masks[rest % masks.len()];
                rest /= masks.len();
                disk.apply_sectors(write, |i| mask >> (i % 8) & 1 == 1);
            }
            look(disk);
        }
    }
}
