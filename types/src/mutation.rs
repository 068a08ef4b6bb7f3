//! Deliberate bugs, to prove that the simulator finds bugs.
//!
//! With the feature `mutations` each of them is compiled in behind a switch, of which one at a time
//! is thrown, for the thread that throws it. Without the feature [`on`] is `false` at compile time
//! and nothing of them is left. No program that serves anybody is ever built with it.

/// Declares the mutations: what each is called, and what it does wrong.
macro_rules! mutations {
    ($($name:ident = $slug:literal: $what:literal;)*) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $(#[doc = $what] $name,)*
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name on the command line and in the table.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }

            /// What it does wrong.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

mutations! {
    // The activity log.
    SkipActivityLog = "skip-activity-log": "a write does not wait for its extent to be hot";
    MirrorWaitsForLog = "mirror-waits-for-log": "a mirrored write waits for a slot of the log";
    EvictBeforeFlush = "evict-before-flush": "an extent goes cold while its writes are in the disk's cache";
    EvictBeforePeerDurable = "evict-before-peer-durable": "an extent goes cold while its writes are in the peer's cache";
    EvictBeforeBitmap = "evict-before-bitmap": "an extent goes cold before its marks are durable";

    // Durability.
    FlushUnflushed = "flush-answered-early": "a flush is answered without one of the disk";
    PeerNotFlushed = "peer-not-flushed": "a client's flush does not reach the peer";
    FuaDropped = "fua-dropped": "the peer writes without FUA what was written with it";
    IgnoreFailedFlush = "failed-flush-ignored": "a flush that failed counts as done";
    ForgetUnflushed = "forget-unflushed": "when the peer is lost, what it may still lose is not marked";

    // Writes.
    AnswerBeforePeer = "answer-before-peer": "a write is answered when it is on the local disk only";
    NeitherSentNorMarked = "neither-sent-nor-marked": "a write that is not sent is not marked";
    ReorderOverlapping = "reorder-overlapping": "overlapping writes are given to the disk together";
    UnlockedGranule = "unlocked-granule": "what a disk reads and writes around a write is not locked";

    // Two primaries.
    ArbiterOnBoth = "arbiter-on-both": "both nodes let their own write prevail";
    LoserKept = "loser-kept": "the arbiter writes the concurrent write that should be dropped";
    SupersededEarly = "superseded-early": "a superseded write is answered before what took its place is on the disk";
    ReadNotHeld = "read-not-held": "a read's answer does not wait for unsettled writes";
    WaitThenRead = "wait-then-read": "a read waits for unsettled writes first, and reads then";
    MapNotHeld = "map-not-held": "a map of what is allocated does not wait for unsettled writes";
    DropSettled = "drop-settled": "the peer is not told what has settled";

    // Sessions.
    ReplayApplied = "replay-applied": "a resumed write that was received before is written again";
    AnswersFirst = "answers-first": "on resume the answers go before the writes that are sent again";
    ResumeAfterSolo = "resume-after-solo": "a session is resumed after a write was answered alone";

    SentAnewBlindly = "sent-anew-blindly": "what was in flight when the source was lost is sent anew, whatever happened meanwhile";

    // Going on alone.
    SoloBeforeGeneration = "solo-before-generation": "a write is answered alone before the new generation is durable";
    NoGeneration = "no-generation": "going on alone makes no new generation";

    // Losing the peer with fencing.
    AnswerFrozen = "answer-frozen": "what ends while I/O is frozen is answered at once";
    ThawUnfenced = "thaw-unfenced": "I/O goes on although fence-peer has failed";
    FreezeLate = "freeze-late": "I/O goes on for the timeout after the link was lost, and freezes then";

    // The verdict.
    EqualIsInSync = "equal-is-in-sync": "equal generations are in sync, whatever is marked";
    BothCrashedBothSource = "both-source": "of two crashed Primaries, both are source";
    ClearByDecision = "clear-by-decision": "the verdict clears the marks of the source";
    CrashForgotten = "crash-forgotten": "the flag of a crashed Primary is cleared by the attach";

    // Resync.
    ClearBeforeFlush = "clear-before-flush": "a mark is cleared before the target has flushed";
    PartialClears = "partial-clears": "a write of a part of a block clears its mark";
    ResyncUnlocked = "resync-unlocked": "clients write to what is being copied";
    StaleResyncData = "stale-resync-data": "what an older link asked for is sent by the new one";
    ReadMarked = "read-marked": "a target of a resync reads its own marked blocks";
    MapMarked = "map-marked": "a target of a resync makes a map of its own marked blocks";
    LateMarkForgotten = "late-mark-forgotten": "a mark that comes while a resync ends is not copied";
    CsumsUnlooked = "csums-unlooked": "a resync takes for equal whatever the target says it has";
    WidenedDiscard = "widened-discard": "a trim zeroes the whole blocks that it touches";
    InvalidateInFlight = "invalidate-in-flight": "a copy is given up while clients' writes are in flight";
    MarksNotUnited = "marks-not-united": "the marks of the peer do not count";

    // Metadata and orders.
    SameSlot = "same-slot": "the superblock is always written to the same slot";
    RecoveryFlagFirst = "recovery-flag-first": "a recovery says that it is done before its marks are durable";
    StopUndrained = "stop-undrained": "a disk is let go before it is flushed and its log empty";
    OptionsUnchecked = "options-unchecked": "two Primaries are forbidden while there are two, and frozen I/O is thawed by other options";

    // Growing.
    GrowTorn = "grow-torn": "moved metadata counts before its bitmap and its log are durable";
    GrowDataEarly = "grow-data-early": "the place of old metadata is overwritten before the new counts";
    // Protocols A and B.
    EarlyUnmarked = "early-answer-unmarked": "what was answered before the lost peer had it is not marked";
    EarlyNoGeneration = "early-answer-no-generation": "a lost peer that lacks answered writes makes no new generation";
    // Verify.
    VerifyUnlocked = "verify-unlocked": "a difference is looked at again without a lock";
    VerifyEarlyRead = "verify-early-read": "the one who verifies reads before the other has answered";
    VerifyOneRound = "verify-one-round": "a difference counts although writes were under way";
    VerifySkips = "verify-skips": "a verify goes on behind what the broken link has swallowed";
}

/// Whether they are compiled in.
pub const PRESENT: bool = cfg!(feature = "mutations");

#[cfg(feature = "mutations")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    std::thread_local! {
        static THROWN: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether that mutation is the one that happens in this thread.
    pub fn on(mutation: Mutation) -> bool {
        THROWN.get() == Some(mutation)
    }

    /// From now on that mutation happens in this thread, or none.
    pub fn throw(mutation: Option<Mutation>) {
        THROWN.set(mutation);
    }
}

#[cfg(not(feature = "mutations"))]
mod switch {
    use super::Mutation;

    /// Whether that mutation is the one that happens: none is compiled in.
    pub const fn on(_: Mutation) -> bool {
        false
    }

    /// Nothing happens: none is compiled in.
    pub const fn throw(_: Option<Mutation>) {}
}

pub use switch::{on, throw};
