//! Losing the peer: waiting for it, deciding to go on alone, and making that durable before the
//! first write is answered alone. Going solo is lazy: a node that answers nothing alone has not
//! diverged.

use super::Engine;
use super::durable::FlushThen;
use super::new_uuid::NEW_CURRENT_UUID;
use super::superblock::Then;
use super::volume::{Minted, Mode, has_data};
use super::write::PeerPart;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use metadata::{Cause, GenerationId};
use types::mutation::{self, Mutation};
use types::{ByteRange, DiskState, Role, Time};

/// The deadline of whoever waits for the peer without end.
pub(super) const NEVER: Time = Time(u64::MAX);

impl Engine {
    /// The peer counts as lost for this volume.
    pub(super) fn decide_alone(&mut self, v: usize, out: &mut Effects) {
        assert!(!self.volumes[v].joined(), "a peer that is there is not lost");
        if self.suspends(v) {
            return self.suspend(v, out);
        }
        if self.is_suspended_by_user() && self.role == Role::Primary {
            // Nothing is answered, so nothing need be done alone yet.
            self.volumes[v].mode = Mode::Waiting { deadline: NEVER };
            return;
        }
        if self.volumes[v].readable() {
            if self.gives_up_unfenced(v) {
                return self.give_up_in_flight(v, out);
            }
            if self.fence_keeps_waiting(v, out) {
                return;
            }
        }
        let vol = &mut self.volumes[v];
        vol.mode = Mode::Alone;
        if !vol.readable() {
            if vol.disk == DiskState::Inconsistent && self.role == Role::Primary {
                self.run_handler(Handler::PriOnInconDegr, Some(v), out);
            }
            // Nothing to go on with: what a reader saw of the peer's unsettled writes may never
            // have been.
            self.fail_held(v, out);
            self.give_up_peer_reads(v, out);
            self.go_on_alone(v, "the peer is lost", out);
            return self.touch(v);
        }
        self.give_up_peer_reads(v, out);
        // What the peer began and is here is settled too, once that cannot be taken back: a copy
        // that somebody has read from must not be overruled by one that never had it.
        if mutation::on(Mutation::EarlyNoGeneration) && self.owes_only_answers(v) {
            self.end_session(v);
            self.cover_marked(v, out);
        }
        let vol = &self.volumes[v];
        if !vol.local.is_empty() || vol.holds_for_peer() {
            self.go_on_alone(v, "the peer is lost and did not answer all writes", out);
        }
        self.touch(v);
    }

    /// This node ends, or gives up its role, while it is not known what the peer does: what is in
    /// flight is not answered, so that nothing was done alone.
    fn give_up_in_flight(&mut self, v: usize, out: &mut Effects) {
        self.volumes[v].mode = Mode::Alone;
        self.give_up_peer_reads(v, out);
        self.fail_held(v, out);
        let owes = self.owes_answers(v);
        self.end_session(v);
        self.fail_marked(v, out);
        self.fail_flushes(v, out);
        if owes {
            self.go_on_alone(v, "it was answered that the peer has not got", out);
        }
        self.touch(v);
    }

    /// Writes are answered without the peer from now on, as soon as that is durable. Without good
    /// data here there is nothing to go on with: what was in flight fails.
    pub(super) fn go_on_alone(&mut self, v: usize, cause: &'static str, out: &mut Effects) {
        if self.volumes[v].readable() {
            self.ensure_minted(v, cause, out);
            if mutation::on(Mutation::SoloBeforeGeneration) {
                self.cover_marked(v, out);
            }
            return;
        }
        if !self.volumes[v].joined() {
            self.end_session(v);
        }
        self.fail_marked(v, out);
        if !self.suspends(v) {
            self.fail_flushes(v, out);
        }
    }

    /// Makes durable that the peer lacks what is answered from now on. The session is over with
    /// it: what the peer did not answer, or may still lose, is marked.
    fn ensure_minted(&mut self, v: usize, cause: &'static str, out: &mut Effects) {
        let there = self.session_open(v);
        let vol = &mut self.volumes[v];
        if vol.meta.is_none() || vol.minted == Minted::Saving {
            return;
        }
        if vol.minted == Minted::Yes {
            if !there && has_data(vol.peer_disk) && vol.session.resumable() {
                // The generation was made for a copy there that lacks a write; now it lacks all.
                self.end_session(v);
            }
            // Nor is what the peer wrote last taken back by a copy that never had it.
            self.release_ghosts(v, out);
            return self.cover_marked(v, out);
        }
        vol.minted = Minted::Saving;
        if there {
            // The peer is there without a disk: it goes on in the session, and what its disk may
            // have lost is marked.
            let lost: Vec<ByteRange> = vol.durable.undurable().collect();
            for range in lost {
                vol.mark(range);
            }
            vol.durable.end_sending();
            vol.log.end_session();
        } else {
            self.end_session(v);
        }
        if !there && !self.drains_without_session(v) {
            self.hello_is_stale("a session has ended meanwhile", out);
        }
        // First what is here already: a write that both nodes have must not be lost with the cache
        // of the one whose generation prevails.
        self.want_flush(v, FlushThen::Mint(cause), out);
    }

    /// What was written before is durable: now the generation.
    pub(super) fn mint(&mut self, v: usize, cause: &'static str, out: &mut Effects) {
        if self.volumes[v].minted != Minted::Saving || self.volumes[v].meta.is_none() {
            return;
        }
        let id = GenerationId::from_random(self.ids.next_u64());
        let id = id.with_primary(self.role == Role::Primary);
        let (node, now) = (self.config.node, self.now);
        let vol = &mut self.volumes[v];
        let superblock = &mut vol.metadata().superblock;
        let met =
            superblock.generations.bitmap.id.is_set() || superblock.peer_disk_incarnation != 0;
        let why = match met {
            _ if cause == NEW_CURRENT_UUID => Cause::NewCurrent,
            true => Cause::PeerLost,
            false => Cause::PromotedAlone,
        };
        if !mutation::on(Mutation::NoGeneration) {
            superblock.generations.go_solo(id, why, node, now);
            superblock.newest_exposed = id;
        }
        let volume = vol.id;
        let cause = cause.to_owned();
        out.push(Effect::Event(Event::Generation { volume, id, cause }));
        self.save_superblock(v, Then::Minted, out);
    }

    /// Marks what the peer did not answer or may still lose; nothing of the session is resumed.
    /// Done again it does nothing more.
    pub(super) fn end_session(&mut self, v: usize) {
        self.fail_at_peer_alone(v);
        let vol = &mut self.volumes[v];
        vol.session.ended = true;
        let mut lost: Vec<ByteRange> = vol.durable.undurable().collect();
        if mutation::on(Mutation::ForgetUnflushed) {
            lost.clear();
        }
        let lost_now = vol.lost_now();
        for write in vol.local.values_mut() {
            if write.seq != 0 && !(write.answered && mutation::on(Mutation::EarlyUnmarked)) {
                lost.push(write.range);
            }
            if matches!(write.peer, PeerPart::Pending { .. }) {
                write.peer = PeerPart::Marked;
                write.lost = Some(lost_now.numbered(write.seq));
                vol.counters.pending -= 1;
            }
        }
        for range in lost {
            vol.mark(range);
        }
        vol.by_seq.clear();
        for write in vol.local.values_mut() {
            write.seq = 0;
        }
        vol.settled_unsaid.clear();
        vol.durable.end_sending();
        vol.log.end_session();
        vol.counters.pending = 0;
        vol.unanswered = 0;
        vol.durable.end_receiving();
        self.forget_mirrors(v);
    }

    pub(super) fn on_minted(&mut self, v: usize, out: &mut Effects) {
        self.volumes[v].minted = Minted::Yes;
        self.release_ghosts(v, out);
        self.answer_peer_flushes(v, true, out);
        self.cover_marked(v, out);
        self.pump_parked_mirrors(v, out);
        self.touch(v);
    }

    /// Everything that is marked may be answered.
    pub(super) fn cover_marked(&mut self, v: usize, out: &mut Effects) {
        let marked: Vec<_> = self.volumes[v]
            .local
            .iter_mut()
            .filter(|(_, write)| write.peer == PeerPart::Marked)
            .map(|(id, write)| {
                write.peer = PeerPart::Covered;
                *id
            })
            .collect();
        for id in marked {
            self.try_settle(v, id, out);
        }
    }

    /// Deadlines of peers that have not come back.
    pub(super) fn pump_waiting(&mut self, v: usize, out: &mut Effects) {
        if let Mode::Waiting { deadline } = self.volumes[v].mode
            && deadline <= self.now
            && !self.link_holds()
        {
            self.decide_alone(v, out);
        }
    }

    /// The peer will not come back into this session.
    pub(super) fn decide_all_alone(&mut self, out: &mut Effects) {
        for v in 0..self.volumes.len() {
            if matches!(self.volumes[v].mode, Mode::Waiting { .. }) && !self.link_holds() {
                self.decide_alone(v, out);
            }
        }
    }
}
