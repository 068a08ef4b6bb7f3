//! A device in memory, with a volatile cache that a test can make it lose.

use crate::shared::Shared;
use crate::{DeviceError, Op};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use types::{BLOCK_BYTES, BlockRange, ByteRange, StatusMap};

struct Contents {
    now: Vec<u8>,
    /// What blocks held at the last flush, for those that were written since.
    durable: BTreeMap<u64, Vec<u8>>,
    /// Blocks that were written, or zeroed and kept. The others are holes, and hold zeros.
    kept: BTreeSet<u64>,
}

/// The medium of a device in memory. It outlives the device, as a disk outlives a machine: clones
/// share it, so a test looks at it, cuts its power and opens it again.
#[derive(Clone)]
pub struct MemoryDisk {
    contents: Arc<Mutex<Contents>>,
}

impl MemoryDisk {
    /// A disk of so many zero bytes.
    pub fn new(bytes: u64) -> Self {
        let now =
            vec![0; usize::try_from(bytes).expect("memory is not larger than the address space")];
        let contents = Contents { now, durable: BTreeMap::new(), kept: BTreeSet::new() };
        Self { contents: Arc::new(Mutex::new(contents)) }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.lock().now.len() as u64
    }

    /// It is larger from now on; what is new is zeros.
    ///
    /// # Panics
    /// If it would become smaller.
    pub fn enlarge(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).expect("memory is not larger than the address space");
        let mut contents = self.lock();
        assert!(bytes >= contents.now.len(), "a disk in memory does not shrink");
        contents.now.resize(bytes, 0);
    }

    /// A copy of some of it, as a read would see it.
    ///
    /// # Panics
    /// If the range reaches over the end.
    pub fn peek(&self, range: ByteRange) -> Vec<u8> {
        self.lock().now[indices(range)].to_vec()
    }

    /// Change some of it behind the device's back, and durably.
    ///
    /// # Panics
    /// If it reaches over the end.
    pub fn poke(&self, offset: u64, data: &[u8]) {
        let mut contents = self.lock();
        let range = ByteRange::new(offset, data.len() as u64);
        contents.now[indices(range)].copy_from_slice(data);
        for block in numbers(range.blocks()) {
            contents.durable.remove(&block);
            contents.kept.insert(block);
        }
    }

    /// Lose everything that was written since the last flush, as when the power fails.
    pub fn lose_unflushed(&self) {
        let mut contents = self.lock();
        for (block, old) in std::mem::take(&mut contents.durable) {
            let at = (block * BLOCK_BYTES) as usize;
            contents.now[at..at + old.len()].copy_from_slice(&old);
            contents.kept.insert(block);
        }
    }

    /// How many blocks hold something that is not durable.
    pub fn unflushed_blocks(&self) -> usize {
        self.lock().durable.len()
    }

    /// Do one request.
    pub(crate) fn run(&self, op: Op, shared: &Shared) -> Result<Bytes, DeviceError> {
        op.check(shared.bytes(), shared.geometry.read_only)?;
        if !op.kind().only_looks() && shared.is_poisoned() {
            return Err(DeviceError::Poisoned);
        }
        let mut contents = self.lock();
        let fua = op.fua();
        let range = op.range();
        let data = match op {
            Op::Read(range) => Bytes::copy_from_slice(&contents.now[indices(range)]),
            Op::Write { range, data, .. } => {
                contents.about_to_change(range);
                contents.kept.extend(numbers(range.blocks()));
                contents.now[indices(range)].copy_from_slice(&data);
                Bytes::new()
            }
            Op::Zero { range, unmap, .. } => {
                contents.about_to_change(range);
                if unmap {
                    contents.kept.retain(|block| !contains(range.whole_blocks(), *block));
                } else {
                    contents.kept.extend(numbers(range.blocks()));
                }
                contents.now[indices(range)].fill(0);
                Bytes::new()
            }
            Op::Flush => {
                contents.durable.clear();
                Bytes::new()
            }
            Op::Map(range) => contents.map(range).encode().into(),
        };
        if fua {
            // Its whole blocks: what else of them was written may become durable earlier.
            for block in numbers(range.blocks()) {
                contents.durable.remove(&block);
            }
        }
        Ok(data)
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test goes on after a panic within the disk")
    }
}

impl Contents {
    /// Keep what is durable of the blocks of this range.
    fn about_to_change(&mut self, range: ByteRange) {
        let size = self.now.len() as u64;
        for block in numbers(range.blocks()) {
            let start = block * BLOCK_BYTES;
            let old = &self.now[start as usize..(start + BLOCK_BYTES).min(size) as usize];
            self.durable.entry(block).or_insert_with(|| old.to_vec());
        }
    }

    fn map(&self, range: ByteRange) -> StatusMap {
        let mut map = StatusMap::new();
        for piece in range.split(BLOCK_BYTES) {
            let flags = match self.kept.contains(&(piece.offset / BLOCK_BYTES)) {
                false => StatusMap::HOLE | StatusMap::ZERO,
                true if self.now[indices(piece)].iter().all(|byte| *byte == 0) => StatusMap::ZERO,
                true => StatusMap::DATA,
            };
            if !map.push(piece.len, flags) {
                break;
            }
        }
        map
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryDisk({} bytes)", self.bytes())
    }
}

fn numbers(blocks: BlockRange) -> std::ops::Range<u64> {
    blocks.start..blocks.end
}

fn contains(blocks: BlockRange, block: u64) -> bool {
    numbers(blocks).contains(&block)
}

fn indices(range: ByteRange) -> std::ops::Range<usize> {
    range.offset as usize..range.end() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Geometry;

    fn write(disk: &MemoryDisk, shared: &Shared, offset: u64, data: &'static [u8], fua: bool) {
        let range = ByteRange::new(offset, data.len() as u64);
        let op = Op::Write { range, data: Bytes::from_static(data), fua };
        assert_eq!(disk.run(op, shared), Ok(Bytes::new()));
    }

    #[test]
    fn power_failure_takes_what_was_not_flushed() {
        let disk = MemoryDisk::new(20_000);
        let shared = Shared::new(Geometry::of_memory(disk.bytes()));
        write(&disk, &shared, 4090, b"flushed", false);
        assert_eq!(disk.unflushed_blocks(), 2);
        assert_eq!(disk.run(Op::Flush, &shared), Ok(Bytes::new()));
        write(&disk, &shared, 4092, b"lost", false);
        write(&disk, &shared, 4093, b"too", false);
        write(&disk, &shared, 19_998, b"xy", false);
        write(&disk, &shared, 10_000, b"kept", true);
        disk.lose_unflushed();
        assert_eq!(disk.peek(ByteRange::new(4090, 7)), b"flushed");
        assert_eq!(disk.peek(ByteRange::new(19_998, 2)), [0, 0]);
        assert_eq!(disk.peek(ByteRange::new(10_000, 4)), b"kept");
        assert_eq!(disk.unflushed_blocks(), 0);
    }
}
