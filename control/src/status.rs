//! A picture of a resource, for everything that `repadm` prints.
//!
//! It mirrors the engine's status in plain numbers and words: sizes in bytes, times in
//! milliseconds since the Unix epoch, identifiers as hexadecimal text.

use crate::VerifyOutcome;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use types::{
    ConflictCounts, ConnectionState, DiskState, Ledger, NodeId, Protocol, ReplicationState, Role,
    VolumeId,
};

/// A resource at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResourceStatus {
    /// Its name.
    pub name: String,
    /// This node's id.
    pub node_id: NodeId,
    /// This node's name, as in the configuration.
    pub node_name: String,
    /// This node's role.
    pub role: Role,
    /// The role that a restarted daemon would take again.
    pub intended_role: Role,
    /// Whether the daemon is still bringing it up after a restart.
    pub restoring: bool,
    /// When a write is answered.
    pub protocol: Protocol,
    /// Whether both nodes may be Primary.
    pub allow_two_primaries: bool,
    /// Where this node listens for its peer.
    pub address: SocketAddr,
    /// Connections from strangers that were refused.
    pub strangers_refused: u64,
    /// The other node, and the link to it.
    pub peer: PeerStatus,
    /// Both nodes have written alone: what the handshake found, in words.
    pub split_brain: Option<String>,
    /// Why the last connection was refused, if it was.
    pub last_refusal: Option<String>,
    /// How often a session was resumed.
    pub resumed: u64,
    /// Its volumes, by number.
    pub volumes: Vec<VolumeStatus>,
}

/// The other node at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PeerStatus {
    /// Its name, as in the configuration.
    pub name: String,
    /// Its id.
    pub node_id: NodeId,
    /// Its address.
    pub address: SocketAddr,
    /// Its role, as far as is known.
    pub role: Role,
    /// The link to it.
    pub connection: ConnectionState,
    /// The verdict is taken and every volume replicates or resyncs.
    pub established: bool,
}

/// A volume at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VolumeStatus {
    /// Its number.
    pub volume: VolumeId,
    /// The path under which clients expect it, for instance `/dev/drbd1`.
    pub device: Option<String>,
    /// The minor number of that path, if it has one.
    pub minor: Option<u32>,
    /// The disk of the configuration; nothing if this node has no copy.
    pub disk_path: Option<PathBuf>,
    /// Where the metadata are, if not at the end of that disk.
    pub meta_disk_path: Option<PathBuf>,
    /// How the disk is accessed, for instance `io_uring`; nothing if it is not attached.
    pub backend: Option<String>,
    /// The local copy.
    pub disk: DiskState,
    /// The peer's copy.
    pub peer_disk: DiskState,
    /// Replication.
    pub replication: ReplicationState,
    /// Bytes that clients see; zero as long as nobody knows.
    pub size_bytes: u64,
    /// Blocks of 4 KiB that are marked out-of-sync.
    pub out_of_sync_blocks: u64,
    /// Writes that the peer has answered and that are not known durable there.
    pub undurable_writes: u64,
    /// Their bytes.
    pub undurable_bytes: u64,
    /// Why I/O stands still, if it does.
    pub suspended: Suspended,
    /// The name of its export.
    pub export: String,
    /// URIs under which clients reach it.
    pub nbd_uris: Vec<String>,
    /// Who has it open.
    pub clients: Vec<ClientStatus>,
    /// The running resync, or verify.
    pub resync: Option<ResyncProgress>,
    /// Why a resync stands still, or would.
    #[serde(default)]
    pub resync_suspended: ResyncSuspended,
    /// Bytes that the running or last resync has carried.
    pub resync_bytes: u64,
    /// How the last verify ended, since the resource came up.
    pub verify: Option<VerifyOutcome>,
    /// When a verify of the whole volume last ended, in milliseconds since the Unix epoch.
    pub last_verify: Option<u64>,
    /// The generations of the local copy.
    pub generations: Option<GenerationsStatus>,
    /// The flags of the local copy.
    pub flags: Option<FlagStatus>,
    /// What was counted.
    pub counters: Counters,
    /// Where the time of requests went.
    #[serde(default)]
    pub ledger: Ledger,
}

/// Why I/O stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suspended {
    /// `suspend-io`.
    pub user: bool,
    /// No good copy can be reached (`on-no-data-accessible suspend-io`).
    pub no_data: bool,
    /// The lost peer is not known to stand still (`fencing resource-and-stonith`).
    pub fencing: bool,
}

impl Suspended {
    /// Whether there is a reason.
    pub const fn any(self) -> bool {
        self.user || self.no_data || self.fencing
    }
}

/// Why a resync stands still, or would if one were running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResyncSuspended {
    /// `pause-sync` here.
    pub user: bool,
    /// Something at the peer wants it.
    pub peer: bool,
    /// Others come first here.
    pub dependency: bool,
}

impl ResyncSuspended {
    /// In the words of DRBD 9: `no`, or the causes.
    pub fn words(self) -> String {
        let causes = [("user", self.user), ("peer", self.peer), ("dependency", self.dependency)];
        let words: Vec<&str> = causes.iter().filter(|(_, so)| *so).map(|(word, _)| *word).collect();
        if words.is_empty() { "no".to_owned() } else { words.join(",") }
    }
}

/// Who has a volume open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientStatus {
    /// What is known of its other end: an address, or the process behind a Unix socket.
    pub peer: String,
    /// The name of the export that it opened.
    pub export: String,
    /// When it did, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests done.
    pub requests: u64,
}

/// A resync at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResyncProgress {
    /// When it started, in milliseconds since the Unix epoch.
    pub started: u64,
    /// How long it has run, in milliseconds.
    pub elapsed_ms: u64,
    /// Blocks of 4 KiB that it began with.
    pub total_blocks: u64,
    /// Blocks still to go.
    pub left_blocks: u64,
    /// How much is done, 0 to 100.
    pub percent: f64,
    /// Bytes a second since it began.
    pub bytes_per_second: u64,
    /// Seconds still to go at that speed, if it has any.
    pub seconds_left: Option<u64>,
}

impl ResyncProgress {
    /// The picture of a resync that began with `total_blocks` and has `left_blocks` to go.
    pub fn new(started: u64, now: u64, total_blocks: u64, left_blocks: u64) -> Self {
        const BLOCK: u64 = types::BLOCK_BYTES;
        let elapsed_ms = now.saturating_sub(started);
        let done = total_blocks.saturating_sub(left_blocks);
        let percent = match total_blocks {
            0 => 100.0,
            total => done as f64 * 100.0 / total as f64,
        };
        let speed = (done.saturating_mul(BLOCK)).saturating_mul(1000) / elapsed_ms.max(1);
        let left = left_blocks.saturating_mul(BLOCK);
        Self {
            started,
            elapsed_ms,
            total_blocks,
            left_blocks,
            percent,
            bytes_per_second: speed,
            seconds_left: (speed > 0).then(|| left.div_ceil(speed)),
        }
    }
}

/// The generations that a copy knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationsStatus {
    /// What the data is now.
    pub current: GenerationStatus,
    /// What the peer last had in full; nothing if it has what is current.
    pub bitmap: Option<GenerationStatus>,
    /// Former ones, newest first.
    pub history: Vec<GenerationStatus>,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationStatus {
    /// 16 hexadecimal digits.
    pub id: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub born: u64,
    /// Why it began.
    pub cause: String,
    /// The node that began it.
    pub node: NodeId,
    /// The first write without the peer, in milliseconds since the Unix epoch.
    pub first_solo: Option<u64>,
    /// The last such write.
    pub last_solo: Option<u64>,
}

/// The flags of a copy, as its metadata has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlagStatus {
    /// Not in the middle of a resync.
    pub consistent: bool,
    /// It was the newest data when it was last known.
    pub was_up_to_date: bool,
    /// This node is Primary.
    pub primary: bool,
    /// This node ended as a Primary without an orderly end.
    pub crashed_primary: bool,
    /// The peer is known to be outdated.
    pub peer_outdated: bool,
    /// Everything must be copied.
    pub full_sync: bool,
    /// No activity log is kept.
    pub al_disabled: bool,
}

/// Numbers that only grow, and three that do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counters {
    /// Bytes read from the local disk.
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
    /// Blocks that the disk could not read, written anew from the peer's copy.
    pub repaired_blocks: u64,
    /// Bitmap pages written.
    pub bm_writes: u64,
    /// Concurrent writes in which this node's prevailed.
    pub conflicts_won: ConflictCounts,
    /// Concurrent writes in which the peer's prevailed.
    pub conflicts_lost: ConflictCounts,
    /// Writes of this node that the peer answered as superseded.
    pub superseded: u64,
    /// Requests of clients not yet answered.
    pub upper_pending: u64,
    /// Operations in flight on the local disk.
    pub lower_pending: u64,
    /// Writes sent to the peer and not yet answered.
    pub pending: u64,
    /// Writes received from the peer and not yet answered.
    pub unacked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_bounded_whatever_the_numbers() {
        let half = ResyncProgress::new(1000, 3000, 1000, 500);
        assert_eq!((half.percent, half.bytes_per_second), (50.0, 500 * 4096 / 2));
        assert_eq!(half.seconds_left, Some(2));
        let grown = ResyncProgress::new(1000, 1000, 10, 20);
        assert_eq!((grown.percent, grown.seconds_left), (0.0, None));
        assert_eq!(ResyncProgress::new(5, 5, 0, 0).percent, 100.0);
        ResyncProgress::new(0, u64::MAX, u64::MAX, 0);
    }
}
