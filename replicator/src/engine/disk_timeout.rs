//! `disk-timeout`: a disk that does not answer is given up, and what it was given is done without
//! it.
//!
//! It may still write that later. So it counts as used until its last operation has come back, and
//! comes back into service as any disk that failed: what it lacks, and what it has too much, lies
//! where the peer has marked writes, or where its own log is hot.

use super::Engine;
use super::disk::DiskUse;
use crate::effect::Effects;
use crate::input::{DiskError, DiskOpId};
use types::{Span, Time};

impl Engine {
    /// When a disk that has something to do counts as failed.
    pub(super) fn disk_deadline(&self, v: usize) -> Option<Time> {
        let vol = &self.volumes[v];
        let limit = self.config.options.of_volume(vol.id).disk_timeout;
        if limit == Span::ZERO || vol.meta.is_none() {
            return None;
        }
        // Numbers grow with time.
        let oldest = self.started.values().find(|(of, _)| *of == v);
        oldest.map(|(_, since)| *since + limit)
    }

    pub(super) fn pump_disk_timeout(&mut self, v: usize, out: &mut Effects) {
        if self.disk_deadline(v).is_none_or(|deadline| deadline > self.now) {
            return;
        }
        let why = "it has not answered within disk-timeout";
        self.fail_disk(v, why, out);
        let given: Vec<DiskOpId> =
            self.disk_ops.iter().filter(|(_, (of, _))| *of == v).map(|(id, _)| *id).collect();
        for id in given {
            self.abandon(v, id, why, out);
        }
    }

    /// Goes on as if that operation had failed.
    fn abandon(&mut self, v: usize, id: DiskOpId, why: &str, out: &mut Effects) {
        // What was done for another may have ended it.
        let Some((_, what)) = self.disk_ops.get_mut(&id) else { return };
        match std::mem::replace(what, DiskUse::Abandoned) {
            DiskUse::Unit(unit) => self.finish_unit(v, unit, true, out),
            DiskUse::Read(reader, range) => self.on_read_failed(v, reader, range, out),
            DiskUse::Map(id, range) => {
                self.on_map(v, id, range, Err(DiskError::Io(why.to_owned())), out);
            }
            DiskUse::Stale(reader) => self.redo(v, reader, out),
            // Whoever waited for it was told when the disk was given up.
            DiskUse::Flush | DiskUse::Abandoned => {}
        }
        self.touch(v);
    }
}
