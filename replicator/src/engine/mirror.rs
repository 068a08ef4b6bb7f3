//! The peer's writes: their verdict against our own, their place, their answer.
//!
//! Two writes, one of each node, that overlap are *concurrent* if neither origin had received the
//! other's when it numbered its own. The arbiter's write comes second then, on both nodes: here,
//! on the arbiter, the overlapped part of the peer's write is dropped; on the other node the
//! arbiter's write queues behind the local one. Both nodes reach that verdict alone, because the
//! link is one stream.

use super::Engine;
use super::durable::FlushThen;
use super::resync::Sync;
use super::volume::{Minted, Payload, Work};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::wire::{AckKind, Message, Stamp};
use types::mutation::{self, Mutation};
use types::{ByteRange, ConflictKind, Protocol};

/// How far a write of the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the local order, or in flight.
    Busy,
    /// On the disk, to be durable before it is answered.
    Flushing,
    /// On the disk, to be marked durably before it is answered.
    Marking,
    /// Answered.
    Answered(AckKind),
}

/// A write of the peer that is not settled.
#[derive(Debug)]
pub(super) struct MirrorWrite {
    pub range: ByteRange,
    /// What of it is written: all but what concurrent writes of the arbiter's cover.
    rest: Vec<ByteRange>,
    /// Until it is on the disk.
    payload: Option<Payload>,
    fua: bool,
    stage: Stage,
    /// The peer has said that it is on both disks.
    settled: bool,
    /// Of a session that is over: its number means nothing any more.
    stale: bool,
}

impl MirrorWrite {
    fn kind(&self) -> AckKind {
        let whole = self.rest.len() == 1 && self.rest[0] == self.range;
        if whole { AckKind::Written } else { AckKind::Superseded }
    }
}

impl Engine {
    pub(super) fn on_mirror(
        &mut self,
        v: usize,
        stamp: Stamp,
        range: ByteRange,
        payload: Payload,
        fua: bool,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        if stamp.seq != vol.session.received + 1 && !mutation::on(Mutation::ReplayApplied) {
            return self.protocol_error("a write out of sequence", out);
        }
        if range.end() > vol.size {
            return self.protocol_error("a write beyond the end of the volume", out);
        }
        if stamp.seen >= vol.session.next_seq {
            return self.protocol_error("a write that saw what was not sent", out);
        }
        vol.session.received = stamp.seq;
        vol.counters.received_bytes += range.len;
        self.settle_below(v, stamp.settled_below, out);
        let vol = &mut self.volumes[v];
        if !vol.takes_writes() {
            let (volume, seq, kind) = (vol.id, stamp.seq, AckKind::Failed);
            return self.send(Message::Ack { volume, seq, kind }, out);
        }
        let rest = self.judge(v, stamp.seen, range, out);
        let vol = &mut self.volumes[v];
        let superseded = rest.is_empty();
        let write = MirrorWrite {
            range,
            rest,
            payload: Some(payload),
            fua,
            stage: Stage::Busy,
            settled: false,
            stale: false,
        };
        vol.mirror.insert(stamp.seq, write);
        vol.counters.unacked += 1;
        if superseded && mutation::on(Mutation::SupersededEarly) {
            return self.mirror_done(v, stamp.seq, false, out);
        }
        if mutation::on(Mutation::MirrorWaitsForLog)
            && self.mirror_waits_for_log(v, stamp.seq, range)
        {
            return;
        }
        self.place(v, range, Work::Mirror(stamp.seq), out);
        self.say_received(v, stamp.seq, out);
    }

    /// Which of our writes are concurrent with it, and what is left of it.
    ///
    /// A conflict is counted once for each write that loses, by the first write of the arbiter's
    /// that it loses to: so both nodes count the same conflicts, seen from either side.
    fn judge(
        &mut self,
        v: usize,
        seen: u64,
        range: ByteRange,
        out: &mut Effects,
    ) -> Vec<ByteRange> {
        let arbiter = self.config.is_arbiter() || mutation::on(Mutation::ArbiterOnBoth);
        let vol = &mut self.volumes[v];
        let mut rest = vec![range];
        let mut prevailed = false;
        for id in vol.by_seq.range(..=seen).map(|(_, id)| *id) {
            let ours = vol.local.get_mut(&id).expect("a numbered write is remembered");
            ours.overtaken |= ours.range.overlaps(range);
        }
        let after_seen: Vec<_> = vol.by_seq.range(seen + 1..).map(|(_, id)| *id).collect();
        for id in after_seen {
            let ours = vol.local.get_mut(&id).expect("a numbered write is remembered");
            if !ours.range.overlaps(range) {
                continue;
            }
            if arbiter && !mutation::on(Mutation::LoserKept) {
                let cover = ours.range;
                rest = rest.into_iter().flat_map(|part| part.subtract(cover)).collect();
            }
            let loser_is_known = if arbiter { &mut prevailed } else { &mut ours.lost_conflict };
            if std::mem::replace(loser_is_known, true) {
                continue;
            }
            let kind = ConflictKind::of(ours.range, range);
            let counters = &mut vol.counters;
            let counts =
                if arbiter { &mut counters.conflicts_won } else { &mut counters.conflicts_lost };
            counts.note(kind);
            let (volume, local, peer) = (vol.id, ours.range, range);
            out.push(Effect::Event(Event::Conflict { volume, local, peer, kind, won: arbiter }));
        }
        rest
    }

    /// With protocol B the peer's client is answered before the write is on the disk here.
    fn say_received(&mut self, v: usize, seq: u64, out: &mut Effects) {
        let vol = &self.volumes[v];
        // It may be through already: there is nothing to write, or there is no disk any more.
        let open = vol.mirror.get(&seq).is_some_and(|write| write.stage == Stage::Busy);
        if open && self.config.options.protocol == Protocol::B {
            let (volume, kind) = (vol.id, AckKind::Received);
            self.send(Message::Ack { volume, seq, kind }, out);
        }
    }

    /// Whether a write of the peer may go to the disk. A peer without a disk has no log that covers
    /// it: it is marked first, durably, or a crash here would leave a difference that nobody knows.
    pub(super) fn mark_first(&mut self, v: usize, seq: u64, out: &mut Effects) -> bool {
        let vol = &mut self.volumes[v];
        if !vol.peer_is_bare() || !vol.readable() {
            return true;
        }
        let range = vol.mirror[&seq].range;
        vol.mark(range);
        // What is on its way is not there yet.
        let saving = vol.log.bitmap_saving;
        let durable = !saving && vol.metadata().bitmap.is_durable(range.blocks());
        if !durable {
            self.save_bitmap(v, Some(range.blocks()), out);
        }
        durable
    }

    /// Goes on with the writes that were to be marked first.
    pub(super) fn pump_unmarked(&mut self, v: usize, out: &mut Effects) {
        for unit in std::mem::take(&mut self.volumes[v].unmarked) {
            self.start_unit(v, unit, out);
        }
    }

    /// The disk operations of a peer's write, when its turn has come.
    pub(super) fn mirror_ops(
        &self,
        v: usize,
        seq: u64,
    ) -> (Vec<ByteRange>, Payload, ByteRange, bool) {
        let write = &self.volumes[v].mirror[&seq];
        let payload = write.payload.clone().expect("kept until it is on the disk");
        let fua = write.fua && !mutation::on(Mutation::FuaDropped);
        (write.rest.clone(), payload, write.range, fua)
    }

    pub(super) fn mirror_done(&mut self, v: usize, seq: u64, failed: bool, out: &mut Effects) {
        let now = self.now;
        let vol = &mut self.volumes[v];
        let write = vol.mirror.get_mut(&seq).expect("a write on its way to the disk is remembered");
        write.payload = None;
        write.stage = Stage::Flushing;
        let (range, fua, kind) = (write.range, write.fua, write.kind());
        let stale = write.stale;
        if failed {
            let vol = &mut self.volumes[v];
            if !stale {
                // The peer marks it: what comes behind it is made durable all the same.
                vol.durable.applied(seq, 0, now);
            }
            let ends = vol.sync.as_ref().is_some_and(Sync::is_adopting);
            if vol.takes_writes() && (vol.peer_has_good() || ends) {
                // The disk stays without it: our own clients read it at the peer.
                self.degrade(v, range, out);
            } else {
                vol.mark(range);
            }
            return self.answer_mirror(v, seq, AckKind::Failed, out);
        }
        if !stale {
            vol.durable.applied(seq, range.len, now);
            self.note_in_sync(v, range);
        }
        if fua && kind == AckKind::Superseded {
            // What took its place must be as durable as it was to be.
            self.want_flush(v, FlushThen::Mirror(seq), out);
        } else {
            self.mirror_durable(v, seq, out);
        }
    }

    /// A write is as durable as it must be. If the peer has no disk it is marked too, and the
    /// mark and the generation are durable before the answer: no log of the peer's covers it.
    pub(super) fn mirror_durable(&mut self, v: usize, seq: u64, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(write) = vol.mirror.get(&seq) else { return };
        let (range, kind) = (write.range, write.kind());
        if vol.has_disk() && vol.peer_is_bare() {
            if !vol.readable() {
                return self.answer_mirror(v, seq, AckKind::Failed, out);
            }
            vol.mirror.get_mut(&seq).expect("just seen").stage = Stage::Marking;
            vol.mark(range);
            self.mint_for_marking(v, out);
            return self.pump_parked_mirrors(v, out);
        }
        self.answer_mirror(v, seq, kind, out);
    }

    /// A write of a peer without a disk waits for a generation: that is made while the peer is
    /// there, so that its session goes on.
    pub(super) fn mint_for_marking(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        let waits = vol.mirror.values().any(|write| write.stage == Stage::Marking);
        if waits && vol.joined() && vol.minted == Minted::No {
            self.go_on_alone(v, "a write that the peer's disk does not get", out);
        }
    }

    /// The flush that a write waited for has failed.
    pub(super) fn fail_mirror(&mut self, v: usize, seq: u64, out: &mut Effects) {
        if self.volumes[v].mirror.contains_key(&seq) {
            self.answer_mirror(v, seq, AckKind::Failed, out);
        }
    }

    /// Where writes of the peer have failed here that it has not settled.
    pub(super) fn failed_mirrors(&self, v: usize) -> Vec<ByteRange> {
        let failed = |write: &&MirrorWrite| write.stage == Stage::Answered(AckKind::Failed);
        self.volumes[v].mirror.values().filter(failed).map(|write| write.range).collect()
    }

    /// Answers the writes whose marks have become durable.
    pub(super) fn pump_parked_mirrors(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        if vol.minted != Minted::Yes || vol.log.bitmap_saving {
            return;
        }
        let Some(meta) = &vol.meta else { return };
        let parked: Vec<(u64, ByteRange, AckKind)> = vol
            .mirror
            .iter()
            .filter(|(_, write)| write.stage == Stage::Marking)
            .map(|(seq, write)| (*seq, write.range, write.kind()))
            .collect();
        let unsaved = parked.iter().find(|(_, range, _)| !meta.bitmap.is_durable(range.blocks()));
        let unsaved = unsaved.map(|(_, range, _)| range.blocks());
        let durable = |range: ByteRange| meta.bitmap.is_durable(range.blocks());
        let ready: Vec<(u64, AckKind)> = parked
            .iter()
            .filter(|(_, range, _)| durable(*range))
            .map(|(seq, _, kind)| (*seq, *kind))
            .collect();
        for (seq, kind) in ready {
            self.answer_mirror(v, seq, kind, out);
        }
        if unsaved.is_some() {
            self.save_bitmap(v, unsaved, out);
        }
    }

    fn answer_mirror(&mut self, v: usize, seq: u64, kind: AckKind, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let write = vol.mirror.get_mut(&seq).expect("an unanswered write is remembered");
        let waiting = matches!(write.stage, Stage::Flushing | Stage::Marking);
        assert!(waiting, "write {seq} is answered at {:?}", write.stage);
        write.stage = Stage::Answered(kind);
        vol.counters.unacked -= 1;
        let (volume, settled) = (vol.id, write.settled);
        if self.session_open(v) {
            self.send(Message::Ack { volume, seq, kind }, out);
        }
        if settled {
            self.volumes[v].mirror.remove(&seq);
            self.release_mirror(v, seq, out);
        }
    }

    /// All writes of the peer below that number are on both disks.
    fn settle_below(&mut self, v: usize, below: u64, out: &mut Effects) {
        let seqs: Vec<u64> = self.volumes[v].mirror.range(..below).map(|(seq, _)| *seq).collect();
        for seq in seqs {
            self.settle_mirror(v, seq, out);
        }
    }

    pub(super) fn on_settled(&mut self, v: usize, below: u64, seqs: &[u64], out: &mut Effects) {
        self.settle_below(v, below, out);
        for &seq in seqs {
            self.settle_mirror(v, seq, out);
        }
    }

    fn settle_mirror(&mut self, v: usize, seq: u64, out: &mut Effects) {
        let Some(write) = self.volumes[v].mirror.get_mut(&seq) else { return };
        write.settled = true;
        if matches!(write.stage, Stage::Answered(_)) {
            self.volumes[v].mirror.remove(&seq);
            self.release_mirror(v, seq, out);
        }
    }

    /// The answers that the peer may have missed, said again.
    pub(super) fn repeat_answers(&mut self, v: usize, out: &mut Effects) -> u64 {
        let volume = self.volumes[v].id;
        let answers: Vec<(u64, AckKind)> = self.volumes[v]
            .mirror
            .iter()
            .filter_map(|(seq, write)| match write.stage {
                Stage::Answered(kind) => Some((*seq, kind)),
                Stage::Busy | Stage::Flushing | Stage::Marking => None,
            })
            .collect();
        let count = answers.len() as u64;
        for (seq, kind) in answers {
            self.send(Message::Ack { volume, seq, kind }, out);
        }
        count
    }

    /// The session is over, and with it the numbers of the peer's writes. What is on the disk or on
    /// its way there stays; where it is, readers wait until it cannot be taken back.
    pub(super) fn forget_mirrors(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        let live = vol.mirror.values().filter(|write| !write.stale);
        vol.ghosts.extend(live.map(|write| write.range));
        vol.hold_for_ghosts();
        vol.mirror.retain(|_, write| write.stage == Stage::Busy);
        for write in vol.mirror.values_mut() {
            write.settled = true;
            write.stale = true;
        }
        vol.counters.unacked = vol.mirror.len() as u64;
    }
}
