//! One block of the ring.

use crate::plan::{META_BLOCK, counted};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most slots that one transaction changes.
pub(super) const UPDATES: usize = 64;
/// Slots of the table that one transaction repeats.
pub(super) const CONTEXT_SLOTS: usize = 920;
/// A slot without an extent.
pub(super) const NO_EXTENT: u32 = u32::MAX;

/// «RALT», read as a little-endian number.
const MAGIC: u32 = u32::from_le_bytes(*b"RALT");

//= docs/ondisk.md#activity-log
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Block {
    magic: U32,
    /// CRC-32C of the block with this field zero.
    crc: U32,
    sequence: U64,
    kind: U16,
    updates: U16,
    context_start: U16,
    context_len: U16,
    capacity: U32,
    ring: U32,
    update_slots: [U16; UPDATES],
    update_extents: [U32; UPDATES],
    context: [U32; CONTEXT_SLOTS],
}

const _: () = assert!(size_of::<Block>() == META_BLOCK);

/// What a block of the ring says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Some slots changed.
    Update,
    /// The table is empty, whatever was before.
    Reset,
}

/// A block in memory. All slot numbers are below `capacity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    /// Slots of the whole table.
    pub(super) capacity: u16,
    /// Slots that changed, with the extent that is there now.
    pub(super) updates: Vec<(u16, u32)>,
    /// The slice of the table, as it is after the updates.
    pub(super) context_start: u16,
    pub(super) context: Vec<u32>,
}

impl Transaction {
    pub(super) fn encode(&self, ring: u32) -> Vec<u8> {
        assert!(self.updates.len() <= UPDATES && self.context.len() <= CONTEXT_SLOTS);
        let mut block = Block {
            magic: U32::new(MAGIC),
            crc: U32::ZERO,
            sequence: self.sequence.into(),
            kind: U16::new(match self.kind {
                Kind::Update => 0,
                Kind::Reset => 1,
            }),
            updates: U16::new(self.updates.len() as u16),
            context_start: self.context_start.into(),
            context_len: U16::new(self.context.len() as u16),
            capacity: u32::from(self.capacity).into(),
            ring: ring.into(),
            update_slots: [U16::MAX_VALUE; UPDATES],
            update_extents: [U32::new(NO_EXTENT); UPDATES],
            context: [U32::new(NO_EXTENT); CONTEXT_SLOTS],
        };
        for (i, &(slot, extent)) in self.updates.iter().enumerate() {
            block.update_slots[i] = slot.into();
            block.update_extents[i] = extent.into();
        }
        for (target, &extent) in block.context.iter_mut().zip(&self.context) {
            *target = extent.into();
        }
        block.crc = U32::new(crc32c::crc32c(block.as_bytes()));
        block.as_bytes().to_vec()
    }

    /// The transaction in a block, if the block is as it was written for a ring of that length.
    pub(super) fn decode(bytes: &[u8], ring: u32) -> Option<Self> {
        let mut block = Block::read_from_bytes(bytes).ok()?;
        let crc = std::mem::replace(&mut block.crc, U32::ZERO);
        if block.magic != MAGIC || crc != crc32c::crc32c(block.as_bytes()) || block.ring != ring {
            return None;
        }
        let kind = match block.kind.get() {
            0 => Kind::Update,
            1 => Kind::Reset,
            _ => return None,
        };
        let sequence = counted(block.sequence.get())?;
        let capacity = u16::try_from(block.capacity.get()).ok()?;
        let updates = usize::from(block.updates.get());
        let start = block.context_start.get();
        let context = block.context.get(..usize::from(block.context_len.get()))?;
        if updates > UPDATES || usize::from(start) + context.len() > usize::from(capacity) {
            return None;
        }
        let updates: Vec<(u16, u32)> = block
            .update_slots
            .iter()
            .zip(&block.update_extents)
            .take(updates)
            .map(|(slot, extent)| (slot.get(), extent.get()))
            .collect();
        let inside = updates.iter().all(|&(slot, _)| slot < capacity);
        inside.then(|| Self {
            sequence,
            kind,
            capacity,
            updates,
            context_start: start,
            context: context.iter().map(|extent| extent.get()).collect(),
        })
    }
}
