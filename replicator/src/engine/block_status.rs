//! Block status: which bytes of a volume read as zeros, and which are out-of-sync.
//!
//! That a range reads as zeros is a statement about its content, so a map of it is a read: admitted,
//! parked, held, done anew and failed by the rules of `read`. In short: it is asked of the disk at
//! once, and its answer is held until every overlapping write that was unsettled here when the disk
//! answered has settled. Each run of zeros is what a read by the disk would have found at some
//! moment of the operation; and what was answered on either node before that was on this disk.
//!
//! There are two differences. What the disk here does not have, or cannot tell, is not fetched: it
//! is said to be data, which is never wrong. And the map may speak of the beginning of the range
//! only, so it ends where what is good here does.
//!
//! What is out-of-sync is known in memory, and says nothing of the content: it waits for nothing.

use super::Engine;
use super::disk::DiskUse;
use super::read::Reader;
use super::volume::Volume;
use crate::effect::{DiskOp, Effects};
use crate::input::{DiskError, RequestId};
use bytes::Bytes;
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, ByteRange, DiskState, StatusMap, blocks_of};

impl Volume {
    /// What of a range is marked. Without a disk all of it: this node has none of it.
    pub(super) fn out_of_sync(&self, range: ByteRange) -> StatusMap {
        let Some(meta) = &self.meta else {
            return StatusMap::of(range.len, StatusMap::OUT_OF_SYNC);
        };
        let mut map = StatusMap::new();
        let mut at = range.offset;
        while at < range.end() {
            let run = meta.bitmap.next_run(at / BLOCK_BYTES, blocks_of(range.len) + 1);
            let marked = run.and_then(|run| run.bytes().intersection(range));
            // A run that was cut goes on in the next turn.
            let marked = marked.unwrap_or_else(|| ByteRange::new(range.end(), 0));
            let (start, end) = (marked.offset.max(at), marked.end());
            if !map.push(start - at, 0) || !map.push(end - start, StatusMap::OUT_OF_SYNC) {
                break;
            }
            at = end;
        }
        map
    }
}

impl Engine {
    /// Starts, or starts again, a map of what is allocated.
    pub(super) fn start_map(
        &mut self,
        v: usize,
        id: RequestId,
        range: ByteRange,
        out: &mut Effects,
    ) {
        let vol = &self.volumes[v];
        let ignores = vol.disk == DiskState::Inconsistent && mutation::on(Mutation::MapMarked);
        let lack = vol.first_lack(range).filter(|_| !ignores);
        let good_end = lack.map_or_else(|| range.end(), |lack| lack.offset);
        let good = ByteRange::between(range.offset, good_end);
        match lack {
            Some(lack) if good.is_empty() && self.peer_serves(v) => {
                self.answer_read_with(v, id, lack, unknown(lack), out);
            }
            Some(_) if good.is_empty() => self.park_or_fail_read(v, id, out),
            _ => {
                self.cut_read(id, &[good]);
                self.disk_op(v, DiskUse::Map(id, good), DiskOp::Map(good), out);
            }
        }
    }

    /// The disk has answered a map. If it could not, nothing is known; that costs no disk, for the
    /// data may be all there.
    pub(super) fn on_map(
        &mut self,
        v: usize,
        id: RequestId,
        range: ByteRange,
        result: Result<Bytes, DiskError>,
        out: &mut Effects,
    ) {
        if !self.requests.contains_key(&id) {
            // The client has gone.
            return;
        }
        let map = result.unwrap_or_else(|_| unknown(range));
        let covered = StatusMap::decode(&map).expect("a map is what a map gives").covered();
        assert!((1..=range.len).contains(&covered), "a map of {range} covers {covered} bytes");
        if mutation::on(Mutation::MapNotHeld) {
            return self.answer_read_with(v, id, range, map, out);
        }
        self.on_read(v, Reader::Client(id, 0), range, Ok(map), out);
    }
}

/// The map of a range that nothing is known of.
fn unknown(range: ByteRange) -> Bytes {
    StatusMap::of(range.len, StatusMap::DATA).encode().into()
}
