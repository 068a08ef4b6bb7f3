//! A picture of an engine, for status output and metrics.

use metadata::{Flags, Generations};
use types::{ConflictCounts, ConnectionState, DiskState, ReplicationState, Role, Time, VolumeId};

/// A resource at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node's role.
    pub role: Role,
    /// The peer's role.
    pub peer_role: Role,
    /// The link.
    pub connection: ConnectionState,
    /// Whether the verdict with the peer is taken and every volume replicates or resyncs.
    pub established: bool,
    /// Both nodes have written alone: what the handshake found, in words, until a later handshake
    /// finds otherwise.
    pub split_brain: Option<String>,
    /// Why the last connection was refused, if it was.
    pub last_refusal: Option<String>,
    /// How often a connection was refused for what only an operator can change: settings, secrets,
    /// releases that differ. It is tried again all the same.
    pub lasting_refusals: u64,
    /// How often a session was resumed.
    pub resumed: u64,
    /// Each volume, in order.
    pub volumes: Vec<VolumeStatus>,
}

/// A volume at one moment.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    /// Its number.
    pub id: VolumeId,
    /// The local copy.
    pub disk: DiskState,
    /// The peer's copy.
    pub peer_disk: DiskState,
    /// Replication.
    pub replication: ReplicationState,
    /// Bytes that clients see; zero as long as nobody knows.
    pub size_bytes: u64,
    /// How many blocks of 4 KiB are marked out-of-sync.
    pub out_of_sync_blocks: u64,
    /// The identifiers of the local copy, when there is one.
    pub generations: Option<Generations>,
    /// The flags of the local copy, when there is one.
    pub flags: Option<Flags>,
    /// How many clients have it open.
    pub clients: u32,
    /// The running resync.
    pub resync: Option<ResyncStatus>,
    /// Why a resync stands still, or would.
    pub pauses: Pauses,
    /// Bytes that the running or last resync has carried, to or from the peer.
    pub resync_bytes: u64,
    /// The running verify.
    pub verify: Option<VerifyStatus>,
    /// How the last verify ended that this node had part in, since the engine was made.
    pub verify_report: Option<VerifyReport>,
    /// When a verify of the whole volume last ended, as the local metadata say.
    pub last_verify: Option<Time>,
    /// Writes that the peer has answered and that are not known durable there.
    pub undurable_writes: u64,
    /// Their bytes.
    pub undurable_bytes: u64,
    /// Why I/O stands still, if it does.
    pub suspended: Suspended,
    /// What was counted.
    pub counters: Counters,
}

/// Why I/O stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspended {
    /// By order.
    pub by_user: bool,
    /// No good copy can be reached (`on-no-data-accessible suspend-io`).
    pub no_data: bool,
    /// It is not known what the lost peer does (`fencing resource-and-stonith`).
    pub fencing: bool,
}

impl Suspended {
    /// Whether there is a reason.
    pub const fn any(self) -> bool {
        self.by_user || self.no_data || self.fencing
    }
}

/// Why a resync stands still, or would if one were running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// By order here.
    pub user: bool,
    /// Others come first here.
    pub dependency: bool,
    /// By order at the peer.
    pub peer_user: bool,
    /// Others come first at the peer.
    pub peer_dependency: bool,
}

impl Pauses {
    /// Whether there is a cause.
    pub const fn any(self) -> bool {
        self.user || self.dependency || self.peer_user || self.peer_dependency
    }
}

/// A resync at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncStatus {
    /// When it started.
    pub started: Time,
    /// Blocks that it began with.
    pub total_blocks: u64,
    /// Blocks still to go.
    pub left_blocks: u64,
}

/// A verify at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyStatus {
    /// This node was asked to verify, and drives it.
    pub requester: bool,
    /// When it started.
    pub started: Time,
    /// Blocks that it compares.
    pub total_blocks: u64,
    /// Blocks still to go.
    pub left_blocks: u64,
    /// Blocks that differ, so far.
    pub found_blocks: u64,
}

/// A verify that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// This node drove it.
    pub requester: bool,
    /// When it started.
    pub started: Time,
    /// When it ended.
    pub ended: Time,
    /// It has compared all that it was to compare.
    pub complete: bool,
    /// Everything before this sector has been compared: known by who drove it.
    pub position_sector: Option<u64>,
    /// Blocks that were compared.
    pub compared_blocks: u64,
    /// Blocks that differed.
    pub found_blocks: u64,
    /// Why it is not complete, and what else there is to say.
    pub text: String,
}

/// Numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from the local disk for clients and the peer.
    pub read_bytes: u64,
    /// Bytes written to the local disk.
    pub written_bytes: u64,
    /// Bytes of payload sent to the peer.
    pub sent_bytes: u64,
    /// Bytes of payload received from the peer.
    pub received_bytes: u64,
    /// Activity-log transactions.
    pub al_writes: u64,
    /// Pieces of writes that found their extent hot.
    pub al_hits: u64,
    /// Pieces of writes that had to wait for a transaction.
    pub al_misses: u64,
    /// Reads that the local disk could not do.
    pub read_errors: u64,
    /// Writes that the local disk could not do, and that did not cost the disk.
    pub write_errors: u64,
    /// Blocks that the disk could not read and that were written anew from the peer's copy.
    pub repaired_blocks: u64,
    /// Bitmap pages written.
    pub bm_writes: u64,
    /// Writes of the peer that were concurrent with ours, which prevailed: each counts once, by how
    /// our first such write lies to it.
    pub conflicts_won: ConflictCounts,
    /// Writes of ours that were concurrent with the peer's, which prevailed: each counts once, by
    /// how it lies to the peer's first such write.
    pub conflicts_lost: ConflictCounts,
    /// Writes of this node's clients that the peer answered as superseded.
    pub superseded: u64,
    /// Requests of clients not yet answered.
    pub upper_pending: u64,
    /// Writes sent to the peer and not yet answered.
    pub pending: u64,
    /// Writes received from the peer and not yet answered.
    pub unacked: u64,
}
