//! `invalidate` and `invalidate-remote`: a copy is given up, and copied anew from the other.
//!
//! The node whose copy it is makes durable that it is Inconsistent, and all of it marked; with
//! `--reset-bitmap=no` only what is marked already, which is how the finds of a verify are repaired.
//! Then the nodes negotiate anew, and the verdict makes it the target: the resync is one like any
//! other, and what interrupts it costs nothing. Clients go on meanwhile, through the peer.

use super::Engine;
use super::command::{Running, Stage};
use super::link::Link;
use super::solo::NEVER;
use super::superblock::Then;
use super::volume::has_data;
use crate::effect::{Effects, Refusal, RefusalKind};
use crate::input::{Command, CommandId, LinkEpoch};
use crate::wire::{Message, PeerOrder};
use types::mutation::{self, Mutation};
use types::{DiskState, Role, VolumeId};

/// Orders of the peer run under numbers of their own, from here on.
const PEER_COMMANDS: u64 = 1 << 63;

impl Engine {
    /// A step of `invalidate`: the copy here is given up.
    pub(super) fn pump_invalidate(
        &mut self,
        volume: VolumeId,
        keep_marks: bool,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let v = self.volume_of_order(volume)?;
        match stage {
            // The verdict, or the decision to go on alone, comes first.
            Stage::Start if self.is_between(v) => self.wait_between(v),
            Stage::Start => {
                self.may_obey()?;
                self.may_invalidate(v)?;
                // What is in flight ends first, as at an attach: the session ends.
                self.volumes[v].attaching = true;
                Ok(Some(Stage::Draining))
            }
            Stage::Draining if self.is_between(v) => {
                self.volumes[v].attaching = false;
                self.touch(v);
                Ok(Some(Stage::Start))
            }
            Stage::Draining => {
                if let Err(refusal) = self.may_obey().and_then(|()| self.may_invalidate(v)) {
                    self.volumes[v].attaching = false;
                    self.touch(v);
                    return Err(refusal);
                }
                // From then on the peer's copy is the only one: what clients were answered is to be
                // durable there, too.
                let waits = !mutation::on(Mutation::InvalidateInFlight);
                if waits && self.volumes[v].joined() && !self.volumes[v].is_still() {
                    self.hasten_still(v, out);
                    return Ok(Some(Stage::Draining));
                }
                self.give_copy_up(v, keep_marks, out);
                Ok(Some(Stage::Saving(1)))
            }
            Stage::Saving(0) if self.volumes[v].meta.is_none() => {
                let text = format!("{}: the disk failed meanwhile", self.volume_name(v));
                Err(Refusal::new(RefusalKind::Failed, text))
            }
            Stage::Saving(0) => {
                let vol = &mut self.volumes[v];
                vol.attaching = false;
                vol.session.ended = true;
                self.set_disk(v, DiskState::Inconsistent, "invalidate", out);
                // The answer goes before the link that it may have to go by.
                self.finish_command(Ok(()), out);
                if self.link.is_some() {
                    self.renegotiate("a copy was invalidated", out);
                }
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// Whether it is not known just now how a volume stands to the peer.
    pub(super) fn is_between(&self, v: usize) -> bool {
        let waits = matches!(self.volumes[v].mode, super::volume::Mode::Waiting { .. });
        waits || self.link.as_ref().is_some_and(|link| !link.established())
    }

    /// An order waits for that. A lost peer that is waited for without end would keep it waiting, and
    /// every other behind it.
    pub(super) fn wait_between(&self, v: usize) -> Result<Option<Stage>, Refusal> {
        if self.volumes[v].mode != (super::volume::Mode::Waiting { deadline: NEVER }) {
            return Ok(Some(Stage::Start));
        }
        let (name, resource) = (self.volume_name(v), &self.config.resource);
        let text = format!(
            "{name}: I/O stands still until the peer is back: run `repadm connect {resource}`, or go \
             on without it by `repadm resume-io {resource}`, first"
        );
        Err(Refusal::new(RefusalKind::State, text))
    }

    pub(super) fn volume_of_order(&self, volume: VolumeId) -> Result<usize, Refusal> {
        self.find_volume(volume).ok_or_else(|| {
            let text = format!("resource {} has no volume {volume}", self.config.resource);
            Refusal::new(RefusalKind::State, text)
        })
    }

    /// Whether an order of the peer still holds, if the running command is one: its link is the one
    /// that there is, and this node has not become Primary meanwhile.
    fn may_obey(&self) -> Result<(), Refusal> {
        let id = self.running.as_ref().map(|running| running.id);
        let Some((epoch, ..)) = id.and_then(|id| self.peer_orders.get(&id)) else { return Ok(()) };
        if self.link_epoch() == Some(*epoch) && self.role != Role::Primary {
            return Ok(());
        }
        let text = format!("{} has lost the connection, or is Primary", self.config.node_name);
        Err(Refusal::new(RefusalKind::State, text))
    }

    /// Whether a command here waits for the peer to do something: of two that wait for each other
    /// none would end.
    fn waits_for_order(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let asks = matches!(
                running.command,
                Command::InvalidateRemote { .. } | Command::NewCurrentUuid { .. }
            );
            asks && !matches!(running.stage, Stage::Start)
        })
    }

    fn may_invalidate(&self, v: usize) -> Result<(), Refusal> {
        let (vol, name) = (&self.volumes[v], self.volume_name(v));
        let refuse = |kind, text| Err(Refusal::new(kind, text));
        if vol.meta.is_none() || !has_data(vol.disk) {
            return refuse(RefusalKind::Disk, format!("{name} has no disk here: attach one first"));
        }
        if !vol.joined() {
            if self.role == Role::Primary {
                let text = format!(
                    "{name} is Primary and not connected: the copy here is the only one in reach; \
                     run `repadm connect {}` first",
                    self.config.resource
                );
                return refuse(RefusalKind::NoData, text);
            }
            let bad = [DiskState::Diskless, DiskState::Inconsistent, DiskState::Outdated];
            if bad.contains(&vol.peer_disk) {
                let text = format!(
                    "{name}: the peer's copy is {}, as far as is known here, and the one here is the \
                     good one; run `repadm connect {}`, and see what it is then",
                    vol.peer_disk, self.config.resource
                );
                return refuse(RefusalKind::NoData, text);
            }
            return Ok(());
        }
        if vol.sync.is_some() {
            let text = format!(
                "{name}: a resync runs: wait until it has ended (`repadm wait-sync {0}`; if it is \
                 paused, let it go on by `repadm resume-sync {0}`)",
                self.config.resource
            );
            return refuse(RefusalKind::State, text);
        }
        if vol.peer_disk != DiskState::UpToDate {
            let text = format!(
                "{name}: the peer's copy is {}: the one here cannot be copied anew from it",
                vol.peer_disk
            );
            return refuse(RefusalKind::NoData, text);
        }
        Ok(())
    }

    /// Makes durable that the copy here is worth nothing without the peer.
    fn give_copy_up(&mut self, v: usize, keep_marks: bool, out: &mut Effects) {
        if !keep_marks {
            self.volumes[v].mark_all();
        }
        let flags = &mut self.volumes[v].metadata().superblock.flags;
        flags.consistent = false;
        flags.was_up_to_date = false;
        flags.full_sync |= !keep_marks;
        self.save_superblock(v, Then::Command, out);
    }

    /// A step of an order that the peer carries out: `invalidate-remote`.
    pub(super) fn pump_invalidate_remote(
        &mut self,
        volume: VolumeId,
        keep_marks: bool,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        let v = self.volume_of_order(volume)?;
        match stage {
            Stage::Start if self.is_between(v) => self.wait_between(v),
            Stage::Start => {
                self.may_invalidate_remote(v)?;
                let order = match keep_marks {
                    true => PeerOrder::InvalidateMarked,
                    false => PeerOrder::Invalidate,
                };
                Ok(Some(self.ask_peer(v, order, out)))
            }
            Stage::Asked(_) => self.wait_for_peer(v, stage),
            _ => Ok(None),
        }
    }

    fn may_invalidate_remote(&self, v: usize) -> Result<(), Refusal> {
        let (vol, name) = (&self.volumes[v], self.volume_name(v));
        let resource = &self.config.resource;
        let refuse = |kind, text| Err(Refusal::new(kind, text));
        if !vol.joined() {
            let text = format!("{name} is not connected: run `repadm connect {resource}` first");
            return refuse(RefusalKind::State, text);
        }
        if vol.disk != DiskState::UpToDate {
            let text = format!("{name}: the copy here is {}, and nothing to copy from", vol.disk);
            return refuse(RefusalKind::NoData, text);
        }
        if self.peer_role == Role::Primary {
            let text = format!(
                "{} is Primary: run `repadm invalidate {resource}` there, if that is meant",
                self.config.peer_name
            );
            return refuse(RefusalKind::State, text);
        }
        Ok(())
    }

    /// Sends an order of the running command to the peer.
    pub(super) fn ask_peer(&mut self, v: usize, order: PeerOrder, out: &mut Effects) -> Stage {
        let id = self.next_op;
        self.next_op += 1;
        let volume = self.volumes[v].id;
        self.send(Message::Order { volume, id, order }, out);
        Stage::Asked(id)
    }

    /// The answer ends the command, or moves it on; the loss of the link ends it, too.
    pub(super) fn wait_for_peer(&self, v: usize, stage: Stage) -> Result<Option<Stage>, Refusal> {
        if self.link.as_ref().is_some_and(Link::established) && !self.stopping() {
            return Ok(Some(stage));
        }
        let text = format!(
            "{}: the connection was lost before the peer had answered: look at `repadm status {}` \
             to see whether it was done",
            self.volume_name(v),
            self.config.resource
        );
        Err(Refusal::new(RefusalKind::Failed, text))
    }

    /// The peer orders something that only this node can do.
    pub(super) fn on_peer_order(
        &mut self,
        v: usize,
        epoch: LinkEpoch,
        id: u64,
        order: PeerOrder,
        out: &mut Effects,
    ) {
        let volume = self.volumes[v].id;
        let command = match order {
            PeerOrder::Invalidate => Command::Invalidate { volume, keep_marks: false },
            PeerOrder::InvalidateMarked => Command::Invalidate { volume, keep_marks: true },
            PeerOrder::SkipSync(generation) => return self.skip_sync(v, id, generation, out),
        };
        let why = match self.role {
            _ if self.stopping() => Some("is going down"),
            Role::Primary => Some("is Primary"),
            _ if self.waits_for_order() => Some("has ordered something here, too"),
            // One at a time.
            _ if !self.peer_orders.is_empty() => Some("does what was ordered before"),
            _ => None,
        };
        if let Some(why) = why {
            let text = format!("{} {why}", self.config.node_name);
            return self.answer_order(v, id, Err(text), out);
        }
        let running = CommandId(PEER_COMMANDS | self.next_op);
        self.next_op += 1;
        self.peer_orders.insert(running, (epoch, v, id));
        self.on_command(running, command, out);
    }

    pub(super) fn answer_order(
        &mut self,
        v: usize,
        id: u64,
        result: Result<(), String>,
        out: &mut Effects,
    ) {
        let volume = self.volumes[v].id;
        let (done, text) = match result {
            Ok(()) => (true, String::new()),
            Err(text) => (false, text),
        };
        self.send(Message::OrderDone { volume, id, done, text }, out);
    }

    /// A command has ended that the peer had ordered; false if it was not one of these.
    pub(super) fn tell_peer_done(
        &mut self,
        command: CommandId,
        result: &Result<(), Refusal>,
        out: &mut Effects,
    ) -> bool {
        let Some((epoch, v, id)) = self.peer_orders.remove(&command) else { return false };
        if self.link_epoch() == Some(epoch) {
            let result = result.clone().map_err(|refusal| refusal.text);
            self.answer_order(v, id, result, out);
        }
        true
    }

    /// The peer has done what was ordered, or says why not.
    pub(super) fn on_order_done(&mut self, id: u64, done: bool, text: String, out: &mut Effects) {
        let Some(Running { stage, .. }) = self.running.as_mut() else { return };
        if *stage != Stage::Asked(id) {
            return;
        }
        if done {
            *stage = Stage::Granted;
            return;
        }
        let text = format!("refused by {}: {text}", self.config.peer_name);
        self.finish_command(Err(Refusal::new(RefusalKind::State, text)), out);
    }
}
