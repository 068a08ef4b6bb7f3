//! Writes of this node's clients, from their number to their answer.

use super::Engine;
use super::durable::LIST_MAX;
use super::lost_writes::Lost;
use super::volume::{Minted, Mode, Payload, UnitWork, Work};
use crate::effect::{Effects, IoError};
use crate::input::RequestId;
use crate::wire::{AckKind, Message, Stamp};
use metadata::ExtentNo;
use std::collections::VecDeque;
use types::mutation::{self, Mutation};
use types::{ByteRange, DiskState, Stage, Time};

/// A write of this node, for as long as the engine remembers it. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WriteId(pub u64);

/// A part of a client's write, at most one extent, that has no number yet.
#[derive(Debug)]
pub(super) struct Piece {
    pub request: RequestId,
    pub range: ByteRange,
    pub payload: Payload,
    pub fua: bool,
    /// It had to wait for the activity log.
    pub waited: bool,
}

/// How far the local disk is with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskPart {
    /// In the local order, or in flight.
    Busy,
    /// On the disk.
    Done,
    /// The disk failed, or there is none.
    Lost,
}

/// How far the peer is with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerPart {
    /// Sent (or to be sent again); not answered.
    Pending {
        /// Since when.
        since: Time,
    },
    /// Answered.
    Acked,
    /// Not sent, or given up: marked out-of-sync. It may be answered once the absence of the
    /// peer is durable.
    Marked,
    /// Marked, and whoever could take the peer's copy for newer is told: may be answered.
    Covered,
    /// Marked here, and the peer, who went on alone, had received it: done.
    TakenOver,
    /// Marked, and there is nothing to go on with: answered with an error.
    Failed,
}

/// A write of this node that is not settled.
#[derive(Debug)]
pub(super) struct LocalWrite {
    pub request: RequestId,
    pub range: ByteRange,
    pub payload: Payload,
    pub fua: bool,
    /// When it was begun.
    pub since: Time,
    /// When the disk here or the peer was last done with it.
    pub part_done: Time,
    /// Its number in the session, if it was sent.
    pub seq: u64,
    pub seen: u64,
    pub disk: DiskPart,
    /// What its client is told if it fails.
    pub error: IoError,
    pub peer: PeerPart,
    /// The peer has said that it has come in.
    pub received: bool,
    /// It is answered although the peer has not written it.
    pub answered: bool,
    /// A concurrent write of the peer, who is the arbiter, prevailed.
    pub lost_conflict: bool,
    /// A write of the peer that came after it covers a part of it.
    pub overtaken: bool,
    /// What it was in the session that ended before the peer had answered it.
    pub lost: Option<Lost>,
    /// It was in flight when a session ended, and was sent again in the next.
    pub sent_anew: bool,
}

impl Engine {
    /// Whether new writes of clients may be numbered.
    pub(super) fn admits(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let waits = matches!(vol.mode, Mode::Waiting { .. });
        let still = vol.joined() && vol.growing.holds_still();
        !self.link_holds() && !vol.attaching && !waits && !still && !self.is_suspended_by_user()
    }

    /// Numbers what can be numbered.
    pub(super) fn pump_queue(&mut self, v: usize, out: &mut Effects) {
        if !self.admits(v) {
            return;
        }
        let limit = self.config.options.flush_bytes;
        while let Some(piece) = self.volumes[v].queue.pop_front() {
            if !self.requests.contains_key(&piece.request) {
                if mutation::on(Mutation::MirrorWaitsForLog) {
                    self.mirror_has_log(v, &piece, out);
                }
                continue;
            }
            let (suspends, congested) = (self.suspends(v), self.is_congested(v));
            let vol = &mut self.volumes[v];
            if vol.is_locked(piece.range) {
                vol.locked.push(piece);
            } else if !vol.replicates() && !vol.readable() && suspends {
                return vol.queue.push_front(piece);
            } else if !vol.replicates() && !vol.readable() {
                // on-no-data-accessible io-error: neither disk can be written usefully.
                self.part_done(piece.request, Err(IoError::Io), out);
            } else if vol.takes_writes() && !vol.log.use_extent(vol.meta.as_mut(), piece.range) {
                vol.counters.al_misses += u64::from(!piece.waited);
                vol.log.wait(Piece { waited: true, ..piece });
            } else if congested {
                self.volumes[v].queue.push_front(piece);
                if !self.meet_congestion(v, out) {
                    return;
                }
            } else if vol.replicates() && !vol.durable.has_room(piece.range.len, limit) {
                // The peer is asked to make durable what it has.
                vol.queue.push_front(piece);
                if !self.volumes[v].durable.everything_durable_at_peer() {
                    self.ask_peer_durable(v, out);
                }
                return;
            } else {
                self.start_write(v, piece, out);
            }
        }
    }

    /// Number, `seen`, place in the local order and place in the link's queue, in one step.
    fn start_write(&mut self, v: usize, piece: Piece, out: &mut Effects) {
        let Piece { request, range, payload, fua, waited } = piece;
        let id = WriteId(self.next_write);
        self.next_write += 1;
        let came = self.requests.get(&request).map_or(self.now, |request| request.since);
        let vol = &mut self.volumes[v];
        let stage = if waited { Stage::Log } else { Stage::Queue };
        vol.ledger.record(stage, self.now.since(came));
        let (send, local) = (vol.replicates(), vol.takes_writes());
        let mut seq = 0;
        if send {
            seq = vol.session.next_seq;
            vol.session.next_seq += 1;
            vol.by_seq.insert(seq, id);
            vol.durable.sent(range.len);
            vol.unanswered += range.len;
            vol.counters.pending += 1;
        } else if !mutation::on(Mutation::NeitherSentNorMarked) {
            vol.mark(range);
        }
        let peer = match (send, vol.minted) {
            (true, _) => PeerPart::Pending { since: self.now },
            (false, Minted::Yes) => PeerPart::Covered,
            (false, Minted::No | Minted::Saving) => PeerPart::Marked,
        };
        let seen = vol.session.received;
        let disk = if local { DiskPart::Busy } else { DiskPart::Lost };
        let write = LocalWrite {
            request,
            range,
            payload,
            fua,
            since: self.now,
            part_done: self.now,
            seq,
            seen,
            disk,
            error: IoError::Io,
            peer,
            received: false,
            answered: false,
            lost_conflict: false,
            overtaken: false,
            lost: None,
            sent_anew: false,
        };
        vol.local.insert(id, write);
        if send {
            self.send_write(v, id, out);
        } else {
            self.go_on_alone(v, "a write that the peer does not get", out);
        }
        if local {
            let vol = &mut self.volumes[v];
            vol.counters.al_hits += u64::from(!waited);
            vol.log.begin(ExtentNo::of_byte(range.offset), seq);
            let work = Work::Local(id);
            self.place(v, range, work, out);
        }
    }

    /// Gives work its place in the local order, and starts it if nothing is before it.
    pub(super) fn place(&mut self, v: usize, range: ByteRange, work: Work, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let granule = if mutation::on(Mutation::UnlockedGranule) { 1 } else { vol.granule };
        let (unit, ready) = vol.order.insert(range.widen(granule));
        vol.work.insert(unit, UnitWork { work, ops: VecDeque::new(), failed: false, data: None });
        if ready {
            self.start_unit(v, unit, out);
        }
    }

    /// Queues a write on the link, the first time or again: the same number, the same bytes.
    pub(super) fn send_write(&mut self, v: usize, id: WriteId, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let settled_below = vol.settled_below();
        let write = &vol.local[&id];
        let (seq, seen) = (write.seq, write.seen);
        let stamp = Stamp { volume: vol.id, seq, seen, settled_below: settled_below.min(seq) };
        let (range, fua) = (write.range, write.fua);
        vol.counters.sent_bytes += range.len;
        let message = match &write.payload {
            Payload::Data(data) => Message::Write { stamp, range, data: data.clone(), fua },
            Payload::Zero { unmap } => Message::Zero { stamp, range, unmap: *unmap, fua },
        };
        self.send(message, out);
    }

    pub(super) fn on_ack(&mut self, v: usize, seq: u64, kind: AckKind, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if seq >= vol.session.next_seq {
            return self.protocol_error("an answer to a write that was not sent", out);
        }
        // Answers are repeated when a session is resumed.
        let Some(&id) = vol.by_seq.get(&seq) else { return };
        let write = vol.local.get_mut(&id).expect("a numbered write is remembered");
        if !matches!(write.peer, PeerPart::Pending { .. }) {
            return;
        }
        if kind == AckKind::Received {
            write.received = true;
            return self.try_settle(v, id, out);
        }
        vol.counters.pending -= 1;
        vol.unanswered -= write.range.len;
        let link_has_room = self.config.options.congestion_fill > 0;
        match kind {
            AckKind::Received => unreachable!("just seen to"),
            AckKind::Written | AckKind::Superseded => {
                write.peer = PeerPart::Acked;
                write.part_done = self.now;
                vol.ledger.record(Stage::Peer, self.now.since(write.since));
                vol.durable.acked(seq, write.range);
                vol.counters.superseded += u64::from(kind == AckKind::Superseded);
            }
            AckKind::Failed => {
                // The peer's disk is gone, and it says so in its next message.
                write.peer = PeerPart::Marked;
                let range = write.range;
                vol.durable.not_sent(range.len);
                vol.mark(range);
                self.go_on_alone(v, "the peer's disk failed", out);
            }
        }
        if link_has_room {
            // The link is one: writes of other volumes wait for it too.
            self.touch_all();
        }
        self.try_settle(v, id, out);
    }

    pub(super) fn local_write_done(
        &mut self,
        v: usize,
        id: WriteId,
        failed: bool,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let write = vol.local.get_mut(&id).expect("a write on its way to the disk is remembered");
        write.disk = if failed { DiskPart::Lost } else { DiskPart::Done };
        write.part_done = self.now;
        if !failed {
            vol.ledger.record(Stage::Disk, self.now.since(write.since));
        }
        self.try_settle(v, id, out);
    }

    /// Answers a write, and forgets it, if it is on every disk that it must be on.
    pub(super) fn try_settle(&mut self, v: usize, id: WriteId, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        // A generation that became durable meanwhile may have settled it.
        let Some(write) = vol.local.get(&id) else { return };
        let early = mutation::on(Mutation::AnswerBeforePeer);
        let result = match (write.disk, write.peer) {
            (DiskPart::Done, PeerPart::Pending { .. }) if early => Ok(()),
            (DiskPart::Done, PeerPart::Pending { .. }) => return self.answer_early(v, id, out),
            (DiskPart::Busy, _) | (_, PeerPart::Pending { .. } | PeerPart::Marked) => return,
            (_, PeerPart::Failed) => Err(write.error),
            (DiskPart::Done, _) | (_, PeerPart::TakenOver) => Ok(()),
            (DiskPart::Lost, PeerPart::Acked) => match self.settle_at_peer_alone(v, id, out) {
                Some(result) => result,
                None => return,
            },
            (DiskPart::Lost, PeerPart::Covered) => Err(write.error),
        };
        let vol = &mut self.volumes[v];
        let write = vol.local.remove(&id).expect("just seen");
        if result.is_ok() && !write.answered {
            vol.ledger.record(Stage::Finish, self.now.since(write.part_done));
        }
        let both_have = (write.disk, write.peer) == (DiskPart::Done, PeerPart::Acked);
        // What was sent anew is marked since its session ended, and stays so until it is copied: what
        // the disk here has may have come after it, and be lost at the peer.
        if both_have && !write.sent_anew {
            self.note_both_have(v, write.range);
        }
        let vol = &mut self.volumes[v];
        if write.seq != 0 && vol.by_seq.get(&write.seq) == Some(&id) {
            vol.by_seq.remove(&write.seq);
            vol.settled_unsaid.push(write.seq);
        }
        if write.peer == PeerPart::Covered
            && let Some(meta) = vol.meta.as_mut()
        {
            meta.superblock.generations.note_solo_write(self.now);
        }
        let vol = &mut self.volumes[v];
        let done = vol.durable.writes_done();
        vol.log.end(ExtentNo::of_byte(write.range.offset), done);
        self.release_local(v, id, out);
        if !write.answered {
            self.part_done(write.request, result, out);
        }
        self.touch(v);
    }

    /// Tells the peer which writes have settled, so that its readers need not wait for them. With
    /// one Primary whose own disk is good nobody reads there, and the next write carries the
    /// number.
    pub(super) fn flush_settled(&mut self, v: usize, out: &mut Effects) {
        let reads_there = self.peer_reads.values().any(|(of, ..)| *of == v);
        let prompt =
            self.peer_role == types::Role::Primary || reads_there || !self.volumes[v].readable();
        let vol = &mut self.volumes[v];
        if vol.settled_unsaid.is_empty() || !vol.joined() {
            return;
        }
        let mut seqs = std::mem::take(&mut vol.settled_unsaid);
        if prompt && !mutation::on(Mutation::DropSettled) {
            let below = vol.settled_below();
            seqs.retain(|&seq| seq >= below);
            let volume = vol.id;
            let rest = seqs.split_off(seqs.len().min(LIST_MAX));
            self.volumes[v].settled_unsaid = rest;
            self.send(Message::Settled { volume, below, seqs }, out);
        }
    }

    /// Tells the peer everything that has settled: for a new link, or a new reader.
    pub(super) fn say_settled(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        vol.settled_unsaid.clear();
        let (volume, below) = (vol.id, vol.settled_below());
        // Above the first that has not settled: the gaps. As many as are in flight, so few.
        let last = vol.by_seq.keys().next_back().copied().unwrap_or(below);
        let seqs = (below..last).filter(|seq| !vol.by_seq.contains_key(seq));
        let seqs: Vec<u64> = seqs.collect();
        self.send(Message::Settled { volume, below, seqs: Vec::new() }, out);
        for seqs in seqs.chunks(LIST_MAX) {
            self.send(Message::Settled { volume, below, seqs: seqs.to_vec() }, out);
        }
    }

    /// The oldest write that the peer has not answered.
    pub(super) fn oldest_pending(&self) -> Option<Time> {
        let pending = |vol: &super::volume::Volume| {
            let oldest = vol.by_seq.values().find_map(|id| match vol.local[id].peer {
                PeerPart::Pending { since } => Some(since),
                _ => None,
            });
            oldest.filter(|_| vol.joined())
        };
        self.volumes.iter().filter_map(pending).min()
    }

    /// Both nodes have the range whole: a target's marks may go once that is durable here.
    fn note_both_have(&mut self, v: usize, range: ByteRange) {
        let vol = &mut self.volumes[v];
        if vol.disk == DiskState::Inconsistent && vol.joined() {
            self.note_in_sync(v, range);
        }
    }
}
