//! The picture that status output is made of.

use super::Engine;
use super::link::Link;
use crate::input::RequestId;
use crate::status::{Status, VolumeStatus};
use types::{Ledger, VolumeId};

impl Engine {
    /// A picture of it.
    pub fn status(&self) -> Status {
        Status {
            role: self.role,
            peer_role: self.peer_role,
            connection: self.connection,
            established: self.link.as_ref().is_some_and(Link::established),
            split_brain: self.split_brain.clone(),
            last_refusal: self.last_refusal.clone(),
            lasting_refusals: self.lasting_refusals,
            resumed: self.resumed,
            volumes: (0..self.volumes.len()).map(|v| self.volume_status(v)).collect(),
        }
    }

    /// Where the time of a volume's requests went since the engine was made. What only a driver sees is
    /// left to it: [`types::Stage::Send`] and [`types::Stage::Reply`].
    pub fn ledger(&self, volume: VolumeId) -> Option<&Ledger> {
        Some(&self.volumes[self.find_volume(volume)?].ledger)
    }

    /// The session of a volume, and the highest number received in it: for the simulator's oracles.
    pub fn session(&self, volume: VolumeId) -> Option<(u64, u64)> {
        let vol = &self.volumes[self.find_volume(volume)?];
        Some((vol.session.id, vol.session.received))
    }

    /// Whose write has that number, as long as the peer has not written it: for the simulator's
    /// oracles.
    pub fn request_of(&self, volume: VolumeId, seq: u64) -> Option<RequestId> {
        let vol = &self.volumes[self.find_volume(volume)?];
        vol.by_seq.get(&seq).map(|id| vol.local[id].request)
    }

    fn volume_status(&self, v: usize) -> VolumeStatus {
        let vol = &self.volumes[v];
        let superblock = vol.meta.as_ref().map(|meta| &meta.superblock);
        let marked = vol.dirty_blocks();
        let mine = |of: &&VolumeId| **of == vol.id;
        VolumeStatus {
            id: vol.id,
            disk: vol.disk,
            peer_disk: vol.peer_disk,
            replication: vol.replication,
            size_bytes: match (vol.shown_size.unwrap_or(vol.size), &vol.meta) {
                (0, Some(_)) => self.usable(v),
                (size, _) => size,
            },
            out_of_sync_blocks: marked,
            generations: superblock.map(|superblock| superblock.generations.clone()),
            flags: superblock.map(|superblock| superblock.flags),
            clients: u32::try_from(self.clients.values().filter(mine).count()).unwrap_or(u32::MAX),
            resync: vol.sync.as_ref().map(|sync| sync.status(marked)),
            pauses: vol.control.pauses(),
            resync_bytes: vol.resync_bytes,
            verify: vol.verify.as_ref().map(super::verify::Verify::status),
            verify_report: vol.verify_report.clone(),
            last_verify: superblock.map(|it| it.last_verify).filter(|at| *at != types::Time(0)),
            undurable_writes: vol.durable.undurable().count() as u64,
            undurable_bytes: vol.durable.undurable().map(|range| range.len).sum(),
            suspended: self.suspended(v),
            counters: vol.counters,
        }
    }
}
