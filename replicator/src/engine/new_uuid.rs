//! `new-current-uuid`: a new generation by order.
//!
//! With `--clear-bitmap`, of two disks that were just created: the operator knows that they hold the
//! same (new thin volumes, for instance), and the first resync is left out. The generation is made
//! up at random each time: a name that all fresh disks share would let a disk that is created anew
//! later pass for a copy. First the peer makes durable that it has it, then this node: whatever
//! breaks in between, one of the two is just created, and is copied whole.

use super::Engine;
use super::command::Stage;
use super::superblock::Then;
use super::volume::{Minted, has_data};
use crate::effect::{Effect, Effects, Refusal, RefusalKind};
use crate::event::Event;
use crate::input::{Command, LinkEpoch};
use crate::wire::PeerOrder;
use metadata::{Cause, GenerationId};
use types::{DiskState, VolumeId};

/// Why a generation is made, if it is by order.
pub(super) const NEW_CURRENT_UUID: &str = "new-current-uuid";

impl Engine {
    pub(super) fn pump_new_uuid(
        &mut self,
        volume: VolumeId,
        clear_bitmap: bool,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let v = self.volume_of_order(volume)?;
        match stage {
            Stage::Start if self.is_between(v) => self.wait_between(v),
            Stage::Start if clear_bitmap => {
                self.may_skip_sync(v)?;
                let generation = GenerationId::from_random(self.ids.next_u64());
                self.volumes[v].skipping = Some(generation);
                Ok(Some(self.ask_peer(v, PeerOrder::SkipSync(generation), out)))
            }
            Stage::Start => {
                self.may_make_uuid(v)?;
                self.volumes[v].minted = Minted::No;
                self.go_on_alone(v, NEW_CURRENT_UUID, out);
                Ok(Some(Stage::Draining))
            }
            Stage::Draining if self.volumes[v].minted == Minted::Saving => Ok(Some(stage)),
            Stage::Draining if self.volumes[v].minted == Minted::Yes => Ok(None),
            Stage::Asked(_) => self.wait_for_peer(v, stage),
            Stage::Granted => {
                let generation = self.volumes[v].skipping.take();
                let known = generation.filter(|_| self.is_just_created(v));
                let Some(generation) = known else { return Err(self.changed_meanwhile(v)) };
                self.take_generation(v, generation, Then::Command, out);
                Ok(Some(Stage::Saving(1)))
            }
            Stage::Saving(0) if self.volumes[v].meta.is_some() => {
                self.volumes[v].session.ended = true;
                self.set_disk(v, DiskState::UpToDate, "the first resync is left out", out);
                if self.link.is_some() {
                    self.renegotiate("the first resync is left out", out);
                }
                Ok(None)
            }
            Stage::Draining | Stage::Saving(0) => Err(self.changed_meanwhile(v)),
            other => Ok(Some(other)),
        }
    }

    fn changed_meanwhile(&self, v: usize) -> Refusal {
        let text = format!("{}: the disk has changed or failed meanwhile", self.volume_name(v));
        Refusal::new(RefusalKind::Failed, text)
    }

    /// Whether nothing was ever written to the copy here, nor copied to it.
    fn is_just_created(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        let created = |meta: &metadata::Metadata| {
            let current = meta.superblock.generations.current;
            current.id == GenerationId::JUST_CREATED
        };
        vol.disk == DiskState::Inconsistent
            && vol.sync.is_none()
            && vol.meta.as_ref().is_some_and(created)
    }

    fn may_skip_sync(&self, v: usize) -> Result<(), Refusal> {
        let (vol, name, resource) = (&self.volumes[v], self.volume_name(v), &self.config.resource);
        if !vol.joined() {
            let text = format!(
                "{name} is not connected: both nodes must be there to leave the first resync out; run \
                 `repadm connect {resource}` first"
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        if !self.is_just_created(v) || vol.peer_disk != DiskState::Inconsistent {
            let text = format!(
                "{name}: the first resync can be left out only between two disks that were just \
                 created: the one here is {}{}, the peer's {}; to copy one to the other, run \
                 `repadm primary --force {resource}` on the node that has the data, or `repadm \
                 invalidate` on the other",
                vol.disk,
                if self.is_just_created(v) { "" } else { " and has been in use" },
                vol.peer_disk
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        Ok(())
    }

    fn may_make_uuid(&self, v: usize) -> Result<(), Refusal> {
        let (vol, name, resource) = (&self.volumes[v], self.volume_name(v), &self.config.resource);
        if vol.joined() {
            let text = format!(
                "{name} is connected: run `repadm disconnect {resource}` first, or, for two disks \
                 that were just created, add --clear-bitmap"
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        if vol.disk != DiskState::UpToDate || !has_data(vol.disk) {
            let text = format!("{name}: the disk here is {}, and not UpToDate", vol.disk);
            return Err(Refusal::new(RefusalKind::NoData, text));
        }
        Ok(())
    }

    /// The peer's operator says that both fresh disks hold the same.
    pub(super) fn skip_sync(
        &mut self,
        v: usize,
        id: u64,
        generation: GenerationId,
        out: &mut Effects,
    ) {
        if self.skips_too(v) {
            let text = format!("{} has ordered the same just now", self.config.node_name);
            return self.answer_order(v, id, Err(text), out);
        }
        if !self.is_just_created(v) || !generation.is_real() {
            let text = format!(
                "{}: the disk there is {} and was not just created",
                self.volume_name(v),
                self.volumes[v].disk
            );
            return self.answer_order(v, id, Err(text), out);
        }
        self.volumes[v].skipped = self.link_epoch().map(|epoch| (epoch, id));
        self.take_generation(v, generation, Then::SkippedSync, out);
    }

    /// Whether the same is ordered here: each would take the other's generation. One of the two nodes
    /// goes on with its own.
    fn skips_too(&self, v: usize) -> bool {
        let volume = self.volumes[v].id;
        let same = |command: &Command| matches!(command, Command::NewCurrentUuid { volume: of, clear_bitmap: true } if *of == volume);
        let running = self.running.as_ref();
        let asks = running.is_some_and(|run| same(&run.command) && run.stage != Stage::Start);
        asks && self.config.is_arbiter()
    }

    /// That is durable.
    pub(super) fn on_sync_skipped(&mut self, v: usize, out: &mut Effects) {
        let vol = &mut self.volumes[v];
        vol.session.ended = true;
        let asked = vol.skipped.take();
        self.set_disk(v, DiskState::UpToDate, "the first resync is left out", out);
        if let Some((epoch, id)) = asked
            && self.link_epoch() == Some(epoch)
        {
            // The peer negotiates anew once it is as far.
            self.answer_order(v, id, Ok(()), out);
        }
    }

    /// The disk was lost before that was durable.
    pub(super) fn sync_not_skipped(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        out: &mut Effects,
    ) {
        if self.link_epoch() == Some(epoch) && self.session_open(v) {
            let text = format!("{}: the disk there failed meanwhile", self.volume_name(v));
            self.answer_order(v, id, Err(text), out);
        }
    }

    fn take_generation(&mut self, v: usize, id: GenerationId, then: Then, out: &mut Effects) {
        let (node, now) = (self.config.node, self.now);
        let vol = &mut self.volumes[v];
        let superblock = &mut vol.metadata().superblock;
        superblock.generations.current =
            metadata::GenerationRecord::new(id, Cause::NewCurrent, node, now);
        superblock.flags.consistent = true;
        superblock.flags.was_up_to_date = true;
        superblock.flags.full_sync = false;
        let volume = vol.id;
        let cause = "new-current-uuid --clear-bitmap".to_owned();
        out.push(Effect::Event(Event::Generation { volume, id, cause }));
        self.save_superblock(v, then, out);
    }
}
