//! Which blocks may differ from the peer's: one bit per block of 4 KiB.
//!
//! On disk the bits are in pages of 4 KiB, each with its number and a CRC-32C. A page that does
//! not read back as it was written counts as all out-of-sync: that costs a resync of 127 MiB and
//! loses nothing. So a page may be torn by a power loss while it is written.
//!
//! In memory each page also has its weight, so that counting and searching skip what is empty or
//! full, and a mark while it has changes that are not saved.

use crate::layout::{Layout, pages_for};
use crate::plan::{Batch, META_BLOCK};
use bitvec::prelude::{BitSlice, BitVec, Lsb0};
use std::collections::BTreeSet;
use std::fmt;
use types::{BlockRange, blocks_of};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Blocks that one page of bitmap speaks of: 32640, which is 127.5 MiB.
pub const PAGE_BLOCKS: u64 = ((META_BLOCK - HEADER_BYTES) * 8) as u64;

const HEADER_BYTES: usize = 16;
const PAGE_WORDS: usize = (META_BLOCK - HEADER_BYTES) / 8;
/// «RBMP», read as a little-endian number.
const MAGIC: u32 = u32::from_le_bytes(*b"RBMP");

//= docs/ondisk.md#bitmap
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PageHeader {
    magic: U32,
    /// CRC-32C of the page with this field zero.
    crc: U32,
    page: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<PageHeader>() == HEADER_BYTES);

/// The blocks of a volume that may differ from the peer's.
#[derive(Clone, PartialEq, Eq)]
pub struct OutOfSync {
    bits: BitVec<u64, Lsb0>,
    blocks: u64,
    /// Set bits of each page.
    weights: Vec<u32>,
    weight: u64,
    /// Pages with changes that no batch has saved.
    unsaved: BTreeSet<u32>,
    /// Where the pages are on the metadata device.
    offset: u64,
}

impl OutOfSync {
    /// Of a volume of that many bytes, with everything in sync and saved, whose pages are at
    /// the start of the metadata device.
    pub fn new(data_bytes: u64) -> Self {
        Self::at(data_bytes, 0)
    }

    /// The same, with the pages where a layout has them.
    pub fn with_layout(layout: &Layout) -> Self {
        Self::at(layout.data_bytes(), layout.bitmap_offset())
    }

    fn at(data_bytes: u64, offset: u64) -> Self {
        let blocks = blocks_of(data_bytes);
        Self {
            bits: BitVec::repeat(false, index(blocks)),
            blocks,
            weights: vec![0; pages_for(data_bytes) as usize],
            weight: 0,
            unsaved: BTreeSet::new(),
            offset,
        }
    }

    /// How many blocks the volume has.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many blocks are out-of-sync.
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Mark blocks as out-of-sync; gives how many were not before.
    ///
    /// # Panics
    /// If the range reaches past the end of the volume; so do all the others with a range.
    pub fn set(&mut self, r: BlockRange) -> u64 {
        self.put(r, true)
    }

    /// Mark blocks as in sync; gives how many were not before.
    pub fn clear(&mut self, r: BlockRange) -> u64 {
        self.put(r, false)
    }

    /// Mark every block as out-of-sync.
    pub fn set_all(&mut self) {
        self.set(BlockRange::new(0, self.blocks));
    }

    /// Mark every block as in sync.
    pub fn clear_all(&mut self) {
        self.clear(BlockRange::new(0, self.blocks));
    }

    /// Whether a block is out-of-sync.
    pub fn get(&self, block: u64) -> bool {
        self.bits[index(block)]
    }

    /// Whether any block of the range is out-of-sync.
    pub fn any(&self, r: BlockRange) -> bool {
        self.check(r);
        self.pieces(r).any(|(page, piece)| self.weights[page] > 0 && self.slice(piece).any())
    }

    /// How many blocks of the range are out-of-sync.
    pub fn count(&self, r: BlockRange) -> u64 {
        self.check(r);
        self.pieces(r).map(|(page, piece)| self.count_piece(page, piece)).sum()
    }

    /// The first run of out-of-sync blocks at or after `from`, cut at `max` blocks. None if there
    /// is none, or if `max` is zero.
    pub fn next_run(&self, from: u64, max: u64) -> Option<BlockRange> {
        if max == 0 || from >= self.blocks {
            return None;
        }
        let (_, start) = self
            .pieces(BlockRange::new(from, self.blocks))
            .filter(|&(page, _)| self.weights[page] > 0)
            .find_map(|(page, piece)| {
                let first = self.slice(piece).first_one()? as u64;
                Some((page, piece.start + first))
            })?;
        let limit = start.saturating_add(max).min(self.blocks);
        let end = self
            .pieces(BlockRange::new(start, limit))
            .filter(|&(page, _)| u64::from(self.weights[page]) < self.page_blocks(page))
            .find_map(|(_, piece)| Some(piece.start + self.slice(piece).first_zero()? as u64))
            .unwrap_or(limit);
        Some(BlockRange::new(start, end))
    }

    /// Whether the pages of the range have no change that is not saved. What a batch saved is
    /// durable once that batch is: the caller keeps count of batches under way.
    pub fn is_durable(&self, r: BlockRange) -> bool {
        self.check(r);
        r.is_empty() || self.unsaved.range(page_of(r.start)..=page_of(r.end - 1)).next().is_none()
    }

    /// How many pages have changes that are not saved.
    pub fn unsaved_pages(&self) -> usize {
        self.unsaved.len()
    }

    /// Writes of the unsaved pages that the range touches. They count as saved from now on: if
    /// the batch fails, the disk has to be detached. Batches with the same page are made durable
    /// one after the other.
    pub fn save(&mut self, r: BlockRange) -> Batch {
        self.check(r);
        if r.is_empty() {
            return Batch::default();
        }
        let span = page_of(r.start)..=page_of(r.end - 1);
        let pages: Vec<u32> = self.unsaved.range(span).copied().collect();
        self.save_pages(&pages)
    }

    /// Writes of at most `max_pages` unsaved pages, the lowest first; otherwise as
    /// [`OutOfSync::save`].
    pub fn save_some(&mut self, max_pages: usize) -> Batch {
        let pages: Vec<u32> = self.unsaved.iter().copied().take(max_pages).collect();
        self.save_pages(&pages)
    }

    /// Writes of the unsaved pages with these numbers; otherwise as [`OutOfSync::save`].
    pub(crate) fn save_span(&mut self, span: std::ops::Range<u32>) -> Batch {
        let pages: Vec<u32> = self.unsaved.range(span).copied().collect();
        self.save_pages(&pages)
    }

    /// The volume has grown: what is new is in sync. Pages that are not where they were, or that
    /// were not there, are not saved.
    pub(crate) fn relocate(&mut self, layout: &Layout) {
        let (old_pages, blocks) = (self.pages(), blocks_of(layout.data_bytes()));
        assert!(blocks >= self.blocks, "a bitmap does not shrink");
        self.bits.resize(index(blocks), false);
        self.blocks = blocks;
        self.weights.resize(layout.bitmap_pages() as usize, 0);
        let moved = layout.bitmap_offset() != self.offset;
        self.offset = layout.bitmap_offset();
        self.unsaved.extend(if moved { 0 } else { old_pages }..self.pages());
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> u32 {
        self.weights.len() as u32
    }

    /// The page as it is on disk.
    pub(crate) fn encode_page(&self, page: u32) -> Vec<u8> {
        let mut out = vec![0; META_BLOCK];
        let words = &self.bits.as_raw_slice()[page as usize * PAGE_WORDS..];
        let (header, body) = out.split_at_mut(HEADER_BYTES);
        for (target, word) in body.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.to_le_bytes());
        }
        let header_of = |crc| PageHeader {
            magic: U32::new(MAGIC),
            crc,
            page: page.into(),
            reserved: U32::ZERO,
        };
        header.copy_from_slice(header_of(U32::ZERO).as_bytes());
        let crc = U32::new(crc32c::crc32c(&out));
        out[..HEADER_BYTES].copy_from_slice(header_of(crc).as_bytes());
        out
    }

    /// Take over a page as it was read. One that is not as it was written counts as all
    /// out-of-sync, and as not saved. Gives whether it was good.
    pub(crate) fn load_page(&mut self, page: u32, bytes: &[u8]) -> bool {
        let range = self.page_range(page as usize);
        let Some(words) = decode_page(page, bytes, range.len()) else {
            self.set(range);
            self.unsaved.insert(page);
            return false;
        };
        let start = page as usize * PAGE_WORDS;
        let target = &mut self.bits.as_raw_mut_slice()[start..];
        target.iter_mut().zip(&words).for_each(|(target, &word)| *target = word);
        let weight = words.iter().map(|word| word.count_ones()).sum();
        let old = std::mem::replace(&mut self.weights[page as usize], weight);
        self.weight = self.weight - u64::from(old) + u64::from(weight);
        self.unsaved.remove(&page);
        true
    }

    fn save_pages(&mut self, pages: &[u32]) -> Batch {
        let mut batch = Batch::default();
        for &page in pages {
            batch.push(self.offset + u64::from(page) * META_BLOCK as u64, self.encode_page(page));
            self.unsaved.remove(&page);
        }
        batch
    }

    fn put(&mut self, r: BlockRange, value: bool) -> u64 {
        self.check(r);
        let mut changed = 0;
        let mut rest = r;
        while !rest.is_empty() {
            let page = page_of(rest.start) as usize;
            let piece = BlockRange::new(rest.start, rest.end.min(self.page_range(page).end));
            rest.start = piece.end;
            let set = self.count_piece(page, piece);
            let new = if value { piece.len() - set } else { set };
            if new == 0 {
                continue;
            }
            changed += new;
            self.bits[index(piece.start)..index(piece.end)].fill(value);
            let weight = if value { set + new } else { 0 };
            let others = self.weights[page] - small(set);
            self.weights[page] = others + small(weight);
            self.unsaved.insert(page as u32);
        }
        self.weight = if value { self.weight + changed } else { self.weight - changed };
        assert!(self.weight <= self.blocks, "more bits are set than there are blocks");
        changed
    }

    fn count_piece(&self, page: usize, piece: BlockRange) -> u64 {
        let weight = u64::from(self.weights[page]);
        if weight == 0 {
            0
        } else if weight == self.page_blocks(page) {
            piece.len()
        } else {
            self.slice(piece).count_ones() as u64
        }
    }

    fn check(&self, r: BlockRange) {
        assert!(r.end <= self.blocks, "{r:?} is past the end of {} blocks", self.blocks);
    }

    fn slice(&self, r: BlockRange) -> &BitSlice<u64, Lsb0> {
        &self.bits[index(r.start)..index(r.end)]
    }

    fn page_range(&self, page: usize) -> BlockRange {
        let start = page as u64 * PAGE_BLOCKS;
        BlockRange::new(start, (start + PAGE_BLOCKS).min(self.blocks))
    }

    fn page_blocks(&self, page: usize) -> u64 {
        self.page_range(page).len()
    }

    /// The range cut at pages, with the number of each.
    fn pieces(&self, r: BlockRange) -> impl Iterator<Item = (usize, BlockRange)> {
        let last = if r.is_empty() { 0 } else { (r.end - 1) / PAGE_BLOCKS + 1 };
        (r.start / PAGE_BLOCKS..last).map(move |page| {
            let start = r.start.max(page * PAGE_BLOCKS);
            (page as usize, BlockRange::new(start, r.end.min((page + 1) * PAGE_BLOCKS)))
        })
    }
}

impl fmt::Debug for OutOfSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OutOfSync({} of {} blocks, {} pages unsaved)",
            self.weight,
            self.blocks,
            self.unsaved.len()
        )
    }
}

/// The words of a page, if it is as it was written and has no bit past its blocks.
fn decode_page(page: u32, bytes: &[u8], blocks: u64) -> Option<Vec<u64>> {
    if bytes.len() != META_BLOCK {
        return None;
    }
    let (header, body) = PageHeader::read_from_prefix(bytes).ok()?;
    let zero = [0; 4];
    let crc = crc32c::crc32c(&bytes[..4]);
    let crc = crc32c::crc32c_append(crc, &zero);
    let crc = crc32c::crc32c_append(crc, &bytes[8..]);
    if header.magic != MAGIC || header.crc != crc || header.page != page {
        return None;
    }
    let words: Vec<u64> = body
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("chunks are of 8 bytes")))
        .collect();
    let used = index(blocks);
    let past = BitSlice::<u64, Lsb0>::from_slice(&words)[used..].any();
    // Words past the last block are not part of the bit vector.
    (!past).then(|| words[..used.div_ceil(64)].to_vec())
}

fn page_of(block: u64) -> u32 {
    u32::try_from(block / PAGE_BLOCKS).expect("a volume has fewer than 2^32 pages")
}

/// Blocks of one page, which are fewer than 2^15.
fn small(blocks: u64) -> u32 {
    u32::try_from(blocks).expect("a page has 32640 blocks")
}

/// A number of blocks as an index: targets have 64-bit addresses.
fn index(block: u64) -> usize {
    usize::try_from(block).expect("block numbers fit an address")
}

#[cfg(test)]
mod tests;
