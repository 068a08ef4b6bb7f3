//! Operators' commands: one runs at a time, the others wait for it.

use super::Engine;
use super::solo::NEVER;
use super::superblock::Then;
use super::volume::Mode;
use crate::effect::{Effect, Effects, IoError, Refusal, RefusalKind};
use crate::input::{Command, CommandId};
use crate::wire::Message;
use metadata::Recovered;
use types::mutation::{self, Mutation};
use types::{DiskState, Role};

/// How far the running command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// At its beginning, or waiting there.
    Start,
    /// The peer is asked.
    Asked(u64),
    /// The peer has agreed, or is being looked at.
    Granted,
    /// `fence-peer` runs.
    Fencing,
    /// What is in flight ends.
    Draining,
    /// So many superblocks are on their way, and then the peer is told good-bye.
    Sealing(usize),
    /// So many superblocks are on their way.
    Saving(usize),
}

/// The running command.
#[derive(Debug)]
pub(super) struct Running {
    pub id: CommandId,
    pub command: Command,
    pub stage: Stage,
}

impl Engine {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command, out: &mut Effects) {
        let harmless = matches!(command, Command::Disconnect | Command::Stop | Command::ResumeIo);
        if self.stopping() && !harmless {
            let refusal = Refusal::new(RefusalKind::State, "the resource is going down");
            return out.push(Effect::CommandDone { id, result: Err(refusal) });
        }
        match command {
            // The link is not waited for by anybody: a command that hangs on it must not keep
            // the operator from cutting it.
            Command::Connect { discard_my_data } => {
                let result = self.connect(discard_my_data, out);
                out.push(Effect::CommandDone { id, result });
            }
            Command::Disconnect => self.disconnect(id, out),
            // New options may be what another command waits for.
            Command::Reconfigure(wanted) => {
                let result = self.reconfigure(*wanted, out);
                out.push(Effect::CommandDone { id, result });
            }
            Command::Verify { volume, start, stop } => {
                let result = self.order_verify(volume, start, stop, out);
                out.push(Effect::CommandDone { id, result });
            }
            Command::CancelVerify { volume } => {
                let result = self.cancel_verify(volume, out);
                out.push(Effect::CommandDone { id, result });
            }
            // Nor does I/O that stands still keep an operator from resuming it.
            Command::SuspendIo => {
                self.suspend_by_user();
                out.push(Effect::CommandDone { id, result: Ok(()) });
            }
            Command::ResumeIo => {
                self.resume_by_user(out);
                out.push(Effect::CommandDone { id, result: Ok(()) });
            }
            Command::PauseSync { volume, cause, on } => {
                let result = self.pause_sync(volume, cause, on, out);
                out.push(Effect::CommandDone { id, result });
            }
            command => self.commands.push_back((id, command)),
        }
    }

    /// Goes on with the running command, and starts the next.
    pub(super) fn pump_commands(&mut self, out: &mut Effects) {
        // Bounded: each turn ends a command, or leaves the loop.
        loop {
            if self.running.is_none() {
                let Some((id, command)) = self.commands.pop_front() else { return };
                self.running = Some(Running { id, command, stage: Stage::Start });
            }
            let running = self.running.as_mut().expect("just started");
            let stage = running.stage;
            let result = match &mut running.command {
                Command::Promote { force } => {
                    let force = *force;
                    self.pump_promote(force, stage, out)
                }
                Command::Demote => self.pump_demote(stage, out),
                Command::Resize(order) => {
                    let order = *order;
                    self.pump_resize(order, stage, out)
                }
                Command::Attach { volume, .. } => {
                    let volume = *volume;
                    self.pump_attach(volume, stage, out)
                }
                Command::Detach { volume } => {
                    let volume = *volume;
                    self.pump_detach(volume, stage, out)
                }
                Command::Stop => self.pump_stop(stage, out),
                Command::Inspect => self.pump_inspect(stage, out),
                Command::Outdate => self.pump_outdate(stage, out),
                &mut Command::Invalidate { volume, keep_marks } => {
                    self.pump_invalidate(volume, keep_marks, stage, out)
                }
                &mut Command::InvalidateRemote { volume, keep_marks } => {
                    self.pump_invalidate_remote(volume, keep_marks, stage, out)
                }
                &mut Command::NewCurrentUuid { volume, clear_bitmap } => {
                    self.pump_new_uuid(volume, clear_bitmap, stage, out)
                }
                Command::Connect { .. }
                | Command::Disconnect
                | Command::Reconfigure(_)
                | Command::PauseSync { .. }
                | Command::Verify { .. }
                | Command::CancelVerify { .. }
                | Command::SuspendIo
                | Command::ResumeIo => Ok(None),
            };
            match result {
                Ok(Some(next)) => {
                    let moved = next != stage;
                    if let Some(running) = self.running.as_mut() {
                        running.stage = next;
                    }
                    if !moved {
                        return;
                    }
                }
                Ok(None) => self.finish_command(Ok(()), out),
                Err(refusal) => self.finish_command(Err(refusal), out),
            }
        }
    }

    pub(super) fn finish_command(&mut self, result: Result<(), Refusal>, out: &mut Effects) {
        if let Some(running) = self.running.take()
            && !self.tell_peer_done(running.id, &result, out)
        {
            out.push(Effect::CommandDone { id: running.id, result });
        }
    }

    /// One of the superblocks of the running command is durable.
    pub(super) fn command_saved(&mut self, _v: usize, _out: &mut Effects) {
        if let Some(Running { stage: Stage::Saving(left) | Stage::Sealing(left), .. }) =
            self.running.as_mut()
        {
            *left = left.saturating_sub(1);
        }
    }

    /// A copy is durably Outdated.
    pub(super) fn outdate_saved(&mut self) {
        if let Some(Running { command: Command::Outdate, stage: Stage::Saving(left), .. }) =
            self.running.as_mut()
        {
            *left = left.saturating_sub(1);
        }
    }

    /// A disk failed under the running command: it has one superblock less to wait for, or is
    /// over.
    pub(super) fn command_lost_disk(&mut self, v: usize, why: &str, out: &mut Effects) {
        let volume = self.volumes[v].id;
        let name = format!("{}/{volume}", self.config.resource);
        if self.is_growing(volume) {
            let text = format!("{name}: {why}");
            return self.finish_command(Err(Refusal::new(RefusalKind::Failed, text)), out);
        }
        match self.running.as_mut() {
            Some(Running { command: Command::Attach { volume: of, .. }, .. }) if *of == volume => {
                let text = format!("{name}: {why}");
                self.finish_command(Err(Refusal::new(RefusalKind::Failed, text)), out);
            }
            Some(Running { stage: Stage::Saving(left) | Stage::Sealing(left), .. }) => {
                *left = left.saturating_sub(1);
            }
            _ => {}
        }
    }

    pub(super) fn promoting(&self) -> bool {
        matches!(&self.running, Some(Running { command: Command::Promote { .. }, .. }))
    }

    /// Whether a promotion is past the point at which somebody could refuse it.
    pub(super) fn promotion_is_granted(&self) -> bool {
        self.promoting() && matches!(&self.running, Some(Running { stage: Stage::Saving(_), .. }))
    }

    /// Whether clients' new requests are turned away because this node is becoming Secondary.
    pub(super) fn demoting(&self) -> bool {
        matches!(&self.running, Some(Running { command: Command::Demote, stage, .. }) if *stage != Stage::Start)
    }

    pub(super) fn stopping(&self) -> bool {
        let stop = |command: &Command| matches!(command, Command::Stop);
        self.stopped
            || self.running.as_ref().is_some_and(|running| stop(&running.command))
            || self.commands.iter().any(|(_, command)| stop(command))
    }

    fn pump_attach(
        &mut self,
        volume: types::VolumeId,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let Some(v) = self.find_volume(volume) else {
            let text = format!("resource {} has no volume {volume}", self.config.resource);
            return Err(Refusal::new(RefusalKind::State, text));
        };
        match stage {
            Stage::Start => {
                if self.volumes[v].meta.is_some() {
                    let text = format!("{}/{volume} has a disk already", self.config.resource);
                    return Err(Refusal::new(RefusalKind::State, text));
                }
                let running = self.running.as_ref().map(|running| &running.command);
                let Some(Command::Attach { recovered, granule, al_updates, .. }) = running else {
                    unreachable!("the running command is the attach");
                };
                self.check_in_flight(v)?;
                if self.volumes[v].leaving || !self.volumes[v].order.is_empty() {
                    // The disk before it is not let go yet.
                    return Ok(Some(Stage::Start));
                }
                self.check_attach(v, recovered)?;
                let (mut found, granule) = (recovered.clone(), *granule);
                found.metadata.superblock.flags.al_disabled = !al_updates;
                self.take_disk(v, *found, granule, out);
                Ok(Some(Stage::Saving(1)))
            }
            // What the peer is doing for our clients ends first, also if it is away and may be back:
            // the session ends with the attach.
            Stage::Saving(0)
                if self.volumes[v].mode != Mode::Alone && !self.volumes[v].local.is_empty() =>
            {
                if let Err(refusal) = self.check_in_flight(v) {
                    self.drop_disk(v, out);
                    self.set_disk(v, DiskState::Diskless, "attach refused", out);
                    return Err(refusal);
                }
                self.volumes[v].attaching = true;
                Ok(Some(Stage::Saving(0)))
            }
            Stage::Saving(0) => {
                self.volumes[v].attaching = false;
                self.volumes[v].durable.lack = super::disk_error::Lack::Known;
                let flags = self.volumes[v].metadata().superblock.flags;
                // A Primary that went on through its peer has newer data than this disk may hold:
                // the verdict tells.
                let went_on = self.volumes[v].went_on_without_disk;
                let joined = self.volumes[v].mode != Mode::Alone;
                let behind =
                    went_on || self.volumes[v].is_shorter() || self.role == Role::Primary && joined;
                let state = match (flags.consistent, flags.was_up_to_date && !behind) {
                    (false, _) => DiskState::Inconsistent,
                    (true, false) => DiskState::Outdated,
                    (true, true) => DiskState::UpToDate,
                };
                self.set_disk(v, state, "attach", out);
                // A handshake that ran meanwhile agreed on a session without this disk.
                self.volumes[v].session.ended = true;
                if self.link.is_some() {
                    self.renegotiate("a disk was attached", out);
                }
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// What is in flight to a lost peer that is waited for without end would keep the disk waiting.
    fn check_in_flight(&self, v: usize) -> Result<(), Refusal> {
        let vol = &self.volumes[v];
        if vol.mode != (Mode::Waiting { deadline: NEVER }) || vol.local.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{}: {} writes are in flight to the peer, which is lost: connect it, or have them fail \
             with `repadm resume-io {}`, and attach the disk then",
            self.volume_name(v),
            vol.local.len(),
            self.config.resource
        );
        Err(Refusal::new(RefusalKind::State, text))
    }

    /// A disk must fit the size that clients have been told.
    fn check_attach(&self, v: usize, recovered: &Recovered) -> Result<(), Refusal> {
        let (vol, superblock) = (&self.volumes[v], &recovered.metadata.superblock);
        let (data, agreed) = (recovered.metadata.layout.data_bytes(), superblock.agreed_bytes);
        if vol.size == 0 || data >= vol.size && agreed <= vol.size {
            return Ok(());
        }
        let text = format!(
            "{}/{}: the volume has {} bytes; this disk has room for {data}, and its metadata say \
             {agreed}: attach the disk that belongs here, or run create-md on a large enough one",
            self.config.resource, vol.id, vol.size
        );
        Err(Refusal::new(RefusalKind::Disk, text))
    }

    fn take_disk(&mut self, v: usize, recovered: Recovered, granule: u64, out: &mut Effects) {
        assert!(granule.is_power_of_two() && granule <= types::BLOCK_BYTES, "granule {granule}");
        let node = self.config.node;
        let primary = self.role == Role::Primary;
        let vol = &mut self.volumes[v];
        let mut metadata = recovered.metadata;
        // Recovery has written one after a crash.
        vol.durable_sequence = metadata.superblock.sequence;
        vol.found_sequence = Some(recovered.found_sequence);
        let superblock = &mut metadata.superblock;
        superblock.flags.attached = true;
        superblock.flags.primary = primary;
        superblock.flags.crashed_primary &= !mutation::on(Mutation::CrashForgotten);
        superblock.node = Some(node);
        // The volume may have grown while this disk was away.
        vol.size = vol.size.max(superblock.agreed_bytes);
        vol.meta = Some(metadata);
        vol.clip_marks();
        vol.granule = granule;
        // What happened before this disk was here is not known to its log: a generation of its own.
        if !vol.joined() {
            vol.minted = super::volume::Minted::No;
        }
        vol.log.reset();
        vol.durable.take_disk();
        self.set_disk(v, DiskState::Attaching, "attach", out);
        self.save_superblock(v, Then::Command, out);
    }

    fn pump_detach(
        &mut self,
        volume: types::VolumeId,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let Some(v) = self.find_volume(volume) else {
            let text = format!("resource {} has no volume {volume}", self.config.resource);
            return Err(Refusal::new(RefusalKind::State, text));
        };
        match stage {
            Stage::Start => {
                let vol = &self.volumes[v];
                if vol.meta.is_none() {
                    return Ok(None);
                }
                let peer_good = vol.joined() && vol.peer_disk == DiskState::UpToDate;
                if self.role == Role::Primary && !peer_good {
                    let text = format!(
                        "{}/{volume} is Primary and the peer has no UpToDate copy: run `secondary` first",
                        self.config.resource
                    );
                    return Err(Refusal::new(RefusalKind::NoData, text));
                }
                self.set_disk(v, DiskState::Detaching, "detach", out);
                let disk = DiskState::Diskless;
                if self.volumes[v].joined() {
                    self.send(Message::DiskIs { volume, disk }, out);
                    // From now on our clients read there.
                    self.say_settled(v, out);
                }
                self.forget_quiet();
                Ok(Some(Stage::Draining))
            }
            // It failed meanwhile: it is gone.
            Stage::Draining | Stage::Saving(_) if self.volumes[v].meta.is_none() => Ok(None),
            Stage::Draining => {
                if !self.volumes[v].order.is_empty() || !self.detach_clean(v, out) {
                    return Ok(Some(Stage::Draining));
                }
                self.save_detached(v, out);
                Ok(Some(Stage::Saving(1)))
            }
            Stage::Saving(0) => {
                self.set_disk(v, DiskState::Diskless, "detach", out);
                self.drop_disk(v, out);
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// Flushes, empties the log, saves the bitmap; true when nothing is left to do.
    fn detach_clean(&mut self, v: usize, out: &mut Effects) -> bool {
        if self.volumes[v].meta.is_none() {
            return true;
        }
        if !self.quiesce_volume(v, out) {
            return false;
        }
        let vol = &self.volumes[v];
        let idle = vol.saves.is_idle() && !vol.log.bitmap_saving;
        let unsaved = vol.meta.as_ref().is_some_and(|meta| meta.bitmap.unsaved_pages() > 0);
        if unsaved {
            self.save_bitmap(v, None, out);
            return false;
        }
        idle
    }

    fn save_detached(&mut self, v: usize, out: &mut Effects) {
        let superblock = &mut self.volumes[v].metadata().superblock;
        superblock.flags.attached = false;
        superblock.flags.primary = false;
        self.save_superblock(v, Then::Command, out);
    }

    /// The volumes with a disk.
    fn attached(&self) -> Vec<usize> {
        (0..self.volumes.len()).filter(|&v| self.volumes[v].meta.is_some()).collect()
    }

    /// What a node that leaves makes durable before it says good-bye.
    fn seal(&mut self, out: &mut Effects) -> Stage {
        if self.outdates_itself() {
            self.outdate_all("this node leaves a Primary", out);
        }
        // A disk that is put back to what it was before this shall be recognised.
        let attached = self.attached();
        for &v in &attached {
            self.save_superblock(v, Then::Command, out);
        }
        Stage::Sealing(attached.len())
    }

    /// The orderly end of everything.
    fn pump_stop(&mut self, stage: Stage, out: &mut Effects) -> Result<Option<Stage>, Refusal> {
        match stage {
            Stage::Start if self.stopped => Ok(None),
            Stage::Start => {
                for v in 0..self.volumes.len() {
                    self.fail_queued(v, IoError::Shutdown, out);
                }
                self.forget_quiet();
                Ok(Some(Stage::Draining))
            }
            Stage::Draining => {
                // A lost peer may come back, and what is in flight ends well; if it does not, that
                // is decided as ever.
                self.end_suspension(out);
                if self.link_holds() || self.undecided() || !self.quiesce(out) {
                    return Ok(Some(Stage::Draining));
                }
                Ok(Some(self.seal(out)))
            }
            Stage::Sealing(0) => {
                // Nothing more comes in after the good-bye.
                self.tell_sequences(out);
                for v in 0..self.volumes.len() {
                    self.tell_outdated(v, out);
                }
                self.say_goodbye("going down", out);
                self.forget_quiet();
                Ok(Some(Stage::Granted))
            }
            Stage::Granted => {
                let mut clean = true;
                for v in 0..self.volumes.len() {
                    clean &= self.volumes[v].order.is_empty() && self.detach_clean(v, out);
                }
                if !clean {
                    return Ok(Some(Stage::Granted));
                }
                let attached = self.attached();
                for &v in &attached {
                    self.save_detached(v, out);
                }
                Ok(Some(Stage::Saving(attached.len())))
            }
            // Nothing is under way when a disk is let go.
            Stage::Saving(0) if !self.meta_ops.is_empty() || !self.disk_ops.is_empty() => {
                Ok(Some(Stage::Saving(0)))
            }
            Stage::Saving(0) => {
                for v in 0..self.volumes.len() {
                    if self.volumes[v].meta.is_some() {
                        self.set_disk(v, DiskState::Diskless, "going down", out);
                        self.drop_disk(v, out);
                    }
                }
                self.set_role(Role::Secondary, "going down", out);
                self.stopped = true;
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }
}
