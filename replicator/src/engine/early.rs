//! What is answered before the peer has written it: protocols A and B.
//!
//! | protocol | a write is answered when it is on the local disk, and the peer |
//! |---|---|
//! | A | is sent it: it stands in the link's queue |
//! | B | has said that it has come in |
//! | C | has written it |
//!
//! Only the answer is early. Until the peer has written it the engine remembers the write as it does
//! with C: it is sent again when a session is resumed, its extent stays hot, and it becomes a mark if
//! the peer is lost. Then a client has been told what the peer may never have got: a new generation
//! says so, without waiting for the next write, so that a peer that went on without it is found to be
//! a split brain and not taken for newer.
//!
//! Early answers need a good copy here, one Primary, and a peer that is there: else C holds.

use super::Engine;
use super::link::Phase;
use super::volume::{Minted, Volume};
use super::write::{DiskPart, PeerPart, WriteId};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::wire::{Plan, VolumeState};
use types::mutation::{self, Mutation};
use types::{ByteRange, Protocol, Role};

impl Volume {
    /// Whether the peer has not written yet what was answered here: it must not be asked for that.
    pub(super) fn peer_lacks_answered(&self, range: ByteRange) -> bool {
        let open = |peer| matches!(peer, PeerPart::Pending { .. });
        self.local
            .values()
            .any(|write| write.answered && open(write.peer) && write.range.overlaps(range))
    }
}

impl Engine {
    /// Whether clients are answered before the peer has written.
    pub(super) fn answers_early(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        self.config.options.protocol != Protocol::C
            && vol.replicates()
            && vol.readable()
            && self.peer_role != Role::Primary
    }

    /// Answers a write that is on the disk here, if the peer has as much of it as the protocol asks
    /// for.
    pub(super) fn answer_early(&mut self, v: usize, id: WriteId, out: &mut Effects) {
        let early = self.answers_early(v);
        let protocol = self.config.options.protocol;
        let Some(write) = self.volumes[v].local.get_mut(&id) else { return };
        let there = match protocol {
            Protocol::A => true,
            Protocol::B => write.received,
            Protocol::C => false,
        };
        let open = matches!(write.peer, PeerPart::Pending { .. }) && write.disk == DiskPart::Done;
        if !early || !there || !open || write.answered {
            return;
        }
        write.answered = true;
        let request = write.request;
        // Whoever reads it now reads what was answered.
        self.release_local(v, id, out);
        self.part_done(request, Ok(()), out);
        self.touch(v);
    }

    /// The peer is back in the session: what was not answered for want of a link is now.
    pub(super) fn answer_all_early(&mut self, v: usize, out: &mut Effects) {
        if !self.answers_early(v) {
            return;
        }
        let sent: Vec<WriteId> = self.volumes[v].by_seq.values().copied().collect();
        for id in sent {
            self.answer_early(v, id, out);
        }
    }

    /// The peer has received our writes up to that number.
    pub(super) fn note_received(&mut self, v: usize, upto: u64) {
        let vol = &mut self.volumes[v];
        for id in vol.by_seq.range(..=upto).map(|(_, id)| *id) {
            vol.local.get_mut(&id).expect("a numbered write is remembered").received = true;
        }
    }

    /// Whether a write was answered that the peer may never have got. What a peer has received it
    /// has, unless it was started again since.
    pub(super) fn owes_answers(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let hello = self.link.as_ref().and_then(|link| link.peer_hello.as_ref());
        let same = hello.is_some_and(|hello| hello.incarnation == vol.session.peer_incarnation);
        let open = |peer| matches!(peer, PeerPart::Pending { .. } | PeerPart::Marked);
        vol.local
            .values()
            .any(|write| write.answered && open(write.peer) && !(write.received && same))
    }

    /// Whether that is all that is in flight.
    pub(super) fn owes_only_answers(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        !vol.holds_for_peer() && vol.local.values().all(|write| write.answered)
    }

    /// The session is over, and the peer may have gone on in its own way: what was answered here is
    /// not to be taken back as if nobody had been told.
    pub(super) fn stand_by_answers(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        if vol.minted == Minted::No
            && vol.readable()
            && self.owes_answers(v)
            && !mutation::on(Mutation::EarlyNoGeneration)
        {
            self.go_on_alone(v, "it was answered that the peer has not got", out);
        }
    }

    /// The peer took over from this node when it crashed: what had been answered here and not come
    /// through is lost. That is what protocols A and B allow, but nobody should have to guess it.
    pub(super) fn tell_lost_answers(
        &mut self,
        v: usize,
        plan: Plan,
        mine: &VolumeState,
        out: &mut Effects,
    ) {
        let protocol = self.config.options.protocol;
        let crashed = mine.side.crashed_primary && mine.side.dirty_blocks > 0;
        if matches!(plan, Plan::Target(_)) && crashed && protocol != Protocol::C {
            let text = format!(
                "{}: this node was Primary when it crashed, and {} took over: what was answered here \
                 with protocol {protocol} and had not come through is replaced by what is there ({} \
                 blocks are looked at)",
                self.volume_name(v),
                self.config.peer_name,
                mine.side.dirty_blocks
            );
            out.push(Effect::Event(Event::Warning { text }));
        }
    }

    /// Whether a handshake drains a volume whose session both know to be over: what it is told of
    /// that volume stays true if a generation is made now.
    pub(super) fn drains_without_session(&self, v: usize) -> bool {
        let draining = self.link.as_ref().is_some_and(|link| link.phase == Phase::Draining);
        draining && !self.resumable(v)
    }
}
