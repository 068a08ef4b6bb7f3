//! The names of the rules, as logs and the manual have them.

use std::fmt;

macro_rules! rules {
    ($($variant:ident = $name:literal, $sentence:literal;)+) => {
        /// Which rule gave a verdict: one for each row of the table in the documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $(#[doc = $sentence] $variant,)+ }

        impl Rule {
            /// Every rule, in the order in which they are tried.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it found, in one sentence.
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

rules! {
    BothDiskless = "both-diskless", "Neither node has a disk.";
    OneDiskless = "one-diskless", "One node has no disk.";
    SessionResumed = "session-resumed",
        "Both engines ran on and neither answered a write alone, so the session goes on.";
    SameNode = "same-node", "Both nodes have the same node id.";
    SameDisk = "same-disk", "Both disks have the same identity.";
    BothJustCreated = "both-just-created",
        "Both copies are new, and neither has been forced Primary yet.";
    OneJustCreated = "one-just-created", "One copy is new and takes everything from the other.";
    BothInconsistent = "both-inconsistent", "Neither copy is consistent.";
    InconsistentKnown = "inconsistent-known",
        "One copy is Inconsistent, and the marks tell which blocks it lacks.";
    InconsistentUnknown = "inconsistent-unknown",
        "One copy is Inconsistent, and no marks tell which blocks it lacks.";
    MissedEnd = "missed-end",
        "The copies are equal; one node missed the end of the resync that made them so.";
    NothingMarked = "nothing-marked", "The generations are equal and no block is marked.";
    BothCrashed = "both-crashed",
        "Both nodes crashed as Primary; the arbiter's data is taken where they may differ.";
    SurvivorHasAll = "survivor-has-all",
        "One node crashed as Primary; with protocol C the other has every answered write.";
    CrashedHasAll = "crashed-has-all",
        "One node crashed as Primary; with protocols A and B only it is sure to have every write.";
    PrimaryNow = "primary-now",
        "The generations are equal, blocks are marked, and one node is Primary now.";
    OtherOutdated = "other-outdated",
        "The generations are equal, blocks are marked, and one copy is Outdated.";
    MarkedHere = "marked-on-one", "The generations are equal and one node has marked blocks.";
    MarkedOnBoth = "marked-on-both",
        "The generations are equal and both nodes have marked blocks; the arbiter's data is taken.";
    AheadByBitmap = "ahead-by-bitmap",
        "One node went on alone from what the other has, and has marked what it wrote.";
    AheadByHistory = "ahead-by-history",
        "One node has a former generation of the other, too old for the marks to tell the difference.";
    BothAheadOfOne = "both-ahead-of-one",
        "Both nodes went on alone from the same generation: split brain.";
    CommonAncestor = "common-ancestor",
        "Both nodes went on alone, from a generation too old for the marks: split brain.";
    Contradictory = "contradictory",
        "Each node remembers the other's generation as a former one: split brain.";
    Discarded = "discard-my-data",
        "After a split brain the operator gave up the changes of one node.";
    NothingInCommon = "nothing-in-common", "The copies never had a common generation.";
    RolledBack = "rolled-back", "A disk is older than what its peer remembers of it.";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
