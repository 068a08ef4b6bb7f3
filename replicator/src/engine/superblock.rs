//! Saving the superblock and the bitmap: one superblock write at a time, and what goes on after.

use super::Engine;
use crate::effect::{Effect, Effects};
use crate::input::{DiskError, MetaOpId};
use types::BlockRange;

/// What a metadata batch under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaUse {
    /// The superblock, in this version.
    Superblock(u64),
    /// A transaction of the activity log.
    Log,
    /// Pages of the bitmap.
    Bitmap,
    /// A step of moving all of it.
    Move,
}

/// What goes on when the superblock is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: it had to be written, and nobody waits.
    Nothing,
    /// The absence of the peer has its generation: solo writes are answered.
    Minted,
    /// A step of the running command.
    Command,
    /// A step of the handshake on the link of this number.
    Handshake(crate::input::LinkEpoch),
    /// The end of a resync, at its target.
    Adopted,
    /// A copy that lacks a write is Inconsistent.
    Degraded,
    /// A copy is Outdated.
    Outdated,
    /// A target of a resync does not count as fenced any more: it may call its copy UpToDate.
    Confirmed,
    /// The first resync is left out, as the peer has ordered.
    SkippedSync,
    /// A new size counts.
    Grown,
}

/// Versions of one superblock.
#[derive(Debug, Default)]
pub(super) struct Saves {
    wanted: u64,
    running: bool,
    saved: u64,
    waiters: Vec<(u64, Then)>,
}

impl Saves {
    pub(super) const fn is_idle(&self) -> bool {
        !self.running && self.saved == self.wanted
    }

    /// The superblock is written by somebody else for a while.
    pub(super) fn occupy(&mut self) {
        self.running = true;
    }

    /// That is over; what was wanted meanwhile can be saved.
    pub(super) fn release(&mut self) {
        self.running = false;
    }

    pub(super) fn take_waiters(&mut self) -> Vec<Then> {
        self.running = false;
        self.saved = self.wanted;
        std::mem::take(&mut self.waiters).into_iter().map(|(_, then)| then).collect()
    }
}

impl Engine {
    pub(super) fn meta_op(&mut self, v: usize, what: MetaUse) -> MetaOpId {
        let id = MetaOpId(self.next_op);
        self.next_op += 1;
        self.meta_ops.insert(id, (v, what));
        self.started.insert(id.0, (v, self.now));
        id
    }

    /// Makes the superblock, as it is now, durable.
    pub(super) fn save_superblock(&mut self, v: usize, then: Then, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        assert!(vol.meta.is_some(), "a superblock is saved on a disk");
        vol.saves.wanted += 1;
        vol.saves.waiters.push((vol.saves.wanted, then));
        self.start_save(v, out);
    }

    pub(super) fn start_save(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        if vol.saves.running || vol.saves.saved == vol.saves.wanted || vol.meta.is_none() {
            return;
        }
        vol.saves.running = true;
        let version = vol.saves.wanted;
        let batch = vol.metadata().save_superblock();
        let volume = vol.id;
        let id = self.meta_op(v, MetaUse::Superblock(version));
        out.push(Effect::Meta { volume, id, batch });
    }

    /// Saves the pages of those blocks, or some unsaved ones. One such write at a time: two of one
    /// page in flight could end in any order. Whoever needs more looks again when it is done.
    pub(super) fn save_bitmap(&mut self, v: usize, blocks: Option<BlockRange>, out: &mut Effects) {
        /// 256 KiB: a write that does not hold up the log behind it for long.
        const PAGES_AT_A_TIME: usize = 64;
        if self.volumes[v].log.bitmap_saving {
            return;
        }
        let Some(meta) = self.volumes[v].meta.as_mut() else { return };
        let batch = match blocks {
            Some(blocks) => meta.bitmap.save(blocks),
            None => meta.bitmap.save_some(PAGES_AT_A_TIME),
        };
        if batch.writes.is_empty() {
            return;
        }
        let vol = &mut self.volumes[v];
        vol.counters.bm_writes += batch.writes.len() as u64;
        vol.log.bitmap_saving = true;
        let volume = vol.id;
        let id = self.meta_op(v, MetaUse::Bitmap);
        out.push(Effect::Meta { volume, id, batch });
    }

    pub(super) fn on_meta_done(
        &mut self,
        id: MetaOpId,
        result: Result<(), DiskError>,
        out: &mut Effects,
    ) {
        let Some((v, what)) = self.meta_ops.remove(&id) else { return };
        self.started.remove(&id.0);
        self.touch(v);
        self.pump_leaving(v, out);
        if let Err(error) = result {
            // A metadata error always detaches: nothing can be promised any more.
            return self.fail_disk(v, &format!("metadata: {error}"), out);
        }
        if self.volumes[v].meta.is_none() {
            return;
        }
        match what {
            MetaUse::Log => self.on_log_durable(v, out),
            MetaUse::Move => self.go_on_moving(v, out),
            MetaUse::Bitmap => {
                self.volumes[v].log.bitmap_saving = false;
                self.pump_parked_mirrors(v, out);
            }
            MetaUse::Superblock(version) => {
                let saves = &mut self.volumes[v].saves;
                saves.running = false;
                saves.saved = version;
                let sequence = self.volumes[v].metadata().superblock.sequence;
                self.volumes[v].durable_sequence = sequence;
                let saves = &mut self.volumes[v].saves;
                let waiters = std::mem::take(&mut saves.waiters);
                let (ready, waiting): (Vec<_>, Vec<_>) =
                    waiters.into_iter().partition(|(wanted, _)| *wanted <= version);
                saves.waiters = waiting;
                self.start_save(v, out);
                if self.volumes[v].saves.is_idle() {
                    self.show_size(v, out);
                }
                for (_, then) in ready {
                    self.saved_then(v, then, out);
                }
            }
        }
    }

    fn saved_then(&mut self, v: usize, then: Then, out: &mut Effects) {
        match then {
            Then::Nothing => {}
            Then::Minted => self.on_minted(v, out),
            Then::Command => self.command_saved(v, out),
            Then::Handshake(epoch) => self.handshake_saved(epoch, out),
            Then::Adopted => self.on_adopted(v, out),
            Then::Degraded => self.lack_is_known(v, out),
            Then::Confirmed => self.confirm(v, out),
            Then::SkippedSync => self.on_sync_skipped(v, out),
            Then::Grown => self.on_grown(v, out),
            Then::Outdated => {
                self.tell_outdated(v, out);
                self.outdate_saved();
            }
        }
    }
}
