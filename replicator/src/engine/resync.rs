//! Resync: the target pulls what is marked, while both nodes keep writing.
//!
//! The target locks a range against its own clients from asking until it is written; the source
//! takes a place in its local order for the read, and locks the range against its own clients
//! from the request until the data stands in the link's queue. Locks stop only what has no number
//! yet; mirrored writes and resync data take their place in arrival order. So a resync block never
//! overwrites newer data.
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
use super::superblock::Then;
use super::volume::Work;
use crate::effect::Effects;
use crate::handler::Handler;
use crate::input::LinkEpoch;
use crate::status::ResyncStatus;
use crate::wire::{Message, ResyncStep};
use bytes::Bytes;
use metadata::{Generations, rle};
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
    /// What was asked for and has not come yet.
    asked: Vec<ByteRange>,
    /// What has come and is not written yet.
    writing: Vec<ByteRange>,
    /// Blocks that the source could not read: what is marked then is not looked for once more, until
    /// the next connection.
    failed: u64,
    finished_sent: bool,
    adopting: bool,
}

impl Target {
    /// Nothing if that was not asked for; else it counts as come.
    fn take(&mut self, range: ByteRange) -> Option<&mut Self> {
        let at = self.asked.iter().position(|asked| *asked == range)?;
        self.asked.swap_remove(at);
        Some(self)
    }

    pub(super) fn new(source: Generations) -> Self {
        Self {
            source: Box::new(source),
            cursor: 0,
            asked: Vec::new(),
            writing: Vec::new(),
            failed: 0,
            finished_sent: false,
            adopting: false,
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

    fn target(&mut self) -> Option<&mut Target> {
        match &mut self.side {
            SyncSide::Target(target) => Some(target),
            SyncSide::Source => None,
        }
    }
}

impl Engine {
    /// Asks for what the window has room for; ends the resync when nothing is left.
    pub(super) fn pump_target(&mut self, v: usize, out: &mut Effects) {
        let (window, largest) =
            (self.config.options.resync_window, self.config.options.resync_request);
        let vol = &mut self.volumes[v];
        if !vol.joined() || vol.meta.is_none() {
            return;
        }
        loop {
            let vol = &mut self.volumes[v];
            let size = vol.size;
            let Some(target) = vol.sync.as_mut().and_then(Sync::target) else { return };
            let open = target.asked.iter().chain(&target.writing);
            let asked: u64 = open.map(|range| range.len).sum();
            if asked >= window || target.adopting {
                break;
            }
            let from = target.cursor;
            let Some(run) = vol.next_wanted(from, largest / BLOCK_BYTES) else { break };
            let bytes = run.bytes();
            let range = ByteRange::between(bytes.offset, bytes.end().min(size));
            let volume = vol.id;
            let target = vol.sync.as_mut().and_then(Sync::target).expect("just seen");
            target.cursor = run.end;
            target.asked.push(range);
            vol.locks.push(range);
            self.send(Message::ResyncRequest { volume, range }, out);
        }
        self.end_round(v, out);
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
    pub(super) fn on_resync_request(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        range: ByteRange,
        out: &mut Effects,
    ) {
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
        self.place(v, range, Work::ResyncRead(range, epoch), out);
    }

    pub(super) fn resync_read_done(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        range: ByteRange,
        data: Option<Bytes>,
        out: &mut Effects,
    ) {
        let current = self.link_epoch() == Some(epoch);
        let vol = &mut self.volumes[v];
        vol.unlock(range);
        let source = matches!(vol.sync, Some(Sync { side: SyncSide::Source, .. }));
        let helped = vol.helping.iter().position(|helping| *helping == range);
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
        vol.counters.sent_bytes += range.len;
        vol.resync_bytes += if helped { 0 } else { range.len };
        let data = (!is_zero(&data)).then_some(data);
        self.send(Message::ResyncData { volume, range, data }, out);
    }

    pub(super) fn on_resync_data(
        &mut self,
        v: usize,
        range: ByteRange,
        data: Option<Bytes>,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        if vol.is_repair(range) {
            vol.counters.received_bytes += range.len;
            return self.place(v, range, Work::ResyncWrite(range, data), out);
        }
        let target = vol.sync.as_mut().and_then(Sync::target);
        let Some(target) = target.and_then(|target| target.take(range)) else {
            return self.protocol_error("resync data that was not asked for", out);
        };
        target.writing.push(range);
        vol.counters.received_bytes += range.len;
        vol.resync_bytes += range.len;
        self.place(v, range, Work::ResyncWrite(range, data), out);
    }

    pub(super) fn resync_write_done(&mut self, v: usize, range: ByteRange, failed: bool) {
        let vol = &mut self.volumes[v];
        vol.unlock(range);
        let size = vol.size;
        if let Some(target) = vol.sync.as_mut().and_then(Sync::target) {
            target.writing.retain(|writing| *writing != range);
        }
        // A session that ended meanwhile has forgotten what it wanted to clear: so does this.
        if !failed && vol.sync.is_some() && !vol.session.ended {
            vol.durable.clear_later(whole_blocks(range, size));
        }
        self.touch(v);
    }

    pub(super) fn on_resync_failed(&mut self, v: usize, range: ByteRange, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.is_repair(range) {
            vol.unlock(range);
            return self.repair_done(v, range, true);
        }
        let target = vol.sync.as_mut().and_then(Sync::target);
        let Some(target) = target.and_then(|target| target.take(range)) else {
            return self.protocol_error("an answer to what was not asked for", out);
        };
        target.failed += range.blocks().len();
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
                if vol.dirty_blocks() > 0 {
                    // Late marks: the target has to fetch these too.
                    return self.send_bitmap(v, out);
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
                if vol.meta.as_ref().is_some_and(|meta| meta.bitmap.weight() > 0) {
                    return;
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
            _ => self.protocol_error("a step of a resync out of turn", out),
        }
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
        vol.sync = None;
        self.save_bitmap(v, None, out);
        self.set_disk(v, DiskState::UpToDate, "resync done", out);
        self.run_handler(Handler::AfterResyncTarget, Some(v), out);
        if joined {
            self.send(Message::ResyncEnd { volume, step: ResyncStep::Adopted }, out);
            self.set_replication(v, ReplicationState::Established, "resync done", out);
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
            .filter_map(|unit| match unit.work {
                Work::ResyncWrite(range, _) | Work::ResyncRead(range, _) => Some(range),
                Work::Local(_) | Work::Mirror(_) => None,
            })
            .collect();
        let free: Vec<ByteRange> =
            vol.locks.iter().copied().filter(|lock| !writing.contains(lock)).collect();
        for range in free {
            vol.unlock(range);
        }
        vol.repairs.retain(|range| writing.contains(range));
        vol.helping.clear();
        if let Some(target) = vol.sync.as_mut().and_then(Sync::target) {
            target.asked.clear();
            target.writing.retain(|range| writing.contains(range));
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

/// Whether all bytes are zero: such blocks travel as a word.
fn is_zero(data: &[u8]) -> bool {
    let words = data.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0) && words.into_iter().all(|w| w == [0; 16])
}
