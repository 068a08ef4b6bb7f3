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

use crate::digest::Digest;
use bytes::Bytes;
use metadata::GenerationId;
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
        /// The digests of the blocks that it has there, one behind the other.
        known: Option<(Digest, Bytes)>,
    },
    /// What a resync target asked for, or a part of that.
    ResyncData {
        /// The volume.
        volume: VolumeId,
        /// Which.
        range: ByteRange,
        /// What is there.
        content: Content,
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
    /// What the sender wants of a resync of this volume, whichever side of it it is: as long as
    /// nothing is said, that it goes on at full speed.
    SyncControl {
        /// The volume.
        volume: VolumeId,
        /// It stands still by order.
        user: bool,
        /// It stands still because others come first.
        dependency: bool,
        /// How fast it may go, from 0 to 14, the highest; see `engine/pace.rs`.
        speed: u8,
    },
    /// An operator at the sender orders what the receiver must do.
    Order {
        /// The volume.
        volume: VolumeId,
        /// Names the answer.
        id: u64,
        /// What.
        order: PeerOrder,
    },
    /// The answer to an order.
    OrderDone {
        /// The volume.
        volume: VolumeId,
        /// Which order.
        id: u64,
        /// Whether it was done; what follows from it comes with the next handshake.
        done: bool,
        /// Why not.
        text: String,
    },
    /// A verify asks for the digests of the blocks of a range.
    VerifyRequest {
        /// The volume.
        volume: VolumeId,
        /// Which; it begins with a block.
        range: ByteRange,
        /// The verify, as the one that drives it has named it.
        id: u64,
        /// Blocks that the verify compares.
        total: u64,
        /// How many of them are done.
        done: u64,
        /// Which digest.
        digest: Digest,
        /// The sender numbers nothing more there until it has read, and nor may the receiver until
        /// its answer stands in the link's queue.
        locked: bool,
    },
    /// The answer to that.
    VerifyReply {
        /// The volume.
        volume: VolumeId,
        /// Which verify.
        id: u64,
        /// Which range.
        range: ByteRange,
        /// One digest for each block; nothing if the disk could not read.
        digests: Option<Bytes>,
    },
    /// These blocks differ: the sender has marked them, the receiver is to.
    VerifyOutOfSync {
        /// The volume.
        volume: VolumeId,
        /// Which, as (first block, count).
        blocks: Vec<(u64, u64)>,
    },
    /// A verify has ended, or the one who is asked cannot go on with it.
    VerifyEnd {
        /// The volume.
        volume: VolumeId,
        /// Which verify.
        id: u64,
        /// All that was to be compared has been.
        complete: bool,
        /// And that was the whole volume, which both could read.
        whole: bool,
        /// Blocks that differ.
        found: u64,
        /// Why it has ended, if not complete.
        text: String,
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
    /// The sender, who is Primary, replicates no more for now: what it writes from here on is copied
    /// later. The receiver's copy is as old as what came before this.
    Behind {
        /// The volume.
        volume: VolumeId,
    },
    /// The sender's disk failed, and what its clients are answered rests on the receiver's copy: the
    /// receiver makes a generation and its copy durable, and answers with `FlushDone`.
    StandIn {
        /// The volume.
        volume: VolumeId,
        /// The number of the answer, of those of flushes.
        id: u64,
    },
    /// The sender grows the volume. Without a size: make all the room that your device has, and say
    /// how much it is. With one: number no write of your clients from now on, and answer when all
    /// of them are done and durable.
    Resize {
        /// The volume.
        volume: VolumeId,
        /// Names the answer.
        id: u64,
        /// The size that both will have; zero: not yet known.
        size: u64,
    },
    /// The answer: the room for data at the sender, or why it does not take part.
    ResizeReply {
        /// The volume.
        volume: VolumeId,
        /// Which question.
        id: u64,
        /// The room in bytes.
        result: Result<u64, String>,
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

/// What a node orders of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerOrder {
    /// Give your copy up.
    Invalidate,
    /// Give up what of your copy is marked.
    InvalidateMarked,
    /// Both disks were just created and hold the same: take this generation.
    SkipSync(GenerationId),
}

/// What a source has where its target asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Data(Bytes),
    /// Zeros.
    Zeros,
    /// The same as the target: its digests fit.
    Same,
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
