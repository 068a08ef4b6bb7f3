//! Writes that somebody else carries out.

use bytes::Bytes;

/// The granule of everything on the metadata device: 4 KiB.
pub const META_BLOCK: usize = 4096;

/// Writes that may reach the disk in any order, torn or not at all, until ONE flush after them
/// all has succeeded; from then on they are durable.
///
/// Two batches from the same part (superblock, activity log, bitmap) are made durable one after
/// the other: without a flush between them nothing says which of two writes to one block stays,
/// and two superblock writes in flight could tear both slots. Batches of different parts may
/// share a flush, unless the one that made them says that their order matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes; no two of them overlap.
    pub writes: Vec<MetaWrite>,
}

/// One write to the metadata device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaWrite {
    /// First byte on the metadata device, a multiple of [`META_BLOCK`].
    pub offset: u64,
    /// What to write; the length is a multiple of [`META_BLOCK`].
    pub data: Bytes,
}

/// A sequence that somebody may have counted to: there is always room to count on.
pub(crate) const fn counted(sequence: u64) -> Option<u64> {
    if sequence >> 63 == 0 { Some(sequence) } else { None }
}

impl Batch {
    /// A batch of one write.
    pub fn one(offset: u64, data: Vec<u8>) -> Self {
        let mut batch = Self::default();
        batch.push(offset, data);
        batch
    }

    /// Whether there is nothing to write (and then nothing to flush).
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Add a write of whole metadata blocks.
    pub fn push(&mut self, offset: u64, data: Vec<u8>) {
        assert!(offset.is_multiple_of(META_BLOCK as u64), "write at {offset} is not aligned");
        assert!(
            data.len().is_multiple_of(META_BLOCK),
            "write of {} bytes is not whole",
            data.len()
        );
        self.writes.push(MetaWrite { offset, data: Bytes::from(data) });
    }

    /// Take the writes of another batch too, so that one flush makes both durable.
    pub fn extend(&mut self, other: Self) {
        self.writes.extend(other.writes);
    }
}
