//! Resync: the target pulls what is marked, while both nodes keep writing.
//!
//! The target locks a range against its own clients from asking until it is written; the source
//! takes a place in its local order for the read, and locks the range against its own clients
//! from the request until the data stands in the link's queue. Locks stop only what has no number
//! yet; mirrored writes and resync data take their place in arrival order. So a resync block never
//! overwrites newer data. What was asked for comes in pieces: runs of zeros travel as a word, and what
//! the target has already as another, see `csums`.
//!
//! A bit is cleared by an acknowledgement of data, never by a decision: at the target after a
//! flush, at the source when the target has said so.
//!
//! ```text
//! target                         source
//!   ResyncRequest  ------------->  (order, lock) read
//!   (order) write  <-------------  ResyncData (unlock)
//!   flush, clear, unlock
//!   InSync         ------------->  clear
//!   ...
//!   Finished       ------------->  bits left? -> Bitmap, the target goes on
//!   adopt, durable <-------------  Confirmed
//!   Adopted        ------------->  old generation into the history, durable
//! ```

use super::Engine;
use super::csums::{ResyncRead, pieces};
use super::superblock::Then;
use super::volume::{Minted, Work};
use crate::effect::Effects;
use crate::handler::Handler;
use crate::options::OnIoError;
use crate::status::ResyncStatus;
use crate::wire::{Content, Message, ResyncStep};
use bytes::Bytes;
use metadata::{GenerationId, Generations, rle};
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, BlockRange, ByteRange, DiskState, ReplicationState, Time, blocks_of};

/// Bytes of run-length code in one message.
const BITMAP_MESSAGE_BYTES: usize = 32 << 10;

/// A running resync.
#[derive(Debug)]
pub(super) struct Sync {
    pub side: SyncSide,
    pub started: Time,
    pub total_blocks: u64,
    /// The source has told the target that it has all: the target may call its copy UpToDate.
    pub confirmed: bool,
}

/// Which side of it this node is.
#[derive(Debug)]
pub(super) enum SyncSide {
    /// This node's data goes to the peer.
    Source,
    /// The peer's data comes here.
    Target(Target),
}

/// What a target keeps in mind.
#[derive(Debug)]
pub(super) struct Target {
    /// The generations that this copy will have.
    source: Box<Generations>,
    /// Blocks before this one have been asked for in this round.
    cursor: u64,
    /// What was asked for and has not come yet, and when.
    asked: Vec<(ByteRange, Request)>,
    /// What has come and is not written yet.
    writing: Vec<(ByteRange, Request)>,
    /// Blocks that the source could not read: what is marked then is not looked for once more, until
    /// the next connection.
    failed: u64,
    finished_sent: bool,
    adopting: bool,
    /// One of the nodes was Primary and crashed.
    follows_crash: bool,
    /// Bytes that were the same already.
    same_bytes: u64,
}

/// A request of a target. Its parts come one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    whole: ByteRange,
    since: Time,
}

impl Target {
    /// Nothing if that was not asked for; else it counts as come, and the rest of what it was asked
    /// for with is still to come.
    fn take(&mut self, part: ByteRange) -> Option<(ByteRange, Request)> {
        let at = self.asked.iter().position(|(asked, _)| asked.contains(part))?;
        let (open, request) = self.asked.swap_remove(at);
        self.asked.extend(open.subtract(part).map(|rest| (rest, request)));
        Some((open, request))
    }

    /// The generation of the source's copy.
    pub(super) const fn generation(&self) -> GenerationId {
        self.source.current.id
    }

    pub(super) fn new(source: Generations, follows_crash: bool) -> Self {
        Self {
            source: Box::new(source),
            cursor: 0,
            asked: Vec::new(),
            writing: Vec::new(),
            failed: 0,
            finished_sent: false,
            adopting: false,
            follows_crash,
            same_bytes: 0,
        }
    }
}

impl Sync {
    pub(super) fn status(&self, left_blocks: u64) -> ResyncStatus {
        ResyncStatus { started: self.started, total_blocks: self.total_blocks, left_blocks }
    }

    pub(super) fn is_target(&self) -> bool {
        matches!(self.side, SyncSide::Target(_))
    }

    /// Whether something is on its way to this node.
    pub(super) fn is_open(&self) -> bool {
        match &self.side {
            SyncSide::Target(target) => !target.asked.is_empty() || !target.writing.is_empty(),
            SyncSide::Source => false,
        }
    }

    /// Whether one of the nodes was Primary and crashed: most of what is marked may be the same.
    pub(super) fn follows_crash(&self) -> bool {
        matches!(&self.side, SyncSide::Target(target) if target.follows_crash)
    }

    /// Whether that is to come, all of it.
    pub(super) fn asks_for(&mut self, range: ByteRange) -> bool {
        self.target().is_some_and(|target| target.asked.iter().any(|(asked, _)| *asked == range))
    }

    /// Whether the copy here is about to count as UpToDate.
    pub(super) fn is_adopting(&self) -> bool {
        matches!(&self.side, SyncSide::Target(target) if target.adopting)
    }

    /// Something is marked while the copy was about to count as UpToDate: that is not so, and the
    /// resync goes on. Whether it was.
    pub(super) fn stop_adopting(&mut self) -> bool {
        self.target().is_some_and(|target| {
            target.finished_sent &= !target.adopting;
            std::mem::take(&mut target.adopting)
        })
    }

    /// What is said of it at its end.
    pub(super) fn outcome(&self) -> String {
        match &self.side {
            SyncSide::Target(target) if target.same_bytes > 0 => {
                let kib = target.same_bytes >> 10;
                format!("resync done; {kib} KiB of it were the same already")
            }
            _ => "resync done".to_owned(),
        }
    }

    fn target(&mut self) -> Option<&mut Target> {
        match &mut self.side {
            SyncSide::Target(target) => Some(target),
            SyncSide::Source => None,
        }
    }
}

impl Engine {
    /// Asks for what there is room for; ends the resync when nothing is left.
    pub(super) fn pump_target(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.joined() || vol.meta.is_none() {
            return;
        }
        let mut rests = false;
        loop {
            let vol = &mut self.volumes[v];
            let Some(target) = vol.sync.as_mut().and_then(Sync::target) else { return };
            let open = target.asked.iter().chain(&target.writing);
            let open: u64 = open.map(|(range, _)| range.len).sum();
            if target.adopting || self.is_sync_paused(v) {
                break;
            }
            let Some((room, largest)) = self.resync_room(v, open) else {
                rests = open == 0;
                break;
            };
            if !self.ask_next(v, room.min(largest), out) {
                break;
            }
        }
        // What stands still for a moment is no reason to flush.
        if rests && self.volumes[v].dirty_blocks() > self.volumes[v].durable.clear_backlog() {
            return self.flush_for_clears(v, false, out);
        }
        self.end_round(v, out);
    }

    /// Asks for the next marked blocks, at least one and at most so many bytes; false if there is
    /// none.
    fn ask_next(&mut self, v: usize, most: u64, out: &mut Effects) -> bool {
        let vol = &mut self.volumes[v];
        let (volume, size, now) = (vol.id, vol.size, self.now);
        let target = vol.sync.as_mut().and_then(Sync::target).expect("this node is the target");
        let from = target.cursor;
        let Some(run) = vol.next_wanted(from, (most / BLOCK_BYTES).max(1)) else { return false };
        let bytes = run.bytes();
        let range = ByteRange::between(bytes.offset, bytes.end().min(size));
        let target = vol.sync.as_mut().and_then(Sync::target).expect("just seen");
        target.cursor = run.end;
        target.asked.push((range, Request { whole: range, since: now }));
        vol.locks.push(range);
        self.resync_asked(v, range);
        match (self.csums(v), self.link_epoch()) {
            (Some(digest), Some(epoch)) => {
                self.place(v, range, Work::ResyncOwn(range, epoch, digest), out);
            }
            _ => self.send(Message::ResyncRequest { volume, range, known: None }, out),
        }
        true
    }

    /// All has been asked for and is written: flush, look again, and end when nothing is marked.
    fn end_round(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let dirty = vol.dirty_blocks();
        let volume = vol.id;
        let clears = vol.durable.clears_pending();
        let Some(target) = vol.sync.as_mut().and_then(Sync::target) else { return };
        if !target.asked.is_empty() || !target.writing.is_empty() || target.adopting {
            return self.flush_for_clears(v, false, out);
        }
        if clears {
            return self.flush_for_clears(v, true, out);
        }
        if dirty > 0 {
            // A later round finds what was marked behind the cursor; a block that the source
            // cannot read stays marked until the next connection.
            if target.cursor > 0 && target.failed == 0 {
                target.cursor = 0;
                self.touch(v);
            }
        } else if !target.finished_sent {
            target.finished_sent = true;
            self.send(Message::ResyncEnd { volume, step: ResyncStep::Finished }, out);
        }
    }

    /// The source's side of a request: its place in the order is taken now.
    pub(super) fn on_resync_request(&mut self, v: usize, read: ResyncRead, out: &mut Effects) {
        let range = read.range;
        let vol = &mut self.volumes[v];
        let source = matches!(vol.sync, Some(Sync { side: SyncSide::Source, .. }));
        if range.end() > vol.size || vol.sync.is_some() && !source {
            return self.protocol_error("a resync request where no resync is", out);
        }
        if !source {
            // The peer's disk cannot read there.
            if !vol.readable() {
                let volume = vol.id;
                return self.send(Message::ResyncFailed { volume, range }, out);
            }
            vol.helping.push(range);
        }
        vol.locks.push(range);
        self.place(v, range, Work::ResyncRead(read), out);
    }

    pub(super) fn resync_read_done(
        &mut self,
        v: usize,
        read: &ResyncRead,
        data: Option<Bytes>,
        out: &mut Effects,
    ) {
        let range = read.range;
        let current = self.link_epoch() == Some(read.epoch);
        self.resync_disturbs(v);
        let vol = &mut self.volumes[v];
        vol.unlock(range);
        let source = matches!(vol.sync, Some(Sync { side: SyncSide::Source, .. }));
        let helped = vol.helping.iter().position(|helping| current && *helping == range);
        let helped = helped.map(|at| vol.helping.swap_remove(at)).is_some();
        // What was asked for by an older link was read before writes that the target sends again
        // by this one: it would overwrite them there.
        let stale = !current && !mutation::on(Mutation::StaleResyncData);
        if !source && !helped || stale || !vol.joined() {
            return;
        }
        let volume = vol.id;
        let Some(data) = data else {
            return self.send(Message::ResyncFailed { volume, range }, out);
        };
        vol.counters.read_bytes += range.len;
        let compares = self.config.options.on_io_error != OnIoError::PassOn;
        let known = read.known.as_ref().filter(|_| compares);
        // A repair is one write.
        let parts = match helped {
            true => vec![(range, Content::Data(data))],
            false => pieces(range, &data, known),
        };
        for (range, content) in parts {
            let bytes = if content == Content::Same { 0 } else { range.len };
            let vol = &mut self.volumes[v];
            vol.counters.sent_bytes += bytes;
            vol.resync_bytes += if helped { 0 } else { bytes };
            self.send(Message::ResyncData { volume, range, content }, out);
        }
    }

    pub(super) fn on_resync_data(
        &mut self,
        v: usize,
        range: ByteRange,
        content: Content,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        if vol.is_repair(range) && content != Content::Same {
            vol.counters.received_bytes += range.len;
            return self.place(v, range, Work::ResyncWrite(range, content), out);
        }
        let same = content == Content::Same;
        let asked = vol.sync.as_mut().and_then(Sync::target).and_then(|target| {
            let (open, request) = target.take(range)?;
            target.writing.push((range, request));
            target.same_bytes += if same { range.len } else { 0 };
            Some(open)
        });
        let Some(open) = asked else {
            return self.not_asked_for(v, out);
        };
        vol.split_lock(open, range);
        let bytes = if same { 0 } else { range.len };
        vol.counters.received_bytes += bytes;
        vol.resync_bytes += bytes;
        self.place(v, range, Work::ResyncWrite(range, content), out);
    }

    pub(super) fn resync_write_done(&mut self, v: usize, range: ByteRange, failed: bool) {
        let vol = &mut self.volumes[v];
        vol.unlock(range);
        let size = vol.size;
        let target = vol.sync.as_mut().and_then(Sync::target);
        // The pace is that of whole requests.
        let done = target.and_then(|target| {
            let at = target.writing.iter().position(|(writing, _)| *writing == range)?;
            let (_, request) = target.writing.swap_remove(at);
            let mut open = target.asked.iter().chain(&target.writing);
            open.all(|(_, other)| *other != request).then_some(request)
        });
        // A session that ended meanwhile has forgotten what it wanted to clear: so does this.
        if !failed && vol.sync.is_some() && !vol.session.ended {
            vol.durable.clear_later(whole_blocks(range, size));
        }
        if let Some(Request { whole, since }) = done {
            self.resync_written(v, whole, since);
        }
        self.touch(v);
    }

    /// Data that nobody here has asked for, or not any more: it was given up when the peer said that its
    /// disk is gone.
    fn not_asked_for(&mut self, v: usize, out: &mut Effects) {
        if !self.volumes[v].peer_is_bare() {
            self.protocol_error("resync data that was not asked for", out);
        }
    }

    pub(super) fn on_resync_failed(&mut self, v: usize, range: ByteRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.is_repair(range) {
            vol.unlock(range);
            return self.repair_done(v, range, true);
        }
        let target = vol.sync.as_mut().and_then(Sync::target);
        let asked = target.and_then(|target| {
            target.failed += range.blocks().len();
            target.take(range)
        });
        let Some((open, _)) = asked else {
            return self.not_asked_for(v, out);
        };
        vol.split_lock(open, range);
        vol.unlock(range);
        self.touch(v);
    }

    /// A write that both nodes have, or will have in this order, covers these bytes: blocks that
    /// it covers wholly are in sync once it is durable here.
    pub(super) fn note_in_sync(&mut self, v: usize, range: ByteRange) {
        let vol = &mut self.volumes[v];
        let size = vol.size;
        let is_target = vol.sync.as_ref().is_some_and(Sync::is_target);
        if !is_target || vol.session.ended {
            return;
        }
        let blocks = whole_blocks(range, size);
        if vol.meta.as_ref().is_some_and(|meta| meta.bitmap.any(blocks)) {
            vol.durable.clear_later(blocks);
        }
    }

    /// The target has made these durable.
    pub(super) fn on_in_sync(&mut self, v: usize, blocks: &[(u64, u64)], out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_mut() else { return };
        if !matches!(vol.sync, Some(Sync { side: SyncSide::Source, .. })) {
            return self.protocol_error("marks to clear where nothing is copied", out);
        }
        for &(start, count) in blocks {
            if start + count > meta.bitmap.blocks() {
                return self.protocol_error("blocks beyond the end of the volume", out);
            }
            meta.bitmap.clear(BlockRange::new(start, start + count));
        }
        self.touch(v);
    }

    pub(super) fn on_resync_end(&mut self, v: usize, step: ResyncStep, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(sync) = vol.sync.as_mut() else {
            return self.protocol_error("the end of a resync that is not running", out);
        };
        match (step, &mut sync.side) {
            (ResyncStep::Finished, SyncSide::Source) => {
                if mutation::on(Mutation::LateMarkForgotten) {
                    vol.metadata().bitmap.clear_all();
                }
                if vol.dirty_blocks() > 0 {
                    // Late marks: the target has to fetch these too.
                    return self.send_bitmap(v, out);
                }
                if vol.minted != Minted::No {
                    // The target would adopt what was the generation when they met.
                    return self.meet_anew(v, "writes have failed at the peer meanwhile", out);
                }
                // From the confirmation on the target may have a good copy, also if its word does not
                // come through: it must not count as fenced.
                let flags = &mut vol.metadata().superblock.flags;
                match std::mem::take(&mut flags.peer_outdated) {
                    true => self.save_superblock(v, Then::Confirmed, out),
                    false => self.confirm(v, out),
                }
            }
            (ResyncStep::Confirmed, SyncSide::Target(target)) if target.finished_sent => {
                let late = vol.meta.as_ref().is_some_and(|meta| meta.bitmap.weight() > 0);
                if late && !mutation::on(Mutation::LateMarkForgotten) {
                    // Asked again when that is copied, too.
                    target.finished_sent = false;
                    return self.touch(v);
                }
                target.adopting = true;
                let source = target.source.clone();
                self.adopt(v, &source, out);
            }
            (ResyncStep::Adopted, SyncSide::Source)
                if vol.meta.as_ref().is_some_and(|meta| meta.bitmap.weight() == 0) =>
            {
                vol.sync = None;
                self.settled_with_peer(v, out);
                // Else a crash would find marks that are long cleared.
                self.save_bitmap(v, None, out);
                self.set_peer_disk(v, DiskState::UpToDate, out);
                self.set_replication(v, ReplicationState::Established, "resync done", out);
                self.pump_unfence(out);
            }
            (ResyncStep::Adopted, SyncSide::Source) => {
                self.meet_anew(v, "a write has failed here as the resync ended", out);
            }
            _ => self.protocol_error("a step of a resync out of turn", out),
        }
    }

    /// What was agreed on is no longer so: the verdict is to be taken again.
    pub(super) fn meet_anew(&mut self, v: usize, why: &str, out: &mut Effects) {
        self.volumes[v].session.ended = true;
        self.renegotiate(why, out);
    }

    /// The target may call its copy UpToDate, if nothing was marked meanwhile.
    pub(super) fn confirm(&mut self, v: usize, out: &mut Effects) {
        let open = self.session_open(v);
        let vol = &mut self.volumes[v];
        let dirty = vol.dirty_blocks() > 0;
        let source = vol.sync.as_mut().filter(|sync| matches!(sync.side, SyncSide::Source));
        let Some(sync) = source.filter(|_| open) else { return };
        if dirty {
            return self.send_bitmap(v, out);
        }
        sync.confirmed = true;
        let (volume, step) = (vol.id, ResyncStep::Confirmed);
        self.send(Message::ResyncEnd { volume, step }, out);
    }

    /// The target's copy is what the source's is; it is UpToDate when that is durable.
    fn adopt(&mut self, v: usize, source: &Generations, out: &mut Effects) {
        let (node, now) = (self.config.node, self.now);
        let primary = self.role == types::Role::Primary;
        let superblock = &mut self.volumes[v].metadata().superblock;
        superblock.generations.adopt(source, node, now);
        let current = &mut superblock.generations.current;
        current.id = current.id.with_primary(primary);
        superblock.flags.consistent = true;
        superblock.flags.was_up_to_date = true;
        superblock.flags.full_sync = false;
        superblock.flags.crashed_primary = false;
        self.save_superblock(v, Then::Adopted, out);
    }

    pub(super) fn on_adopted(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let volume = vol.id;
        let joined = vol.joined();
        let stopped = vol.sync.as_mut().and_then(Sync::target).is_some_and(|it| !it.adopting);
        let degraded = vol.meta.as_ref().is_some_and(|meta| !meta.superblock.flags.consistent);
        if stopped || degraded {
            // A write has failed meanwhile.
            return self.touch(v);
        }
        let ended = vol.sync.take();
        let outcome = ended.map_or_else(|| "resync done".to_owned(), |sync| sync.outcome());
        self.save_bitmap(v, None, out);
        self.set_disk(v, DiskState::UpToDate, &outcome, out);
        self.run_handler(Handler::AfterResyncTarget, Some(v), out);
        if joined {
            self.send(Message::ResyncEnd { volume, step: ResyncStep::Adopted }, out);
            self.set_replication(v, ReplicationState::Established, &outcome, out);
        }
    }

    /// The peer has all that is here: its old generation is history.
    pub(super) fn settled_with_peer(&mut self, v: usize, out: &mut Effects) {
        if self.volumes[v].meta.is_none() {
            return;
        }
        let superblock = &mut self.volumes[v].metadata().superblock;
        superblock.generations.settled_with_peer();
        superblock.flags.crashed_primary = false;
        superblock.flags.full_sync = false;
        superblock.flags.peer_outdated = false;
        self.save_superblock(v, Then::Nothing, out);
        self.want_unfence();
    }

    /// All marks, in as many messages as it takes.
    pub(super) fn send_bitmap(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        let volume = vol.id;
        let Some(meta) = vol.meta.as_ref() else { return };
        let mut from = 0;
        let mut messages = Vec::new();
        while from < meta.bitmap.blocks() {
            let (runs, next) = rle::encode(&meta.bitmap, from, BITMAP_MESSAGE_BYTES);
            assert!(next > from, "run-length coding moves on");
            messages.push(Message::Bitmap { volume, from, runs: runs.into() });
            from = next;
        }
        for message in messages {
            self.send(message, out);
        }
    }

    /// Marks of the peer: the union counts.
    pub(super) fn on_bitmap(&mut self, v: usize, from: u64, runs: &[u8], out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let size_blocks = blocks_of(vol.size);
        let Some(meta) = vol.meta.as_mut() else { return };
        // The peer's disk may be larger; what lies beyond the agreed size is not marked.
        let peer_blocks = u64::MAX >> 13;
        let Ok((marked, _)) = rle::decode(runs, from, peer_blocks) else {
            return self.protocol_error("a bitmap that does not decode", out);
        };
        for run in marked {
            if mutation::on(Mutation::MarksNotUnited) {
                continue;
            }
            let clipped = BlockRange::new(run.start.min(size_blocks), run.end.min(size_blocks));
            meta.bitmap.set(clipped);
            vol.durable.forget_clears(clipped);
        }
        if let Some(sync) = vol.sync.as_mut() {
            sync.total_blocks =
                sync.total_blocks.max(vol.meta.as_ref().map_or(0, |m| m.bitmap.weight()));
            if let Some(target) = sync.target() {
                target.finished_sent = false;
                target.cursor = 0;
                target.failed = 0;
            }
        }
        self.touch(v);
    }

    /// The link is gone: what was asked for will not come. What has come is still written.
    pub(super) fn interrupt_resync(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        let writing: Vec<ByteRange> = vol
            .work
            .values()
            .filter_map(|unit| match &unit.work {
                Work::ResyncWrite(range, _) | Work::ResyncOwn(range, ..) => Some(*range),
                Work::ResyncRead(read) => Some(read.range),
                Work::VerifyRead(read) => read.lock(),
                Work::Local(_) | Work::Mirror(_) => None,
            })
            .collect();
        let free: Vec<ByteRange> =
            vol.locks.iter().copied().filter(|lock| !writing.contains(lock)).collect();
        for range in free {
            vol.unlock(range);
        }
        vol.repairs.give_up(&writing);
        vol.helping.clear();
        if let Some(target) = vol.sync.as_mut().and_then(Sync::target) {
            target.asked.clear();
            target.writing.retain(|(range, _)| writing.contains(range));
            target.cursor = 0;
            target.finished_sent = false;
        }
    }
}

impl super::volume::Volume {
    /// The next marked blocks at or after `from` that are not on their way already.
    fn next_wanted(&mut self, from: u64, max: u64) -> Option<BlockRange> {
        let meta = self.meta.as_ref()?;
        let mut from = from;
        loop {
            let run = meta.bitmap.next_run(from, max)?;
            if let Some(clearing) = self.durable.is_clearing(run.start) {
                from = clearing.end;
                continue;
            }
            if let Some(lock) = self.locks.iter().find(|lock| lock.overlaps(run.bytes())) {
                let blocks = lock.blocks();
                if run.start < blocks.start {
                    return Some(BlockRange::new(run.start, blocks.start));
                }
                from = blocks.end;
                continue;
            }
            return Some(run);
        }
    }
}

/// The blocks that a range covers wholly; a partial last block of the volume counts as whole.
fn whole_blocks(range: ByteRange, size: u64) -> BlockRange {
    if mutation::on(Mutation::PartialClears) {
        return range.blocks();
    }
    if range.end() == size {
        let padded = ByteRange::between(range.offset, blocks_of(size) * BLOCK_BYTES);
        return padded.whole_blocks();
    }
    range.whole_blocks()
}
