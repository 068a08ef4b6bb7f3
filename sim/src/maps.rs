//! What clients are answered that ask which bytes are zeros, or out-of-sync.

use crate::client::Asked;
use crate::effects::Cause;
use crate::history::ZERO;
use crate::marks::Mark;
use crate::world::World;
use bytes::Bytes;
use types::{ByteRange, SECTOR_BYTES, StatusMap};

impl World {
    /// A map is answered: it speaks of the range from its beginning on, and of nothing else.
    pub(crate) fn mapped(
        &mut self,
        at: usize,
        asked: Asked,
        range: ByteRange,
        bytes: &Bytes,
        cause: Cause,
    ) {
        let maps_zeros = asked == Asked::Allocation;
        let flag = if maps_zeros { StatusMap::ZERO } else { StatusMap::OUT_OF_SYNC };
        let may = |flags| match flags {
            0 => true,
            _ if flags == flag => true,
            _ => maps_zeros && flags == StatusMap::HOLE | StatusMap::ZERO,
        };
        let known = |map: &StatusMap| map.runs().iter().all(|run| may(run.flags));
        let speaks = |map: &StatusMap| (1..=range.len).contains(&map.covered());
        let Some(map) = StatusMap::decode(bytes).filter(|map| known(map) && speaks(map)) else {
            return self.fail("answers", format!("request {at} got no map of {range}"));
        };
        let sectors = map.runs().iter().flat_map(|run| {
            let seen = (run.flags & flag != 0).then_some(ZERO);
            std::iter::repeat_n(seen, (run.len / SECTOR_BYTES) as usize)
        });
        self.requests[at].seen = sectors.collect();
        let flagged = map.runs().iter().any(|run| run.flags != 0);
        let mark = match (asked, cause) {
            (Asked::OutOfSync, _) if flagged => Mark::MarksShown,
            (Asked::OutOfSync, _) => return,
            (_, Cause::Told) => Mark::HeldMap,
            _ if flagged => Mark::Zeros,
            (_, Cause::Asked) => Mark::NoMap,
            _ => return,
        };
        self.marks.hit(mark);
    }
}
