//! Repair of what a disk cannot read: the place is fetched from the peer and written anew.
//!
//! That is a resync of a few blocks without marks: the same requests, the same locks, the same
//! places in both nodes' orders, so what is written is what the disk should hold at that place in
//! the order. Torn by a crash it does no harm: each sector has its former content or the same again.
//! So it needs neither a mark nor a place in the activity log.

use super::Engine;
use super::volume::{Volume, Work};
use crate::effect::Effects;
use crate::wire::Message;
use std::collections::VecDeque;
use types::{BLOCK_BYTES, ByteRange, DiskState, EXTENT_BYTES};

/// No more are under way at once; others wait.
const REPAIRS_MAX: usize = 64;
/// With more that wait the disk has ended: what it cannot read then is not tried again elsewhere.
const WAITING_MAX: usize = 4096;

/// What the local disk could not read.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// On its way from the peer, or being written.
    under_way: Vec<ByteRange>,
    /// To be fetched next.
    waiting: VecDeque<ByteRange>,
}

impl Repairs {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.under_way.len() + self.waiting.len()
    }

    /// The link, or the disk, is gone; what is being written still will be.
    pub(super) fn give_up(&mut self, writing: &[ByteRange]) {
        self.waiting.clear();
        self.under_way.retain(|range| writing.contains(range));
    }
}

impl Volume {
    /// Whether the local disk could not read there, and has not been repaired yet.
    pub(super) fn is_unreadable(&self, range: ByteRange) -> bool {
        self.first_unreadable(range).is_some()
    }

    /// Where that is first.
    pub(super) fn first_unreadable(&self, range: ByteRange) -> Option<ByteRange> {
        let bad = self.repairs.under_way.iter().chain(&self.repairs.waiting);
        bad.filter_map(|bad| bad.intersection(range)).min()
    }

    /// Whether data for this range is for a repair.
    pub(super) fn is_repair(&self, range: ByteRange) -> bool {
        self.repairs.under_way.contains(&range)
    }
}

impl Engine {
    /// Whether the peer has a good copy of what the local disk should have.
    pub(super) fn can_repair(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let good = vol.disk == DiskState::UpToDate && vol.sync.is_none();
        good && vol.meta.is_some() && vol.peer_has_good() && !self.link_holds()
    }

    /// Fetches the blocks of the range, as soon as others have made room. Until it is written the peer
    /// serves it.
    pub(super) fn repair(&mut self, v: usize, range: ByteRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let blocks = range.blocks().bytes();
        let end = blocks.end().min(vol.size);
        let range = ByteRange::between(blocks.offset, end);
        if vol.is_unreadable(range) || vol.repairs.waiting.len() >= WAITING_MAX {
            return;
        }
        vol.repairs.waiting.extend(range.split(EXTENT_BYTES));
        self.pump_repairs(v, out);
    }

    /// Fetches what there is room for.
    pub(super) fn pump_repairs(&mut self, v: usize, out: &mut Effects) {
        while self.volumes[v].repairs.under_way.len() < REPAIRS_MAX {
            let vol = &mut self.volumes[v];
            let Some(range) = vol.repairs.waiting.pop_front() else { return };
            vol.repairs.under_way.push(range);
            vol.locks.push(range);
            let volume = vol.id;
            self.send(Message::ResyncRequest { volume, range, known: None }, out);
        }
    }

    /// The peer has no good copy any more: what was asked of it will not come.
    pub(super) fn give_up_repairs(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        let writing: Vec<ByteRange> = (vol.work.values())
            .filter_map(|unit| match &unit.work {
                Work::ResyncWrite(range, _) => Some(*range),
                _ => None,
            })
            .collect();
        for range in std::mem::take(&mut vol.repairs.under_way) {
            match writing.contains(&range) {
                true => vol.repairs.under_way.push(range),
                false => vol.unlock(range),
            }
        }
        vol.repairs.waiting.clear();
    }

    /// The repair is written, or could not be.
    pub(super) fn repair_done(&mut self, v: usize, range: ByteRange, failed: bool) {
        let vol = &mut self.volumes[v];
        let under_way = &mut vol.repairs.under_way;
        let before = under_way.len();
        under_way.retain(|repair| *repair != range);
        if under_way.len() < before && !failed {
            vol.counters.repaired_blocks += range.len.div_ceil(BLOCK_BYTES);
        }
    }
}
