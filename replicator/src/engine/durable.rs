//! What is durable where: flushes of the local disk, and the watermark of the peer.
//!
//! A write that the peer has answered may still sit in a cache there. Until the peer says that it
//! is durable its range is remembered, and becomes a mark if the peer is lost.

use super::Engine;
use super::disk::DiskUse;
use super::disk_error::Lack;
use super::volume::{Minted, Mode};
use crate::effect::{DiskOp, Effects, IoError};
use crate::input::{LinkEpoch, RequestId};
use crate::options::Options;
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet};
use types::mutation::{self, Mutation};
use types::{BlockRange, ByteRange, Time};

/// No message lists more than this: far below the limit of a message's body.
pub(super) const LIST_MAX: usize = 4096;

/// What goes on when a flush of the local disk is done.
#[derive(Debug)]
pub(super) enum FlushThen {
    /// Whoever waits looks for himself.
    Nothing,
    /// The local half of a client's flush.
    Client(RequestId),
    /// The peer asked, by this link.
    Peer(LinkEpoch, u64),
    /// A write of the peer that is to be durable before it is answered.
    Mirror(u64),
    /// Going on alone, for this reason.
    Mint(&'static str),
}

/// The peer's half of a client's flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerFlush {
    /// Still to be asked, or to be asked again.
    Unasked,
    /// Asked, under this number; when every write of the peer that had been received was settled
    /// then, up to this one they will be durable there.
    Asked(u64, Option<u64>),
}

/// The state of both disks' caches, as far as it is known here.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// Writes of the local disk that have ended.
    done: u64,
    /// How many of them are durable.
    flushed: u64,
    /// The flush under way covers so many.
    running: Option<u64>,
    waiters: Vec<(u64, FlushThen)>,

    /// Ranges of answered writes that are not known durable at the peer, by number.
    undurable: BTreeMap<u64, ByteRange>,
    /// Bytes of writes that were sent and are not known durable at the peer.
    outstanding: u64,
    /// Every write up to this number is durable at the peer.
    peer_durable: u64,
    /// The peer's own writes up to this number are durable at the peer; nothing if that is not
    /// known since this disk was attached.
    peer_own_durable: Option<u64>,
    /// Flushes of clients whose half at the peer is open.
    flushes: BTreeMap<RequestId, PeerFlush>,
    next_flush: u64,
    /// What had been sent when the peer was last told of a flush that is not waited for.
    passed_at: u64,
    /// A flush that the log wants, not a client.
    log_flush: Option<u64>,
    /// What of the answers that rest on the peer's copy alone.
    pub lack: Lack,
    /// Flushes of the peer that wait for our generation.
    pub peer_flushes: Vec<(LinkEpoch, u64)>,

    /// The peer's writes that are on the local disk, above the first gap.
    applied: BTreeSet<u64>,
    /// Every write of the peer up to this number is on the local disk.
    applied_upto: u64,
    /// What the flush under way covers of them.
    running_applied: u64,
    /// What the last flush has covered of them.
    flushed_applied: u64,
    /// What the peer has been told.
    told_upto: u64,
    /// Since when, and how many bytes of the peer's writes are not flushed.
    unflushed_since: Option<Time>,
    unflushed_bytes: u64,

    /// Blocks that are in sync once a flush has covered them.
    pending_clear: Vec<BlockRange>,
    /// Those that the flush under way covers.
    clearing: Vec<BlockRange>,
}

impl Durability {
    pub(super) const fn writes_done(&self) -> u64 {
        self.done
    }

    pub(super) const fn flushed(&self) -> u64 {
        self.flushed
    }

    pub(super) const fn peer_durable(&self) -> u64 {
        self.peer_durable
    }

    /// A disk was taken into service: what an earlier life wrote to it may not be durable, and
    /// whoever asks for a flush must not be told that there is nothing to do.
    pub(super) fn take_disk(&mut self) {
        self.done += 1;
        self.peer_own_durable = None;
    }

    /// A number for the next flush to ask the peer for.
    pub(super) const fn next_flush_id(&mut self) -> u64 {
        self.next_flush += 1;
        self.next_flush
    }

    /// Both nodes flush before they agree on a session.
    pub(super) fn both_are_flushed(&mut self) {
        self.peer_own_durable = Some(0);
    }

    /// Whether the peer has in its cache only what nobody was promised.
    fn nothing_to_lose_at_peer(&self, received: u64) -> bool {
        self.undurable.is_empty() && self.peer_own_durable == Some(received)
    }

    /// A write has ended on the local disk.
    pub(super) fn wrote(&mut self) {
        self.done += 1;
    }

    /// Whether the peer may be sent so many bytes more: what it may lose is bounded. One write may
    /// be larger than the bound.
    pub(super) const fn has_room(&self, bytes: u64, limit: u64) -> bool {
        self.outstanding == 0 || self.outstanding + bytes <= limit
    }

    /// A write is on its way to the peer.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.outstanding += bytes;
    }

    /// The peer does not have it, or has it for good.
    pub(super) fn not_sent(&mut self, bytes: u64) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }

    /// The peer has answered a write.
    pub(super) fn acked(&mut self, seq: u64, range: ByteRange) {
        if seq > self.peer_durable {
            self.undurable.insert(seq, range);
        } else {
            self.not_sent(range.len);
        }
    }

    /// Every write up to this number is durable at the peer.
    fn durable_at_peer(&mut self, upto: u64) {
        self.peer_durable = self.peer_durable.max(upto);
        let rest = self.undurable.split_off(&(upto + 1));
        let gone = std::mem::replace(&mut self.undurable, rest);
        self.not_sent(gone.values().map(|range| range.len).sum());
    }

    /// So many bytes may be lost at the peer.
    pub(super) const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Whether not more than this may be lost at the peer.
    pub(super) fn is_bounded(&self, limit: u64) -> bool {
        self.outstanding <= limit
    }

    /// What becomes marks if the peer is lost now.
    pub(super) fn undurable(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.undurable.values().copied()
    }

    /// A write of the peer is on the local disk.
    pub(super) fn applied(&mut self, seq: u64, bytes: u64, now: Time) {
        self.applied.insert(seq);
        while self.applied.remove(&(self.applied_upto + 1)) {
            self.applied_upto += 1;
        }
        self.unflushed_since.get_or_insert(now);
        self.unflushed_bytes += bytes;
    }

    /// What this node sent counts no more.
    pub(super) fn end_sending(&mut self) {
        self.undurable.clear();
        self.outstanding = 0;
        self.peer_durable = 0;
        self.log_flush = None;
        self.passed_at = 0;
        self.pending_clear.clear();
        self.clearing.clear();
        for flush in self.flushes.values_mut() {
            *flush = PeerFlush::Unasked;
        }
    }

    /// What the peer sent counts no more. The local disk's own state goes on.
    pub(super) fn end_receiving(&mut self) {
        self.applied.clear();
        self.applied_upto = 0;
        self.running_applied = 0;
        self.flushed_applied = 0;
        self.told_upto = 0;
    }

    /// These blocks equal the peer's, and may lose their marks after a flush.
    pub(super) fn clear_later(&mut self, blocks: BlockRange) {
        if !blocks.is_empty() {
            self.pending_clear.push(blocks);
        }
    }

    /// Nobody waits for these any more.
    pub(super) fn forget_flushes(&mut self, gone: &BTreeSet<RequestId>) {
        self.flushes.retain(|request, _| !gone.contains(request));
    }

    /// A new mark wins over a clearing that was on its way.
    pub(super) fn forget_clears(&mut self, blocks: BlockRange) {
        self.pending_clear.retain(|range| !range.overlaps(blocks));
        self.clearing.retain(|range| !range.overlaps(blocks));
    }

    pub(super) fn clears_pending(&self) -> bool {
        !self.pending_clear.is_empty() || !self.clearing.is_empty()
    }

    pub(super) fn clear_backlog(&self) -> u64 {
        self.pending_clear.iter().map(|range| range.len()).sum()
    }

    pub(super) fn is_clearing(&self, block: u64) -> Option<BlockRange> {
        let mut all = self.pending_clear.iter().chain(&self.clearing);
        all.find(|range| range.start <= block && block < range.end).copied()
    }

    /// The disk is gone: nothing waits for it.
    pub(super) fn lose_disk(&mut self) -> Vec<FlushThen> {
        self.running = None;
        self.pending_clear.clear();
        self.clearing.clear();
        self.unflushed_since = None;
        self.unflushed_bytes = 0;
        std::mem::take(&mut self.waiters).into_iter().map(|(_, then)| then).collect()
    }

    /// Every write of the peer up to this number is durable here.
    fn applied_and_durable(&self) -> u64 {
        if self.is_clean() { self.applied_upto } else { self.flushed_applied }
    }

    /// Everything written is durable, and nothing is under way.
    pub(super) fn is_clean(&self) -> bool {
        self.running.is_none() && self.flushed == self.done
    }

    /// When the peer's writes are to be flushed, unless that is under way.
    pub(super) fn flush_due(&self, options: &Options) -> Option<Time> {
        let since = self.unflushed_since.filter(|_| self.running.is_none())?;
        let full = self.unflushed_bytes >= unasked_flush(options);
        Some(if full { since } else { since + options.flush_interval })
    }

    pub(super) fn everything_durable_at_peer(&self) -> bool {
        self.undurable.is_empty()
    }
}

/// So many bytes of the peer's writes are made durable without being asked: half of what the peer
/// may have outstanding, so that it does not come to a stand.
const fn unasked_flush(options: &Options) -> u64 {
    options.flush_bytes / 2
}

impl Engine {
    /// Wants everything written so far to be durable here, and then goes on.
    pub(super) fn want_flush(&mut self, v: usize, then: FlushThen, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let target = vol.durable.done;
        if !vol.has_disk() {
            return self.flush_then(v, then, false, out);
        }
        if vol.durable.flushed >= target {
            return self.flush_then(v, then, true, out);
        }
        vol.durable.waiters.push((target, then));
        self.start_flush(v, out);
    }

    fn start_flush(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.durable.running.is_some() {
            return;
        }
        let durable = &mut vol.durable;
        durable.running = Some(durable.done);
        durable.running_applied = durable.applied_upto;
        durable.clearing.append(&mut durable.pending_clear);
        durable.unflushed_since = None;
        durable.unflushed_bytes = 0;
        self.disk_op(v, DiskUse::Flush, DiskOp::Flush, out);
    }

    pub(super) fn on_flush_done(&mut self, v: usize, out: &mut Effects) {
        let durable = &mut self.volumes[v].durable;
        let Some(covers) = durable.running.take() else { return };
        durable.flushed = durable.flushed.max(covers);
        durable.flushed_applied = durable.running_applied;
        let waiters = std::mem::take(&mut durable.waiters);
        let (ready, waiting): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|(target, _)| *target <= covers);
        durable.waiters = waiting;
        let more = !durable.waiters.is_empty();
        self.tell_durable(v, out);
        self.finish_clears(v, out);
        for (_, then) in ready {
            self.flush_then(v, then, true, out);
        }
        if more {
            self.start_flush(v, out);
        }
        self.touch(v);
    }

    fn tell_durable(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.has_disk() {
            return;
        }
        let upto = vol.durable.applied_and_durable();
        if upto > vol.durable.told_upto && vol.joined() {
            vol.durable.told_upto = upto;
            let volume = vol.id;
            self.send(Message::Durable { volume, upto }, out);
        }
    }

    /// What the peer may have missed of that is said again.
    pub(super) fn repeat_durable(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.has_disk() {
            return;
        }
        let (volume, upto) = (vol.id, vol.durable.applied_and_durable());
        vol.durable.told_upto = upto;
        if upto > 0 {
            self.send(Message::Durable { volume, upto }, out);
        }
    }

    /// What a flush has covered loses its mark, here and (by a message) at the source.
    fn finish_clears(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.joined() {
            // Whether the peer still has what was copied is not known: flushed again later.
            let mut clearing = std::mem::take(&mut vol.durable.clearing);
            vol.durable.pending_clear.append(&mut clearing);
            return;
        }
        let clearing = std::mem::take(&mut vol.durable.clearing);
        if clearing.is_empty() || vol.meta.is_none() {
            return;
        }
        let volume = vol.id;
        let mut blocks = Vec::new();
        for range in clearing {
            vol.metadata().bitmap.clear(range);
            blocks.push((range.start, range.len()));
        }
        for blocks in blocks.chunks(LIST_MAX) {
            self.send(Message::InSync { volume, blocks: blocks.to_vec() }, out);
        }
    }

    pub(super) fn flush_then(&mut self, v: usize, then: FlushThen, ok: bool, out: &mut Effects) {
        match then {
            FlushThen::Nothing => self.touch(v),
            FlushThen::Client(request) => {
                // Without a disk here, the good copy at the peer is what there is; as long as the
                // peer may come back, its half of the flush decides.
                let vol = &self.volumes[v];
                let ok = ok || matches!(vol.mode, Mode::Waiting { .. }) || vol.peer_has_good();
                let result = if ok { Ok(()) } else { Err(IoError::Io) };
                self.part_done(request, result, out);
            }
            FlushThen::Peer(epoch, id) => {
                if ok && self.peer_waits_for_generation(v) {
                    return self.volumes[v].durable.peer_flushes.push((epoch, id));
                }
                let volume = self.volumes[v].id;
                if self.link_epoch() == Some(epoch) {
                    if ok {
                        self.tell_durable(v, out);
                    }
                    self.send(Message::FlushDone { volume, id, ok }, out);
                }
            }
            // Without a disk there is nothing to go on with.
            FlushThen::Mint(cause) if ok => self.mint(v, cause, out),
            FlushThen::Mint(_) => {}
            FlushThen::Mirror(seq) if ok => self.mirror_durable(v, seq, out),
            FlushThen::Mirror(seq) => self.fail_mirror(v, seq, out),
        }
    }

    /// A client's flush: both disks, each at its own pace.
    pub(super) fn start_client_flush(&mut self, v: usize, request: RequestId, out: &mut Effects) {
        self.volumes[v].durable.flushes.insert(request, PeerFlush::Unasked);
        match mutation::on(Mutation::FlushUnflushed) {
            true => self.flush_then(v, FlushThen::Client(request), true, out),
            false => self.want_flush(v, FlushThen::Client(request), out),
        }
        self.pump_flushes(v, out);
    }

    /// Goes on with the peer's half of the flushes of clients.
    pub(super) fn pump_flushes(&mut self, v: usize, out: &mut Effects) {
        if self.volumes[v].durable.flushes.is_empty() || !self.admits(v) {
            return;
        }
        if !self.volumes[v].has_disk() && !self.volumes[v].peer_has_good() {
            if !self.suspends(v) {
                self.fail_flushes(v, out);
            }
            return;
        }
        if self.volumes[v].replicates() {
            return self.ask_client_flushes(v, out);
        }
        if self.suspends(v) {
            return;
        }
        // Solo: whatever the peer may lose must be marked, and our going on alone be durable.
        let vol = &self.volumes[v];
        if vol.minted == Minted::No && !vol.durable.nothing_to_lose_at_peer(vol.session.received) {
            self.go_on_alone(v, "a flush that the peer does not get", out);
        }
        if self.volumes[v].minted == Minted::Saving {
            return;
        }
        for request in std::mem::take(&mut self.volumes[v].durable.flushes).into_keys() {
            self.part_done(request, Ok(()), out);
        }
    }

    fn ask_client_flushes(&mut self, v: usize, out: &mut Effects) {
        if self.answers_early(v) {
            return self.pass_client_flushes(v, out);
        }
        let vol = &mut self.volumes[v];
        let volume = vol.id;
        let covers = vol.mirror.is_empty().then_some(vol.session.received);
        let durable = &mut vol.durable;
        let mut asked = Vec::new();
        for flush in durable.flushes.values_mut() {
            if *flush == PeerFlush::Unasked {
                durable.next_flush += 1;
                *flush = PeerFlush::Asked(durable.next_flush, covers);
                asked.push(durable.next_flush);
            }
        }
        for id in asked {
            self.send(Message::Flush { volume, id }, out);
        }
    }

    /// With protocol A and B a flush is about the disk here: whatever was answered before it has
    /// come as far as it must at the peer. The peer is told of it behind those writes, and not waited
    /// for; once only for what it was sent since, so that flushes alone do not fill the link.
    fn pass_client_flushes(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let (volume, sent) = (vol.id, vol.session.next_seq);
        let durable = &mut vol.durable;
        if sent > durable.passed_at {
            durable.passed_at = sent;
            let id = durable.next_flush_id();
            self.send(Message::Flush { volume, id }, out);
        }
        for request in std::mem::take(&mut self.volumes[v].durable.flushes).into_keys() {
            self.part_done(request, Ok(()), out);
        }
    }

    /// Flushes that nobody can promise anything for.
    pub(super) fn fail_flushes(&mut self, v: usize, out: &mut Effects) {
        for request in std::mem::take(&mut self.volumes[v].durable.flushes).into_keys() {
            self.part_done(request, Err(IoError::Io), out);
        }
    }

    /// The link is new: what was asked by the old one is to be asked again.
    pub(super) fn unask_flushes(&mut self, v: usize) {
        let durable = &mut self.volumes[v].durable;
        durable.log_flush = None;
        durable.passed_at = 0;
        if matches!(durable.lack, Lack::Asked(_)) {
            durable.lack = Lack::Unasked;
        }
        for flush in durable.flushes.values_mut() {
            *flush = PeerFlush::Unasked;
        }
    }

    /// The log cannot let an extent go cold before the peer has what is in it.
    pub(super) fn ask_peer_durable(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if !vol.replicates() || vol.durable.log_flush.is_some() {
            return;
        }
        vol.durable.next_flush += 1;
        let (volume, id) = (vol.id, vol.durable.next_flush);
        vol.durable.log_flush = Some(id);
        self.send(Message::Flush { volume, id }, out);
    }

    pub(super) fn on_peer_asks_flush(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        out: &mut Effects,
    ) {
        if mutation::on(Mutation::PeerNotFlushed) {
            return self.flush_then(v, FlushThen::Peer(epoch, id), true, out);
        }
        self.want_flush(v, FlushThen::Peer(epoch, id), out);
    }

    pub(super) fn on_peer_flushed(&mut self, v: usize, id: u64, ok: bool, out: &mut Effects) {
        let durable = &mut self.volumes[v].durable;
        if durable.log_flush == Some(id) {
            durable.log_flush = None;
        }
        self.on_lack_answered(v, id, ok, out);
        let durable = &mut self.volumes[v].durable;
        // A flush that failed there means that the disk is gone there; the next message says so,
        // and then the marks answer for it.
        if ok {
            let done = durable.flushes.iter().find_map(|(request, flush)| match flush {
                PeerFlush::Asked(asked, covers) if *asked == id => Some((*request, *covers)),
                PeerFlush::Asked(..) | PeerFlush::Unasked => None,
            });
            if let Some((request, covers)) = done {
                durable.flushes.remove(&request);
                if covers.is_some() {
                    durable.peer_own_durable = durable.peer_own_durable.max(covers);
                }
                self.part_done(request, Ok(()), out);
            }
        }
        self.touch(v);
    }

    pub(super) fn on_peer_durable(&mut self, v: usize, upto: u64, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if upto >= vol.session.next_seq {
            return self.protocol_error("a write durable that was not sent", out);
        }
        vol.durable.durable_at_peer(upto);
        self.touch(v);
    }

    /// A receiver makes the peer's writes durable by itself, so that the peer's list stays short.
    pub(super) fn pump_own_flush(&mut self, v: usize, out: &mut Effects) {
        let (interval, limit) =
            (self.config.options.flush_interval, unasked_flush(&self.config.options));
        let now = self.now;
        let durable = &self.volumes[v].durable;
        let due = durable.unflushed_since.is_some_and(|since| now.since(since) >= interval);
        if (due || durable.unflushed_bytes >= limit) && durable.running.is_none() {
            self.want_flush(v, FlushThen::Nothing, out);
            // Nothing was left to write: the peer has not been told yet.
            let durable = &mut self.volumes[v].durable;
            if durable.running.is_none() {
                durable.unflushed_since = None;
                durable.unflushed_bytes = 0;
                self.tell_durable(v, out);
            }
        }
    }

    /// Clears wait for a flush: started when enough has come together, or nothing else goes on.
    pub(super) fn flush_for_clears(&mut self, v: usize, now_or_never: bool, out: &mut Effects) {
        /// Four requests' worth: a flush is paid for by so much copying.
        const BACKLOG_BLOCKS: u64 = 1024;
        let durable = &self.volumes[v].durable;
        if durable.pending_clear.is_empty() || durable.running.is_some() {
            return;
        }
        if mutation::on(Mutation::ClearBeforeFlush) {
            let durable = &mut self.volumes[v].durable;
            durable.clearing.append(&mut durable.pending_clear);
            return self.finish_clears(v, out);
        }
        if now_or_never || durable.clear_backlog() >= BACKLOG_BLOCKS {
            self.start_flush(v, out);
        }
    }
}
