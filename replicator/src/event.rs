//! What happened, for the log and for those who watch: one event a line.

use metadata::GenerationId;
use std::fmt;
use types::{
    ByteRange, ConflictKind, ConnectionState, DiskState, ReplicationState, Role, VolumeId,
};

/// Something that an operator may want to know.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "each variant says what its fields are; `Display` is the line for the log"
)]
pub enum Event {
    /// This node's role changed.
    Role { old: Role, new: Role, cause: String },
    /// The peer's role changed.
    PeerRole { old: Role, new: Role },
    /// The state of the link changed.
    Connection { old: ConnectionState, new: ConnectionState, cause: String },
    /// The state of the local copy changed.
    Disk { volume: VolumeId, old: DiskState, new: DiskState, cause: String },
    /// The state of the peer's copy changed.
    PeerDisk { volume: VolumeId, old: DiskState, new: DiskState },
    /// The state of replication changed.
    Replication { volume: VolumeId, old: ReplicationState, new: ReplicationState, cause: String },
    /// The handshake has decided.
    Verdict { volume: VolumeId, text: String },
    /// A connection was made anew within the session: what was in flight goes on.
    Resumed { volume: VolumeId, resent: u64, answered: u64 },
    /// A new generation of data begins.
    Generation { volume: VolumeId, id: GenerationId, cause: String },
    /// Both nodes have written alone; a policy settles that, or an operator must.
    SplitBrain { volume: VolumeId, settled: bool, text: String },
    /// Two clients wrote the same place at once, one on each node.
    Conflict { volume: VolumeId, local: ByteRange, peer: ByteRange, kind: ConflictKind, won: bool },
    /// A connection was refused, here or by the peer.
    Refused { text: String },
    /// A disk failed.
    DiskFailed { volume: VolumeId, text: String },
    /// A disk could not do something, and is kept.
    DiskError { volume: VolumeId, text: String },
    /// A warning in words.
    Warning { text: String },
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Normal, and frequent.
    Debug,
    /// Normal.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Error,
}

impl Event {
    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Conflict { .. } => Severity::Debug,
            Self::Refused { .. } | Self::DiskError { .. } | Self::Warning { .. } => {
                Severity::Warning
            }
            Self::SplitBrain { settled: true, .. } => Severity::Warning,
            Self::SplitBrain { .. } | Self::DiskFailed { .. } => Severity::Error,
            Self::Role { .. }
            | Self::PeerRole { .. }
            | Self::Connection { .. }
            | Self::Disk { .. }
            | Self::PeerDisk { .. }
            | Self::Replication { .. }
            | Self::Verdict { .. }
            | Self::Resumed { .. }
            | Self::Generation { .. } => Severity::Info,
        }
    }

    /// The volume that it is about, if it is about one.
    pub const fn volume(&self) -> Option<VolumeId> {
        match self {
            Self::Disk { volume, .. }
            | Self::PeerDisk { volume, .. }
            | Self::Replication { volume, .. }
            | Self::Verdict { volume, .. }
            | Self::Resumed { volume, .. }
            | Self::Generation { volume, .. }
            | Self::SplitBrain { volume, .. }
            | Self::Conflict { volume, .. }
            | Self::DiskFailed { volume, .. }
            | Self::DiskError { volume, .. } => Some(*volume),
            Self::Role { .. }
            | Self::PeerRole { .. }
            | Self::Connection { .. }
            | Self::Refused { .. }
            | Self::Warning { .. } => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { old, new, cause } => write!(f, "role {old} -> {new}: {cause}"),
            Self::PeerRole { old, new } => write!(f, "peer role {old} -> {new}"),
            Self::Connection { old, new, cause } => {
                write!(f, "connection {old} -> {new}: {cause}")
            }
            Self::Disk { old, new, cause, .. } => write!(f, "disk {old} -> {new}: {cause}"),
            Self::PeerDisk { old, new, .. } => write!(f, "peer disk {old} -> {new}"),
            Self::Replication { old, new, cause, .. } => {
                write!(f, "replication {old} -> {new}: {cause}")
            }
            Self::Verdict { text, .. } => write!(f, "verdict: {text}"),
            Self::Resumed { resent, answered, .. } => write!(
                f,
                "session resumed: {resent} writes sent again, {answered} answers repeated"
            ),
            Self::Generation { id, cause, .. } => write!(f, "new generation {id}: {cause}"),
            Self::SplitBrain { text, .. } => f.write_str(text),
            Self::Conflict { local, peer, kind, won, .. } => write!(
                f,
                "concurrent writes ({}): here {local}, at the peer {peer}; {} prevails",
                kind.as_str(),
                if *won { "ours" } else { "the peer's" }
            ),
            Self::Refused { text } | Self::Warning { text } => f.write_str(text),
            Self::DiskFailed { text, .. } => write!(f, "disk failed: {text}"),
            Self::DiskError { text, .. } => write!(f, "disk error: {text}"),
        }
    }
}
