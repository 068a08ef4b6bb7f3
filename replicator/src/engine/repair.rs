//! Repair of what a disk cannot read: the place is fetched from the peer and written anew.
//!
//! That is a resync of a few blocks without marks: the same requests, the same locks, the same
//! places in both nodes' orders, so what is written is what the disk should hold at that place in
//! the order. Torn by a crash it does no harm: each sector has its former content or the same again.
//! So it needs neither a mark nor a place in the activity log.

use super::Engine;
use super::volume::Volume;
use crate::effect::Effects;
use crate::wire::Message;
use types::{BLOCK_BYTES, ByteRange, DiskState};

/// More at once would be a disk that has ended; what does not fit is served by the peer all the same.
const REPAIRS_MAX: usize = 64;

impl Volume {
    /// Whether the local disk could not read there, and has not been repaired yet.
    pub(super) fn is_unreadable(&self, range: ByteRange) -> bool {
        self.first_unreadable(range).is_some()
    }

    /// Where that is first.
    pub(super) fn first_unreadable(&self, range: ByteRange) -> Option<ByteRange> {
        self.repairs.iter().filter_map(|bad| bad.intersection(range)).min()
    }

    /// Whether data for this range is for a repair.
    pub(super) fn is_repair(&self, range: ByteRange) -> bool {
        self.repairs.contains(&range)
    }
}

impl Engine {
    /// Whether the peer has a good copy of what the local disk should have.
    pub(super) fn can_repair(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let good = vol.disk == DiskState::UpToDate && vol.sync.is_none();
        good && vol.meta.is_some() && vol.peer_has_good() && !self.link_holds()
    }

    /// Fetches the blocks of the range.
    pub(super) fn repair(&mut self, v: usize, range: ByteRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let blocks = range.blocks().bytes();
        let end = blocks.end().min(vol.size);
        let range = ByteRange::between(blocks.offset, end);
        if vol.repairs.len() >= REPAIRS_MAX || vol.is_unreadable(range) {
            return;
        }
        vol.repairs.push(range);
        vol.locks.push(range);
        let volume = vol.id;
        self.send(Message::ResyncRequest { volume, range }, out);
    }

    /// The repair is written, or could not be.
    pub(super) fn repair_done(&mut self, v: usize, range: ByteRange, failed: bool) {
        let vol = &mut self.volumes[v];
        let before = vol.repairs.len();
        vol.repairs.retain(|repair| *repair != range);
        if vol.repairs.len() < before && !failed {
            vol.counters.repaired_blocks += range.len.div_ceil(BLOCK_BYTES);
        }
    }
}
