//! Handlers: commands of the operator for what should be noticed, by DRBD's names.

use std::fmt;

/// What a handler is for. The names are those of drbd.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handler {
    /// See that the peer, which is lost, cannot go on: its exit code tells what became of it.
    FencePeer,
    /// The peer has what is here again.
    UnfencePeer,
    /// A split brain was found, before any policy.
    InitialSplitBrain,
    /// A split brain that no policy settles.
    SplitBrain,
    /// A Primary would become SyncTarget, and `rr-conflict` is `call-pri-lost`.
    PriLost,
    /// A Primary lost after a split brain, and its clients keep it from becoming Secondary.
    PriLostAfterSb,
    /// A Primary has an Inconsistent disk and no peer with the data.
    PriOnInconDegr,
    /// The disk could not do what it was asked for.
    LocalIoError,
    /// A resync to here is about to begin: an exit code other than 0 forbids it.
    BeforeResyncTarget,
    /// A resync to here has ended.
    AfterResyncTarget,
    /// A resync from here begins.
    BeforeResyncSource,
    /// The peer is gone.
    Disconnected,
    /// Verify has ended, and has found blocks that differ.
    OutOfSync,
}

impl Handler {
    /// Every handler.
    pub const ALL: [Self; 13] = [
        Self::FencePeer,
        Self::UnfencePeer,
        Self::InitialSplitBrain,
        Self::SplitBrain,
        Self::PriLost,
        Self::PriLostAfterSb,
        Self::PriOnInconDegr,
        Self::LocalIoError,
        Self::BeforeResyncTarget,
        Self::AfterResyncTarget,
        Self::BeforeResyncSource,
        Self::Disconnected,
        Self::OutOfSync,
    ];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FencePeer => "fence-peer",
            Self::UnfencePeer => "unfence-peer",
            Self::InitialSplitBrain => "initial-split-brain",
            Self::SplitBrain => "split-brain",
            Self::PriLost => "pri-lost",
            Self::PriLostAfterSb => "pri-lost-after-sb",
            Self::PriOnInconDegr => "pri-on-incon-degr",
            Self::LocalIoError => "local-io-error",
            Self::BeforeResyncTarget => "before-resync-target",
            Self::AfterResyncTarget => "after-resync-target",
            Self::BeforeResyncSource => "before-resync-source",
            Self::Disconnected => "disconnected",
            Self::OutOfSync => "out-of-sync",
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
