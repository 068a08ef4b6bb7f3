//! Online verify: comparing the copies while both nodes write, without a false alarm.
//!
//! The node that was asked drives; it asks the peer for the digests of chunks, reads the same chunks
//! itself and compares block by block. In the first round neither locks anything: each reads at a
//! place in its local order, and what was written meanwhile makes digests differ. That alone proves
//! nothing. The blocks that differ are looked at once more, in a second round, and only that counts:
//!
//! ```text
//! requester                           the other
//!   lock (own writes without number)
//!   VerifyRequest  ----------------->  lock; (order) read; digests
//!   (order) read, unlock  <----------  VerifyReply, unlock
//!   compare
//! ```
//!
//! The link is one stream, and what comes in takes its place when it comes in. So the other reads
//! behind all writes of the requester that have a number, and the requester makes no more there until
//! it has read; it reads behind all writes that the other had numbered when it read, and the other
//! numbers no more there until its answer is in the stream. Both read after the same writes, and
//! writes that are concurrent have one outcome on both. What differs then differs for good.
//!
//! Locks stop only what has no number yet, as in a resync: mirrored writes never wait for them.
//!
//! Blocks that differ are marked on both nodes. That changes no disk state and begins no resync: who
//! has the good copy is for an operator to say.

mod asked;
mod requester;

pub(super) use asked::Asked;

use super::Engine;
use super::superblock::Then;
use super::volume::Volume;
use crate::digest::Digest;
use crate::effect::{Effect, Effects, Refusal, RefusalKind};
use crate::event::Event;
use crate::handler::Handler;
use crate::input::LinkEpoch;
use crate::status::{VerifyReport, VerifyStatus};
use crate::wire::Message;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use types::{
    BLOCK_BYTES, BlockRange, ByteRange, DiskState, ReplicationState, SECTOR_BYTES, Time, VolumeId,
    blocks_of,
};

/// What is compared at once in the first round.
const CHUNK_BLOCKS: u64 = (256 << 10) / BLOCK_BYTES;
/// More is never asked for ahead, and whoever is asked for more than this and a chunk refuses.
const OUTSTANDING_MAX: u64 = 64 << 20;
/// No more places are repaired at once because a verify could not read them: clients, whose reads
/// are repaired too, go first.
pub(super) const REPAIRS_MAX: usize = 16;
/// With more blocks that cannot be read it ends: such a disk is beyond being verified.
const UNREAD_MAX: u64 = 1000;
/// So many findings of one verify are told one by one; the rest is counted.
const TOLD_MAX: u64 = 16;
/// A verify by `verify-interval` that did not get through is tried again not sooner.
const AGAIN: types::Span = types::Span::secs(600);

/// A running verify.
#[derive(Debug)]
pub(super) struct Verify {
    /// Made up by the requester: what belongs to another one is not taken for this one.
    id: u64,
    started: Time,
    digest: Digest,
    /// Blocks that it is to compare.
    total: u64,
    /// Blocks that differ.
    found: u64,
    side: Side,
}

#[derive(Debug)]
enum Side {
    /// This node asks.
    Requester(Requester),
    /// The peer asks: so many blocks are done, and so many bytes are being read for it.
    Asked { done: u64, reading: u64 },
}

/// What the node that asks keeps in mind.
#[derive(Debug)]
struct Requester {
    /// The first block that it is to compare.
    first: u64,
    /// The block behind the last.
    end: u64,
    /// Blocks before this one have been asked for.
    cursor: u64,
    /// What is under way, by its first block.
    chunks: BTreeMap<u64, Chunk>,
    /// What a broken link has swallowed.
    missed: VecDeque<BlockRange>,
    /// What is to be looked at under the lock.
    again: VecDeque<BlockRange>,
    /// Blocks that one of the disks could not read.
    unread: u64,
    /// The link is lost, and the session may go on.
    waits: bool,
}

/// Blocks that are being compared.
#[derive(Debug)]
struct Chunk {
    blocks: BlockRange,
    since: Time,
    /// The second round.
    locked: bool,
    ours: Half,
    theirs: Half,
}

/// What one of the nodes has of a chunk.
#[derive(Debug)]
enum Half {
    /// Not there yet.
    Open,
    /// The digests of its blocks.
    Read(Bytes),
    /// Its disk could not read there.
    Unreadable,
}

impl Half {
    fn of(digests: Option<Bytes>) -> Self {
        digests.map_or(Self::Unreadable, Self::Read)
    }
}

/// A read in the local order for a verify.
#[derive(Clone, Copy, Debug)]
pub(super) struct VerifyRead {
    id: u64,
    range: ByteRange,
    digest: Digest,
    /// The link by which it was asked for, or by which the peer was asked.
    epoch: LinkEpoch,
    /// Clients are locked out until the answer is in the stream.
    locked: bool,
    for_peer: bool,
}

impl VerifyRead {
    pub(super) const fn range(&self) -> ByteRange {
        self.range
    }

    /// The lock that it holds until it is done.
    pub(super) fn lock(&self) -> Option<ByteRange> {
        (self.locked && self.for_peer).then_some(self.range)
    }
}

impl Requester {
    /// Everything before this block has been compared.
    fn position(&self) -> u64 {
        let under_way = self.chunks.keys().next().copied();
        let again = self.missed.iter().chain(&self.again).map(|run| run.start).min();
        under_way.into_iter().chain(again).chain([self.cursor]).min().unwrap_or(self.cursor)
    }

    fn asked(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.blocks.bytes().len).sum()
    }

    fn is_done(&self) -> bool {
        let open = self.chunks.len() + self.missed.len() + self.again.len();
        open == 0 && self.cursor >= self.end
    }
}

impl Verify {
    fn requester(&mut self) -> Option<&mut Requester> {
        match &mut self.side {
            Side::Requester(requester) => Some(requester),
            Side::Asked { .. } => None,
        }
    }

    /// Whether something is being read for it.
    pub(super) fn is_open(&self) -> bool {
        match &self.side {
            Side::Requester(requester) => !requester.chunks.is_empty(),
            Side::Asked { reading, .. } => *reading > 0,
        }
    }

    fn done(&self) -> u64 {
        match &self.side {
            Side::Requester(requester) => requester.position() - requester.first,
            Side::Asked { done, .. } => *done,
        }
    }

    pub(super) fn status(&self) -> VerifyStatus {
        VerifyStatus {
            requester: matches!(self.side, Side::Requester(_)),
            started: self.started,
            total_blocks: self.total,
            left_blocks: self.total.saturating_sub(self.done()),
            found_blocks: self.found,
        }
    }

    /// The state of replication while it runs.
    pub(super) const fn state(&self) -> ReplicationState {
        match self.side {
            Side::Requester(_) => ReplicationState::VerifyS,
            Side::Asked { .. } => ReplicationState::VerifyT,
        }
    }
}

// Orders, and what a verify needs.
impl Engine {
    /// `verify`: compares the sectors from `start` up to `stop`, or to the end.
    pub(super) fn order_verify(
        &mut self,
        volume: VolumeId,
        start: u64,
        stop: Option<u64>,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let v = self.verified_volume(volume)?;
        let name = self.volume_name(v);
        let refuse = |text: String| Err(Refusal::new(RefusalKind::State, text));
        let Some(digest) = self.config.options.verify_alg else {
            return refuse(format!(
                "{name}: no verify-alg is set: add `verify-alg xxh3;` (or crc32c, sha256) to the \
                 section net and run `repadm adjust {}`",
                self.config.resource
            ));
        };
        if let Some(verify) = &self.volumes[v].verify {
            let done = verify.done() * 100 / verify.total.max(1);
            return refuse(format!(
                "{name}: a verify runs already, {done}% is done; `repadm verify --cancel {name}` \
                 ends it"
            ));
        }
        if let Some(why) = self.obstacle(v) {
            return refuse(format!("{name} cannot be verified now: {why}"));
        }
        let size = blocks_of(self.volumes[v].size);
        let per_block = BLOCK_BYTES / SECTOR_BYTES;
        let first = start / per_block;
        let end = stop.map_or(size, |stop| stop.div_ceil(per_block).min(size));
        if first >= end {
            return refuse(format!(
                "{name} has {} sectors: there is nothing from sector {start} up to {}",
                self.volumes[v].size / SECTOR_BYTES,
                stop.map_or_else(|| "its end".to_owned(), |stop| stop.to_string())
            ));
        }
        let why = format!("verify of blocks {first} to {end} by {digest}");
        self.begin_verify(v, digest, BlockRange::new(first, end), &why, out);
        Ok(())
    }

    /// `verify --cancel`. Whoever drives it ends it.
    pub(super) fn cancel_verify(
        &mut self,
        volume: VolumeId,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let v = self.verified_volume(volume)?;
        if self.volumes[v].verify.is_some() {
            self.give_up_verify(v, "ended by order", out);
        }
        Ok(())
    }

    fn verified_volume(&self, volume: VolumeId) -> Result<usize, Refusal> {
        self.find_volume(volume).ok_or_else(|| {
            let text = format!("resource {} has no volume {volume}", self.config.resource);
            Refusal::new(RefusalKind::State, text)
        })
    }

    fn begin_verify(
        &mut self,
        v: usize,
        digest: Digest,
        blocks: BlockRange,
        why: &str,
        out: &mut Effects,
    ) {
        let (id, started) = (self.ids.next_u64() | 1, self.now);
        let requester = Requester {
            first: blocks.start,
            end: blocks.end,
            cursor: blocks.start,
            chunks: BTreeMap::new(),
            missed: VecDeque::new(),
            again: VecDeque::new(),
            unread: 0,
            waits: false,
        };
        let side = Side::Requester(requester);
        let verify = Verify { id, started, digest, total: blocks.len(), found: 0, side };
        self.volumes[v].verify = Some(verify);
        self.set_replication(v, ReplicationState::VerifyS, why, out);
    }

    /// What is in the way of a verify.
    fn obstacle(&self, v: usize) -> Option<String> {
        let peer_disk = self.volumes[v].peer_disk;
        let there = || {
            let bad = peer_disk != DiskState::UpToDate;
            bad.then(|| format!("the peer's disk is {peer_disk}, and both must be UpToDate"))
        };
        self.obstacle_here(v).or_else(there)
    }

    /// What of it this node knows best.
    fn obstacle_here(&self, v: usize) -> Option<String> {
        let vol = &self.volumes[v];
        let disk = vol.disk;
        if !vol.joined() {
            Some("the peer is not connected".to_owned())
        } else if vol.sync.is_some() {
            Some("a resync runs, and ends when both copies are UpToDate".to_owned())
        } else if vol.meta.is_none() || disk != DiskState::UpToDate {
            Some(format!("the disk here is {disk}, and both must be UpToDate"))
        } else if self.stopping() {
            Some("this node goes down".to_owned())
        } else {
            None
        }
    }

    /// Whether nothing more is to be asked for just now: by order, or because a resync of another
    /// volume goes first.
    fn verify_is_paused(&self, v: usize) -> bool {
        // What grows waits until nothing is on its way.
        self.is_sync_paused(v)
            || self.volumes.iter().any(|vol| vol.sync.is_some() || vol.growing.holds_still())
    }

    /// Begins what `verify-interval` wants, on the arbiter, and goes on as long as it is not through.
    pub(super) fn pump_verify_interval(&mut self, v: usize, out: &mut Effects) {
        if self.verify_due(v).is_none_or(|due| due > self.now) {
            return;
        }
        let Some(digest) = self.config.options.verify_alg else { return };
        self.volumes[v].verify_not_before = self.now + AGAIN;
        let blocks = BlockRange::new(0, blocks_of(self.volumes[v].size));
        let why = format!("verify by {digest} after verify-interval");
        self.begin_verify(v, digest, blocks, &why, out);
    }

    /// When this node is to begin a verify by itself, if it could do so now.
    pub(super) fn verify_due(&self, v: usize) -> Option<Time> {
        let interval = self.config.options.verify_interval?;
        let vol = &self.volumes[v];
        let able = self.config.options.verify_alg.is_some() && self.config.is_arbiter();
        if !able || vol.verify.is_some() || vol.size == 0 || self.obstacle(v).is_some() {
            return None;
        }
        let last = vol.meta.as_ref()?.superblock.last_verify;
        Some((last + interval).max(vol.verify_not_before))
    }
}

impl Volume {
    /// The bytes of some blocks: the last one of the volume may be short.
    fn bytes_of(&self, blocks: BlockRange) -> ByteRange {
        let bytes = blocks.bytes();
        ByteRange::between(bytes.offset, bytes.end().min(self.size))
    }
}

/// How a verify ended.
struct Outcome {
    /// Everything that was to be compared has been.
    complete: bool,
    /// And that was the whole volume.
    whole: bool,
    text: String,
}

impl Outcome {
    fn interrupted(why: &str) -> Self {
        Self { complete: false, whole: false, text: why.to_owned() }
    }
}

// The end.
impl Engine {
    /// Ends it here and at the peer.
    fn give_up_verify(&mut self, v: usize, why: &str, out: &mut Effects) {
        let Some(verify) = self.volumes[v].verify.as_ref() else { return };
        let (id, found) = (verify.id, verify.found);
        let volume = self.volumes[v].id;
        if self.volumes[v].joined() {
            let (complete, whole, text) = (false, false, why.to_owned());
            self.send(Message::VerifyEnd { volume, id, complete, whole, found, text }, out);
        }
        self.note_refused(v, id);
        self.end_verify(v, Outcome::interrupted(why), out);
    }

    /// The end of a verify at this node, however it came.
    fn end_verify(&mut self, v: usize, outcome: Outcome, out: &mut Effects) {
        let now = self.now;
        let vol = &mut self.volumes[v];
        let Some(mut verify) = vol.verify.take() else { return };
        let (volume, done, state) = (vol.id, verify.done(), verify.state());
        let mut position = None;
        if let Some(requester) = verify.requester() {
            position = Some((requester.first + done) * (BLOCK_BYTES / SECTOR_BYTES));
            // The answers will find nobody.
            let locked = requester.chunks.values().filter(|chunk| chunk.locked);
            let open = locked.filter(|chunk| matches!(chunk.theirs, Half::Open));
            let locked: Vec<BlockRange> = open.map(|chunk| chunk.blocks).collect();
            for blocks in locked {
                self.unlock_verified(v, blocks, true);
            }
        }
        let Outcome { complete, whole, text } = outcome;
        let vol = &mut self.volumes[v];
        let report = VerifyReport {
            requester: state == ReplicationState::VerifyS,
            started: verify.started,
            ended: now,
            complete,
            position_sector: position,
            compared_blocks: done,
            found_blocks: verify.found,
            text,
        };
        out.push(Effect::Event(Event::Verified { volume, report: Box::new(report.clone()) }));
        vol.verify_report = Some(report);
        if vol.joined() && vol.replication == state {
            self.set_replication(v, ReplicationState::Established, "verify ended", out);
        }
        if verify.found > 0 {
            self.run_handler(Handler::OutOfSync, Some(v), out);
        }
        if whole && self.volumes[v].meta.is_some() {
            self.volumes[v].metadata().superblock.last_verify = now;
            self.save_superblock(v, Then::Nothing, out);
        }
        self.touch(v);
    }
}
