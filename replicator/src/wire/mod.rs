//! The replication protocol: its messages, and how they become bytes.
//!
//! A message is a [`Header`] of fixed size and, for some kinds, a payload. Data-path messages are
//! all header (plus data); the bodies of handshake and state messages are bincode, in
//! `body` only. docs/protocol.md is normative.

mod body;
mod codec;
mod fuzz;
mod header;

pub use body::{
    AckKind, Auth, Hello, NonceBytes, Plan, Purpose, SideState, State, VolumeHello, VolumeState,
};
pub use codec::{Encoded, decode};
pub(crate) use fuzz::forged;
pub use fuzz::fuzz_wire;
pub use header::{HEADER_BYTES, Header, MAX_PAYLOAD_BYTES, WireError};

use bytes::Bytes;
use types::{ByteRange, DiskState, Role, VolumeId};

/// The protocol version that this code speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// One message of the link.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first on each link, from both sides: who is there.
    Hello(Box<Hello>),
    /// The proof of the shared secret.
    Auth(Auth),
    /// What each volume is, after the proof.
    State(Box<State>),
    /// A part of a bitmap, run-length coded.
    Bitmap {
        /// The volume.
        volume: VolumeId,
        /// The first block it speaks of.
        from: u64,
        /// The coded runs.
        runs: Bytes,
    },
    /// What the sender's verdict makes of each volume. Nothing is done about it before the receiver
    /// has found the mirror of it.
    Plan(Vec<Plan>),
    /// Everything of the handshake has been said and is durable here.
    Ready,
    /// The connection is refused; the sender closes it.
    Refuse {
        /// What kind of refusal.
        code: RefuseCode,
        /// Why, for the peer's operator.
        text: String,
    },
    /// An orderly end of the connection.
    Bye,
    /// Is somebody there?
    Ping,
    /// Yes.
    Pong,
    /// A write of the sender's client.
    Write {
        /// Its place among the sender's writes.
        stamp: Stamp,
        /// Where; its length is that of `data`.
        range: ByteRange,
        /// What.
        data: Bytes,
        /// Answer when durable.
        fua: bool,
    },
    /// A range made zero by the sender's client.
    Zero {
        /// Its place among the sender's writes.
        stamp: Stamp,
        /// Where.
        range: ByteRange,
        /// Whether the space may be given back.
        unmap: bool,
        /// Answer when durable.
        fua: bool,
    },
    /// The answer to a write.
    Ack {
        /// The volume.
        volume: VolumeId,
        /// The number of the write, of the one who receives this.
        seq: u64,
        /// How it ended.
        kind: AckKind,
    },
    /// The sender's writes that are on both disks: readers of the other node need not wait for
    /// them any more.
    Settled {
        /// The volume.
        volume: VolumeId,
        /// Every number below this one.
        below: u64,
        /// And these.
        seqs: Vec<u64>,
    },
    /// Make durable all that you have written of this volume.
    Flush {
        /// The volume.
        volume: VolumeId,
        /// Names the answer.
        id: u64,
    },
    /// The flush is done. `Durable` with what it covers precedes it.
    FlushDone {
        /// The volume.
        volume: VolumeId,
        /// Which flush.
        id: u64,
        /// Whether it worked.
        ok: bool,
    },
    /// Every write of the receiver up to and including this number is durable here.
    Durable {
        /// The volume.
        volume: VolumeId,
        /// The number.
        upto: u64,
    },
    /// A read on behalf of the sender's client.
    Read {
        /// The volume.
        volume: VolumeId,
        /// Names the answer.
        id: u64,
        /// Where.
        range: ByteRange,
    },
    /// The answer to a read.
    ReadDone {
        /// The volume.
        volume: VolumeId,
        /// Which read.
        id: u64,
        /// The bytes, or nothing if it failed.
        data: Option<Bytes>,
    },
    /// A resync target asks for blocks.
    ResyncRequest {
        /// The volume.
        volume: VolumeId,
        /// Which.
        range: ByteRange,
    },
    /// What a resync target asked for.
    ResyncData {
        /// The volume.
        volume: VolumeId,
        /// Which.
        range: ByteRange,
        /// The bytes; nothing if all are zero.
        data: Option<Bytes>,
    },
    /// The source could not read what the target asked for: it stays marked.
    ResyncFailed {
        /// The volume.
        volume: VolumeId,
        /// Which.
        range: ByteRange,
    },
    /// These blocks are durable at the sender, as the receiver has them.
    InSync {
        /// The volume.
        volume: VolumeId,
        /// Which, as (first block, count).
        blocks: Vec<(u64, u64)>,
    },
    /// The steps that end a resync, see `resync`.
    ResyncEnd {
        /// The volume.
        volume: VolumeId,
        /// Which step.
        step: ResyncStep,
    },
    /// May I have this role?
    RoleRequest {
        /// Names the answer.
        id: u64,
        /// The role.
        role: Role,
    },
    /// The answer to a role request.
    RoleReply {
        /// Which request.
        id: u64,
        /// Whether it may.
        granted: bool,
        /// Why not.
        text: String,
    },
    /// The sender's role is now this.
    RoleIs(Role),
    /// The sender's copy is now this.
    DiskIs {
        /// The volume.
        volume: VolumeId,
        /// The state.
        disk: DiskState,
    },
    /// The sender's superblock has been made durable so often: said before an orderly end, so that
    /// a disk that is put back to an older state meanwhile is recognised.
    SequenceIs {
        /// The volume.
        volume: VolumeId,
        /// The sequence of the superblock.
        sequence: u64,
    },
    /// The sender, who is Primary, leaves by order and goes on alone: the receiver makes durable that
    /// its copies are Outdated, and says so with `DiskIs`.
    Outdate,
    /// The sender's disk failed, and what its clients are answered rests on the receiver's copy: the
    /// receiver makes a generation and its copy durable, and answers with `FlushDone`.
    StandIn {
        /// The volume.
        volume: VolumeId,
        /// The number of the answer, of those of flushes.
        id: u64,
    },
}

/// What every mirrored write carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The volume.
    pub volume: VolumeId,
    /// The write's number at its origin, from 1, without gaps.
    pub seq: u64,
    /// The highest number of the *receiver's* writes that the origin had received when it
    /// numbered this one.
    pub seen: u64,
    /// Every write of the origin below this number is settled.
    pub settled_below: u64,
}

/// The steps that end a resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncStep {
    /// The target has nothing left, all of it is durable: has the source?
    Finished,
    /// The source has nothing left either: the target may call its copy UpToDate.
    Confirmed,
    /// The target has made that durable: the source may forget the old generation.
    Adopted,
}

/// Why a connection is refused: decides what the refused side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseCode {
    /// Not the peer that was meant, or not with these settings: try again later.
    Mismatch,
    /// The shared secret was not proven.
    Authentication,
    /// Both wrote alone: stand alone.
    SplitBrain,
    /// The data have nothing in common, or cannot be joined: stand alone.
    Data,
    /// Just now not possible: try again.
    Busy,
}
