//! How two concurrent writes lie to each other, and counts of that.

use crate::ByteRange;
use serde::{Deserialize, Serialize};

/// How the range of a node's own write lies to that of a concurrent write of its peer. The peer
/// sees the same conflict as the [mirrored](ConflictKind::mirrored) kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// The same range.
    Same,
    /// Our range contains the peer's.
    Covers,
    /// The peer's range contains ours.
    Covered,
    /// Each has a part that the other has not.
    Partial,
}

impl ConflictKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Same, Self::Covers, Self::Covered, Self::Partial];

    /// Of two ranges that overlap.
    pub fn of(ours: ByteRange, peers: ByteRange) -> Self {
        match (ours.contains(peers), peers.contains(ours)) {
            (true, true) => Self::Same,
            (true, false) => Self::Covers,
            (false, true) => Self::Covered,
            (false, false) => Self::Partial,
        }
    }

    /// The same conflict as the other node sees it.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Same => Self::Same,
            Self::Covers => Self::Covered,
            Self::Covered => Self::Covers,
            Self::Partial => Self::Partial,
        }
    }

    /// Its name, as status output has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Covers => "covers",
            Self::Covered => "covered",
            Self::Partial => "partial",
        }
    }
}

/// How often there was a conflict of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictCounts {
    /// See [`ConflictKind::Same`].
    pub same: u64,
    /// See [`ConflictKind::Covers`].
    pub covers: u64,
    /// See [`ConflictKind::Covered`].
    pub covered: u64,
    /// See [`ConflictKind::Partial`].
    pub partial: u64,
}

impl ConflictCounts {
    /// One more of that kind.
    pub const fn note(&mut self, kind: ConflictKind) {
        match kind {
            ConflictKind::Same => self.same += 1,
            ConflictKind::Covers => self.covers += 1,
            ConflictKind::Covered => self.covered += 1,
            ConflictKind::Partial => self.partial += 1,
        }
    }

    /// How many of that kind.
    pub const fn of(&self, kind: ConflictKind) -> u64 {
        match kind {
            ConflictKind::Same => self.same,
            ConflictKind::Covers => self.covers,
            ConflictKind::Covered => self.covered,
            ConflictKind::Partial => self.partial,
        }
    }

    /// How many of all kinds.
    pub const fn total(&self) -> u64 {
        self.same + self.covers + self.covered + self.partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_node_sees_the_mirrored_kind() {
        let range = ByteRange::between;
        for (ours, peers, kind) in [
            (range(0, 8), range(0, 8), ConflictKind::Same),
            (range(0, 8), range(0, 4), ConflictKind::Covers),
            (range(0, 8), range(2, 4), ConflictKind::Covers),
            (range(4, 8), range(0, 8), ConflictKind::Covered),
            (range(0, 5), range(4, 8), ConflictKind::Partial),
        ] {
            assert_eq!(ConflictKind::of(ours, peers), kind);
            assert_eq!(ConflictKind::of(peers, ours), kind.mirrored());
        }
    }

    #[test]
    fn what_is_noted_is_counted_by_kind() {
        let mut counts = ConflictCounts::default();
        for (times, kind) in (1..).zip(ConflictKind::ALL) {
            (0..times).for_each(|_| counts.note(kind));
            assert_eq!(counts.of(kind), times);
        }
        assert_eq!(counts.total(), 10);
    }
}
