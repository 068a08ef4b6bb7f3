//! The local order: overlapping disk work is done one after another, in the order in which it
//! was given its place. A disk is never relied on to order two operations in flight.

use std::collections::{BTreeMap, BTreeSet};
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, ByteRange, EXTENT_BYTES};

/// A place in the local order of one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnitId(pub u64);

/// No unit is longer: an extent, widened at both ends to the largest granule of a disk.
const UNIT_MAX: u64 = EXTENT_BYTES + 2 * BLOCK_BYTES;

#[derive(Debug)]
struct Unit {
    range: ByteRange,
    /// How many earlier overlapping units are not finished.
    blockers: usize,
    /// Later overlapping units.
    dependents: Vec<UnitId>,
}

/// The unfinished units of one volume.
#[derive(Debug, Default)]
pub(super) struct Order {
    units: BTreeMap<UnitId, Unit>,
    /// By first byte, to find overlaps.
    starts: BTreeSet<(u64, UnitId)>,
    next: u64,
}

impl Order {
    /// Gives the range its place, after everything that it overlaps. The flag tells whether it
    /// may start at once; else [`Self::finish`] of the last unit before it will name it.
    pub(super) fn insert(&mut self, range: ByteRange) -> (UnitId, bool) {
        assert!(!range.is_empty() && range.len <= UNIT_MAX, "unit of {range}");
        let id = UnitId(self.next);
        self.next += 1;
        let mut before: Vec<UnitId> = self.overlapping(range).collect();
        if mutation::on(Mutation::ReorderOverlapping) {
            before.clear();
        }
        for unit in &before {
            self.units.get_mut(unit).expect("an indexed unit exists").dependents.push(id);
        }
        let blockers = before.len();
        self.units.insert(id, Unit { range, blockers, dependents: Vec::new() });
        self.starts.insert((range.offset, id));
        (id, blockers == 0)
    }

    /// Ends a unit; the units that may start now are returned, in order.
    pub(super) fn finish(&mut self, id: UnitId) -> Vec<UnitId> {
        let unit = self.units.remove(&id).expect("a unit is finished once");
        assert_eq!(unit.blockers, 0, "a unit that was not started is finished");
        self.starts.remove(&(unit.range.offset, id));
        let mut ready = unit.dependents;
        ready.retain(|dependent| {
            let unit = self.units.get_mut(dependent).expect("a blocked unit is not finished");
            unit.blockers -= 1;
            unit.blockers == 0
        });
        ready
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    fn overlapping(&self, range: ByteRange) -> impl Iterator<Item = UnitId> {
        let first = range.offset.saturating_sub(UNIT_MAX);
        self.starts
            .range((first, UnitId(0))..(range.end(), UnitId(0)))
            .filter(move |(_, id)| self.units[id].range.overlaps(range))
            .map(|&(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_units_run_in_turn() {
        let mut order = Order::default();
        let (a, a_ready) = order.insert(ByteRange::new(0, 100));
        let (b, b_ready) = order.insert(ByteRange::new(50, 100));
        let (c, c_ready) = order.insert(ByteRange::new(200, 10));
        let (d, d_ready) = order.insert(ByteRange::new(90, 115));
        assert_eq!((a_ready, b_ready, c_ready, d_ready), (true, false, true, false));
        assert_eq!(order.finish(a), [b]);
        assert_eq!(order.finish(c), []);
        assert_eq!(order.finish(b), [d]);
        assert_eq!(order.finish(d), []);
        assert!(order.is_empty());
    }

    #[test]
    fn a_long_unit_far_before_is_found() {
        let mut order = Order::default();
        let (a, _) = order.insert(ByteRange::new(0, UNIT_MAX));
        let (b, ready) = order.insert(ByteRange::new(UNIT_MAX - 1, 1));
        assert!(!ready);
        assert_eq!(order.finish(a), [b]);
    }
}
