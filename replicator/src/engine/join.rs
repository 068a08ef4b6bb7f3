//! The end of a handshake: sessions that go on, and sessions that begin.

use super::Engine;
use super::handshake::Plan;
use super::resync::{Sync, SyncSide, Target};
use super::volume::{Minted, Mode};
use super::write::{PeerPart, WriteId};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::wire::{Message, State, VolumeState};
use types::{ConnectionState, ReplicationState, Role};

impl Engine {
    /// Goes on in the session: our writes that the peer has not received, with their numbers;
    /// then the answers that it may have missed; then what has settled. (In another order the
    /// copies would diverge.) Everything else that was asked is asked again.
    pub(super) fn resume(&mut self, v: usize, received: u64, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        assert!(vol.minted == Minted::No, "a node that answered alone does not resume");
        if received >= vol.session.next_seq {
            return self.protocol_error("a number received that was not sent", out);
        }
        let unsent: Vec<WriteId> = vol.by_seq.range(received + 1..).map(|(_, id)| *id).collect();
        let now = self.now;
        for write in self.volumes[v].local.values_mut() {
            if let PeerPart::Pending { since } = &mut write.peer {
                *since = now;
            }
        }
        let resent = unsent.len() as u64;
        for id in unsent {
            self.send_write(v, id, out);
        }
        let answered = self.repeat_answers(v, out);
        let vol = &mut self.volumes[v];
        vol.settled_unsaid.clear();
        let (volume, below) = (vol.id, vol.settled_below());
        self.send(Message::Settled { volume, below, seqs: self.settled_above(v, below) }, out);
        self.repeat_durable(v, out);
        if self.volumes[v].sync.is_some() {
            self.send_bitmap(v, out);
        }
        self.resumed += 1;
        out.push(Effect::Event(Event::Resumed { volume, resent, answered }));
    }

    /// Numbers above the first unsettled one that have settled: the gaps between those that have
    /// not. As many as there are writes in flight, so few.
    fn settled_above(&self, v: usize, below: u64) -> Vec<u64> {
        let vol = &self.volumes[v];
        let Some(&last) = vol.by_seq.keys().next_back() else { return Vec::new() };
        (below..last).filter(|seq| !vol.by_seq.contains_key(seq)).collect()
    }

    /// Both are ready.
    pub(super) fn join(&mut self, plans: &[Plan], state: &State, out: &mut Effects) {
        let role = if state.primary { Role::Primary } else { Role::Secondary };
        self.set_peer_role(role, out);
        self.set_connection(ConnectionState::Connected, "the handshake is done", out);
        for (v, plan) in plans.iter().enumerate() {
            self.join_volume(v, *plan, &state.volumes[v], out);
        }
        self.disks_changed_in_handshake(state, out);
    }

    fn join_volume(&mut self, v: usize, plan: Plan, theirs: &VolumeState, out: &mut Effects) {
        self.volumes[v].mode = Mode::Joined;
        self.volumes[v].touched = true;
        let peer_disk = match plan {
            Plan::Source(_) => types::DiskState::Inconsistent,
            Plan::InSync => types::DiskState::UpToDate,
            Plan::Target(_) | Plan::Resume | Plan::Idle => theirs.side.disk,
        };
        self.set_peer_disk(v, peer_disk, out);
        let (side, replication) = match plan {
            Plan::Source(_) => (Some(SyncSide::Source), ReplicationState::SyncSource),
            Plan::Target(_) => {
                let target = Target::new(theirs.side.generations.clone());
                (Some(SyncSide::Target(target)), ReplicationState::SyncTarget)
            }
            Plan::InSync | Plan::Idle => (None, ReplicationState::Established),
            Plan::Resume => {
                let replication = match self.volumes[v].sync.as_ref().map(Sync::is_target) {
                    Some(true) => ReplicationState::SyncTarget,
                    Some(false) => ReplicationState::SyncSource,
                    None => ReplicationState::Established,
                };
                return self.finish_resume(v, replication, out);
            }
        };
        let vol = &mut self.volumes[v];
        vol.minted = Minted::No;
        vol.resync_bytes = if side.is_some() { 0 } else { vol.resync_bytes };
        let total_blocks = vol.dirty_blocks();
        let started = self.now;
        self.volumes[v].sync = side.map(|side| Sync { side, started, total_blocks });
        self.set_replication(v, replication, "the handshake is done", out);
        match plan {
            // What was in flight at the end of the old session is marked, and the peer has made
            // durable that it is Inconsistent: it may be answered.
            Plan::Source(_) => self.cover_marked(v, out),
            Plan::Target(_) => self.fail_marked(v, out),
            Plan::InSync | Plan::Idle | Plan::Resume => {
                if !self.volumes[v].local.is_empty() {
                    self.ensure_minted(v, "writes that the peer's disk did not get", out);
                }
            }
        }
        self.repeat_peer_reads(v, out);
    }

    fn finish_resume(&mut self, v: usize, replication: ReplicationState, out: &mut Effects) {
        self.set_replication(v, replication, "the session goes on", out);
        self.repeat_peer_reads(v, out);
    }

    /// Writes in flight of a node that lost: the other went on alone, and they are not to appear
    /// again as new ones after somebody saw them overwritten.
    fn fail_marked(&mut self, v: usize, out: &mut Effects) {
        let lost: Vec<WriteId> = self.volumes[v].local.keys().copied().collect();
        for id in lost {
            let vol = &mut self.volumes[v];
            let write = vol.local.remove(&id).expect("just listed");
            vol.log.end(metadata::ExtentNo::of_byte(write.range.offset), vol.durable.writes_done());
            self.release_local(v, id, out);
            self.part_done(write.request, Err(crate::effect::IoError::Io), out);
        }
    }

    /// A disk that changed while the handshake ran is told of, or negotiated anew.
    fn disks_changed_in_handshake(&mut self, _state: &State, out: &mut Effects) {
        let said = self.link.as_ref().and_then(|link| link.state.clone());
        let said = said.expect("our state was sent");
        for v in 0..self.volumes.len() {
            if said.volumes[v].side.disk != types::DiskState::Diskless
                && self.volumes[v].meta.is_none()
            {
                let (volume, disk) = (self.volumes[v].id, types::DiskState::Diskless);
                self.send(Message::DiskIs { volume, disk }, out);
            }
        }
    }
}
