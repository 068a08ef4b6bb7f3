//! What an engine wants done.

use crate::event::Event;
use crate::handler::Handler;
use crate::input::{CommandId, DiskOpId, HandlerId, LinkEpoch, MetaOpId, RequestId};
use crate::inspection::Inspection;
use crate::wire::Message;
use bytes::Bytes;
use metadata::Batch;
use types::{ByteRange, VolumeId};

/// The list that [`Engine::step`](crate::Engine::step) fills, in the order in which the effects
/// are to be started.
pub type Effects = Vec<Effect>;

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Start an operation on the data disk of a volume; operations in flight may end in any order.
    Disk {
        /// The volume.
        volume: VolumeId,
        /// Answered by [`Input::DiskDone`](crate::Input::DiskDone).
        id: DiskOpId,
        /// What.
        op: DiskOp,
    },
    /// Write a batch of metadata, then flush; answered by
    /// [`Input::MetaDone`](crate::Input::MetaDone) when durable.
    Meta {
        /// The volume.
        volume: VolumeId,
        /// Its answer's id.
        id: MetaOpId,
        /// The writes, in absolute offsets of the metadata device.
        batch: Batch,
    },
    /// Dial the peer once: [`Input::LinkUp`](crate::Input::LinkUp) or
    /// [`Input::ConnectFailed`](crate::Input::ConnectFailed) answers. Never two at a time.
    Connect,
    /// Queue a message on a link. Messages of one link arrive in this order or not at all.
    Send {
        /// Which link.
        epoch: LinkEpoch,
        /// The message.
        message: Message,
    },
    /// Close a link once what is queued on it has been sent (bounded by the driver, a second at
    /// most). Nothing that still comes in by it matters; no `LinkDown` need follow.
    CloseLink {
        /// Which link.
        epoch: LinkEpoch,
    },
    /// Answer a client. The bytes are those of a read, or a map as
    /// [`StatusMap::encode`](types::StatusMap::encode) makes it; empty otherwise.
    Complete {
        /// Which request.
        id: RequestId,
        /// How it ended.
        result: Result<Bytes, IoError>,
    },
    /// Answer an operator.
    CommandDone {
        /// Which command.
        id: CommandId,
        /// How it ended.
        result: Result<(), Refusal>,
    },
    /// What was asked for with [`Command::Inspect`](crate::Command::Inspect).
    Inspected(Box<Inspection>),
    /// Run a handler; answered by [`Input::HandlerDone`](crate::Input::HandlerDone), at once with
    /// exit code 0 if none is configured.
    Handler {
        /// Its answer's id.
        id: HandlerId,
        /// Which.
        handler: Handler,
        /// The volume that it is about, if it is about one.
        volume: Option<VolumeId>,
    },
    /// Look how large the devices of this volume's disk are now; answered by
    /// [`Input::DiskMeasured`](crate::Input::DiskMeasured). From then on requests may reach as far.
    MeasureDisk {
        /// The volume.
        volume: VolumeId,
    },
    /// The disk of this volume is no longer used: close it.
    Detached {
        /// The volume.
        volume: VolumeId,
    },
    /// Something to log and to tell watchers.
    Event(Event),
}

/// How large the devices of a disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSizes {
    /// The device with the data, in bytes.
    pub data_bytes: u64,
    /// The device with the metadata; the same one if they are internal.
    pub meta_bytes: u64,
}

/// An operation on a data disk. Offsets are bytes of the volume.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Read these bytes.
    Read(ByteRange),
    /// Write these bytes.
    Write {
        /// Where.
        range: ByteRange,
        /// What.
        data: Bytes,
        /// Done means durable.
        fua: bool,
    },
    /// Make these bytes read as zeros.
    Zero {
        /// Where.
        range: ByteRange,
        /// Whether the space may be given back.
        unmap: bool,
        /// Done means durable.
        fua: bool,
    },
    /// Make durable every write that had ended when this was started.
    Flush,
    /// Say which of these bytes read as zeros: a [`StatusMap`](types::StatusMap), which covers some
    /// of them from the first on. What it says to be zeros was so at some moment of the operation.
    Map(ByteRange),
}

/// Why a client's request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// The device cannot do it.
    Io,
    /// There is no room on a backing device.
    NoSpace,
    /// This node is not Primary.
    NotPrimary,
    /// The device is going away.
    Shutdown,
}

/// Why a command was refused, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal: `repadm` makes its exit code of it.
    pub kind: RefusalKind,
    /// What is in the way and which command removes it: whole sentences.
    pub text: String,
}

impl Refusal {
    /// A refusal of that kind.
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// Kinds of refusal, by the exit codes of `repadm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The state does not allow it (11).
    State,
    /// The disk is worth less than what was asked for: `outdate` of an Inconsistent one (5).
    Lower,
    /// There is no UpToDate data to serve (17).
    NoData,
    /// Both nodes have written alone (18).
    SplitBrain,
    /// The disk or its metadata do not allow it (10).
    Disk,
    /// It failed on the way (20).
    Failed,
}
