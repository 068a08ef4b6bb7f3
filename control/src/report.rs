//! What two nodes have after a split brain, or would decide if they connected: for
//! `repadm split-brain` and `repadm connect --tentative`.
//!
//! Sizes in bytes, times in milliseconds since the Unix epoch.

use crate::GenerationStatus;
use serde::{Deserialize, Serialize};
use types::{DiskState, Role, VolumeId};

/// A resource on both nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SplitBrainReport {
    /// Its name.
    pub resource: String,
    /// This node.
    pub node: String,
    /// The other node.
    pub peer: String,
    /// This node's role.
    pub role: Role,
    /// The other node's role, if it answered.
    pub peer_role: Role,
    /// Why the other node was not asked or did not answer; then nothing is known of its copies.
    pub peer_silent: Option<String>,
    /// Whether a volume is in split brain.
    pub split_brain: bool,
    /// Each volume, in order.
    pub volumes: Vec<VolumeReport>,
}

/// One volume on both nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VolumeReport {
    /// Its number.
    pub volume: VolumeId,
    /// What the handshake would decide; nothing if the peer did not answer.
    pub verdict: Option<VerdictReport>,
    /// The generation that both had last: when the nodes parted is at or after its end.
    pub common: Option<GenerationStatus>,
    /// The copy here.
    pub here: Option<CopyReport>,
    /// The copy there.
    pub there: Option<CopyReport>,
    /// What both have changed.
    pub overlap: MarksReport,
    /// What a resync would copy: all that either has changed.
    pub union_bytes: u64,
    /// What the configured policy would do about a split brain.
    pub policy: Option<PolicyReport>,
}

/// What a handshake would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The session goes on.
    Resume,
    /// The copies are equal.
    InSync,
    /// A resync from here of what is marked.
    SourceOfMarks,
    /// A resync from here of everything.
    SourceOfAll,
    /// A resync to here of what is marked.
    TargetOfMarks,
    /// A resync to here of everything.
    TargetOfAll,
    /// Both wrote alone.
    SplitBrain,
    /// A disk is missing, or none is of use.
    NothingToDo,
    /// The nodes refuse each other.
    Refused,
}

/// The verdict on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerdictReport {
    /// What would be done.
    pub outcome: Outcome,
    /// The name of the rule, as in docs/verdict.md.
    pub rule: String,
    /// Why, in a sentence.
    pub why: String,
}

/// What the configured policy would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyReport {
    /// The node whose changes it would discard; nobody's if it leaves that to the operator.
    pub discards: Option<String>,
    /// Why, in words.
    pub why: String,
}

/// One node's copy of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyReport {
    /// What it is worth by itself.
    pub disk: DiskState,
    /// What its data is.
    pub current: GenerationStatus,
    /// The first write since the nodes parted that is known of.
    pub first_solo: Option<u64>,
    /// The last such write.
    pub last_solo: Option<u64>,
    /// Its node was Primary when it crashed: what is marked is rounded up to the extents of 4 MiB
    /// of the activity log.
    pub rounded_up: bool,
    /// Everything counts as changed.
    pub everything: bool,
    /// What it changed since the nodes parted, at most.
    pub marks: MarksReport,
}

/// Changed blocks of 4 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MarksReport {
    /// How many blocks.
    pub blocks: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Where: the first of the ranges.
    pub ranges: Vec<RangeReport>,
    /// How many ranges more there are.
    pub more_ranges: u64,
}

/// A range of bytes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RangeReport {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}
