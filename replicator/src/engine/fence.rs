//! Fencing: whether a Primary may go on without its peer, and what is known of that.
//!
//! | `fencing` | when the peer counts as lost |
//! |---|---|
//! | dont-care | this node goes on |
//! | resource-only | it goes on, and the handler `fence-peer` runs |
//! | resource-and-stonith | I/O has been frozen since the link was lost; it goes on when the handler has said that the peer cannot |
//!
//! The handler's exit codes are DRBD's (drbd.conf(5), `fence-peer`): 3 the peer is Inconsistent,
//! 4 it is Outdated, 5 it cannot be reached and counts as Outdated if the copy here is UpToDate,
//! 6 it is Primary and this node outdates itself, 7 it was shot. Anything else settles nothing.
//! A result counts for the loss of the peer that the handler was started for, and for no other.

use super::Engine;
use super::solo::NEVER;
use super::superblock::Then;
use super::volume::{Mode, Volume};
use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::handler::Handler;
use crate::input::HandlerId;
use crate::options::Fencing;
use types::mutation::{self, Mutation};
use types::{DiskState, Role};

/// What is known of a peer that is lost.
#[derive(Debug, Default)]
pub(super) struct Fence {
    /// Counts the losses.
    loss: u64,
    /// The handlers under way, and the loss that each was started for: one of an earlier loss may
    /// still run.
    running: Vec<(HandlerId, u64)>,
    /// What the handler said of the present loss.
    said: Option<Said>,
    /// What it said has been acted on.
    judged: bool,
    /// An operator has said to go on all the same (`resume-io`, `primary --force`).
    overruled: bool,
    /// `unfence-peer` is to run once no `fence-peer` does.
    unfence: bool,
    /// A promotion waits for what the handler says.
    for_promotion: bool,
}

/// How `fence-peer` has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said(Option<i32>);

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The peer's copies are that now, and it cannot go on.
    Fenced(DiskState),
    /// The peer is Primary: the copies here are the older ones.
    PeerIsPrimary,
    /// Nothing is known.
    Nothing,
}

/// What may be done before this node is Primary without its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FenceStep {
    /// Nothing is in the way.
    Go,
    /// The handler runs.
    Wait,
    /// It has said no, with this code.
    No(Option<i32>),
}

impl Fence {
    /// Whether `fence-peer` runs for the present loss.
    fn runs(&self) -> bool {
        self.running.iter().any(|(_, of)| *of == self.loss)
    }
}

impl Volume {
    /// Whether the peer's copy is known not to be good.
    fn peer_is_fenced(&self) -> bool {
        let known = self.peer_disk.to_u8() <= DiskState::Outdated.to_u8();
        known || self.meta.as_ref().is_some_and(|meta| meta.superblock.flags.peer_outdated)
    }
}

impl Engine {
    fn fences(&self) -> bool {
        self.config.options.fencing != Fencing::DontCare
    }

    fn peer_is_fenced(&self) -> bool {
        self.volumes.iter().all(Volume::peer_is_fenced)
    }

    /// Whether I/O of a volume stands still from the moment that the link is lost until it is
    /// decided what becomes of the peer: it might be going on alone.
    pub(super) fn is_frozen(&self, v: usize) -> bool {
        let vol = &self.volumes[v];
        self.config.options.fencing == Fencing::ResourceAndStonith
            && self.role == Role::Primary
            && self.may_be_alone(vol.mode)
            && !self.session_open(v)
            && !vol.peer_is_fenced()
            && !self.fence.overruled
            && !self.stopping()
            && !self.demoting()
    }

    /// Whether a lost peer may be going on.
    fn may_be_alone(&self, mode: Mode) -> bool {
        match mode {
            Mode::Waiting { deadline } if mutation::on(Mutation::FreezeLate) => deadline == NEVER,
            Mode::Waiting { .. } => true,
            Mode::Alone | Mode::Joined => false,
        }
    }

    /// The peer counts as lost: whether this node has to stand still before it goes on. The handler
    /// is started if there is need for it.
    pub(super) fn fence_keeps_waiting(&mut self, v: usize, out: &mut Effects) -> bool {
        let ends = self.stopping() || self.demoting();
        let asks = self.fences() && self.role == Role::Primary && !ends;
        if !asks || self.peer_is_fenced() || self.fence.overruled {
            return false;
        }
        self.start_fencing(out);
        if !self.is_frozen(v) {
            return false;
        }
        let vol = &mut self.volumes[v];
        if vol.mode != (Mode::Waiting { deadline: NEVER }) {
            vol.mode = Mode::Waiting { deadline: NEVER };
            let text = format!(
                "I/O is frozen until the peer is back, `fence-peer` says that it cannot go on, or \
                 an operator does: `repadm resume-io {}`",
                self.config.resource
            );
            out.push(Effect::Event(Event::Warning { text }));
        }
        true
    }

    /// Whether what is in flight is given up rather than answered alone: this node ends or gives up
    /// its role, and the peer may be going on.
    pub(super) fn gives_up_unfenced(&self, v: usize) -> bool {
        let ends = self.stopping() || self.demoting();
        self.config.options.fencing == Fencing::ResourceAndStonith
            && self.role == Role::Primary
            && ends
            && !self.volumes[v].peer_is_fenced()
            && !self.fence.overruled
    }

    fn start_fencing(&mut self, out: &mut Effects) {
        let loss = self.fence.loss;
        if !self.fence.runs() && self.fence.said.is_none() {
            let id = self.run_handler(Handler::FencePeer, None, out);
            self.fence.running.push((id, loss));
        }
    }

    /// What must be known before this node becomes Primary without its peer.
    pub(super) fn fence_for_promotion(&mut self, force: bool, out: &mut Effects) -> FenceStep {
        if !self.fences() || self.peer_is_fenced() || self.fence.overruled {
            self.fence.for_promotion = false;
            return FenceStep::Go;
        }
        if !std::mem::replace(&mut self.fence.for_promotion, true) {
            // What was said before this order says nothing about now.
            self.fence.said = None;
            self.fence.judged = false;
        }
        self.start_fencing(out);
        let Some(Said(code)) = self.fence.said else { return FenceStep::Wait };
        self.fence.for_promotion = false;
        if force {
            let text = "forced to be Primary although the peer may be, too".to_owned();
            out.push(Effect::Event(Event::Warning { text }));
            self.fence.overruled = true;
            return FenceStep::Go;
        }
        FenceStep::No(code)
    }

    /// A promotion was refused, for whatever reason: the next one asks anew.
    pub(super) fn forget_promotion(&mut self) {
        self.fence.for_promotion = false;
    }

    /// Whether `fence-peer` runs for the present loss, and the peer is not back.
    pub(super) fn is_fencing(&self) -> bool {
        self.fence.runs() && self.link.is_none()
    }

    /// The link is lost: whatever a handler says of an earlier loss means nothing. What an operator
    /// has said holds until the two have joined.
    pub(super) fn begin_loss(&mut self) {
        let Fence { loss, running, unfence, overruled, .. } = std::mem::take(&mut self.fence);
        self.fence = Fence { loss: loss + 1, running, unfence, overruled, ..Fence::default() };
    }

    /// The peer is back.
    pub(super) fn end_loss(&mut self) {
        self.begin_loss();
        self.fence.overruled = false;
    }

    /// This node is Secondary: what an operator has said of its going on is over.
    pub(super) fn forget_overruling(&mut self) {
        self.fence.overruled = false;
    }

    pub(super) fn on_fenced(&mut self, id: HandlerId, exit: Option<i32>, out: &mut Effects) {
        let Some(at) = self.fence.running.iter().position(|(of, _)| *of == id) else { return };
        let (_, loss) = self.fence.running.swap_remove(at);
        if loss == self.fence.loss {
            self.fence.said = Some(Said(exit));
            self.fence.judged = false;
        } else {
            let text = "`fence-peer` has ended after the peer was back: its result is ignored";
            out.push(Effect::Event(Event::Warning { text: text.to_owned() }));
        }
        self.pump_unfence(out);
    }

    fn meaning(&self, Said(code): Said) -> Meaning {
        let good = self.volumes.iter().all(|vol| vol.disk == DiskState::UpToDate);
        match code {
            Some(3) => Meaning::Fenced(DiskState::Inconsistent),
            Some(4 | 7) => Meaning::Fenced(DiskState::Outdated),
            Some(5) if good => Meaning::Fenced(DiskState::Outdated),
            Some(6) => Meaning::PeerIsPrimary,
            _ if mutation::on(Mutation::ThawUnfenced) => Meaning::Fenced(DiskState::Outdated),
            _ => Meaning::Nothing,
        }
    }

    /// Acts on what the handler said, once no handshake runs that may bring the peer back.
    pub(super) fn pump_fence(&mut self, out: &mut Effects) {
        let Some(said) = self.fence.said.filter(|_| !self.fence.judged) else { return };
        if self.link_holds() || self.volumes.iter().any(Volume::joined) {
            return;
        }
        self.fence.judged = true;
        match self.meaning(said) {
            Meaning::Fenced(disk) => {
                for v in 0..self.volumes.len() {
                    self.set_peer_disk(v, disk, out);
                    if let Some(meta) = self.volumes[v].meta.as_mut() {
                        meta.superblock.flags.peer_outdated = true;
                        self.save_superblock(v, Then::Nothing, out);
                    }
                }
                self.end_suspension(out);
            }
            Meaning::PeerIsPrimary => {
                let text = "`fence-peer` says that the peer is Primary: the copies here are the \
                            older ones";
                out.push(Effect::Event(Event::Warning { text: text.to_owned() }));
                self.outdate_all("the peer is Primary", out);
            }
            Meaning::Nothing => {
                let stays = (0..self.volumes.len()).any(|v| self.is_frozen(v));
                let rest = if stays { "; I/O stays frozen" } else { "" };
                let text = format!("`fence-peer` has not fenced the peer{rest}");
                out.push(Effect::Event(Event::Warning { text }));
            }
        }
    }

    /// It is durable at the peer that its copy is not good: should it be lost, it cannot go on.
    pub(super) fn peer_is_known_bad(&mut self, v: usize, out: &mut Effects) {
        let fences = self.fences();
        let Some(meta) = self.volumes[v].meta.as_mut().filter(|_| fences) else { return };
        if !std::mem::replace(&mut meta.superblock.flags.peer_outdated, true) {
            self.save_superblock(v, Then::Nothing, out);
        }
    }

    /// The copies here are not the newest any more, and that is made durable.
    pub(super) fn outdate_all(&mut self, cause: &str, out: &mut Effects) -> usize {
        let volumes = 0..self.volumes.len();
        volumes.filter(|&v| self.outdate_volume(v, cause, out)).count()
    }

    /// The same for one copy; whether that is still to become durable.
    pub(super) fn outdate_volume(&mut self, v: usize, cause: &str, out: &mut Effects) -> bool {
        let vol = &mut self.volumes[v];
        let Some(meta) = vol.meta.as_mut() else { return false };
        if vol.disk.to_u8() < DiskState::Outdated.to_u8()
            || vol.disk == DiskState::Outdated && vol.saves.is_idle()
        {
            return false;
        }
        meta.superblock.flags.was_up_to_date = false;
        if vol.disk != DiskState::Outdated {
            vol.clients_saw_old = self.role == Role::Primary;
            self.set_disk(v, DiskState::Outdated, cause, out);
        }
        self.save_superblock(v, Then::Outdated, out);
        true
    }

    /// The peer leaves in order and goes on as Primary, with a good copy of its own: the copies here
    /// are as good as they are now, and no better.
    pub(super) fn on_outdate(&mut self, out: &mut Effects) {
        let consents = self.role != Role::Primary && !self.promotion_is_granted();
        if !consents || self.peer_role != Role::Primary {
            return;
        }
        for v in 0..self.volumes.len() {
            let good = self.volumes[v].peer_has_good();
            if good && !self.outdate_volume(v, "the peer, who is Primary, leaves", out) {
                self.tell_outdated(v, out);
            }
        }
    }

    /// It is durable that the copy here is Outdated: a peer that waits for it is told.
    pub(super) fn tell_outdated(&mut self, v: usize, out: &mut Effects) {
        let vol = &self.volumes[v];
        let (volume, disk) = (vol.id, vol.disk);
        if vol.joined() && disk == DiskState::Outdated {
            self.send(crate::wire::Message::DiskIs { volume, disk }, out);
        }
    }

    /// Whether a Secondary that leaves a Primary in order outdates itself, so that it need not be
    /// fenced.
    pub(super) fn outdates_itself(&self) -> bool {
        self.fences()
            && self.role != Role::Primary
            && self.peer_role == Role::Primary
            // Its copy is as good: it can go on without this one.
            && self.volumes.iter().all(Volume::peer_has_good)
            && self.link.as_ref().is_some_and(super::link::Link::established)
    }

    /// Whether a Primary that leaves in order has its peer outdate itself first.
    pub(super) fn asks_to_outdate(&self) -> bool {
        self.fences()
            && self.role == Role::Primary
            && self.peer_role == Role::Secondary
            && self.volumes.iter().all(Volume::readable)
            && !self.peer_is_fenced()
            && self.link.as_ref().is_some_and(super::link::Link::established)
    }

    /// The peer's copy is UpToDate again, or will be at the end of the handshake: whoever fenced it
    /// may let it in.
    pub(super) fn want_unfence(&mut self) {
        self.fence.unfence |= self.fences();
    }

    /// Runs `unfence-peer`, if it is to run, the peer has everything, and no `fence-peer` runs.
    pub(super) fn pump_unfence(&mut self, out: &mut Effects) {
        let good = self.volumes.iter().all(Volume::peer_has_good);
        if self.fence.unfence && good && self.fence.running.is_empty() {
            self.fence.unfence = false;
            self.run_handler(Handler::UnfencePeer, None, out);
        }
    }

    /// An operator says that this node goes on all the same.
    pub(super) fn overrule_fence(&mut self, out: &mut Effects) {
        let joined = self.link.as_ref().is_some_and(super::link::Link::established);
        let waits = self.volumes.iter().any(|vol| matches!(vol.mode, Mode::Waiting { .. }));
        // Also in a handshake that may fail: the order holds until the two have joined.
        if self.fences() && self.role == Role::Primary && (waits || self.link.is_some()) && !joined
        {
            let text = "resume-io: this node goes on although the peer may go on, too".to_owned();
            out.push(Effect::Event(Event::Warning { text }));
            self.fence.overruled = true;
        }
    }

    /// Asks for a handler to be run.
    pub(super) fn run_handler(
        &mut self,
        handler: Handler,
        v: Option<usize>,
        out: &mut Effects,
    ) -> HandlerId {
        let id = HandlerId(self.next_op);
        self.next_op += 1;
        let volume = v.map(|v| self.volumes[v].id);
        out.push(Effect::Handler { id, handler, volume });
        id
    }
}
