//! The picture that status output is made of.

use super::Engine;
use super::link::Link;
use crate::status::{Status, VolumeStatus};

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
            resumed: self.resumed,
            volumes: (0..self.volumes.len()).map(|v| self.volume_status(v)).collect(),
        }
    }

    fn volume_status(&self, v: usize) -> VolumeStatus {
        let vol = &self.volumes[v];
        let superblock = vol.meta.as_ref().map(|meta| &meta.superblock);
        let marked = vol.dirty_blocks();
        let mine = |of: &&types::VolumeId| **of == vol.id;
        VolumeStatus {
            id: vol.id,
            disk: vol.disk,
            peer_disk: vol.peer_disk,
            replication: vol.replication,
            size_bytes: match (vol.size, &vol.meta) {
                (0, Some(meta)) => meta.layout.data_bytes(),
                (size, _) => size,
            },
            out_of_sync_blocks: marked,
            generations: superblock.map(|superblock| superblock.generations.clone()),
            flags: superblock.map(|superblock| superblock.flags),
            clients: u32::try_from(self.clients.values().filter(mine).count()).unwrap_or(u32::MAX),
            resync: vol.sync.as_ref().map(|sync| sync.status(marked)),
            resync_bytes: vol.resync_bytes,
            undurable_writes: vol.durable.undurable().count() as u64,
            undurable_bytes: vol.durable.undurable().map(|range| range.len).sum(),
            suspended: self.suspended(v),
            counters: vol.counters,
        }
    }
}
