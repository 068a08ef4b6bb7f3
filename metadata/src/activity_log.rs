//! Which extents of 4 MiB may hold writes that are not settled: after a crash, all their blocks
//! are marked as out-of-sync.
//!
//! The hot extents are in a table of slots. On disk the table is a ring of transactions of one
//! 4 KiB block each: the slots that change, and a slice of the whole table that rotates, so that
//! any `ring - 1` transactions in a row rebuild all of it. The block being overwritten is always
//! the oldest; so if the newest transaction is torn or missing, the others still rebuild the
//! table as it was before it, and that is right: no data write that needed it had started.
//! A block that says **reset** starts over with an empty table.
//!
//! ```text
//!   cold --transaction(heat)--> hot --transaction(cool)--> cold
//!                               |  touch: most recently used
//! ```

mod lru;
mod transaction;

use crate::layout::Layout;
use crate::plan::{Batch, META_BLOCK};
use lru::Lru;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use transaction::{CONTEXT_SLOTS, Kind, NO_EXTENT, Transaction};

/// Extents that may be hot at once, unless asked otherwise: DRBD's default.
pub const AL_EXTENTS_DEFAULT: u32 = 1237;
/// The least that can be asked for, as in DRBD.
pub const AL_EXTENTS_MIN: u32 = 67;
/// The most that can be asked for, as in DRBD.
pub const AL_EXTENTS_MAX: u32 = 65534;

/// The number of an extent: offset in the data / [`types::EXTENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtentNo(pub u32);

impl ExtentNo {
    /// The extent that a byte of data is in.
    ///
    /// # Panics
    /// If the offset is past the largest volume.
    pub fn of_byte(offset: u64) -> Self {
        let number = offset / types::EXTENT_BYTES;
        Self(u32::try_from(number).expect("1 PiB has fewer than 2^32 extents"))
    }

    /// Its bytes; the last extent of a volume may reach past the end.
    pub fn bytes(self) -> types::ByteRange {
        types::ByteRange::new(u64::from(self.0) * types::EXTENT_BYTES, types::EXTENT_BYTES)
    }
}

/// The table of hot extents, and the plan of its transactions.
#[derive(Clone)]
pub struct ActivityLog {
    /// Where the ring is on the metadata device.
    offset: u64,
    ring: u32,
    /// The extent in each slot, or [`NO_EXTENT`].
    slots: Vec<u32>,
    by_extent: BTreeMap<ExtentNo, u16>,
    free: Vec<u16>,
    used: Lru,
    /// The number of the next transaction; its place is this modulo the ring.
    sequence: u64,
}

/// What the ring said when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// The hot extents; none if the ring cannot be trusted: then any extent may have been hot.
    pub(crate) hot: Option<BTreeSet<ExtentNo>>,
    /// Slots of the table, by the newest transaction; 0 if there is none.
    pub(crate) capacity: u32,
    /// A number above that of any transaction in the ring.
    pub(crate) next_sequence: u64,
}

impl ActivityLog {
    /// The most slots that one transaction changes, as in DRBD.
    pub const MAX_UPDATES: usize = transaction::UPDATES;

    /// An empty table for `al_extents` hot extents, or as many as the layout's ring can rebuild.
    /// The ring on disk is not yet in agreement: see `format` and
    /// [`ActivityLog::reset`].
    pub fn new(layout: &Layout, al_extents: u32) -> Self {
        Self::with_sequence(layout, al_extents, 0)
    }

    pub(crate) fn with_sequence(layout: &Layout, al_extents: u32, sequence: u64) -> Self {
        let ring = layout.al_blocks();
        let asked = al_extents.clamp(1, AL_EXTENTS_MAX);
        let capacity = asked.min((ring - 1) * CONTEXT_SLOTS as u32) as u16;
        Self {
            offset: layout.al_offset(),
            ring,
            slots: vec![NO_EXTENT; usize::from(capacity)],
            by_extent: BTreeMap::new(),
            free: (0..capacity).rev().collect(),
            used: Lru::new(capacity),
            sequence,
        }
    }

    /// How many extents can be hot at once.
    pub fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }

    /// How many are.
    pub fn hot_count(&self) -> u32 {
        self.by_extent.len() as u32
    }

    /// Whether this one is.
    pub fn is_hot(&self, e: ExtentNo) -> bool {
        self.by_extent.contains_key(&e)
    }

    /// The hot extents in ascending order.
    pub fn hot(&self) -> impl Iterator<Item = ExtentNo> + '_ {
        self.by_extent.keys().copied()
    }

    /// A hot extent is used: it is the last candidate for eviction now.
    ///
    /// # Panics
    /// If it is not hot.
    pub fn touch(&mut self, e: ExtentNo) {
        let slot = *self.by_extent.get(&e).expect("only a hot extent is used");
        self.used.renew(slot);
    }

    /// The hot extents from the least recently used on: the candidates for eviction.
    pub fn coldest(&self) -> impl Iterator<Item = ExtentNo> + '_ {
        self.used.oldest_first().map(|slot| ExtentNo(self.slots[usize::from(slot)]))
    }

    /// One transaction: `cool` leave, then `heat` enter free slots, in the order given. The table
    /// changes at once. The batch must be durable before a write to a heated extent starts, and
    /// before the next transaction is planned to disk: there is at most one under way.
    ///
    /// # Panics
    /// If a cooled one is not hot, a heated one already is, there is no free slot, or more than
    /// [`ActivityLog::MAX_UPDATES`] slots change.
    pub fn transaction(&mut self, cool: &[ExtentNo], heat: &[ExtentNo]) -> Batch {
        let mut changed = BTreeSet::new();
        for extent in cool {
            let slot = self.by_extent.remove(extent);
            let slot = slot.unwrap_or_else(|| panic!("{extent:?} is not hot and cannot cool"));
            self.slots[usize::from(slot)] = NO_EXTENT;
            self.used.remove(slot);
            self.free.push(slot);
            changed.insert(slot);
        }
        for &extent in heat {
            assert!(extent.0 != NO_EXTENT, "there is no extent {NO_EXTENT}");
            assert!(!self.is_hot(extent), "{extent:?} is hot already");
            let slot = self.free.pop().expect("no free slot in the activity log: cool some first");
            self.slots[usize::from(slot)] = extent.0;
            self.by_extent.insert(extent, slot);
            self.used.push_front(slot);
            changed.insert(slot);
        }
        assert!(
            changed.len() <= Self::MAX_UPDATES,
            "{} slots change in one transaction",
            changed.len()
        );
        let updates =
            changed.into_iter().map(|slot| (slot, self.slots[usize::from(slot)])).collect();
        self.write(Kind::Update, updates)
    }

    /// An empty table, in one transaction. For an orderly detach and after a recovery: what was
    /// hot is settled, or marked and the marks durable.
    pub fn reset(&mut self) -> Batch {
        let capacity = self.slots.len() as u16;
        self.slots.fill(NO_EXTENT);
        self.by_extent.clear();
        self.free = (0..capacity).rev().collect();
        self.used = Lru::new(capacity);
        self.write(Kind::Reset, Vec::new())
    }

    /// The whole ring for new metadata: a reset, and nothing else.
    pub(crate) fn format(&mut self) -> Batch {
        let reset = self.reset();
        let first = reset.writes[0].offset;
        let mut batch = reset;
        for place in 0..u64::from(self.ring) {
            let offset = self.offset + place * META_BLOCK as u64;
            if offset != first {
                batch.push(offset, vec![0; META_BLOCK]);
            }
        }
        batch
    }

    /// The whole ring at another place, with the table as it is. What may be there from an earlier
    /// life of the device does not outlive it.
    pub(crate) fn relocate(&mut self, layout: &Layout) -> Batch {
        assert!(layout.al_blocks() == self.ring, "a ring does not change its length");
        self.offset = layout.al_offset();
        let mut batch = Batch::default();
        for _ in 1..self.ring {
            batch.extend(self.write(Kind::Update, Vec::new()));
        }
        let last = self.sequence % u64::from(self.ring);
        batch.push(self.offset + last * META_BLOCK as u64, vec![0; META_BLOCK]);
        batch
    }

    /// Read a ring of `bytes`.
    pub(crate) fn replay(bytes: &[u8], ring: u32) -> Replayed {
        let blocks: BTreeMap<u64, Transaction> = bytes
            .chunks(META_BLOCK)
            .zip(0u64..)
            .filter_map(|(block, place)| {
                let transaction = Transaction::decode(block, ring)?;
                (transaction.sequence % u64::from(ring) == place)
                    .then_some((transaction.sequence, transaction))
            })
            .collect();
        let last = blocks.last_key_value();
        Replayed {
            hot: replay_newest(&blocks, ring),
            capacity: last.map_or(0, |(_, last)| u32::from(last.capacity)),
            next_sequence: last.map_or(0, |(&newest, _)| newest + 1),
        }
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// The block that makes the table durable.
    fn write(&mut self, kind: Kind, updates: Vec<(u16, u32)>) -> Batch {
        let slices = self.slots.len().div_ceil(CONTEXT_SLOTS) as u64;
        let start = (self.sequence % slices) as usize * CONTEXT_SLOTS;
        let end = (start + CONTEXT_SLOTS).min(self.slots.len());
        let transaction = Transaction {
            sequence: self.sequence,
            kind,
            capacity: self.slots.len() as u16,
            updates,
            context_start: start as u16,
            context: self.slots[start..end].to_vec(),
        };
        let place = self.sequence % u64::from(self.ring);
        self.sequence += 1;
        Batch::one(self.offset + place * META_BLOCK as u64, transaction.encode(self.ring))
    }
}

/// The table after the newest transaction; none if the ring does not hold enough in a row.
fn replay_newest(blocks: &BTreeMap<u64, Transaction>, ring: u32) -> Option<BTreeSet<ExtentNo>> {
    let (&newest, last) = blocks.last_key_value()?;
    let mut run = Vec::new();
    for back in 0..u64::from(ring) - 1 {
        // Before the first transaction of all there was a reset, so this cannot go below zero
        // in a ring that is good.
        let transaction = blocks.get(&newest.checked_sub(back)?)?;
        if transaction.capacity != last.capacity {
            return None;
        }
        run.push(transaction);
        if transaction.kind == Kind::Reset {
            break;
        }
    }
    let mut slots = vec![NO_EXTENT; usize::from(last.capacity)];
    for transaction in run.into_iter().rev() {
        let start = usize::from(transaction.context_start);
        let context = &transaction.context;
        slots[start..start + context.len()].copy_from_slice(context);
        for &(slot, extent) in &transaction.updates {
            slots[usize::from(slot)] = extent;
        }
    }
    Some(slots.into_iter().filter(|&extent| extent != NO_EXTENT).map(ExtentNo).collect())
}

impl fmt::Debug for ActivityLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ActivityLog({} of {} extents hot, next transaction {})",
            self.hot_count(),
            self.capacity(),
            self.sequence
        )
    }
}

#[cfg(test)]
mod tests;
