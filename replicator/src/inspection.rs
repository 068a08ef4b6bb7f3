//! What two nodes have, looked at without joining them: for the report on a split brain, and for
//! `connect --tentative`.

use metadata::{Decision, GenerationRecord, Generations, OutOfSync, Settlement};
use types::{BlockRange, DiskState, VolumeId};

/// No list of ranges is longer.
pub const RANGES_MAX: usize = 1000;

/// What two nodes have.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Why the peer was not asked, or did not answer.
    pub peer_silent: Option<String>,
    /// Whether the peer is Primary, if it answered.
    pub peer_primary: Option<bool>,
    /// Each volume, in order.
    pub volumes: Vec<InspectedVolume>,
}

/// One volume of both nodes.
#[derive(Clone, Debug)]
pub struct InspectedVolume {
    /// Its number.
    pub id: VolumeId,
    /// The copy here, if there is one.
    pub here: Option<InspectedCopy>,
    /// The peer's copy, if it has one and answered.
    pub there: Option<InspectedCopy>,
    /// Blocks that are marked on both, and where; the ranges at most [`RANGES_MAX`].
    pub overlap: Marks,
    /// Blocks that are marked on either: what a resync would copy.
    pub union_blocks: u64,
    /// What the handshake would decide.
    pub decision: Option<Decision>,
    /// If that is a split brain: what the policies would make of it.
    pub settlement: Option<Settlement>,
}

/// One node's copy of a volume.
#[derive(Clone, Debug)]
pub struct InspectedCopy {
    /// What it is worth by itself.
    pub disk: DiskState,
    /// Whether its node is Primary.
    pub primary: bool,
    /// Its node was Primary when it crashed: its marks are whole extents of the activity log.
    pub crashed_primary: bool,
    /// Everything is marked.
    pub full_sync: bool,
    /// Its generations.
    pub generations: Generations,
    /// What was written since the peer last had it all, at most.
    pub marks: Marks,
}

/// Marked blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How many.
    pub blocks: u64,
    /// Where: the first [`RANGES_MAX`] runs.
    pub ranges: Vec<BlockRange>,
    /// How many runs are left out.
    pub more_ranges: u64,
}

impl Marks {
    /// All of a bitmap.
    pub fn of(bitmap: &OutOfSync) -> Self {
        let mut marks = Self::default();
        let mut from = 0;
        while let Some(run) = bitmap.next_run(from, u64::MAX) {
            marks.push(run);
            from = run.end;
        }
        marks
    }

    /// What is marked in both.
    pub fn of_both(one: &OutOfSync, other: &OutOfSync) -> Self {
        let mut marks = Self::default();
        let mut from = 0;
        while let Some(run) = one.next_run(from, u64::MAX) {
            let mut within = run.start;
            while let Some(common) = other.next_run(within, u64::MAX) {
                if common.start >= run.end {
                    break;
                }
                marks.push(BlockRange::new(common.start, common.end.min(run.end)));
                within = common.end;
            }
            from = run.end;
        }
        marks
    }

    fn push(&mut self, run: BlockRange) {
        self.blocks += run.len();
        if self.ranges.len() < RANGES_MAX {
            self.ranges.push(run);
        } else {
            self.more_ranges += 1;
        }
    }
}

impl InspectedVolume {
    /// The generation that both last had in common, as this node tells it: the parting of ways.
    pub fn common(&self) -> Option<&GenerationRecord> {
        let (here, there) = (&self.here.as_ref()?.generations, &self.there.as_ref()?.generations);
        let mine = [&here.current, &here.bitmap].into_iter().chain(&here.history);
        mine.into_iter().find(|record| there.knows(record.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(runs: &[(u64, u64)]) -> OutOfSync {
        let mut bitmap = OutOfSync::new(64 << 20);
        for &(start, end) in runs {
            bitmap.set(BlockRange::new(start, end));
        }
        bitmap
    }

    #[test]
    fn marks_of_one_and_of_both() {
        let one = bitmap(&[(0, 10), (20, 30), (100, 101)]);
        let other = bitmap(&[(5, 22), (29, 40), (99, 102)]);
        let marks = Marks::of(&one);
        assert_eq!((marks.blocks, marks.ranges.len(), marks.more_ranges), (21, 3, 0));
        let both = Marks::of_both(&one, &other);
        let expected =
            [(5, 10), (20, 22), (29, 30), (100, 101)].map(|(a, b)| BlockRange::new(a, b));
        assert_eq!((both.blocks, both.ranges), (9, expected.to_vec()));
        assert_eq!(Marks::of_both(&one, &bitmap(&[])), Marks::default());
    }

    #[test]
    fn no_list_is_longer_than_its_bound() {
        let runs: Vec<_> = (0..1500).map(|n| (n * 4, n * 4 + 1)).collect();
        let marks = Marks::of(&bitmap(&runs));
        assert_eq!((marks.blocks, marks.ranges.len(), marks.more_ranges), (1500, RANGES_MAX, 500));
    }
}
