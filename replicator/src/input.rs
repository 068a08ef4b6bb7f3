//! What an engine is told: every input that can move it.

use crate::effect::DeviceSizes;
use crate::options::Options;
use crate::wire::Message;
use bytes::Bytes;
use metadata::Recovered;
use types::{ByteRange, Span, VolumeId};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

number! {
    /// A client's request: chosen by the driver, unique for the life of the engine.
    RequestId
}
number! {
    /// A client's connection: chosen by the driver, unique for the life of the engine.
    ClientId
}
number! {
    /// An operation on a data disk: chosen by the engine.
    DiskOpId
}
number! {
    /// A batch of metadata writes: chosen by the engine.
    MetaOpId
}
number! {
    /// A connection to the peer: chosen by the driver, larger for each new one, outgoing or
    /// accepted. Whatever carries the number of a link that is over is ignored.
    LinkEpoch
}
number! {
    /// An operator's command: chosen by the driver.
    CommandId
}
number! {
    /// A run of a handler: chosen by the engine.
    HandlerId
}

/// Everything that can happen to an engine.
#[derive(Debug)]
pub enum Input {
    /// A client opened the device of a volume (it keeps `secondary` from being granted).
    ClientOpened {
        /// The client's connection.
        client: ClientId,
        /// The volume it opened.
        volume: VolumeId,
    },
    /// A client's connection is over. What it asked for and was not yet started is dropped;
    /// started work goes on to its end, and its answer goes nowhere.
    ClientClosed {
        /// The client's connection.
        client: ClientId,
    },
    /// A client asks for something.
    Request {
        /// Under this id the answer will come, exactly once (unless the client is closed).
        id: RequestId,
        /// The client's connection.
        client: ClientId,
        /// The volume.
        volume: VolumeId,
        /// What is asked.
        op: ClientOp,
    },
    /// A disk operation has ended. The bytes are those of a read, or a map as
    /// [`StatusMap::encode`](types::StatusMap::encode) makes it; empty otherwise.
    DiskDone {
        /// Which.
        id: DiskOpId,
        /// How.
        result: Result<Bytes, DiskError>,
    },
    /// A metadata batch is durable, or has failed.
    MetaDone {
        /// Which.
        id: MetaOpId,
        /// How.
        result: Result<(), DiskError>,
    },
    /// The devices of a disk have been looked at, as
    /// [`Effect::MeasureDisk`](crate::Effect::MeasureDisk) asked for.
    DiskMeasured {
        /// The volume.
        volume: VolumeId,
        /// How large they are now, or why that cannot be told.
        sizes: Result<DeviceSizes, String>,
    },
    /// A connection to the peer's address stands: ours if `initiated`, else accepted.
    LinkUp {
        /// Its number from now on.
        epoch: LinkEpoch,
        /// Whether this node dialled.
        initiated: bool,
    },
    /// The attempt that [`Effect::Connect`](crate::Effect::Connect) asked for has failed.
    ConnectFailed {
        /// Whether the peer's machine said that nobody listens there: then its daemon does not
        /// run, and nothing of the session can be left.
        refused: bool,
    },
    /// A message came in.
    Message {
        /// By which link.
        epoch: LinkEpoch,
        /// The message.
        message: Message,
    },
    /// Bytes of a message came in, or a backlog of outgoing bytes moved: the peer is alive though
    /// no whole message has come yet. A driver need not say it more often than ten times a second.
    LinkProgress {
        /// By which link.
        epoch: LinkEpoch,
    },
    /// A link is over.
    LinkDown {
        /// Which.
        epoch: LinkEpoch,
        /// Why.
        cause: LinkDownCause,
    },
    /// A handler has ended.
    HandlerDone {
        /// Which.
        id: HandlerId,
        /// Its exit code; nothing if it could not be run, took too long, or was killed.
        exit: Option<i32>,
    },
    /// Time has passed: [`Engine::next_deadline`](crate::Engine::next_deadline) has come.
    Timer,
    /// An operator orders something.
    Command {
        /// Under this id the answer will come, exactly once.
        id: CommandId,
        /// The order.
        command: Command,
    },
}

/// What a client can ask of a volume. Ranges lie within the volume; the driver has checked that.
#[derive(Clone, Debug)]
pub enum ClientOp {
    /// Read these bytes.
    Read(ByteRange),
    /// Write these bytes.
    Write {
        /// Where; its length is that of `data`.
        range: ByteRange,
        /// What.
        data: Bytes,
        /// Answer only when this write is durable.
        fua: bool,
    },
    /// Make these bytes zero. A trim is this with `unmap`.
    Zero {
        /// Where.
        range: ByteRange,
        /// Whether the space may be given back.
        unmap: bool,
        /// Answer only when it is durable.
        fua: bool,
    },
    /// Make every write durable that was answered, on either node, before this.
    Flush,
    /// Say which of these bytes are data and which read as zeros, by the local disk: a
    /// [`StatusMap`](types::StatusMap) of the flags `HOLE` and `ZERO`, which may end before the
    /// range does. What is said to be zeros is as true as if it had been read; what is said to be
    /// data may be zeros too, and what is not good here is always said to be.
    Allocation(ByteRange),
    /// Say which of these bytes are marked as out-of-sync: a [`StatusMap`](types::StatusMap) of the
    /// flag `OUT_OF_SYNC`, by blocks of 4 KiB. All of them without a local disk, for this node
    /// lacks them. What is only in flight, or in a hot extent of the activity log, does not count.
    /// Answered at once, also while I/O is suspended.
    OutOfSync(ByteRange),
}

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDownCause {
    /// The connection was closed or reset.
    Closed,
    /// The peer sent what is not the protocol.
    Protocol,
}

/// Why a disk operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The device reported an error.
    Io(String),
    /// There is no room on the device.
    NoSpace,
}

impl std::fmt::Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(text) => f.write_str(text),
            Self::NoSpace => f.write_str("no space left on the device"),
        }
    }
}

/// What an operator can order. Each is answered by
/// [`Effect::CommandDone`](crate::Effect::CommandDone).
#[derive(Debug)]
pub enum Command {
    /// Take a disk into service. The driver has made `recovered.plan` durable.
    Attach {
        /// The volume.
        volume: VolumeId,
        /// Its metadata as found and recovered.
        recovered: Box<Recovered>,
        /// The smallest unit that the disk writes without reading around it, in bytes: 1, 512 or
        /// 4096. Writes that share a unit are never in flight together.
        granule: u64,
        /// `al-updates`: keep an activity log. Without it a crash of a Primary marks the whole disk.
        al_updates: bool,
    },
    /// Let a disk go, in order.
    Detach {
        /// The volume.
        volume: VolumeId,
    },
    /// Seek the peer.
    Connect {
        /// After a split brain: what was written here since may be thrown away, if the peer's
        /// operator wants it so, too.
        discard_my_data: bool,
    },
    /// Ask the peer what it has, without joining it; answered by
    /// [`Effect::Inspected`](crate::Effect::Inspected) first.
    Inspect,
    /// Take the local copies for Outdated from now on. Only without the peer.
    Outdate,
    /// Answer nothing and begin nothing more for clients.
    SuspendIo,
    /// Go on after [`Self::SuspendIo`]; and, if I/O is suspended for another reason, go on all the
    /// same.
    ResumeIo,
    /// A resync of this volume is to stand still, or is not to for that cause any more.
    PauseSync {
        /// The volume.
        volume: VolumeId,
        /// On whose behalf.
        cause: PauseCause,
        /// Whether it is to stand still.
        on: bool,
    },
    /// Give the local copy up, and copy it anew from the peer. Without a connection, when there is
    /// one again.
    Invalidate {
        /// The volume.
        volume: VolumeId,
        /// Copy only what is marked as out-of-sync, and not all of it.
        keep_marks: bool,
    },
    /// Have the peer do that with its copy.
    InvalidateRemote {
        /// The volume.
        volume: VolumeId,
        /// Copy only what is marked as out-of-sync, and not all of it.
        keep_marks: bool,
    },
    /// Begin a new generation; only without the peer.
    NewCurrentUuid {
        /// The volume.
        volume: VolumeId,
        /// With the peer, and only between two disks that were just created: they hold the same,
        /// and the first resync is left out.
        clear_bitmap: bool,
    },
    /// Say good-bye to the peer and stand alone.
    Disconnect,
    /// Take other options from now on, all of them or, if one cannot be changed now, none.
    Reconfigure(Box<Reconfigure>),
    /// Compare the copies of a volume, while both are written to.
    Verify {
        /// The volume.
        volume: VolumeId,
        /// The first sector.
        start: u64,
        /// The sector behind the last; without it, all there are.
        stop: Option<u64>,
    },
    /// End a verify. Nothing to do if none runs.
    CancelVerify {
        /// The volume.
        volume: VolumeId,
    },
    /// Become Primary.
    Promote {
        /// Take the local disk as UpToDate if no UpToDate copy can be reached.
        force: bool,
    },
    /// Become Secondary.
    Demote,
    /// Make a volume as large as its disks have room for, on both nodes.
    Resize(Resize),
    /// End in order: drain, flush, clean the logs, say good-bye, let the disks go. The engine
    /// takes no further command; when this is answered it can be dropped.
    Stop,
}

/// Why a resync is to stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// `pause-sync`.
    User,
    /// Others come first: `resync-after`, or a bound on how many run at once.
    Dependency,
}

/// How a volume is to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// The volume.
    pub volume: VolumeId,
    /// Its new size in bytes; all that both disks have room for if not given.
    pub size: Option<u64>,
    /// What is new is equal on both disks: it is not copied.
    pub assume_clean: bool,
    /// Grow it here without the peer, who takes the size when it is back.
    pub assume_peer_has_space: bool,
}

/// What of an [`EngineConfig`](crate::EngineConfig) can change while the engine lives.
#[derive(Clone, Debug)]
pub struct Reconfigure {
    /// This node's name, for messages to people.
    pub node_name: String,
    /// The other node's name, for messages to people.
    pub peer_name: String,
    /// Everything that can be tuned.
    pub options: Options,
}

/// How long an orderly end may wait for what is in flight before the driver gives up on it.
pub const STOP_PATIENCE: Span = Span::secs(30);
