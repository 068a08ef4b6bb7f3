//! What an engine remembers of one volume.

use super::congestion::Ahead;
use super::csums::ResyncRead;
use super::durable::Durability;
use super::log::LogUse;
use super::mirror::MirrorWrite;
use super::order::{Order, UnitId};
use super::pace::Pace;
use super::pause::SyncControl;
use super::read::{HeldRead, Reader};
use super::repair::Repairs;
use super::resize::Growing;
use super::resync::Sync;
use super::superblock::Saves;
use super::verify::{Verify, VerifyRead};
use super::write::{LocalWrite, PeerPart, Piece, WriteId};
use crate::digest::Digest;
use crate::effect::DiskOp;
use crate::input::{LinkEpoch, RequestId};
use crate::status::{Counters, VerifyReport};
use crate::wire::Content;
use bytes::Bytes;
use metadata::{GenerationId, Metadata};
use std::collections::{BTreeMap, VecDeque};
use types::mutation::{self, Mutation};
use types::{ByteRange, DiskState, Ledger, ReplicationState, Time, VolumeId, blocks_of};

/// How writes of this node's clients stand to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The peer does not get them, and this node has decided to go on without it.
    Alone,
    /// The link was lost and nothing is decided: no write is answered that the peer has not
    /// answered. At the deadline the peer counts as lost.
    Waiting {
        /// When.
        deadline: Time,
    },
    /// The handshake is done.
    Joined,
}

/// Whether the present absence of the peer has its own generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Minted {
    /// Nothing was answered alone.
    No,
    /// The superblock is on its way.
    Saving,
    /// Durable: solo writes may be answered.
    Yes,
}

/// The numbers of the writes between two incarnations.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Agreed at the handshake; zero is none.
    pub id: u64,
    /// The incarnation of the peer in it.
    pub peer_incarnation: u64,
    /// A solo write may have been answered, or the disk changed: never to be resumed.
    pub ended: bool,
    /// The peer was left Behind in it: what was answered since is not sent, so it is not resumed.
    pub lags: bool,
    /// The number of the next write of this node.
    pub next_seq: u64,
    /// The highest number received from the peer.
    pub received: u64,
}

impl Session {
    /// Whether this node could go on in it.
    pub(super) fn resumable(&self) -> bool {
        self.id != 0 && (!self.ended || mutation::on(Mutation::ResumeAfterSolo))
    }

    /// Whether the peer is told that this node can go on in it.
    pub(super) fn goes_on(&self) -> bool {
        self.resumable() && !self.lags
    }
}

/// What is written.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// These bytes.
    Data(Bytes),
    /// Zeros.
    Zero {
        /// Whether the space may be given back.
        unmap: bool,
    },
}

/// What a place in the local order is for.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A write of this node's client.
    Local(WriteId),
    /// A write of the peer, by its number.
    Mirror(u64),
    /// Reading for the peer's resync.
    ResyncRead(ResyncRead),
    /// Reading what is here before the peer is asked for it, by that link.
    ResyncOwn(ByteRange, LinkEpoch, Digest),
    /// Writing what the peer sent for our resync.
    ResyncWrite(ByteRange, Content),
    /// Reading what a verify compares.
    VerifyRead(VerifyRead),
}

impl Work {
    /// Whether the disk is left as it is.
    pub(super) const fn only_reads(&self) -> bool {
        matches!(self, Self::ResyncRead(_) | Self::ResyncOwn(..) | Self::VerifyRead(_))
    }
}

/// One place in the local order, and the disk operations that it has still to start.
#[derive(Debug)]
pub(super) struct UnitWork {
    pub work: Work,
    pub ops: VecDeque<DiskOp>,
    pub failed: bool,
    pub data: Option<Bytes>,
}

/// What was written when an order to give up a role or a disk came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    /// So many writes of the local disk.
    pub done: u64,
    /// In that session.
    pub session: u64,
    /// This node's writes up to that number.
    pub seq: u64,
}

/// One volume of an engine.
#[derive(Debug)]
pub(super) struct Volume {
    pub id: VolumeId,
    /// The metadata of the local disk, while one is attached.
    pub meta: Option<Metadata>,
    pub disk: DiskState,
    /// The smallest unit that the disk writes without reading around it.
    pub granule: u64,
    pub peer_disk: DiskState,
    pub replication: ReplicationState,
    pub mode: Mode,
    pub minted: Minted,
    pub session: Session,
    /// The size that clients see; zero as long as nobody knows.
    pub size: u64,

    pub order: Order,
    pub work: BTreeMap<UnitId, UnitWork>,

    /// Pieces of writes that are not yet numbered, in order of arrival.
    pub queue: VecDeque<Piece>,
    /// Ranges in which nothing is numbered until a resync request is through.
    pub locks: Vec<ByteRange>,
    /// Pieces that met a lock.
    pub locked: Vec<Piece>,
    /// What the local disk could not read, on its way from the peer: read there until it is written.
    pub repairs: Repairs,
    /// What the peer's disk could not read, being read for it.
    pub helping: Vec<ByteRange>,
    /// Reads that need the peer and do not have it just now.
    pub parked_reads: Vec<RequestId>,
    /// Pieces of reads that the peer is not asked for before it has what was answered there.
    pub parked_pieces: Vec<(Reader, ByteRange)>,

    /// This node's writes that are not settled.
    pub local: BTreeMap<WriteId, LocalWrite>,
    /// Those of the session, by number.
    pub by_seq: BTreeMap<u64, WriteId>,
    /// Bytes of writes that were sent and are not answered.
    pub unanswered: u64,
    /// Why this node does not replicate although the peer is there: the link was congested.
    pub ahead: Option<Ahead>,
    /// The peer's writes that are not settled, by number.
    pub mirror: BTreeMap<u64, MirrorWrite>,
    /// Where writes of the peer were not settled when their session ended. Whoever reads there sees
    /// what the peer may never have answered: not before that cannot be taken back any more.
    pub ghosts: Vec<ByteRange>,
    /// Places in the order of the peer's writes that are to be marked durably first.
    pub unmarked: Vec<UnitId>,
    /// Numbers of this node's writes that settled and that the peer was not told.
    pub settled_unsaid: Vec<u64>,
    /// Reads that wait for writes to settle.
    pub held: Vec<HeldRead>,

    pub log: LogUse,
    pub durable: Durability,
    pub saves: Saves,
    /// The sequence of the superblock that is durable.
    pub durable_sequence: u64,
    /// What it was when the disk was attached, until a session begins with it.
    pub found_sequence: Option<u64>,
    pub sync: Option<Sync>,
    pub pace: Pace,
    pub control: SyncControl,
    /// `read-balancing round-robin`: the last read went to the peer.
    pub remote_turn: bool,
    /// The generation of two fresh disks that hold the same, until both have it.
    pub skipping: Option<GenerationId>,
    /// The order of the peer by which that is made durable here.
    pub skipped: Option<(LinkEpoch, u64)>,
    /// Bytes that the running or last resync has carried.
    pub resync_bytes: u64,
    /// The running verify.
    pub verify: Option<Verify>,
    /// How the last one ended.
    pub verify_report: Option<VerifyReport>,
    /// The last verify of the peer that has ended here: what is still asked for it is too late.
    pub verify_refused: u64,
    /// The link by which the peer was told that, or told it itself.
    pub verify_refused_by: Option<LinkEpoch>,
    /// The session in which a verify has found differences, which are marked.
    pub verify_found_in: u64,
    /// `verify-interval` begins none before.
    pub verify_not_before: Time,
    pub counters: Counters,
    /// Where the time of its clients' requests goes.
    pub ledger: Ledger,
    /// The disk was let go, and the driver is to be told once nothing is under way on it.
    pub leaving: bool,
    /// A disk is about to come into service: nothing new is numbered until it is.
    pub attaching: bool,
    /// What must be durable before a role is given up or a disk let go.
    pub quiet_at: Option<Quiet>,
    /// A client had the device open when the link was lost, or since.
    pub clients_since_loss: bool,
    /// While this node had no disk its peer had one: what was written then is not on the disk that
    /// comes back, whatever its metadata say.
    pub went_on_without_disk: bool,
    /// This Primary's clients have seen data here that turned out to be old.
    pub clients_saw_old: bool,
    /// What clients are still told of the size, until the larger one is durable.
    pub shown_size: Option<u64>,
    /// How far it is with growing.
    pub growing: Growing,
    /// Something happened: look what may go on.
    pub touched: bool,
}

impl Volume {
    pub(super) fn new(id: VolumeId) -> Self {
        Self {
            id,
            meta: None,
            disk: DiskState::Diskless,
            granule: 1,
            peer_disk: DiskState::DUnknown,
            replication: ReplicationState::Off,
            mode: Mode::Alone,
            minted: Minted::No,
            session: Session::default(),
            size: 0,
            order: Order::default(),
            work: BTreeMap::new(),
            queue: VecDeque::new(),
            locks: Vec::new(),
            locked: Vec::new(),
            repairs: Repairs::default(),
            helping: Vec::new(),
            parked_reads: Vec::new(),
            parked_pieces: Vec::new(),
            local: BTreeMap::new(),
            by_seq: BTreeMap::new(),
            unanswered: 0,
            ahead: None,
            mirror: BTreeMap::new(),
            ghosts: Vec::new(),
            unmarked: Vec::new(),
            settled_unsaid: Vec::new(),
            held: Vec::new(),
            log: LogUse::default(),
            durable: Durability::default(),
            saves: Saves::default(),
            durable_sequence: 0,
            found_sequence: None,
            sync: None,
            pace: Pace::new(),
            control: SyncControl::new(),
            remote_turn: false,
            skipping: None,
            skipped: None,
            resync_bytes: 0,
            verify: None,
            verify_report: None,
            verify_refused: 0,
            verify_refused_by: None,
            verify_found_in: 0,
            verify_not_before: Time(0),
            counters: Counters::default(),
            ledger: Ledger::default(),
            leaving: false,
            attaching: false,
            quiet_at: None,
            clients_since_loss: false,
            went_on_without_disk: false,
            clients_saw_old: false,
            shown_size: None,
            growing: Growing::default(),
            touched: false,
        }
    }

    /// Whether there is a disk.
    pub(super) const fn has_disk(&self) -> bool {
        self.meta.is_some() && (has_data(self.disk) || matches!(self.disk, DiskState::Detaching))
    }

    /// Whether new writes go to it: a disk that is being let go only ends what it began.
    pub(super) const fn takes_writes(&self) -> bool {
        self.meta.is_some() && has_data(self.disk)
    }

    pub(super) fn joined(&self) -> bool {
        self.mode == Mode::Joined
    }

    /// Whether the peer's disk takes our writes. The one place where that is decided; a write
    /// samples it once.
    pub(super) fn replicates(&self) -> bool {
        self.joined() && has_data(self.peer_disk) && self.ahead.is_none()
    }

    pub(super) fn metadata(&mut self) -> &mut Metadata {
        self.meta.as_mut().expect("a disk is attached")
    }

    /// The sequence that the peer is told: a disk that was rolled back must not catch up by what its
    /// attach writes.
    pub(super) fn told_sequence(&self) -> u64 {
        let told = self.found_sequence.unwrap_or(self.durable_sequence);
        self.meta.as_ref().map_or(0, |_| told)
    }

    /// How many blocks are marked.
    pub(super) fn dirty_blocks(&self) -> u64 {
        self.meta.as_ref().map_or(0, |meta| meta.bitmap.weight())
    }

    /// Marks what the range touches as out-of-sync. The marks become durable by the activity
    /// log's rule: the extent stays hot until they are.
    pub(super) fn mark(&mut self, range: ByteRange) {
        let Some(meta) = self.meta.as_mut() else { return };
        let blocks = range.blocks();
        meta.bitmap.set(blocks);
        self.durable.forget_clears(blocks);
    }

    /// Whether a write waits for the absence of the peer to be durable.
    pub(super) fn has_marked(&self) -> bool {
        self.local.values().any(|write| write.peer == PeerPart::Marked)
    }

    /// Marks all of the volume.
    pub(super) fn mark_all(&mut self) {
        let blocks = types::BlockRange::new(0, blocks_of(self.size));
        let Some(meta) = self.meta.as_mut() else { return };
        meta.bitmap.set(blocks);
        self.durable.forget_clears(blocks);
    }

    /// Forgets marks beyond the agreed size: the disk may be larger than the volume.
    pub(super) fn clip_marks(&mut self) {
        let end = blocks_of(self.size);
        if let Some(meta) = self.meta.as_mut().filter(|_| self.size != 0) {
            let blocks = meta.bitmap.blocks();
            if end < blocks {
                meta.bitmap.clear(types::BlockRange::new(end, blocks));
            }
        }
    }

    /// Whether a lock of a resync covers part of the range.
    pub(super) fn is_locked(&self, range: ByteRange) -> bool {
        let ignored = mutation::on(Mutation::ResyncUnlocked);
        !ignored && self.locks.iter().any(|lock| lock.overlaps(range))
    }

    /// A part of what is locked goes on by itself.
    pub(super) fn split_lock(&mut self, whole: ByteRange, part: ByteRange) {
        if let Some(at) = self.locks.iter().position(|lock| *lock == whole) {
            self.locks.swap_remove(at);
            self.locks.extend(whole.subtract(part).chain([part]));
        }
    }

    /// Gives a range back to the clients: what met the lock is tried again, before newer pieces.
    pub(super) fn unlock(&mut self, range: ByteRange) {
        if let Some(at) = self.locks.iter().position(|lock| *lock == range) {
            self.locks.swap_remove(at);
        }
        for piece in self.locked.drain(..).rev() {
            self.queue.push_front(piece);
        }
    }

    /// Whether the peer is there with a good copy.
    pub(super) fn peer_has_good(&self) -> bool {
        self.joined() && self.peer_disk == DiskState::UpToDate
    }

    /// Whether the peer is known to have no disk.
    pub(super) fn peer_is_bare(&self) -> bool {
        self.peer_disk != DiskState::DUnknown && !has_data(self.peer_disk)
    }

    /// The number below which every write of this node is settled.
    pub(super) fn settled_below(&self) -> u64 {
        self.by_seq.keys().next().copied().unwrap_or(self.session.next_seq)
    }

    /// Whether this node's copy may be read without asking anybody.
    pub(super) const fn readable(&self) -> bool {
        self.has_disk() && self.disk.to_u8() >= DiskState::Consistent.to_u8()
    }
}

/// Whether a disk in that state takes writes.
pub(super) const fn has_data(disk: DiskState) -> bool {
    matches!(
        disk,
        DiskState::Inconsistent | DiskState::Outdated | DiskState::Consistent | DiskState::UpToDate
    )
}
