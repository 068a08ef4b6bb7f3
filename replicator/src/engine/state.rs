//! Changes of state: each goes through one function, which tells the log.

use super::Engine;
use super::superblock::Then;
use super::volume::has_data;
use crate::effect::{Effect, Effects};
use crate::event::Event;
use types::{ConnectionState, DiskState, ReplicationState, Role};

impl Engine {
    pub(super) fn set_role(&mut self, new: Role, cause: &str, out: &mut Effects) {
        let old = std::mem::replace(&mut self.role, new);
        if new != Role::Primary {
            self.volumes.iter_mut().for_each(|vol| vol.clients_saw_old = false);
            self.forget_overruling();
        }
        if old != new {
            let cause = cause.to_owned();
            out.push(Effect::Event(Event::Role { old, new, cause }));
            self.touch_all();
        }
    }

    pub(super) fn set_peer_role(&mut self, new: Role, out: &mut Effects) {
        let old = std::mem::replace(&mut self.peer_role, new);
        if old != new {
            out.push(Effect::Event(Event::PeerRole { old, new }));
        }
    }

    pub(super) fn set_connection(&mut self, new: ConnectionState, cause: &str, out: &mut Effects) {
        let old = std::mem::replace(&mut self.connection, new);
        if old != new {
            let cause = cause.to_owned();
            out.push(Effect::Event(Event::Connection { old, new, cause }));
        }
    }

    pub(super) fn set_disk(&mut self, v: usize, new: DiskState, cause: &str, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let (volume, old) = (vol.id, vol.disk);
        vol.disk = new;
        vol.clients_saw_old &= new == DiskState::Outdated;
        vol.touched = true;
        if old != new {
            let cause = cause.to_owned();
            out.push(Effect::Event(Event::Disk { volume, old, new, cause }));
        }
    }

    pub(super) fn set_peer_disk(&mut self, v: usize, new: DiskState, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let (volume, old) = (vol.id, vol.peer_disk);
        vol.peer_disk = new;
        vol.touched = true;
        if old != new {
            out.push(Effect::Event(Event::PeerDisk { volume, old, new }));
        }
    }

    pub(super) fn set_replication(
        &mut self,
        v: usize,
        new: ReplicationState,
        cause: &str,
        out: &mut Effects,
    ) {
        let vol = &mut self.volumes[v];
        let (volume, old) = (vol.id, vol.replication);
        vol.replication = new;
        vol.touched = true;
        if old != new {
            // A verify of another volume may have waited for the end of a resync.
            self.touch_all();
            let cause = cause.to_owned();
            out.push(Effect::Event(Event::Replication { volume, old, new, cause }));
        }
    }

    /// The peer says what its copy is now.
    pub(super) fn on_peer_disk(&mut self, v: usize, disk: DiskState, out: &mut Effects) {
        self.set_peer_disk(v, disk, out);
        self.volumes[v].growing.let_go();
        if disk == DiskState::Outdated {
            self.peer_is_known_bad(v, out);
        }
        if has_data(disk) {
            return;
        }
        // The peer's disk is gone: a resync is over, its readers cannot be served, and from the
        // next write on this copy has a generation that the other lacks.
        if self.volumes[v].sync.take().is_some() {
            self.interrupt_resync(v);
            self.set_replication(v, ReplicationState::Established, "the peer's disk is gone", out);
        }
        self.give_up_peer_reads(v, out);
        self.volumes[v].helping.clear();
        self.give_up_repairs(v);
        if !self.volumes[v].local.is_empty() {
            self.go_on_alone(v, "the peer's disk is gone", out);
        }
    }

    /// All marks of a full resync are durable: a crash need not set them all again.
    pub(super) fn pump_full_sync_flag(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_ref() else { return };
        if !meta.superblock.flags.full_sync || !vol.saves.is_idle() {
            return;
        }
        if meta.bitmap.unsaved_pages() > 0 {
            if !vol.log.bitmap_saving {
                self.save_bitmap(v, None, out);
            }
        } else if !vol.log.bitmap_saving {
            vol.metadata().superblock.flags.full_sync = false;
            self.save_superblock(v, Then::Nothing, out);
        }
    }
}
