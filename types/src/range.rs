//! Ranges of bytes and of blocks, and the granules that everything is counted in.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A sector, the granule of disks and of DRBD's units: 512 bytes.
pub const SECTOR_BYTES: u64 = 512;
/// A block, one bit of the out-of-sync bitmap: 4 KiB.
pub const BLOCK_BYTES: u64 = 4096;
/// An extent, one slot of the activity log: 4 MiB.
pub const EXTENT_BYTES: u64 = 4 << 20;
/// The largest request that a client may send: 32 MiB.
pub const MAX_REQUEST_BYTES: u64 = 32 << 20;

/// A range of bytes of a volume: `offset..offset + len`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes; zero is an empty range, which overlaps nothing.
    pub len: u64,
}

impl ByteRange {
    /// The range of `len` bytes from `offset`.
    pub const fn new(offset: u64, len: u64) -> Self {
        Self { offset, len }
    }

    /// The range from `start` up to, not including, `end`.
    ///
    /// # Panics
    /// If `end` is before `start`.
    pub fn between(start: u64, end: u64) -> Self {
        assert!(start <= end, "range ends at {end}, before its start {start}");
        Self { offset: start, len: end - start }
    }

    /// The first byte after the range.
    pub const fn end(self) -> u64 {
        self.offset + self.len
    }

    /// Whether there is no byte in it.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether the two have a byte in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end() && self.len > 0 && other.len > 0
    }

    /// Whether every byte of `other` is in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.offset <= other.offset && other.end() <= self.end()
    }

    /// The bytes that both have, if any.
    pub fn intersection(self, other: Self) -> Option<Self> {
        self.overlaps(other)
            .then(|| Self::between(self.offset.max(other.offset), self.end().min(other.end())))
    }

    /// What is left of `self` without `other`: at most one range before and one after.
    pub fn subtract(self, other: Self) -> impl Iterator<Item = Self> {
        let (before, after) = if self.overlaps(other) {
            (
                Self::between(self.offset, other.offset.max(self.offset)),
                Self::between(other.end().min(self.end()), self.end()),
            )
        } else {
            (self, Self::new(self.end(), 0))
        };
        [before, after].into_iter().filter(|range| !range.is_empty())
    }

    /// The smallest range of whole granules around it. `granule` is a power of two.
    pub fn widen(self, granule: u64) -> Self {
        assert!(granule.is_power_of_two(), "granule {granule} is not a power of two");
        if self.is_empty() {
            return self;
        }
        Self::between(self.offset & !(granule - 1), (self.end() + granule - 1) & !(granule - 1))
    }

    /// The largest range of whole granules within it, possibly empty.
    pub fn shrink(self, granule: u64) -> Self {
        assert!(granule.is_power_of_two(), "granule {granule} is not a power of two");
        let start = (self.offset + granule - 1) & !(granule - 1);
        let end = self.end() & !(granule - 1);
        if start < end { Self::between(start, end) } else { Self::new(start, 0) }
    }

    /// Cut at every multiple of `granule`, in order.
    pub fn split(self, granule: u64) -> impl Iterator<Item = Self> {
        let mut rest = self;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let cut = (rest.offset / granule + 1) * granule;
            let piece = Self::between(rest.offset, cut.min(rest.end()));
            rest = Self::between(piece.end(), rest.end());
            Some(piece)
        })
    }

    /// Every block that it touches.
    pub const fn blocks(self) -> BlockRange {
        if self.len == 0 {
            let at = self.offset / BLOCK_BYTES;
            return BlockRange { start: at, end: at };
        }
        BlockRange { start: self.offset / BLOCK_BYTES, end: self.end().div_ceil(BLOCK_BYTES) }
    }

    /// Every block that it covers wholly.
    pub fn whole_blocks(self) -> BlockRange {
        let whole = self.shrink(BLOCK_BYTES);
        BlockRange { start: whole.offset / BLOCK_BYTES, end: whole.end() / BLOCK_BYTES }
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.len)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A range of blocks of [`BLOCK_BYTES`]: `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockRange {
    /// First block.
    pub start: u64,
    /// The first block after the range.
    pub end: u64,
}

impl BlockRange {
    /// The blocks `start..end`.
    ///
    /// # Panics
    /// If `end` is before `start`.
    pub fn new(start: u64, end: u64) -> Self {
        assert!(start <= end, "range of blocks ends at {end}, before its start {start}");
        Self { start, end }
    }

    /// How many blocks.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there is no block in it.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether the two have a block in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Its bytes. The last block of a device may be a partial one: clip to the device's size.
    pub const fn bytes(self) -> ByteRange {
        ByteRange { offset: self.start * BLOCK_BYTES, len: self.len() * BLOCK_BYTES }
    }
}

impl fmt::Debug for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}..{}", self.start, self.end)
    }
}

/// How many blocks a device of so many bytes has; a partial last block counts.
pub const fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtract_leaves_what_is_outside() {
        let whole = ByteRange::new(10, 10);
        let left = |other| whole.subtract(other).collect::<Vec<_>>();
        assert_eq!(left(ByteRange::new(0, 10)), [whole]);
        assert_eq!(left(ByteRange::new(5, 10)), [ByteRange::new(15, 5)]);
        assert_eq!(left(ByteRange::new(12, 3)), [ByteRange::new(10, 2), ByteRange::new(15, 5)]);
        assert_eq!(left(ByteRange::new(15, 50)), [ByteRange::new(10, 5)]);
        assert_eq!(left(ByteRange::new(0, 100)), []);
    }

    #[test]
    fn split_cuts_at_multiples() {
        let pieces: Vec<_> = ByteRange::new(3, 10).split(4).collect();
        assert_eq!(
            pieces,
            [
                ByteRange::new(3, 1),
                ByteRange::new(4, 4),
                ByteRange::new(8, 4),
                ByteRange::new(12, 1)
            ]
        );
    }

    #[test]
    fn widen_and_shrink_are_whole_granules() {
        let range = ByteRange::new(1000, 4000);
        assert_eq!(range.widen(512), ByteRange::between(512, 5120));
        assert_eq!(range.shrink(512), ByteRange::between(1024, 4608));
        assert!(ByteRange::new(1, 100).shrink(512).is_empty());
        assert!(!ByteRange::new(5, 0).overlaps(ByteRange::new(0, 10)));
        assert_eq!(ByteRange::new(4095, 2).blocks(), BlockRange::new(0, 2));
        assert!(ByteRange::new(4095, 2).whole_blocks().is_empty());
    }
}
