//! The activity log in use: which extents are hot, who waits for one, and when one may go cold.
//!
//! An extent goes cold only when every write to it is durable here and (durable at the peer, or
//! marked out-of-sync with the mark durable).

use super::Engine;
use super::durable::FlushThen;
use super::superblock::MetaUse;
use super::volume::Mode;
use super::write::Piece;
use crate::effect::{Effect, Effects};
use crate::input::RequestId;
use metadata::{ActivityLog, ExtentNo, Metadata};
use std::collections::{BTreeMap, BTreeSet};
use types::mutation::{self, Mutation};
use types::{BLOCK_BYTES, BlockRange, ByteRange, EXTENT_BYTES};

/// What is known of a hot extent's writes.
#[derive(Debug, Default)]
struct ExtentUse {
    /// Writes that are not settled.
    busy: u32,
    /// The highest number of a write to it in this session that the peer has or may have.
    last_seq: u64,
    /// The count of finished disk writes when the last one to it settled.
    last_done: u64,
}

/// The log of one volume at work.
#[derive(Debug, Default)]
pub(super) struct LogUse {
    extents: BTreeMap<ExtentNo, ExtentUse>,
    /// How many of them have writes that are not settled.
    busy: u32,
    /// Whether a transaction is under way; never two at a time.
    in_transaction: bool,
    /// Its extents: not hot before it is durable.
    heating: BTreeSet<ExtentNo>,
    /// Pieces by the extent that they wait for.
    waiting: BTreeMap<ExtentNo, Vec<Piece>>,
    /// A write of bitmap pages is under way: what it holds counts as durable after it.
    pub bitmap_saving: bool,
}

impl LogUse {
    /// Whether writes to the extent of `range` may start; it counts as used now.
    pub(super) fn use_extent(&mut self, meta: Option<&mut Metadata>, range: ByteRange) -> bool {
        let extent = ExtentNo::of_byte(range.offset);
        let Some(meta) = meta else { return true };
        if meta.superblock.flags.al_disabled || mutation::on(Mutation::SkipActivityLog) {
            return true;
        }
        if !meta.al.is_hot(extent) || self.heating.contains(&extent) {
            return false;
        }
        meta.al.touch(extent);
        true
    }

    pub(super) fn wait(&mut self, piece: Piece) {
        self.waiting.entry(ExtentNo::of_byte(piece.range.offset)).or_default().push(piece);
    }

    pub(super) fn begin(&mut self, extent: ExtentNo, seq: u64) {
        let entry = self.extents.entry(extent).or_default();
        self.busy += u32::from(entry.busy == 0);
        entry.busy += 1;
        entry.last_seq = entry.last_seq.max(seq);
    }

    pub(super) fn end(&mut self, extent: ExtentNo, done: u64) {
        // A diskless node keeps no log.
        let Some(entry) = self.extents.get_mut(&extent) else { return };
        self.busy -= u32::from(entry.busy == 1);
        entry.busy = entry.busy.saturating_sub(1);
        entry.last_done = done;
    }

    /// A write to the extent that is not settled has got another number.
    pub(super) fn renumber(&mut self, extent: ExtentNo, seq: u64) {
        // A write that never went to the disk here has no part in the log.
        let Some(entry) = self.extents.get_mut(&extent) else { return };
        entry.last_seq = entry.last_seq.max(seq);
    }

    /// How many extents have writes that are not settled.
    pub(super) const fn busy(&self) -> u32 {
        self.busy
    }

    /// The session is over: what the peer lacks is marked, so no number counts any more.
    pub(super) fn end_session(&mut self) {
        for entry in self.extents.values_mut() {
            entry.last_seq = 0;
        }
    }

    pub(super) fn forget(&mut self, gone: &BTreeSet<RequestId>) {
        self.waiting.retain(|_, pieces| {
            pieces.retain(|piece| !gone.contains(&piece.request));
            !pieces.is_empty()
        });
    }

    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = Piece> + use<> {
        std::mem::take(&mut self.waiting).into_values().flatten()
    }

    /// Whether nothing of log or bitmap is on its way to the disk.
    pub(super) const fn is_at_rest(&self) -> bool {
        !self.in_transaction && !self.bitmap_saving
    }

    /// Log and bitmap are written by somebody else for a while.
    pub(super) fn occupy(&mut self) {
        (self.in_transaction, self.bitmap_saving) = (true, true);
    }

    /// That is over.
    pub(super) fn release(&mut self) {
        (self.in_transaction, self.bitmap_saving) = (false, false);
    }

    /// The disk is gone, and its log with it.
    pub(super) fn reset(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self { waiting, ..Self::default() };
    }
}

/// What keeps an extent hot.
#[derive(Default)]
struct Obstacles {
    local_flush: bool,
    peer_flush: bool,
    bitmap: Option<BlockRange>,
}

fn blocks_of_extent(extent: ExtentNo, blocks: u64) -> BlockRange {
    let per = EXTENT_BYTES / BLOCK_BYTES;
    let start = (u64::from(extent.0) * per).min(blocks);
    BlockRange::new(start, (start + per).min(blocks))
}

impl Engine {
    /// Starts the next transaction if somebody waits and none is under way.
    pub(super) fn pump_log(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.log.in_transaction || vol.log.waiting.is_empty() || vol.meta.is_none() {
            return;
        }
        let mut wanted: Vec<ExtentNo> = vol.log_wanted();
        wanted.truncate(ActivityLog::MAX_UPDATES);
        if wanted.is_empty() {
            // Heated for others meanwhile.
            return self.requeue_hot(v);
        }
        let free = (al_free(&vol.meta) as usize).min(wanted.len());
        let mut obstacles = Obstacles::default();
        let cool = vol.log_victims(wanted.len() - free, &mut obstacles);
        let heat = &wanted[..free + cool.len()];
        if heat.len() < wanted.len() {
            self.remove_obstacles(v, &obstacles, out);
        }
        if heat.is_empty() {
            return;
        }
        self.log_transaction(v, &cool, heat, out);
    }

    fn log_transaction(
        &mut self,
        v: usize,
        cool: &[ExtentNo],
        heat: &[ExtentNo],
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let batch = vol.metadata().al.transaction(cool, heat);
        for extent in cool {
            vol.log.extents.remove(extent);
        }
        vol.log.in_transaction = true;
        vol.log.heating.extend(heat);
        vol.counters.al_writes += 1;
        let id = self.meta_op(v, MetaUse::Log);
        let volume = self.volumes[v].id;
        out.push(Effect::Meta { volume, id, batch });
    }

    pub(super) fn on_log_durable(&mut self, v: usize, out: &mut Effects) {
        self.volumes[v].log.in_transaction = false;
        self.volumes[v].log.heating.clear();
        self.requeue_hot(v);
        self.pump_queue(v, out);
    }

    /// Pieces whose extent is hot go back to the front of the queue.
    fn requeue_hot(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_ref() else { return };
        let (log, al) = (&mut vol.log, &meta.al);
        let hot: Vec<ExtentNo> =
            log.waiting.keys().copied().filter(|extent| al.is_hot(*extent)).collect();
        let heating = &log.heating;
        let ready: Vec<ExtentNo> =
            hot.into_iter().filter(|extent| !heating.contains(extent)).collect();
        for extent in ready.into_iter().rev() {
            for piece in log.waiting.remove(&extent).into_iter().flatten().rev() {
                vol.queue.push_front(piece);
            }
        }
    }

    fn remove_obstacles(&mut self, v: usize, obstacles: &Obstacles, out: &mut Effects) {
        if obstacles.local_flush {
            self.want_flush(v, FlushThen::Nothing, out);
        }
        if obstacles.peer_flush && self.volumes[v].mode == Mode::Alone && !self.link_holds() {
            // The peer will not say any more what is durable there: that becomes marks.
            self.go_on_alone(v, "a write that the peer does not get", out);
        } else if obstacles.peer_flush {
            self.ask_peer_durable(v, out);
        }
        if let Some(blocks) = obstacles.bitmap {
            self.save_bitmap(v, Some(blocks), out);
        }
    }

    /// Makes the log empty, one transaction at a time; true when it is.
    pub(super) fn cool_all(&mut self, v: usize, out: &mut Effects) -> bool {
        let vol = &mut self.volumes[v];
        if vol.log.in_transaction {
            return false;
        }
        let Some(meta) = vol.meta.as_ref() else { return true };
        let mut hot: Vec<ExtentNo> = meta.al.hot().collect();
        if hot.is_empty() {
            return true;
        }
        hot.truncate(ActivityLog::MAX_UPDATES);
        let mut obstacles = Obstacles::default();
        let cool: Vec<ExtentNo> =
            hot.into_iter().filter(|&extent| vol.may_cool(extent, &mut obstacles)).collect();
        if cool.is_empty() {
            self.remove_obstacles(v, &obstacles, out);
            return false;
        }
        self.log_transaction(v, &cool, &[], out);
        false
    }
}

fn al_free(meta: &Option<Metadata>) -> u32 {
    meta.as_ref().map_or(0, |meta| meta.al.capacity() - meta.al.hot_count())
}

impl super::volume::Volume {
    fn log_wanted(&self) -> Vec<ExtentNo> {
        let Some(meta) = self.meta.as_ref() else { return Vec::new() };
        self.log.waiting.keys().copied().filter(|extent| !meta.al.is_hot(*extent)).collect()
    }

    /// The least recently used extents that may go cold; what keeps others is noted.
    fn log_victims(&self, count: usize, obstacles: &mut Obstacles) -> Vec<ExtentNo> {
        let Some(meta) = self.meta.as_ref() else { return Vec::new() };
        // Looking further than this finds extents that were used a moment ago.
        let search = count * 2 + 64;
        let candidates = meta.al.coldest().take(if count == 0 { 0 } else { search });
        let victims = candidates.filter(|&extent| self.may_cool(extent, obstacles));
        victims.take(count).collect()
    }

    fn may_cool(&self, extent: ExtentNo, obstacles: &mut Obstacles) -> bool {
        let Some(meta) = self.meta.as_ref() else { return false };
        let unused = ExtentUse::default();
        let entry = self.log.extents.get(&extent).unwrap_or(&unused);
        if entry.busy > 0 {
            return false;
        }
        if entry.last_done > self.durable.flushed() && !mutation::on(Mutation::EvictBeforeFlush) {
            obstacles.local_flush = true;
            return false;
        }
        let peer_lacks = entry.last_seq > self.durable.peer_durable();
        if peer_lacks && !mutation::on(Mutation::EvictBeforePeerDurable) {
            obstacles.peer_flush = true;
            return false;
        }
        let blocks = blocks_of_extent(extent, meta.bitmap.blocks());
        if !meta.bitmap.is_durable(blocks) && !mutation::on(Mutation::EvictBeforeBitmap) {
            obstacles.bitmap.get_or_insert(blocks);
            return false;
        }
        !self.log.bitmap_saving
    }
}
