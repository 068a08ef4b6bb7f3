//! Who is Primary: asked of the peer, agreed, made durable, then true.

use super::Engine;
use super::command::{Running, Stage};
use super::durable::FlushThen;
use super::fence::FenceStep;
use super::superblock::Then;
use super::volume::{Minted, Mode, Quiet, has_data};
use super::write::DiskPart;
use crate::effect::{Effects, Refusal, RefusalKind};
use crate::input::Command;
use crate::wire::Message;
use metadata::GenerationId;
use types::mutation::{self, Mutation};
use types::{DiskState, Role};

impl Engine {
    /// A step towards Primary. The command stays as long as it waits for something.
    pub(super) fn pump_promote(
        &mut self,
        force: bool,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        match stage {
            Stage::Start => {
                if self.role == Role::Primary {
                    return Ok(None);
                }
                // The verdict, or the decision to go on alone, comes first.
                if self.link.as_ref().is_some_and(|link| !link.established()) || self.undecided() {
                    return Ok(Some(Stage::Start));
                }
                if let Err(refusal) = self.may_promote(force) {
                    self.forget_promotion();
                    return Err(refusal);
                }
                if self.link.is_none() {
                    match self.fence_for_promotion(force, out) {
                        FenceStep::Go => {}
                        FenceStep::Wait => return Ok(Some(Stage::Fencing)),
                        FenceStep::No(code) => return Err(self.not_fenced(code)),
                    }
                    if !self.crash_is_overcome(out) {
                        return Ok(Some(Stage::Start));
                    }
                    return Ok(Some(self.save_promotion(force, out)));
                }
                let id = self.next_op;
                self.next_op += 1;
                self.send(Message::RoleRequest { id, role: Role::Primary }, out);
                Ok(Some(Stage::Asked(id)))
            }
            // `fence-peer` runs; what it says is looked at from the start.
            Stage::Fencing if self.is_fencing() => Ok(Some(Stage::Fencing)),
            Stage::Fencing => Ok(Some(Stage::Start)),
            // The link was lost meanwhile: from the start.
            Stage::Asked(_) if self.link.is_none() => Ok(Some(Stage::Start)),
            Stage::Asked(id) => Ok(Some(Stage::Asked(id))),
            Stage::Granted => {
                if self.link.as_ref().is_none_or(|link| !link.established()) {
                    return Ok(Some(Stage::Start));
                }
                self.may_promote(force)?;
                Ok(Some(self.save_promotion(force, out)))
            }
            Stage::Saving(0) => {
                self.discard_my_data = false;
                self.set_role(Role::Primary, "primary", out);
                self.send_role(out);
                if self.renegotiate_wanted {
                    self.renegotiate_wanted = false;
                    self.renegotiate("a copy was forced to be UpToDate", out);
                }
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// The peer may be Primary, for all that is known.
    fn not_fenced(&self, code: Option<i32>) -> Refusal {
        let (name, peer) = (&self.config.resource, &self.config.peer_name);
        let code = match code {
            // As if it had been run: what DRBD does.
            Some(0) => "exit code 0, or none is configured".to_owned(),
            Some(code) => format!("exit code {code}"),
            None => "it took too long, was killed, or could not be run".to_owned(),
        };
        let text = format!(
            "{name}: {peer} is not reached and may be Primary: `fence-peer` did not fence it \
             ({code}); connect the nodes, fence it, or, if it is sure that nobody works there, run \
             `repadm primary --force {name}`"
        );
        Refusal::new(RefusalKind::State, text)
    }

    fn may_promote(&self, force: bool) -> Result<(), Refusal> {
        let peer = &self.config.peer_name;
        if self.peer_role == Role::Primary && !self.config.options.allow_two_primaries {
            let text = format!(
                "{peer} is Primary and allow-two-primaries is not set: run `secondary` there first"
            );
            return Err(Refusal::new(RefusalKind::State, text));
        }
        if self.peer_may_promote && !self.config.options.allow_two_primaries {
            let text = format!("{peer} is becoming Primary, and allow-two-primaries is not set");
            return Err(Refusal::new(RefusalKind::State, text));
        }
        for vol in &self.volumes {
            let peer_good = vol.joined() && vol.peer_disk == DiskState::UpToDate;
            if vol.disk == DiskState::UpToDate || peer_good {
                continue;
            }
            let name = format!("{}/{}", self.config.resource, vol.id);
            if !force {
                let text = format!(
                    "{name}: no UpToDate data: the disk here is {}, the peer's is {}; connect the node \
                     that has the data, or, to take the data here as good, run `primary --force`",
                    vol.disk, vol.peer_disk
                );
                return Err(Refusal::new(RefusalKind::NoData, text));
            }
            if !has_data(vol.disk) {
                let text = format!("{name}: there is no disk to force; attach one first");
                return Err(Refusal::new(RefusalKind::NoData, text));
            }
            if self.peer_role == Role::Primary {
                let text = format!("{peer} is Primary: --force never overwrites a Primary");
                return Err(Refusal::new(RefusalKind::State, text));
            }
        }
        Ok(())
    }

    /// Clients may now read what was in flight when this node crashed: that must not be taken back by
    /// a peer that lacks it. Returns whether that is durable.
    fn crash_is_overcome(&mut self, out: &mut Effects) -> bool {
        let mut overcome = true;
        for v in 0..self.volumes.len() {
            let Some(meta) = self.volumes[v].meta.as_mut() else { continue };
            if std::mem::take(&mut meta.superblock.flags.crashed_primary) {
                self.go_on_alone(v, "a Primary that crashed serves again without its peer", out);
            }
            overcome &= self.volumes[v].minted != Minted::Saving;
        }
        overcome
    }

    /// Makes the promotion durable; with `force`, first the truth of a copy that had none.
    fn save_promotion(&mut self, force: bool, out: &mut Effects) -> Stage {
        let mut saves = 0;
        for v in 0..self.volumes.len() {
            let vol = &self.volumes[v];
            if vol.meta.is_none() {
                continue;
            }
            let peer_good = vol.joined() && vol.peer_disk == DiskState::UpToDate;
            if force && vol.disk != DiskState::UpToDate && !peer_good {
                self.force_up_to_date(v, out);
            }
            let usable = self.usable(v);
            let vol = &mut self.volumes[v];
            if vol.size == 0 {
                vol.size = usable;
            }
            vol.clip_marks();
            let (size, joined) = (vol.size, vol.joined());
            let superblock = &mut vol.metadata().superblock;
            superblock.flags.primary = true;
            superblock.role_intent = Role::Primary;
            if joined {
                // Bit 0 of what both have tells who was Primary when they parted (after-sb-0pri).
                let current = &mut superblock.generations.current;
                current.id = current.id.with_primary(true);
            }
            if superblock.agreed_bytes == 0 {
                superblock.agreed_bytes = size;
            }
            superblock.newest_exposed = superblock.generations.current.id;
            self.save_superblock(v, Then::Command, out);
            saves += 1;
        }
        Stage::Saving(saves)
    }

    fn force_up_to_date(&mut self, v: usize, out: &mut Effects) {
        let id = GenerationId::from_random(self.ids.next_u64()).with_primary(true);
        let (node, now) = (self.config.node, self.now);
        if !self.session_open(v) {
            self.end_session(v);
        }
        let usable = self.usable(v);
        let vol = &mut self.volumes[v];
        if vol.size == 0 {
            vol.size = usable;
        }
        let superblock = &mut vol.metadata().superblock;
        superblock.generations.force(id, node, now);
        superblock.flags.consistent = true;
        superblock.flags.was_up_to_date = true;
        superblock.flags.full_sync = true;
        vol.session.ended = true;
        vol.minted = Minted::Yes;
        vol.mark_all();
        self.renegotiate_wanted |= self.link.is_some();
        self.set_disk(v, DiskState::UpToDate, "forced to take the local data as UpToDate", out);
        let volume = self.volumes[v].id;
        let cause = "forced promotion".to_owned();
        out.push(crate::Effect::Event(crate::Event::Generation { volume, id, cause }));
    }

    pub(super) fn on_role_request(&mut self, id: u64, role: Role, out: &mut Effects) {
        let both = role == Role::Primary
            && (self.role == Role::Primary
                || self.promotion_is_granted()
                || self.promoting() && self.config.is_arbiter());
        let granted = !both || self.config.options.allow_two_primaries;
        self.peer_may_promote |= granted && role == Role::Primary;
        let text = match granted {
            true => String::new(),
            false => format!(
                "{} is Primary, or is becoming it, and allow-two-primaries is not set",
                self.config.node_name
            ),
        };
        self.send(Message::RoleReply { id, granted, text }, out);
    }

    pub(super) fn on_role_reply(
        &mut self,
        id: u64,
        granted: bool,
        text: String,
        out: &mut Effects,
    ) {
        let Some(Running { stage, .. }) = self.running.as_mut() else { return };
        if *stage != Stage::Asked(id) {
            return;
        }
        if granted {
            *stage = Stage::Granted;
            return;
        }
        let refusal = Refusal::new(RefusalKind::State, format!("refused by the peer: {text}"));
        self.finish_command(Err(refusal), out);
    }

    pub(super) fn role_request_lost(&mut self) {
        if let Some(Running { stage, command: Command::Promote { .. }, .. }) = self.running.as_mut()
            && matches!(stage, Stage::Asked(_) | Stage::Granted)
        {
            *stage = Stage::Start;
        }
    }

    /// A step towards Secondary: drain, flush on both nodes, make it durable.
    pub(super) fn pump_demote(
        &mut self,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        match stage {
            Stage::Start => {
                if self.role != Role::Primary {
                    return Ok(None);
                }
                if self.has_clients() {
                    let text = format!(
                        "{} clients have the device open: disconnect them, or run `secondary --force` \
                         to drop them",
                        self.clients.len()
                    );
                    return Err(Refusal::new(RefusalKind::State, text));
                }
                self.forget_quiet();
                Ok(Some(Stage::Draining))
            }
            Stage::Draining => {
                self.end_suspension(out);
                if !self.quiesce(out) {
                    return Ok(Some(Stage::Draining));
                }
                let mut saves = 0;
                for v in 0..self.volumes.len() {
                    let vol = &mut self.volumes[v];
                    // Of what the peer has too it is remembered who was Primary when they parted.
                    let parted = !vol.joined() && vol.minted == Minted::No;
                    let Some(meta) = vol.meta.as_mut() else { continue };
                    meta.superblock.flags.primary = false;
                    meta.superblock.role_intent = Role::Secondary;
                    let current = &mut meta.superblock.generations.current;
                    current.id = current.id.with_primary(parted && current.id.was_primary());
                    self.save_superblock(v, Then::Command, out);
                    saves += 1;
                }
                Ok(Some(Stage::Saving(saves)))
            }
            Stage::Saving(0) => {
                self.set_role(Role::Secondary, "secondary", out);
                self.send_role(out);
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    fn send_role(&mut self, out: &mut Effects) {
        if self.link.as_ref().is_some_and(super::link::Link::established) {
            let role = self.role;
            self.send(Message::RoleIs(role), out);
        }
    }

    /// A new command counts anew what must be durable.
    pub(super) fn forget_quiet(&mut self) {
        for vol in &mut self.volumes {
            vol.quiet_at = None;
        }
    }

    /// Ends what is in flight, makes it durable on both nodes, and empties the log; true when
    /// that is done. Called again after every input until then.
    pub(super) fn quiesce(&mut self, out: &mut Effects) -> bool {
        let mut quiet = self.requests.is_empty();
        for v in 0..self.volumes.len() {
            quiet &= self.quiesce_volume(v, out);
        }
        quiet
    }

    /// Makes durable what this node wrote, on both nodes, and empties the log. What the peer goes on
    /// writing does not matter.
    pub(super) fn quiesce_volume(&mut self, v: usize, out: &mut Effects) -> bool {
        if mutation::on(Mutation::StopUndrained) {
            return true;
        }
        let vol = &mut self.volumes[v];
        let busy = vol.local.values().any(|write| write.disk == DiskPart::Busy);
        if busy || vol.minted == Minted::Saving {
            return false;
        }
        if vol.meta.is_none() {
            return true;
        }
        let (done, session) = (vol.durable.writes_done(), &vol.session);
        let now = Quiet { done, session: session.id, seq: session.next_seq.saturating_sub(1) };
        let quiet = *vol.quiet_at.get_or_insert(now);
        if vol.durable.flushed() < quiet.done {
            self.want_flush(v, FlushThen::Nothing, out);
            return false;
        }
        let no_log = vol.meta.as_ref().is_some_and(|meta| meta.superblock.flags.al_disabled);
        // A lost peer may come back into its session; else that becomes marks, below.
        let waits = matches!(vol.mode, Mode::Waiting { .. });
        let goes_on = (vol.replicates() || waits) && vol.session.id == quiet.session;
        if no_log && goes_on && vol.durable.peer_durable() < quiet.seq {
            // With a log its extents wait for this. The peer is asked once it has answered.
            if vol.by_seq.keys().next().is_none_or(|oldest| *oldest > quiet.seq) {
                self.ask_peer_durable(v, out);
            }
            return false;
        }
        let vol = &self.volumes[v];
        if !vol.replicates() && !waits && !self.link_holds() {
            // The peer is gone and may have lost what it answered: that becomes marks.
            self.end_session_if_alone(v);
        }
        self.cool_all(v, out) && !self.volumes[v].log.bitmap_saving
    }

    fn end_session_if_alone(&mut self, v: usize) {
        let vol = &self.volumes[v];
        if !vol.joined() && !vol.durable.everything_durable_at_peer() {
            self.end_session(v);
        }
    }

    /// The peer has newer data, and no client of ours has had the device open since the link was
    /// lost; or a policy says that this node gives way: it gives the role up.
    pub(super) fn demote_for_resync(&mut self, cause: &str, out: &mut Effects) {
        for v in 0..self.volumes.len() {
            if let Some(meta) = self.volumes[v].meta.as_mut() {
                meta.superblock.flags.primary = false;
                meta.superblock.role_intent = Role::Secondary;
                self.save_superblock(v, Then::Nothing, out);
            }
        }
        self.set_role(Role::Secondary, cause, out);
    }
}
