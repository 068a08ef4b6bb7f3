//! What an engine is told at construction.

use crate::digest::Digest;
use metadata::Policies;
use std::collections::BTreeMap;
use std::fmt;
use types::{NodeId, Protocol, Span, VolumeId};
use zeroize::Zeroizing;

/// A resource as one node sees it.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The name of the resource; the peer must use the same.
    pub resource: String,
    /// Which of the two nodes this engine is. The lower id is the arbiter.
    pub node: NodeId,
    /// This node's name, for messages to people.
    pub node_name: String,
    /// The other node's name, for messages to people.
    pub peer_name: String,
    /// The volumes, in order; both nodes must have the same.
    pub volumes: Vec<VolumeId>,
    /// Everything that can be tuned.
    pub options: Options,
}

impl EngineConfig {
    /// The id of the other node.
    pub const fn peer(&self) -> NodeId {
        NodeId(1 - self.node.0)
    }

    /// Whether this node breaks ties: the one with the lower id does.
    pub const fn is_arbiter(&self) -> bool {
        self.node.0 == 0
    }
}

/// Options of a resource, with the names and defaults of drbd.conf where it has them.
#[derive(Clone, Debug)]
pub struct Options {
    /// `protocol`: when a write is answered. Anything but C is for one Primary.
    pub protocol: Protocol,
    /// `on-congestion`: what to do when the link cannot keep up.
    pub on_congestion: OnCongestion,
    /// `congestion-fill`: bytes on their way to the peer at which the link counts as congested; zero
    /// switches that check off.
    pub congestion_fill: u64,
    /// `congestion-extents`: so many extents with writes on their way count as congestion, too.
    pub congestion_extents: u32,
    /// `allow-two-primaries`: both nodes may be Primary at once.
    pub allow_two_primaries: bool,
    /// `shared-secret`: proves to each node that the other knows it.
    pub shared_secret: Option<Secret>,
    /// `timeout`: how long a lost peer may take to come back before this node goes on alone; and,
    /// times [`Self::ko_count`], how long a write may stay unanswered by the peer.
    pub timeout: Span,
    /// `ko-count`: see [`Self::timeout`]; zero switches that check off.
    pub ko_count: u32,
    /// `ping-int`: after so long without a word from the peer it is asked for one.
    pub ping_int: Span,
    /// `ping-timeout`: how long the answer may take.
    pub ping_timeout: Span,
    /// `connect-int`: the longest pause between two attempts to connect.
    pub connect_int: Span,
    /// Options that must have the same value on both nodes, by name; a difference is refused at
    /// the handshake with both values shown.
    pub must_match: BTreeMap<String, String>,
    /// A receiver makes the peer's writes durable by itself after so long.
    pub flush_interval: Span,
    /// So many bytes of writes at most are under way to the peer or not known durable there (or
    /// one write, if that is larger): what a lost peer turns into marks stays bounded. A receiver
    /// makes the peer's writes durable by itself after half of it.
    pub flush_bytes: u64,
    /// `max-buffers`: how many bytes a resync target asks for ahead, at most.
    pub resync_window: u64,
    /// The largest single resync request in bytes; a multiple of the block size.
    pub resync_request: u64,
    /// `csums-alg`: how a resync finds out what is the same already; nothing: it copies all.
    pub csums_alg: Option<Digest>,
    /// `csums-after-crash-only`: only after the crash of a Primary.
    pub csums_after_crash_only: bool,
    /// `verify-alg`: how the copies are compared; nothing: verify is refused.
    pub verify_alg: Option<Digest>,
    /// `verify-interval`: so long after the last verify of a whole volume the arbiter begins the next
    /// by itself; nothing: never.
    pub verify_interval: Option<Span>,
    /// `on-io-error`: what becomes of a disk that could not do what it was asked for.
    pub on_io_error: OnIoError,
    /// `on-no-data-accessible`: what becomes of requests that no good copy can serve.
    pub on_no_data_accessible: OnNoData,
    /// `after-sb-0pri`, `after-sb-1pri`, `after-sb-2pri`, `always-asbp`.
    pub after_sb: Policies,
    /// `rr-conflict`: what to do when a resync would have a Primary with good data as its target.
    pub rr_conflict: RrConflict,
    /// `fencing`: what a Primary does before it goes on without its peer.
    pub fencing: Fencing,
    /// A handler `before-resync-target` is configured: it runs before a resync to here begins, and
    /// may forbid it.
    pub prepares_resync: bool,
    /// What is set for single volumes; those that are not named have the default.
    pub volumes: BTreeMap<VolumeId, VolumeOptions>,
}

/// What is set for a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    /// How fast its resync goes.
    pub pace: Pace,
    /// `disk-timeout`: a disk that has not answered for so long has failed; zero switches that off.
    /// What it was given may still be written later.
    pub disk_timeout: Span,
    /// `read-balancing`.
    pub read_balancing: ReadBalancing,
    /// `size`: of the disk not more bytes than that are used; zero: all of them.
    pub size: u64,
}

/// Which of the two copies serves a read, if both can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBalancing {
    /// The one here.
    #[default]
    PreferLocal,
    /// The peer's.
    PreferRemote,
    /// In turn.
    RoundRobin,
    /// The one that has fewer requests to do.
    LeastPending,
    /// The peer's, while the disk here has much to do.
    WhenCongestedRemote,
    /// By stripes of so many bytes, the even ones here.
    Striping(u64),
}

/// How fast a resync goes; see `engine/pace.rs`. Rates are bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `c-plan-ahead`: a fifth of it is the shortest time between two changes of the pace; zero
    /// switches the controller off.
    pub plan_ahead: Span,
    /// `resync-rate`: the rate without the controller.
    pub rate: u64,
    /// `c-delay-target`: no more is in flight than what arrives within this time, if
    /// [`Self::fill_target`] is zero.
    pub delay_target: Span,
    /// `c-fill-target`: so many bytes are in flight at most; zero if that is not said.
    pub fill_target: u64,
    /// `c-max-rate`: never more; zero is no bound.
    pub max_rate: u64,
    /// `c-min-rate`: never less on account of clients' requests; zero if they are not looked at.
    pub min_rate: u64,
}

impl Pace {
    /// As fast as possible, and not at the expense of clients.
    pub const DEFAULT: Self = Self {
        plan_ahead: Span::secs(2),
        rate: 250 << 10,
        delay_target: Span::secs(1),
        fill_target: 0,
        max_rate: 0,
        min_rate: 250 << 10,
    };
}

impl Default for Pace {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Options {
    /// How fast the resync of that volume goes.
    pub fn pace_of(&self, volume: VolumeId) -> &Pace {
        self.volumes.get(&volume).map_or(&Pace::DEFAULT, |of| &of.pace)
    }

    /// What is set for that volume.
    pub fn of_volume(&self, volume: VolumeId) -> VolumeOptions {
        self.volumes.get(&volume).copied().unwrap_or_default()
    }
}

/// What becomes of a disk that could not do what it was asked for. An error of a flush or of the
/// metadata always detaches: nothing can be promised any more; and so does an error of what a
/// resync writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnIoError {
    /// The disk is let go; the node goes on through its peer.
    #[default]
    Detach,
    /// The disk stays. What the peer has too is answered, and the place is marked; a copy that
    /// lacks a write is Inconsistent until it is synchronised. What the peer has not is answered
    /// with the error.
    PassOn,
    /// As [`Self::Detach`]; the driver runs the handler `local-io-error` too.
    CallLocalIoError,
}

/// What to do when the link cannot keep up with the writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCongestion {
    /// Writes wait.
    #[default]
    Block,
    /// Writes are answered without the peer, which is Behind, and copied later. With protocol A only.
    PullAhead,
    /// The peer is left; this node stands alone.
    Disconnect,
}

/// What becomes of requests that no good copy can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoData {
    /// They are answered with an error.
    #[default]
    IoError,
    /// They wait until there is data again.
    SuspendIo,
}

/// What to do when a resync would have a Primary as its target whose copy is good. (A Primary whose
/// device nobody has had open since the peer was lost gives the role up first.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RrConflict {
    /// The nodes do not connect; both stand alone.
    #[default]
    Disconnect,
    /// It becomes the target all the same, under its clients.
    Violently,
    /// As [`Self::Disconnect`], and the handler `pri-lost` runs there.
    CallPriLost,
    /// The nodes do not connect now, and try again.
    RetryConnect,
}

/// What a Primary does before it goes on without its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// Nothing.
    #[default]
    DontCare,
    /// It runs the handler `fence-peer`, and goes on meanwhile.
    ResourceOnly,
    /// It freezes I/O, runs the handler `fence-peer`, and goes on when that says that the peer
    /// cannot go on, too.
    ResourceAndStonith,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            protocol: Protocol::C,
            on_congestion: OnCongestion::default(),
            congestion_fill: 0,
            congestion_extents: 1237,
            allow_two_primaries: false,
            shared_secret: None,
            timeout: Span::secs(6),
            ko_count: 7,
            ping_int: Span::secs(10),
            ping_timeout: Span::millis(500),
            connect_int: Span::secs(10),
            must_match: BTreeMap::new(),
            flush_interval: Span::secs(1),
            flush_bytes: 64 << 20,
            resync_window: 8 << 20,
            resync_request: 1 << 20,
            csums_alg: None,
            csums_after_crash_only: false,
            verify_alg: None,
            verify_interval: None,
            on_io_error: OnIoError::default(),
            on_no_data_accessible: OnNoData::default(),
            after_sb: Policies::default(),
            rr_conflict: RrConflict::default(),
            fencing: Fencing::default(),
            prepares_resync: false,
            volumes: BTreeMap::new(),
        }
    }
}

/// A shared secret: never printed, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The secret of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
