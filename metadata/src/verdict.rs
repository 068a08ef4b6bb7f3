//! The verdict that two copies of a volume draw when their nodes meet: who is the source of a
//! resync and over which blocks, or why there must not be one.
//!
//! [`decide`] is one pure function, total and antisymmetric: both nodes compute it from the same
//! two [`Side`]s and reach mirrored verdicts without a word more. It never says in sync while a
//! block is marked on either side. The rules are tried in this order; ids are compared without
//! bit 0. `docs/verdict.md` has every rule with its reason.
//!
//! | | if | then |
//! |---|---|---|
//! | 1 | a side has no disk | nothing to decide |
//! | 2 | the session goes on and nobody went solo | resume |
//! | 3 | both are one node, or one disk and its copy | refuse |
//! | 4 | a side is just created | it is the target, of everything; both: unusable |
//! | 5 | a side is Inconsistent | it is the target; both: unusable |
//! | 6 | equal generations, nothing marked | in sync |
//! | 7 | equal generations, something marked | see `equal.rs`: by crash, role, worth, marks, arbiter |
//! | 8 | one is ahead of the other | it is the source |
//! | 9 | both went on from a common generation | split brain |
//! | 10 | nothing in common | unrelated |
//! | 11 | any of these, and a disk is older than its peer remembers it | refuse |
//!
//! **Outdated.** The mark says «the peer may have gone on without me». The generations say whether
//! it did, so they win over the mark: a copy that is a generation ahead is the source even if it
//! is Outdated and the other UpToDate, because the other lacks writes that were answered. With
//! equal generations nobody answered a write alone: the mark decides only where no rule about
//! lost writes does, for the copy without it. It never makes a verdict fail.

mod equal;
mod rule;

use crate::generation::{GenerationId, Generations, HISTORY};
pub use rule::Rule;
use types::{DiskState, NodeId, Protocol};

/// What one node brings to the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Which node; the lower one is the arbiter.
    pub node: NodeId,
    /// The generations of its copy.
    pub generations: Generations,
    /// What its copy is worth by itself.
    pub disk: DiskState,
    /// Whether it is Primary now.
    pub primary: bool,
    /// It was Primary when it last stopped, did not stop in order, and has not met the peer since.
    pub crashed_primary: bool,
    /// It knows that the peer's copy is Outdated or worse. No rule reads it yet: it is for the
    /// decision to go on alone.
    pub peer_outdated: bool,
    /// All blocks count as marked.
    pub full_sync: bool,
    /// How many blocks it has marked as out-of-sync.
    pub dirty_blocks: u64,
    /// Session and incarnation agree and no solo write was answered on either side. Computed by
    /// the engine, the same on both sides.
    pub resumable: bool,
    /// Clients of it have the volume open now.
    pub in_use: bool,
    /// The operator said that this side's changes may be thrown away after a split brain.
    pub discard_my_data: bool,
    /// The random name of the disk, given when its metadata was created. 0: not known.
    pub disk_incarnation: u64,
    /// The newest generation that clients saw from this disk, or unset.
    pub newest_exposed: GenerationId,
    /// The sequence of the newest superblock that is durable on this disk. 0: not known.
    pub sequence: u64,
    /// The name of the disk that the other side had when the two last met. 0: never met.
    pub peer_disk_incarnation: u64,
    /// The highest durable sequence that the other side told of that disk. 0: never told.
    pub peer_sequence: u64,
}

/// What to do, seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on as if the link had never been lost.
    Resume,
    /// The copies are equal.
    InSync,
    /// This side's data goes to the peer.
    Source(Extent),
    /// The peer's data comes here.
    Target(Extent),
    /// Both have changes that the other has not.
    SplitBrain {
        /// The changes of both are known block by block, so that a policy may decide.
        automatic: bool,
    },
    /// The copies never had a common state.
    Unrelated,
    /// Neither copy is of use until one is forced Primary, or a better one is found.
    BothUnusable,
    /// The peer has no disk; this side has.
    NoPeerDisk,
    /// This side has no disk; the peer has.
    NoLocalDisk,
    /// Neither side has a disk.
    NeitherDisk,
    /// Something is wrong that a resync would make worse.
    Refuse(RefuseReason),
}

/// How much a resync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The blocks marked on either side.
    Bitmap,
    /// Every block.
    Full,
}

/// Why two nodes must not connect as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// Both say that they are this node.
    SameNode,
    /// Both disks have one name: one is a copy of the other, made behind replication's back.
    SameDisk,
    /// That disk is older than it was when the two last met, or than what clients saw from it:
    /// put back from a snapshot or a backup.
    RolledBack {
        /// The node with the old disk.
        node: NodeId,
    },
}

impl RefuseReason {
    /// What is wrong, and the way out.
    pub fn explain(self) -> String {
        match self {
            Self::SameNode => "both nodes have the same node id; \
                correct `on` and --node so that each takes its own part of the configuration"
                .to_owned(),
            Self::SameDisk => "both disks have the same identity, so one is a copy of the other; \
                run create-md on the copy, and let it be synchronised"
                .to_owned(),
            Self::RolledBack { node } => format!(
                "the disk of node {node} is older than it was, by what the other node remembers of \
                 it: it was put back from a snapshot or a backup, and no mark tells what it lacks; \
                 run create-md on node {node} to take the other node's data, or create-md on the \
                 other node to keep the old"
            ),
        }
    }
}

/// A verdict, and the rule that gave it (the same on both sides).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// Why.
    pub rule: Rule,
}

impl Verdict {
    /// The verdict that the other side reaches.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Source(extent) => Self::Target(extent),
            Self::Target(extent) => Self::Source(extent),
            Self::NoPeerDisk => Self::NoLocalDisk,
            Self::NoLocalDisk => Self::NoPeerDisk,
            Self::Resume
            | Self::InSync
            | Self::SplitBrain { .. }
            | Self::Unrelated
            | Self::BothUnusable
            | Self::NeitherDisk
            | Self::Refuse(_) => self,
        }
    }

    pub(crate) const fn toward_peer(me_is_source: bool, extent: Extent) -> Self {
        if me_is_source { Self::Source(extent) } else { Self::Target(extent) }
    }
}

impl Side {
    const fn has_disk(&self) -> bool {
        match self.disk {
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Detaching
            | DiskState::Failed
            | DiskState::DUnknown => false,
            DiskState::Negotiating
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::Consistent
            | DiskState::UpToDate => true,
        }
    }

    fn inconsistent(&self) -> bool {
        self.disk == DiskState::Inconsistent
    }

    fn just_created(&self) -> bool {
        !self.generations.current.id.is_real()
    }

    /// Whether anything is marked.
    const fn dirty(&self) -> bool {
        self.dirty_blocks > 0 || self.full_sync
    }

    pub(crate) fn is_arbiter(&self, peer: &Self) -> bool {
        self.node < peer.node
    }

    /// How much it may have changed, as the after-sb policies count: its marks.
    pub(crate) const fn changes(&self) -> u64 {
        if self.full_sync { u64::MAX } else { self.dirty_blocks }
    }

    /// Whether it was Primary when it parted from the peer: bit 0 of the generation that the peer
    /// last had.
    pub(crate) const fn was_primary(&self) -> bool {
        self.generations.bitmap.id.was_primary()
    }

    /// What is copied if one of two diverged sides gives way. Only with one common starting point
    /// do the marks of both tell all that differs. Two new copies that were forced have only the
    /// name of theirs in common.
    pub(crate) fn extent_with(&self, peer: &Self) -> Extent {
        if self.generations.bitmap.id.is_real() {
            bitmap_unless_flagged(self, peer)
        } else {
            Extent::Full
        }
    }
}

/// Some(true) if only the first holds, Some(false) if only the second, None if they agree.
const fn only_one(mine: bool, theirs: bool) -> Option<bool> {
    if mine == theirs { None } else { Some(mine) }
}

/// Decide between this node's copy and the peer's.
pub fn decide(me: &Side, peer: &Side, protocol: Protocol) -> Decision {
    let (verdict, rule) = by_presence(me, peer)
        .or_else(|| by_worth(me, peer))
        .unwrap_or_else(|| by_generation(me, peer, protocol));
    let decision = Decision { verdict, rule };
    refuse_rollback(me, peer, decision).unwrap_or(decision)
}

/// Rules 1 to 3: is there anything to compare?
fn by_presence(me: &Side, peer: &Side) -> Option<(Verdict, Rule)> {
    match (me.has_disk(), peer.has_disk()) {
        (true, true) => {}
        (true, false) => return Some((Verdict::NoPeerDisk, Rule::OneDiskless)),
        (false, true) => return Some((Verdict::NoLocalDisk, Rule::OneDiskless)),
        (false, false) => return Some((Verdict::NeitherDisk, Rule::BothDiskless)),
    }
    if me.resumable && peer.resumable {
        return Some((Verdict::Resume, Rule::SessionResumed));
    }
    if me.node == peer.node {
        return Some((Verdict::Refuse(RefuseReason::SameNode), Rule::SameNode));
    }
    if me.disk_incarnation != 0 && me.disk_incarnation == peer.disk_incarnation {
        return Some((Verdict::Refuse(RefuseReason::SameDisk), Rule::SameDisk));
    }
    None
}

/// Rules 4 and 5: is one of the copies worth nothing?
fn by_worth(me: &Side, peer: &Side) -> Option<(Verdict, Rule)> {
    let fresh = (me.just_created(), peer.just_created());
    let usable = |side: &Side| !side.just_created() && !side.inconsistent();
    match (usable(me), usable(peer)) {
        (true, true) => return None,
        (false, false) if fresh == (true, true) => {
            return Some((Verdict::BothUnusable, Rule::BothJustCreated));
        }
        (false, false) => return Some((Verdict::BothUnusable, Rule::BothInconsistent)),
        (true, false) | (false, true) => {}
    }
    let me_is_source = usable(me);
    if fresh != (false, false) {
        return Some((Verdict::toward_peer(me_is_source, Extent::Full), Rule::OneJustCreated));
    }
    let (source, target) = if me_is_source { (me, peer) } else { (peer, me) };
    // What the target has began as a state that the source's marks are relative to: an
    // interrupted resync, or an invalidated copy whose own marks say what is bad in it. Or both
    // have marks relative to one state: the resync that gives up one side of a split brain.
    let (from, began) = (&source.generations, &target.generations);
    let known = began.current.id.same(from.current.id)
        || began.current.id.same(from.bitmap.id)
        || began.bitmap.id.is_real() && began.bitmap.id.same(from.bitmap.id);
    let (extent, rule) = if !known {
        (Extent::Full, Rule::InconsistentUnknown)
    } else {
        (bitmap_unless_flagged(me, peer), Rule::InconsistentKnown)
    };
    Some((Verdict::toward_peer(me_is_source, extent), rule))
}

/// Rules 6 to 10, for two usable copies.
fn by_generation(me: &Side, peer: &Side, protocol: Protocol) -> (Verdict, Rule) {
    let (mine, theirs) = (&me.generations, &peer.generations);
    if mine.current.id.same(theirs.current.id) {
        return equal::decide(me, peer, protocol);
    }
    let by_bitmap = (ahead_by_bitmap(mine, theirs), ahead_by_bitmap(theirs, mine));
    let ahead = by_bitmap.0 || mine.remembers(theirs.current.id);
    let behind = by_bitmap.1 || theirs.remembers(mine.current.id);
    match (ahead, behind) {
        (true, true) => settle_split_brain(me, peer, false, Rule::Contradictory),
        (true, false) | (false, true) if by_bitmap.0 || by_bitmap.1 => {
            let extent = bitmap_unless_flagged(me, peer);
            (Verdict::toward_peer(ahead, extent), Rule::AheadByBitmap)
        }
        (true, false) | (false, true) => {
            (Verdict::toward_peer(ahead, Extent::Full), Rule::AheadByHistory)
        }
        (false, false) if mine.bitmap.id.is_set() && mine.bitmap.id.same(theirs.bitmap.id) => {
            settle_split_brain(me, peer, true, Rule::BothAheadOfOne)
        }
        (false, false) if common_ancestor(mine, theirs) => {
            settle_split_brain(me, peer, false, Rule::CommonAncestor)
        }
        (false, false) => (Verdict::Unrelated, Rule::NothingInCommon),
    }
}

/// The one went on alone from exactly what the other has: its marks are all that differs.
fn ahead_by_bitmap(one: &Generations, other: &Generations) -> bool {
    other.current.id.is_real() && one.bitmap.id.same(other.current.id)
}

/// Neither is ahead of the other, so what both know is a former generation of both.
fn common_ancestor(mine: &Generations, theirs: &Generations) -> bool {
    std::iter::once(&mine.bitmap).chain(&mine.history).any(|record| theirs.knows(record.id))
}

/// A split brain, unless the operator has said on exactly one side that its changes may go. A
/// Primary's may not: clients look at them.
fn settle_split_brain(me: &Side, peer: &Side, automatic: bool, rule: Rule) -> (Verdict, Rule) {
    let gives_in = |side: &Side| side.discard_my_data && !side.primary;
    match only_one(gives_in(peer), gives_in(me)) {
        Some(me_is_source) if me.discard_my_data != peer.discard_my_data => {
            let extent = if automatic { me.extent_with(peer) } else { Extent::Full };
            (Verdict::toward_peer(me_is_source, extent), Rule::Discarded)
        }
        Some(_) | None => (Verdict::SplitBrain { automatic }, rule),
    }
}

/// A disk that was put back from a snapshot or a backup: the peer remembers more of this very disk
/// than the disk itself does. Marks were cleared for blocks that it had then, so none tells what it
/// lacks now: neither its data nor a resync by bitmap would be right. As the target of everything
/// it is cured; and where one copy is new nothing can get worse.
fn refuse_rollback(me: &Side, peer: &Side, decision: Decision) -> Option<Decision> {
    let compared = match decision.verdict {
        Verdict::Refuse(_) | Verdict::NoPeerDisk | Verdict::NoLocalDisk | Verdict::NeitherDisk => {
            false
        }
        Verdict::Resume
        | Verdict::InSync
        | Verdict::Source(_)
        | Verdict::Target(_)
        | Verdict::SplitBrain { .. }
        | Verdict::Unrelated
        | Verdict::BothUnusable => {
            !matches!(decision.rule, Rule::BothJustCreated | Rule::OneJustCreated)
        }
    };
    let cured = |verdict: Verdict| verdict == Verdict::Target(Extent::Full);
    let refused = |side: &Side, other: &Side, verdict: Verdict| {
        (compared && !cured(verdict) && rolled_back(side, other)).then_some(side.node)
    };
    let nodes =
        [refused(me, peer, decision.verdict), refused(peer, me, decision.verdict.mirrored())];
    let node = nodes.into_iter().flatten().min()?;
    let verdict = Verdict::Refuse(RefuseReason::RolledBack { node });
    Some(Decision { verdict, rule: Rule::RolledBack })
}

/// Whether that disk is older than it was, by what the other side remembers of it.
fn rolled_back(side: &Side, other: &Side) -> bool {
    let same_disk =
        side.disk_incarnation != 0 && side.disk_incarnation == other.peer_disk_incarnation;
    let by_sequence = same_disk && side.sequence != 0 && side.sequence < other.peer_sequence;
    // A full history forgets, and then says nothing.
    let exposed = side.newest_exposed;
    let by_generation = side.generations.history.len() < HISTORY
        && other.generations.knows(exposed)
        && !side.generations.knows(exposed);
    by_sequence || by_generation
}

fn bitmap_unless_flagged(me: &Side, peer: &Side) -> Extent {
    if me.full_sync || peer.full_sync { Extent::Full } else { Extent::Bitmap }
}

#[cfg(test)]
pub(crate) mod tests;
