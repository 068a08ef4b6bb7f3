//! The loop of a resource's thread: it carries events to the engine and the engine's effects to
//! disks, link and clients. It decides nothing.
//!
//! ```text
//! gather what is ready  →  engine, one input at a time  →  hand over to the kernel: answers, link
//! (one write), disks (one system call each)  →  timer, if due  →  sleep if nothing is ready (`idle.rs`)
//! ```
//! What a timer of the engine in the past means («after what else is ready») is this order.

mod events;
mod inbox;

use super::Message;
use super::clients::Clients;
use super::disks::Disks;
use super::engine_config::engine_config;
use super::handlers::RunningHandlers;
use super::idle::Idle;
use super::links::{LinkSetup, Links};
use super::orders::{Follow, NewSetup, Order, Orders, Reply};
use super::report::report;
use super::status::Glance;
use crate::budget::{Budget, Payloads};
use crate::clock::Clock;
use crate::ends::Ends;
use crate::handler::Handlers;
use crate::log_limit::LogLimit;
use config::{Host, Resource};
use control::{Failure, exit};
use replicator::{CommandId, Effect, Effects, Engine, Event, Input};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Sleep;
use types::{Span, Time, VolumeId};

/// Rounds of «the engine submits, the disk has it done at once» in one turn, before the sockets
/// are looked at again.
const ROUNDS_PER_TURN: usize = 16;
/// Inputs of a round, before what follows from them is handed over: so that the client, the disk and the
/// peer begin with the first of many while the others are seen to. Were all of them handed over at once,
/// they would all come back at once, and nobody would ever work at the same time.
const INPUTS_PER_ROUND: usize = 8;
/// Turns before the runtime gets the thread back, to look for new events.
const TURNS_PER_WAKE: usize = 4;
/// A glance is published this often while things happen that are no events.
const GLANCE_EVERY: Span = Span::millis(100);
/// A timer that does not move although it was served is not served again before this.
const TIMER_REST: Span = Span::millis(1);
/// How long the clients that a device is taken from may take to get their last answers.
const TAKING_AWAY: Span = Span::secs(2);
/// How long the last answers may take to be sent when the resource ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a resource's thread is started with.
pub(crate) struct Setup {
    pub(crate) resource: Resource,
    pub(crate) me: Host,
    pub(crate) peer: Host,
    pub(crate) payloads: Payloads,
    pub(crate) answers: Arc<Budget>,
    pub(crate) requests: Arc<Budget>,
    pub(crate) handlers: Handlers,
    pub(crate) ends: Ends,
    /// How long the thread looks for work before it sleeps, where that pays.
    pub(crate) busy_poll: Span,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) glance: watch::Sender<Glance>,
}

/// Everything that a resource's thread has.
pub(crate) struct Pump {
    resource: Resource,
    me: Host,
    peer: Host,
    clock: Clock,
    engine: Engine,
    /// When it last had an input.
    stepped: Time,
    idle: Idle,
    inputs: VecDeque<Input>,
    effects: Effects,
    disks: Disks,
    links: Links,
    clients: Clients,
    orders: Orders,
    payloads: Payloads,
    handlers: Handlers,
    ends: Ends,
    running_handlers: RunningHandlers,
    disk_errors: LogLimit,
    inbox: mpsc::Receiver<Message>,
    glance: watch::Sender<Glance>,
    published: Time,
    /// Something happened that a glance may show.
    changed: bool,
    /// When the timer was served without effect although it stayed due.
    timer_rests_until: Time,
    timer: Pin<Box<Sleep>>,
    stage: Stage,
    /// An order that takes the device from its clients, and waits until they are gone.
    taking_away: Option<TakingAway>,
}

/// An order that waits until the clients are gone.
struct TakingAway {
    order: Order,
    reply: Reply,
    /// Then they are closed, whatever is in flight.
    give_up: Time,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The engine was told to stop: nothing more is read from clients.
    Stopping {
        give_up: Time,
    },
    /// The engine has stopped: disks and links are closing, the last answers are being sent.
    Stopped {
        give_up: Time,
    },
}

impl Pump {
    /// Listens for the peer; everything else waits for orders. To be called in the runtime.
    pub(crate) fn new(setup: Setup) -> Result<Self, Failure> {
        let Setup { resource, me, peer, payloads, answers, requests, .. } = setup;
        let Setup { handlers, ends, busy_poll, inbox, glance, .. } = setup;
        let clock = Clock::start();
        let seed = getrandom::u64()
            .map_err(|error| Failure::failed(format!("no randomness to be had: {error}")))?;
        let engine = Engine::new(engine_config(&resource, &me, &peer), seed, clock.now());
        let link = LinkSetup::of(&resource, &me, &peer);
        let links = Links::listen(link, payloads.pool.clone())
            .map_err(|error| not_listening(&resource, &me, &error))?;
        Ok(Self {
            clock,
            engine,
            stepped: Time(0),
            idle: Idle::new(busy_poll),
            inputs: VecDeque::new(),
            effects: Effects::new(),
            disks: Disks::default(),
            links,
            clients: Clients::new(payloads.clone(), answers, requests, clock),
            orders: Orders::default(),
            payloads,
            handlers,
            ends,
            running_handlers: RunningHandlers::default(),
            disk_errors: LogLimit::default(),
            inbox,
            glance,
            published: Time(0),
            changed: true,
            timer_rests_until: Time(0),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            stage: Stage::Running,
            taking_away: None,
            resource,
            me,
            peer,
        })
    }

    /// Runs until the resource has ended. Returns the orders that are to be answered then: when
    /// all of this is gone, so that the disks, the address and the locks are free.
    pub(crate) async fn run(mut self) -> Orders {
        loop {
            if poll_fn(|cx| Poll::Ready(self.work(cx))).await {
                break;
            }
            if self.idle.looks_again(self.clock.now()) {
                std::thread::yield_now();
                self.idle.gave_way(self.clock.now());
                // The runtime looks at the sockets now.
                tokio::task::yield_now().await;
                continue;
            }
            // Everything but the disks has been polled and will wake this task. The disks are
            // waited for here; any wake ends the wait.
            let mut wait = pin!(self.disks.wait());
            let mut waited = false;
            poll_fn(|cx| {
                if wait.as_mut().poll(cx).is_ready() || waited {
                    return Poll::Ready(());
                }
                waited = true;
                Poll::Pending
            })
            .await;
        }
        self.orders
    }

    /// Works until nothing is ready; whether the resource has ended.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..TURNS_PER_WAKE {
            self.gather(cx);
            if self.is_idle() {
                // A socket may take more now, or a good-bye may have been all that came.
                self.send(cx);
            } else {
                self.turn(cx);
                continue;
            }
            if self.is_idle() {
                self.publish();
                if self.has_ended() {
                    return true;
                }
                if self.poll_timer(cx).is_pending() {
                    return false;
                }
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// Collects what is ready as inputs.
    fn gather(&mut self, cx: &mut Context<'_>) {
        self.take_done();
        self.links.poll(cx, &self.clock, &mut self.inputs);
        self.clients.poll(cx, &self.disks, &mut self.inputs);
        let now = self.clock.now();
        if self.clients.next_look().is_some_and(|at| at <= now) {
            self.clients.look(now, &mut self.inputs);
        }
        while let Poll::Ready(Some(message)) = self.inbox.poll_recv(cx) {
            // A client that has just said good-bye is in nobody's way any more.
            self.send(cx);
            self.take(message);
        }
        self.end_taking_away(cx);
        self.running_handlers.poll(cx, &mut self.inputs);
        // Last, so that an order that was just taken begins.
        self.orders.poll(cx, &mut self.disks, &mut self.inputs);
    }

    /// Takes what the disks have done.
    fn take_done(&mut self) {
        for volume in self.disks.take_done(&mut self.inputs) {
            tracing::info!(volume = volume.0, "disk closed");
            self.changed = true;
        }
    }

    /// Gives the engine what was collected, and the kernel what follows from it.
    fn turn(&mut self, cx: &mut Context<'_>) {
        self.idle.end(self.clock.now());
        for _ in 0..ROUNDS_PER_TURN {
            self.step_some();
            // The peer's way is the longer one: it begins before that of the disk here.
            self.send(cx);
            self.disks.kick();
            self.take_done();
            if self.inputs.is_empty() {
                break;
            }
        }
        if self.is_timer_due() {
            let now = self.clock.now();
            self.step(now, Input::Timer);
            let is_idle = self.effects.is_empty();
            if is_idle && self.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.timer_rests_until = now + TIMER_REST;
            }
            self.execute();
            self.disks.kick();
        }
        self.send(cx);
        let now = self.clock.now();
        if self.changed || now.since(self.published) >= GLANCE_EVERY {
            self.changed = true;
            self.publish();
        }
    }

    /// Sends what is queued, as far as the sockets take it. Answers first: what there is for the link
    /// together with them is mostly word that they are settled, and nobody waits for that.
    fn send(&mut self, cx: &mut Context<'_>) {
        self.clients.poll_send(cx, &mut self.inputs);
        self.links.poll_send(cx, &self.clock, &mut self.inputs);
    }

    fn is_idle(&self) -> bool {
        self.inputs.is_empty() && !self.is_timer_due()
    }

    fn step_some(&mut self) {
        let now = self.clock.now();
        for _ in 0..INPUTS_PER_ROUND {
            let Some(input) = self.inputs.pop_front() else { return };
            if matches!(self.stage, Stage::Stopped { .. }) {
                // The engine has said its last word.
                continue;
            }
            // The number of clients is in the glance.
            self.changed |= matches!(input, Input::ClientClosed { .. });
            self.step(now, input);
            self.execute();
        }
    }

    fn step(&mut self, now: Time, input: Input) {
        if !matches!(input, Input::DiskDone { .. } | Input::Request { .. }) {
            tracing::trace!(?input, "input");
        }
        self.stepped = now;
        self.engine.step(now, input, &mut self.effects);
    }

    /// Starts what the engine wants, in its order.
    fn execute(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.execute_one(effect);
        }
        // Given back for its memory.
        self.effects = effects;
    }

    fn execute_one(&mut self, effect: Effect) {
        match effect {
            Effect::Disk { volume, id, op } => {
                self.disks.submit(volume, id, op, &mut self.inputs);
            }
            Effect::Meta { volume, id, batch } => {
                self.disks.write_meta(volume, id, batch, &mut self.inputs);
            }
            Effect::MeasureDisk { volume } => {
                let sizes = self.disks.measure(volume);
                self.inputs.push_back(Input::DiskMeasured { volume, sizes });
            }
            Effect::Connect => self.links.connect(),
            Effect::Send { epoch, message } => self.links.send(epoch, &message, self.stepped),
            Effect::CloseLink { epoch } => self.links.close(epoch),
            Effect::Complete { id, result } => {
                self.clients.complete(id, result, &mut self.inputs);
            }
            Effect::CommandDone { id, result } => self.command_done(id, result),
            Effect::Handler { id, handler, volume } => self.start_handler(id, handler, volume),
            Effect::Inspected(inspection) => self.orders.inspected(inspection),
            Effect::Detached { volume } => {
                self.changed = true;
                self.disks.close(volume);
            }
            Effect::Event(event) => {
                self.changed = true;
                match &event {
                    Event::Moving { volume, from, to } => self.is_at(*volume, &[*from, *to]),
                    Event::Moved { volume, end, .. } => self.is_at(*volume, &[*end]),
                    _ => {}
                }
                self.tell(&event);
            }
        }
    }

    /// The metadata of a disk end there, or at one of these: they are to be found again.
    fn is_at(&self, volume: VolumeId, ends: &[u64]) {
        if !self.disks.is_internal(volume) {
            return;
        }
        if let Err(error) = self.ends.put(&self.resource.name, volume, ends) {
            // They are found at the end of the disk all the same, as long as it does not grow again.
            tracing::warn!(volume = volume.0, %error, "the size of the disk is not remembered");
        }
    }

    fn command_done(&mut self, id: CommandId, result: Result<(), replicator::Refusal>) {
        self.changed = true;
        // Whoever is answered now may look at the glance next.
        self.publish();
        match self.orders.done(id, result) {
            Follow::Nothing => {}
            Follow::Report(answer, inspection) => {
                let role = self.engine.status().role;
                let report = report(&self.resource, &self.me, &self.peer, role, &inspection);
                let _ = answer.send(Ok(report));
            }
            Follow::Reconfigure(setup, reply) => {
                let NewSetup { resource, me, peer, link } = *setup;
                self.links.take(link);
                (self.resource, self.me, self.peer) = (resource, me, peer);
                let _ = reply.send(Ok(()));
            }
            Follow::Close(volume) => self.disks.close(volume),
            Follow::Stopped => {
                self.disks.close_all();
                self.links.end();
                let give_up = self.clock.now() + Span(FAREWELL.as_nanos() as u64);
                self.stage = Stage::Stopped { give_up };
            }
        }
    }

    fn publish(&mut self) {
        if !self.changed {
            return;
        }
        self.changed = false;
        self.published = self.clock.now();
        let was_alone = self.orders.was_alone();
        let glance = Glance::of(&self.engine.status(), self.clients.len(), was_alone);
        let clients = &mut self.clients;
        self.glance.send_if_modified(|published| {
            let is_new = *published != glance;
            // Before anybody is told of a size.
            for volume in glance.volumes.iter().filter(|_| is_new) {
                clients.grow(volume.id, volume.size_bytes);
            }
            *published = glance;
            is_new
        });
    }

    fn is_timer_due(&self) -> bool {
        let now = self.clock.now();
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The engine's deadline, later if it has just been served in vain.
    fn deadline(&self) -> Option<Time> {
        if matches!(self.stage, Stage::Stopped { .. }) {
            return None;
        }
        let engine = self.engine.next_deadline();
        engine.map(|deadline| deadline.max(self.timer_rests_until))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let own = match self.stage {
            Stage::Running => None,
            Stage::Stopping { give_up } | Stage::Stopped { give_up } => Some(give_up),
        };
        let taken_away = self.taking_away.as_ref().map(|taking| taking.give_up);
        let others = [own, taken_away, self.clients.next_look()].into_iter().flatten();
        let Some(deadline) = self.deadline().into_iter().chain(others).min() else {
            return Poll::Pending;
        };
        let deadline = self.clock.instant(deadline);
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    fn is_drained(&self) -> bool {
        self.disks.is_empty() && self.links.is_quiet() && self.clients.len() == 0
    }

    fn has_ended(&mut self) -> bool {
        let now = self.clock.now();
        match self.stage {
            Stage::Running => false,
            Stage::Stopping { give_up } if now < give_up => false,
            Stage::Stopped { give_up } if now < give_up && !self.is_drained() => false,
            Stage::Stopped { .. } if self.is_drained() => true,
            Stage::Stopping { .. } | Stage::Stopped { .. } => {
                match self.disks.is_empty() {
                    true => {
                        tracing::info!("the peer or a client has not taken the last words in time")
                    }
                    false => tracing::error!(
                        "the orderly end took too long; the disks are left as in a crash"
                    ),
                }
                true
            }
        }
    }
}

/// Nobody can listen there.
fn not_listening(resource: &Resource, me: &Host, error: &std::io::Error) -> Failure {
    let text = format!(
        "{}: cannot listen on {}: {error}; the address must be one of this host's, and no other \
         program may use the port",
        resource.name, me.address
    );
    Failure::new(exit::CONFIG, text)
}
