//! The end of a handshake: sessions that go on, and sessions that begin.

use super::Engine;
use super::resync::{Sync, SyncSide, Target};
use super::superblock::Then;
use super::volume::{Minted, Mode, Session, has_data};
use super::write::{PeerPart, WriteId};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::wire::{Message, Plan, State, VolumeState};
use types::mutation::{self, Mutation};
use types::{ConnectionState, DiskState, ReplicationState, Role};

impl Engine {
    /// Goes on in the session: our writes that the peer has not received, with their numbers;
    /// then the answers that it may have missed; then what has settled. (In another order the
    /// copies would diverge.) Everything else that was asked is asked again.
    pub(super) fn resume(&mut self, v: usize, theirs: &VolumeState, out: &mut Effects) {
        let received = theirs.received;
        let vol = &mut self.volumes[v];
        if received >= vol.session.next_seq {
            return self.protocol_error("a number received that was not sent", out);
        }
        let from = if mutation::on(Mutation::ReplayApplied) { 0 } else { received + 1 };
        let unsent: Vec<WriteId> = vol.by_seq.range(from..).map(|(_, id)| *id).collect();
        let now = self.now;
        for write in self.volumes[v].local.values_mut() {
            if let PeerPart::Pending { since } = &mut write.peer {
                *since = now;
            }
        }
        if !has_data(theirs.side.disk) {
            // Known before both are ready: what it sends again now, its disk does not get.
            self.set_peer_disk(v, theirs.side.disk, out);
        }
        self.outdated_in_vain(v, out);
        self.note_received(v, received);
        let resent = unsent.len() as u64;
        if mutation::on(Mutation::AnswersFirst) {
            self.repeat_answers(v, out);
        }
        for id in unsent {
            self.send_write(v, id, out);
        }
        let answered = self.repeat_answers(v, out);
        self.say_settled(v, out);
        self.repeat_durable(v, out);
        self.resume_resync(v, theirs.side.disk, out);
        let volume = self.volumes[v].id;
        out.push(Effect::Event(Event::Resumed { volume, resent, answered }));
    }

    /// Nobody went on alone after this copy was called Outdated: it has all there is.
    fn outdated_in_vain(&mut self, v: usize, out: &mut Effects) {
        if self.volumes[v].disk == DiskState::Outdated {
            self.volumes[v].metadata().superblock.flags.was_up_to_date = true;
            self.save_superblock(v, Then::Nothing, out);
            self.set_disk(v, DiskState::UpToDate, "the peer has not gone on alone", out);
        }
    }

    /// A resync goes on from the union of both bitmaps: the source may not have heard of all that
    /// was cleared, nor of its end.
    fn resume_resync(&mut self, v: usize, peer_disk: DiskState, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(sync) = &vol.sync else { return };
        if vol.meta.is_none() || !has_data(peer_disk) {
            vol.sync = None;
            return;
        }
        if sync.is_target() || peer_disk == DiskState::Inconsistent {
            return self.send_bitmap(v, out);
        }
        if vol.dirty_blocks() > 0 {
            return self.meet_anew(v, "something is marked that the peer may not have", out);
        }
        vol.sync = None;
        self.settled_with_peer(v, out);
    }

    /// Both are ready.
    pub(super) fn join(&mut self, plans: &[Plan], state: &State, out: &mut Effects) {
        let role = if state.primary { Role::Primary } else { Role::Secondary };
        self.set_peer_role(role, out);
        self.set_connection(ConnectionState::Connected, "the handshake is done", out);
        for (v, plan) in plans.iter().enumerate() {
            self.join_volume(v, *plan, &state.volumes[v], out);
        }
        self.end_loss();
        self.pump_unfence(out);
        self.forget_preparation();
        self.tell_changes(out);
        // A disk as it was before this session is not to pass for what it is now.
        self.tell_sequences(out);
    }

    fn join_volume(&mut self, v: usize, plan: Plan, theirs: &VolumeState, out: &mut Effects) {
        self.volumes[v].mode = Mode::Joined;
        self.volumes[v].growing.let_go();
        self.show_size(v, out);
        self.volumes[v].touched = true;
        let peer_disk = match plan {
            Plan::Source(_) => DiskState::Inconsistent,
            // Whoever is source has taken its copy for UpToDate, whatever it said before.
            Plan::InSync | Plan::Target(_) => DiskState::UpToDate,
            Plan::Resume if theirs.side.disk == DiskState::Outdated => DiskState::UpToDate,
            Plan::Resume | Plan::Idle => theirs.side.disk,
        };
        self.set_peer_disk(v, peer_disk, out);
        let vol = &mut self.volumes[v];
        // With a disk, the verdict has compared it.
        vol.went_on_without_disk =
            vol.meta.is_none() && (vol.went_on_without_disk || has_data(peer_disk));
        if plan == Plan::Resume {
            self.resumed += 1;
        }
        let (replication, why) = match (&self.volumes[v].sync, plan) {
            (Some(sync), _) if sync.is_target() => (ReplicationState::SyncTarget, "a resync"),
            (Some(_), _) => (ReplicationState::SyncSource, "a resync"),
            (None, Plan::Resume) => (ReplicationState::Established, "the session goes on"),
            (None, _) => (ReplicationState::Established, "the handshake is done"),
        };
        self.set_replication(v, replication, why, out);
        self.rejoin_verify(v, plan == Plan::Resume, out);
        if plan == Plan::Resume {
            self.repeat_findings(v, out);
            self.degrade_resumed(v, out);
        }
        // What was in flight at the end of an older session is marked. If this node is the
        // source, the peer has made durable that it is Inconsistent: it may be answered.
        match replication {
            ReplicationState::SyncSource => {
                if plan != Plan::Resume {
                    self.run_handler(Handler::BeforeResyncSource, Some(v), out);
                }
                if plan != Plan::Resume {
                    // It has made that durable, or would not be ready.
                    self.peer_is_known_bad(v, out);
                }
                self.crash_is_settled(v, out);
                self.cover_marked(v, out);
            }
            ReplicationState::SyncTarget => {
                if plan != Plan::Resume {
                    self.redo_held(v, out);
                    self.answer_received(v, theirs.received, out);
                    self.send_anew(v, theirs.side.generations.current.id, out);
                }
                self.fail_marked(v, out);
            }
            _ if self.volumes[v].has_marked() => {
                self.go_on_alone(v, "writes that the peer's disk did not get", out);
            }
            _ => {}
        }
        self.show_pause(v, "paused here", out);
        self.answer_all_early(v, out);
        self.ask_lack(v, out);
        self.mint_for_marking(v, out);
        self.pump_parked_mirrors(v, out);
        self.release_ghosts(v, out);
        self.repeat_peer_reads(v, out);
    }

    /// Whatever a crash left here counts now, and the peer takes it. Should this node miss the end of
    /// the resync, the peer must not overrule what clients have seen here since.
    fn crash_is_settled(&mut self, v: usize, out: &mut Effects) {
        let Some(meta) = self.volumes[v].meta.as_mut() else { return };
        if std::mem::take(&mut meta.superblock.flags.crashed_primary) {
            self.save_superblock(v, Then::Nothing, out);
        }
    }

    /// A new session, with nothing in it.
    pub(super) fn begin_session(
        &mut self,
        v: usize,
        session: Session,
        plan: Plan,
        (mine, theirs): (&VolumeState, &VolumeState),
    ) {
        let started = self.now;
        let vol = &mut self.volumes[v];
        assert!(vol.order.is_empty(), "a session ends before the next begins");
        vol.session = session;
        vol.durable.end_sending();
        vol.durable.end_receiving();
        vol.durable.both_are_flushed();
        if plan != Plan::Idle {
            vol.found_sequence = None;
        }
        vol.minted = Minted::No;
        let total_blocks = vol.dirty_blocks();
        let side = match plan {
            Plan::Source(_) => Some(SyncSide::Source),
            Plan::Target(_) => {
                let crash = mine.side.crashed_primary || theirs.side.crashed_primary;
                Some(SyncSide::Target(Target::new(theirs.side.generations.clone(), crash)))
            }
            Plan::InSync | Plan::Idle | Plan::Resume => None,
        };
        if side.is_some() {
            vol.resync_bytes = 0;
        }
        let side = side.filter(|_| vol.meta.is_some());
        vol.sync = side.map(|side| Sync { side, started, total_blocks, confirmed: false });
    }

    /// What changed while the handshake ran is told now.
    fn tell_changes(&mut self, out: &mut Effects) {
        let said = self.link.as_ref().and_then(|link| link.state.clone());
        let said = said.expect("our state was sent");
        if said.primary != (self.role == Role::Primary) {
            let role = self.role;
            self.send(Message::RoleIs(role), out);
        }
        for v in 0..self.volumes.len() {
            if has_data(said.volumes[v].side.disk) && !self.volumes[v].takes_writes() {
                let (volume, disk) = (self.volumes[v].id, DiskState::Diskless);
                self.send(Message::DiskIs { volume, disk }, out);
                self.say_settled(v, out);
            }
        }
    }
}
