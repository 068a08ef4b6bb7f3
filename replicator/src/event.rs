//! What happened, for the log and for those who watch: one event a line.

use crate::status::VerifyReport;
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
    /// Internal metadata are about to be moved from where they end to where they will end: from now
    /// on they may be at either.
    Moving { volume: VolumeId, from: u64, to: u64 },
    /// There is more room: internal metadata were moved to the end of a device that has grown. They
    /// end there, and are to be found there from now on.
    Moved { volume: VolumeId, room: u64, end: u64 },
    /// The volume has grown.
    Resized { volume: VolumeId, old: u64, new: u64 },
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
    /// Verify has found that the copies differ there.
    Differs { volume: VolumeId, range: ByteRange },
    /// A verify has ended.
    Verified { volume: VolumeId, report: Box<VerifyReport> },
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
    pub fn severity(&self) -> Severity {
        match self {
            Self::Conflict { .. } => Severity::Debug,
            Self::Refused { .. } | Self::DiskError { .. } | Self::Warning { .. } => {
                Severity::Warning
            }
            Self::SplitBrain { settled: true, .. } => Severity::Warning,
            Self::SplitBrain { .. } | Self::DiskFailed { .. } | Self::Differs { .. } => {
                Severity::Error
            }
            Self::Verified { report, .. } if report.found_blocks > 0 => Severity::Error,
            Self::Verified { report, .. } if !report.complete => Severity::Warning,
            Self::Role { .. }
            | Self::PeerRole { .. }
            | Self::Connection { .. }
            | Self::Disk { .. }
            | Self::PeerDisk { .. }
            | Self::Replication { .. }
            | Self::Verdict { .. }
            | Self::Resumed { .. }
            | Self::Generation { .. }
            | Self::Moving { .. }
            | Self::Moved { .. }
            | Self::Resized { .. }
            | Self::Verified { .. } => Severity::Info,
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
            | Self::Moving { volume, .. }
            | Self::Moved { volume, .. }
            | Self::Resized { volume, .. }
            | Self::SplitBrain { volume, .. }
            | Self::Conflict { volume, .. }
            | Self::DiskFailed { volume, .. }
            | Self::DiskError { volume, .. }
            | Self::Differs { volume, .. }
            | Self::Verified { volume, .. } => Some(*volume),
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
            Self::Moved { room, .. } => {
                write!(f, "the device has grown and has room for {room} bytes")
            }
            Self::Moving { from, to, .. } => {
                write!(f, "the device has grown: its metadata move from byte {from} to {to}")
            }
            Self::Resized { old, new, .. } => write!(f, "size {old} -> {new} bytes"),
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
            Self::Differs { range, .. } => {
                write!(f, "verify: the copies differ at {range}; marked out-of-sync")
            }
            Self::Verified { report, .. } => report.fmt(f),
        }
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { complete, compared_blocks, found_blocks, text, .. } = self;
        let end = if *complete { "done" } else { "not finished" };
        write!(f, "verify {end}: {compared_blocks} blocks compared, {found_blocks} differ")?;
        if !text.is_empty() {
            write!(f, "; {text}")?;
        }
        match self.position_sector {
            Some(sector) if !*complete => write!(f, "; go on with --start {sector}"),
            _ => Ok(()),
        }
    }
}
