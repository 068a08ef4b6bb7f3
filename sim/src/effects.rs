//! Stepping an engine and carrying out what it asks for, one effect at a time.

use crate::client::Asked;
use crate::content::tags_of;
use crate::disk::Ticket;
use crate::marks::Mark;
use crate::node::{Asker, Order, Process};
use crate::operator::all_up_to_date;
use crate::plan::{Class, Death};
use crate::world::{Event, Phase, World};
use bytes::Bytes;
use metadata::Rule;
use replicator::{
    CommandId, DiskOp, Effect, Event as EngineEvent, Handler, HandlerId, Input, IoError, Refusal,
    RequestId,
};
use types::{ByteRange, ConnectionState, ReplicationState, Role, Span, Time, VolumeId};

/// The bounds are looked at once in so many steps.
const BOUNDS_EVERY: u64 = 4;

impl World {
    /// Gives an input to a node's engine; later, if its process stands still.
    pub(crate) fn input(&mut self, node: usize, input: Input) {
        if self.nodes[node].is_paused(self.now) {
            self.nodes[node].waiting.push(input);
        } else {
            self.step(node, input);
        }
    }

    pub(crate) fn step(&mut self, node: usize, input: Input) {
        self.observe_input(node, &input);
        let cause = input_kind(&input);
        if let Input::Message { message, .. } = &input {
            self.verify_heard(node, message);
        }
        let it = &mut self.nodes[node];
        it.steps += 1;
        let now = self.now + it.clock;
        let Process::Running(engine) = &mut it.process else { return };
        let mut effects = Vec::new();
        engine.step(now, input, &mut effects);
        let life = it.life;
        let many = effects.len();
        for (done, effect) in effects.into_iter().enumerate() {
            if let Some(doom) = &mut self.nodes[node].doomed {
                if doom.effects == 0 {
                    let (death, down) = (doom.death, doom.down);
                    let death = self.fitting_death(node, death);
                    if done > 0 && done < many {
                        self.marks.hit(Mark::DeathBetweenEffects);
                    }
                    self.die(node, death, down);
                    return;
                }
                doom.effects -= 1;
            }
            self.observe_effect(node, &effect);
            self.apply(node, effect, cause);
            if self.failure.is_some() || self.nodes[node].life != life {
                return;
            }
        }
        self.disks_have_owners(node);
        if self.nodes[node].steps.is_multiple_of(BOUNDS_EVERY) {
            self.check_bounds(node);
        }
        self.set_timer(node);
    }

    fn apply(&mut self, node: usize, effect: Effect, cause: Cause) {
        match effect {
            Effect::Disk { volume, id, op } => {
                self.start_disk_op(node, volume, &op, Asker::Data(id));
            }
            Effect::Meta { volume, id, batch } => {
                let volume = usize::from(volume.0);
                match self.nodes[node].disks[volume].start_batch(&batch) {
                    Ok((ticket, latency, touched)) => {
                        self.coverage_touch(volume, touched);
                        self.in_flight(node, volume, ticket, latency, Asker::Meta(id));
                    }
                    Err(text) => self.fail("disk order", format!("node {node}: metadata: {text}")),
                }
            }
            Effect::MeasureDisk { volume } => self.measure(node, usize::from(volume.0)),
            Effect::Connect => self.dial(node),
            Effect::Send { epoch, message } => {
                self.note_sent(node, &message);
                self.verify_said(node, &message);
                self.send(node, epoch, &message);
            }
            Effect::CloseLink { epoch } => self.close_link(node, epoch),
            Effect::Complete { id, result } => self.complete(node, id, result, cause),
            Effect::CommandDone { id, result } => self.command_done(node, id, result),
            Effect::Handler { id, handler, .. } => self.start_handler(node, id, handler),
            Effect::Inspected(inspection) => {
                if self.class() == Class::Scripted {
                    self.inspections.push(*inspection);
                }
            }
            Effect::Detached { volume } => self.disk_let_go(node, usize::from(volume.0)),
            Effect::Event(event) => self.engine_event(node, &event),
        }
    }

    /// A handler ends well and soon, unless the plan or the script says otherwise.
    fn start_handler(&mut self, node: usize, id: HandlerId, handler: Handler) {
        let planned = match handler {
            Handler::FencePeer if self.class() == Class::Fencing => self.plan.fence[node],
            _ => (Some(0), Span::millis(1)),
        };
        let (exit, after) = self.handlers.get(&(node, handler)).copied().unwrap_or(planned);
        if self.class() == Class::Scripted {
            self.handlers_run.push((node, handler));
        }
        let life = self.nodes[node].life;
        let event = Event::Handler { node, life, id, handler, exit };
        self.schedule(self.now + after, event);
    }

    pub(crate) fn handler_done(
        &mut self,
        node: usize,
        life: u32,
        id: HandlerId,
        handler: Handler,
        exit: Option<i32>,
    ) {
        if self.nodes[node].life != life {
            return;
        }
        let fences = self.class() == Class::Fencing && handler == Handler::FencePeer;
        let exit = if fences { self.shoot(node, exit) } else { exit };
        self.input(node, Input::HandlerDone { id, exit });
    }

    /// What `fence-peer` says: if it is one that shoots, the peer loses its power. One that comes so
    /// late that the peer is needed again misses.
    fn shoot(&mut self, node: usize, exit: Option<i32>) -> Option<i32> {
        if exit != Some(7) {
            self.marks.hit(Mark::NotFenced);
            return exit;
        }
        let peer = 1 - node;
        let linked = self.status(node).is_some_and(|status| status.established);
        if self.phase != Phase::Chaos || linked && !self.may_die(peer) {
            return Some(1);
        }
        // One node at a time loses its power.
        self.nodes[node].doomed = None;
        self.marks.hit(if linked { Mark::FencedLate } else { Mark::Fenced });
        if !matches!(self.nodes[peer].process, Process::Down) {
            let down = Span::millis(self.rng.between(100, 5000));
            self.die(peer, Death::Power, down);
        }
        exit
    }

    fn start_disk_op(&mut self, node: usize, volume: VolumeId, op: &DiskOp, asker: Asker) {
        let volume = usize::from(volume.0);
        match self.nodes[node].disks[volume].start(op) {
            Ok((ticket, latency, touched)) => {
                self.coverage_touch(volume, touched);
                self.in_flight(node, volume, ticket, latency, asker);
            }
            Err(text) => self.fail("disk order", format!("node {node} volume {volume}: {text}")),
        }
    }

    pub(crate) fn in_flight(
        &mut self,
        node: usize,
        volume: usize,
        ticket: Ticket,
        latency: Span,
        asker: Asker,
    ) {
        self.nodes[node].disk_ops.insert((volume, ticket), asker);
        let life = self.nodes[node].life;
        self.schedule(self.now + latency, Event::Disk { node, life, volume, ticket });
    }

    pub(crate) fn disk_done(&mut self, node: usize, life: u32, volume: usize, ticket: Ticket) {
        let it = &mut self.nodes[node];
        if it.life != life {
            return;
        }
        let asker = it.disk_ops.remove(&(volume, ticket)).expect("it is in flight");
        let (result, touched) = it.disks[volume].end(ticket);
        self.coverage_touch(volume, touched);
        self.disk_changed(node, volume);
        match asker {
            Asker::Data(id) => self.input(node, Input::DiskDone { id, result }),
            Asker::Meta(id) => {
                let result = result.map(|_| ());
                self.input(node, Input::MetaDone { id, result });
            }
            Asker::Recovery => self.recovery_step(node),
            Asker::Reattach => self.reattach_step(node, volume, result.is_ok()),
        }
    }

    pub(crate) fn timer(&mut self, node: usize, life: u32) {
        let it = &mut self.nodes[node];
        if it.life != life || it.timer_at.is_none_or(|at| at > self.now) {
            return;
        }
        it.timer_at = None;
        if it.is_paused(self.now) {
            return;
        }
        let wanted = it.engine().and_then(replicator::Engine::next_deadline);
        if wanted.is_some_and(|at| at <= self.now + self.nodes[node].clock) {
            self.step(node, Input::Timer);
        } else {
            self.set_timer(node);
        }
    }

    pub(crate) fn set_timer(&mut self, node: usize) {
        let it = &self.nodes[node];
        let Some(wanted) = it.engine().and_then(replicator::Engine::next_deadline) else { return };
        let at = Time(wanted.since(Time(0) + it.clock).0).max(self.now);
        if it.timer_at.is_none_or(|old| at < old) {
            let life = it.life;
            self.nodes[node].timer_at = Some(at);
            self.schedule(at, Event::Timer { node, life });
        }
    }

    fn complete(
        &mut self,
        node: usize,
        id: RequestId,
        result: Result<Bytes, IoError>,
        cause: Cause,
    ) {
        let at = usize::try_from(id.0).expect("request ids are indices");
        let stamp = self.stamp();
        let request = &mut self.requests[at];
        if request.over {
            if request.ret.is_some() || request.node != node || self.clients_open(at) {
                self.fail("answers", format!("request {} is answered twice", id.0));
            }
            return;
        }
        request.over = true;
        let (asked, range) = (request.asked, request.range);
        let answered = match result {
            Ok(bytes) => {
                let volume = request.volume;
                request.ret = Some(stamp);
                // What is out-of-sync is no secret while I/O stands still.
                if asked != Asked::OutOfSync {
                    self.check_answer(node, volume);
                }
                self.answered(at, asked, range, &bytes, cause);
                true
            }
            Err(error) => {
                self.refused(node, at, error);
                false
            }
        };
        self.client_goes_on(at, answered);
    }

    fn answered(&mut self, at: usize, asked: Asked, range: ByteRange, bytes: &Bytes, cause: Cause) {
        let node = self.requests[at].node;
        self.requests[at].incomplete = self.class() == Class::BothPower && self.is_adrift(node);
        match asked {
            Asked::Read => {
                let torn = || format!("request {at} read {range} and got what nobody wrote");
                if bytes.len() as u64 != range.len {
                    let text = format!("request {at} read {range} and got {} bytes", bytes.len());
                    return self.fail("answers", text);
                }
                let seen: Vec<Option<u64>> = tags_of(bytes).collect();
                if seen.contains(&None) {
                    self.fail("answers", torn());
                }
                self.requests[at].seen = seen;
                match cause {
                    Cause::Told => self.marks.hit(Mark::HeldRead),
                    Cause::ReadDone => self.marks.hit(Mark::RemoteRead),
                    Cause::Asked | Cause::Other => {}
                }
            }
            Asked::Allocation | Asked::OutOfSync => self.mapped(at, asked, range, bytes, cause),
            Asked::Flush => self.marks.hit(Mark::Flush),
            Asked::Write(_) => self.note_answered(at),
        }
    }

    fn refused(&mut self, node: usize, at: usize, error: IoError) {
        let fair = match error {
            IoError::NotPrimary | IoError::Shutdown => {
                self.nodes[node].orders.values().any(|(order, _)| *order == Order::Stop)
            }
            IoError::Io => self.plan.class.errors_allowed() || self.lacks_data(node),
            IoError::NoSpace => {
                self.plan.class == Class::Scripted
                    && self.nodes[node].disks.iter().any(|disk| disk.faults.full > 0)
            }
        };
        if !fair {
            let request = &self.requests[at];
            let text = format!(
                "node {node} failed request {at} ({:?} {}) with {error:?}",
                request.asked, request.range
            );
            self.fail("answers", text);
        }
    }

    /// Whether a node has an incomplete copy and no peer, whether it knows that or not: the one that
    /// it thinks it is connected with may have died, and may have been started again since.
    fn is_adrift(&self, node: usize) -> bool {
        let peer = &self.nodes[1 - node];
        let alone = peer.engine().is_none() || self.net.leads_to_another_life(node, peer.life);
        let lost = |status: &replicator::Status| alone || !status.established;
        self.status(node).is_some_and(|status| lost(&status) && !all_up_to_date(&status))
    }

    /// Whether a copy of a node is of no use without the peer, and the peer may be away for long.
    fn lacks_data(&self, node: usize) -> bool {
        let parts = matches!(self.plan.class, Class::Solo | Class::Fencing);
        self.status(node).is_some_and(|status| {
            !all_up_to_date(&status) && (parts || self.given_up && !status.established)
        })
    }

    fn command_done(&mut self, node: usize, id: CommandId, result: Result<(), Refusal>) {
        let Some((order, _)) = self.nodes[node].orders.remove(&id) else {
            return self.fail("answers", format!("node {node}: order {} is answered twice", id.0));
        };
        self.order_done(node, id, order, result);
    }

    fn conflict(&mut self, volume: usize, local: ByteRange) {
        self.marks.hit(Mark::Conflict);
        if local.end() > crate::disk::layout(self.plan.device_bytes[volume]).data_bytes() {
            self.marks.hit(Mark::ConflictInNew);
        }
    }

    fn engine_event(&mut self, node: usize, event: &EngineEvent) {
        match event {
            EngineEvent::Resumed { volume, resent, answered } => {
                self.nodes[node].resumed[usize::from(volume.0)] = true;
                self.marks.hit(Mark::Resumed);
                if *resent > 0 {
                    self.marks.hit(Mark::Resent);
                }
                if *answered > 0 {
                    self.marks.hit(Mark::AnswersRepeated);
                }
            }
            EngineEvent::Conflict { volume, local, .. } => {
                self.conflict(usize::from(volume.0), *local);
            }
            EngineEvent::Moving { volume, from, to } => {
                self.nodes[node].ends[usize::from(volume.0)] = vec![*from, *to];
            }
            EngineEvent::Moved { volume, end, .. } => {
                self.nodes[node].ends[usize::from(volume.0)] = vec![*end];
                self.marks.hit(Mark::Moved);
            }
            EngineEvent::Resized { volume, new, .. } => {
                self.resized(node, usize::from(volume.0), *new);
            }
            EngineEvent::Generation { volume, .. } => {
                // What begins after the nodes have met and parted is for the next handshake.
                let decided = matches!(self.phase, Phase::LastFlush { .. }) || self.stood_alone;
                if !decided {
                    self.went_solo[node][usize::from(volume.0)] = true;
                }
                self.marks.hit(Mark::Solo);
                self.doom_as_it_goes_solo(node);
            }
            EngineEvent::Connection { new: ConnectionState::StandAlone, .. } => {
                self.stood_alone = true;
            }
            EngineEvent::SplitBrain { .. } => {
                self.split[node] = true;
                self.marks.hit(Mark::SplitBrain);
            }
            EngineEvent::Role { new: Role::Primary, .. } if self.in_resync(node) => {
                self.marks.hit(Mark::PromotedInResync);
            }
            EngineEvent::Verdict { volume, text } => {
                self.note_rule(node, usize::from(volume.0), text);
                self.nodes[node].resumed[usize::from(volume.0)] = false;
            }
            EngineEvent::Replication { volume, old, new, .. } => {
                let resumed = self.nodes[node].resumed[usize::from(volume.0)];
                if resumed && is_target(*new) && !is_target(*old) {
                    self.marks.hit(Mark::ResumedInResync);
                }
                let grown = &mut self.new_part[usize::from(volume.0)];
                let done = *new == ReplicationState::Established;
                if *old == ReplicationState::SyncTarget && done && std::mem::take(grown) {
                    self.marks.hit(Mark::NewPartCopied);
                }
                self.replication_changed(*old, *new);
                self.note_congestion(node, usize::from(volume.0), *old, *new);
            }
            _ => {}
        }
        self.verify_event(node, event);
        self.check_event(node, event);
        if self.class() == Class::Scripted {
            self.events.push((node, event.clone()));
        }
    }

    /// Which rule gave a verdict, by what it says of itself.
    fn note_rule(&mut self, node: usize, volume: usize, text: &str) {
        let mut rules = Rule::ALL.iter().copied();
        let Some(rule) = rules.find(|rule| text.contains(rule.explain())) else {
            return self.fail("verdict", format!("no rule says «{text}»"));
        };
        self.marks.hit_rule(rule);
        self.last_rule[node][volume] = Some(rule);
        self.check_verdict(node, volume, rule);
    }

    fn replication_changed(&mut self, old: ReplicationState, new: ReplicationState) {
        if is_target(old) && !is_target(new) {
            match new {
                ReplicationState::Established if self.plan.begins_in_sync => {
                    self.marks.hit(Mark::ResyncDone);
                }
                ReplicationState::Established => self.marks.hit(Mark::FullSync),
                _ => self.marks.hit(Mark::ResyncInterrupted),
            }
        }
    }

    /// Whether a resync runs, by what a node knows.
    pub(crate) fn in_resync(&self, node: usize) -> bool {
        let running = |state| {
            is_target(state)
                || matches!(state, ReplicationState::SyncSource | ReplicationState::PausedSyncS)
        };
        self.nodes[node]
            .engine()
            .is_some_and(|engine| engine.status().volumes.iter().any(|v| running(v.replication)))
    }
}

/// Whether a node in that state is the target of a resync.
const fn is_target(state: ReplicationState) -> bool {
    matches!(state, ReplicationState::SyncTarget | ReplicationState::PausedSyncT)
}

/// What made an engine answer a read or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The peer has said that something is settled or written.
    Told,
    /// The peer has read.
    ReadDone,
    /// The client asked for it just now.
    Asked,
    /// Anything else.
    Other,
}

fn input_kind(input: &Input) -> Cause {
    use replicator::wire::Message;
    match input {
        Input::Message { message: Message::ReadDone { .. }, .. } => Cause::ReadDone,
        Input::Message { .. } => Cause::Told,
        Input::Request { .. } => Cause::Asked,
        _ => Cause::Other,
    }
}
