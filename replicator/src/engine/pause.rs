//! `pause-sync`, `resume-sync`, and what the two nodes tell each other about a resync: who wants it
//! to stand still, and why, and how fast it may go.
//!
//! A node that is source or target stands still as long as anybody wants it to. What was asked for
//! before still comes, and is written. The wish outlives the link, not the engine.

use super::Engine;
use super::pace::Speed;
use crate::effect::{Effects, Refusal, RefusalKind};
use crate::input::PauseCause;
use crate::status::Pauses;
use crate::wire::Message;
use types::{ReplicationState, VolumeId};

/// What the two nodes want of a resync.
#[derive(Debug)]
pub(super) struct SyncControl {
    pauses: Pauses,
    /// What the peer was told: by user, by dependency, speed.
    told: (bool, bool, Speed),
}

/// What is so as long as nobody has said otherwise on this link.
const NOTHING: (bool, bool, Speed) = (false, false, Speed::FULL);

impl SyncControl {
    pub(super) const fn new() -> Self {
        Self {
            pauses: Pauses {
                user: false,
                dependency: false,
                peer_user: false,
                peer_dependency: false,
            },
            told: NOTHING,
        }
    }

    pub(super) const fn pauses(&self) -> Pauses {
        self.pauses
    }

    pub(super) const fn told_speed(&self) -> Speed {
        self.told.2
    }
}

impl Engine {
    pub(super) fn pause_sync(
        &mut self,
        volume: VolumeId,
        cause: PauseCause,
        on: bool,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(v) = self.find_volume(volume) else {
            let text = format!("resource {} has no volume {volume}", self.config.resource);
            return Err(Refusal::new(RefusalKind::State, text));
        };
        let pauses = &mut self.volumes[v].control.pauses;
        match cause {
            PauseCause::User => pauses.user = on,
            PauseCause::Dependency => pauses.dependency = on,
        }
        self.show_pause(v, if on { "paused here" } else { "resumed here" }, out);
        self.touch(v);
        Ok(())
    }

    /// Tells the peer what is wanted here, if that has changed.
    pub(super) fn pump_sync_control(&mut self, v: usize, out: &mut Effects) {
        let speed = self.wanted_speed(v);
        let vol = &mut self.volumes[v];
        if !vol.joined() {
            return;
        }
        let pauses = vol.control.pauses;
        let wanted = (pauses.user, pauses.dependency, speed);
        if wanted == vol.control.told {
            return;
        }
        vol.control.told = wanted;
        let volume = vol.id;
        let (user, dependency, speed) = (pauses.user, pauses.dependency, speed.to_u8());
        self.send(Message::SyncControl { volume, user, dependency, speed }, out);
    }

    /// The peer says what it wants.
    pub(super) fn on_sync_control(
        &mut self,
        v: usize,
        user: bool,
        dependency: bool,
        speed: u8,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let pauses = &mut vol.control.pauses;
        let before = pauses.peer_user || pauses.peer_dependency;
        (pauses.peer_user, pauses.peer_dependency) = (user, dependency);
        vol.pace.peer = Speed::from_u8(speed);
        let after = user || dependency;
        if before != after {
            let why = if after { "paused at the peer" } else { "resumed at the peer" };
            self.show_pause(v, why, out);
        }
        self.touch(v);
    }

    /// The link is gone, and with it what the peer wanted.
    pub(super) fn forget_sync_control(&mut self, v: usize) {
        let vol = &mut self.volumes[v];
        vol.control.told = NOTHING;
        vol.control.pauses.peer_user = false;
        vol.control.pauses.peer_dependency = false;
        vol.pace.peer = Speed::FULL;
    }

    /// Whether a resync stands still.
    pub(super) fn is_sync_paused(&self, v: usize) -> bool {
        self.volumes[v].control.pauses.any()
    }

    /// The state of replication while a resync runs says whether it stands still.
    pub(super) fn show_pause(&mut self, v: usize, why: &str, out: &mut Effects) {
        let paused = self.is_sync_paused(v);
        let vol = &self.volumes[v];
        let Some(sync) = vol.sync.as_ref().filter(|_| vol.joined()) else { return };
        let state = match (sync.is_target(), paused) {
            (true, true) => ReplicationState::PausedSyncT,
            (true, false) => ReplicationState::SyncTarget,
            (false, true) => ReplicationState::PausedSyncS,
            (false, false) => ReplicationState::SyncSource,
        };
        self.set_replication(v, state, why, out);
    }
}
