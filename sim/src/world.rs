//! A world: two nodes, the network, clients and an operator, all from one seed; its clock and its
//! queue of events.
//!
//! Everything is an event at a time; events of one time happen in the order in which they were
//! made. The engines are stepped as the daemon would step them, and the effects of a step are
//! carried out one by one, with a chance of death between any two.

use crate::client::{Client, Request};
use crate::disk::Ticket;
use crate::marks::Marks;
use crate::net::{ConnId, Net};
use crate::node::{Node, VOLUMES};
use crate::oracle::{Coverage, Failure};
use crate::plan::{Class, Death, Plan};
use crate::trace::Trace;
use crate::verify::Verifies;
use metadata::Rule;
use replicator::{CommandId, Event as EngineEvent, Handler, HandlerId, Inspection, Refusal};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use types::{ByteRange, NodeId, Prng, Span, Time};

/// No world has more events: it would be one that never comes to rest.
const EVENTS_MAX: u64 = 3_000_000;
/// No more events happen at one instant, for the same reason.
const EVENTS_AT_ONCE_MAX: u64 = 50_000;
/// How often the daemon and the operator look at a node.
pub(crate) const POLL: Span = Span::millis(50);

/// Something that is going to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A machine starts its daemon.
    Start(usize),
    /// An engine's deadline.
    Timer { node: usize, life: u32 },
    /// A disk operation ends.
    Disk { node: usize, life: u32, volume: usize, ticket: Ticket },
    /// The next message that this node sent by this connection arrives.
    Deliver { conn: ConnId, from: usize },
    /// A connection stands at this node.
    LinkUp { conn: ConnId, node: usize, initiated: bool },
    /// A connection is over for this node.
    LinkDown { conn: ConnId, node: usize },
    /// An attempt to connect fails.
    ConnectFailed { node: usize, life: u32, refused: bool },
    /// The size of a disk is known.
    Measured { node: usize, life: u32, volume: usize },
    /// A handler of a node ends.
    Handler { node: usize, life: u32, id: HandlerId, handler: Handler, exit: Option<i32> },
    /// Clients come to a node that has become Primary.
    Open { node: usize, life: u32 },
    /// A client asks for something.
    Client(usize),
    /// A fault of the plan.
    Fault(usize),
    /// A node is to die, as soon as it may.
    Doom { node: usize, death: Death, down: Span },
    /// A process goes on after a pause.
    Resume(usize),
    /// The daemon and the operator look at a node.
    Poll(usize),
    /// Trouble and load end.
    Heal,
    /// Has everything come to rest?
    Watch,
}

/// Where a world is in its course.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Load and trouble.
    Chaos,
    /// Neither; all must come to rest before the deadline. So many blocks were marked at the least
    /// since the end of trouble.
    Healing { deadline: Time, marked: u64 },
    /// At rest; the last flushes are under way.
    LastFlush { deadline: Time, first: usize },
    /// Over.
    Done,
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A world.
#[derive(Debug)]
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Prng,
    pub(crate) now: Time,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Vec<Request>,
    pub(crate) next_tag: u64,
    pub(crate) next_command: u64,
    pub(crate) stamp: u64,
    pub(crate) phase: Phase,
    pub(crate) marks: Marks,
    pub(crate) trace: Trace,
    pub(crate) failure: Option<Failure>,
    pub(crate) coverage: Coverage,
    /// How large each volume is at the node where it is largest.
    pub(crate) sizes: [u64; 2],
    /// The power of the one went just as the other had given its copy up.
    pub(crate) given_up: bool,
    /// A volume has grown, and its new part is not copied yet.
    pub(crate) new_part: [bool; 2],
    pub(crate) verifies: Verifies,
    /// The disks are meant to be equal, but for marked blocks.
    pub(crate) defined: bool,
    /// The last moment, on the history's clock, at which power was lost at both nodes.
    pub(crate) power_era: Option<u64>,
    /// The moment, on the history's clock, at which the long partition began.
    pub(crate) parted_at: Option<u64>,
    /// Which nodes began a new generation, by volume.
    pub(crate) went_solo: [[bool; 2]; 2],
    /// A handshake has made a node stand alone.
    pub(crate) stood_alone: bool,
    /// Which nodes have found split brain.
    pub(crate) split: [bool; 2],
    /// The rule of the last verdict of each node, by volume.
    pub(crate) last_rule: [[Option<Rule>; 2]; 2],
    /// What the engines of a scripted world have told.
    pub(crate) events: Vec<(usize, EngineEvent)>,
    /// How handlers end that do not end well at once, by node.
    pub(crate) handlers: BTreeMap<(usize, Handler), (Option<i32>, Span)>,
    /// The handlers that were run in a scripted world.
    pub(crate) handlers_run: Vec<(usize, Handler)>,
    /// What was seen by looking at a peer in a scripted world.
    pub(crate) inspections: Vec<Inspection>,
    /// Answers to the orders of a script.
    pub(crate) answers: BTreeMap<CommandId, Result<(), Refusal>>,
    /// The requests of writes that were sent, by node, volume, session and number.
    pub(crate) sent: BTreeMap<(usize, usize, u64, u64), (usize, ByteRange)>,
    /// The last number that a node had received when it last said so, by node, volume and session.
    pub(crate) received: BTreeMap<(usize, usize, u64), u64>,
    /// The node that takes over, until it has made the data its own.
    pub(crate) takes_over: Option<usize>,
    events_seen: u64,
    events_at_once: u64,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, class: Option<Class>, text: bool) -> Self {
        Self::of_plan(seed, Plan::new(seed, class), text)
    }

    /// The world of a seed in which other things are decided than the seed would decide.
    pub(crate) fn of_plan(seed: u64, plan: Plan, text: bool) -> Self {
        let mut world = Self::prepared(seed, plan, text);
        world.begin();
        world
    }

    /// A world in which nothing is going to happen yet.
    pub(crate) fn prepared(seed: u64, plan: Plan, text: bool) -> Self {
        let mut rng = Prng::new(seed);
        let nodes = [0, 1].map(|id| Node::new(NodeId(id), &plan, &mut rng)).into();
        let mut world = Self {
            rng,
            now: Time(0),
            queue: BinaryHeap::new(),
            order: 0,
            nodes,
            net: Net::default(),
            clients: Vec::new(),
            requests: Vec::new(),
            next_tag: 1,
            next_command: 1,
            stamp: 0,
            phase: Phase::Chaos,
            marks: Marks::default(),
            trace: Trace::new(text),
            failure: None,
            coverage: Coverage::new(VOLUMES.len()),
            sizes: plan.first_sizes(),
            given_up: false,
            new_part: [false; 2],
            verifies: Verifies::default(),
            defined: plan.begins_in_sync,
            power_era: None,
            parted_at: None,
            went_solo: [[false; 2]; 2],
            stood_alone: false,
            split: [false; 2],
            last_rule: [[None; 2]; 2],
            events: Vec::new(),
            handlers: BTreeMap::new(),
            handlers_run: Vec::new(),
            inspections: Vec::new(),
            answers: BTreeMap::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            takes_over: None,
            events_seen: 0,
            events_at_once: 0,
            plan,
        };
        world.create_disks();
        world
    }

    fn begin(&mut self) {
        let text = format!("{:?}", self.plan);
        self.trace.line(self.now, "world", || text);
        for node in 0..2 {
            let wants = self.plan.two_primaries || self.plan.first_primary == NodeId(node as u8);
            self.nodes[node].wants_primary = wants;
            let at = Time(self.rng.below(20_000_000));
            self.schedule(at, Event::Start(node));
            self.schedule(at + POLL, Event::Poll(node));
        }
        for (i, (at, _)) in self.plan.faults.clone().into_iter().enumerate() {
            self.schedule(Time(0) + at, Event::Fault(i));
        }
        self.schedule(Time(0) + self.plan.chaos, Event::Heal);
    }

    /// Runs it to its end.
    pub fn run(&mut self) {
        while self.advance(Time(u64::MAX)) {
            if self.failure.is_some() || self.phase == Phase::Done {
                return;
            }
        }
        self.fail("liveness", "nothing more happens, and the world is not at rest".into());
    }

    /// The next event happens, if it is not later than that.
    pub(crate) fn advance(&mut self, latest: Time) -> bool {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > latest) {
            return false;
        }
        let Some(Reverse(next)) = self.queue.pop() else { return false };
        self.events_at_once = if next.at == self.now { self.events_at_once + 1 } else { 0 };
        self.events_seen += 1;
        self.now = next.at;
        if self.events_seen > EVENTS_MAX || self.events_at_once > EVENTS_AT_ONCE_MAX {
            self.fail("liveness", "events without end: a livelock".into());
            return true;
        }
        self.handle(next.event);
        self.check_always();
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start(node) => self.start(node),
            Event::Timer { node, life } => self.timer(node, life),
            Event::Disk { node, life, volume, ticket } => {
                self.disk_done(node, life, volume, ticket);
            }
            Event::Deliver { conn, from } => self.deliver(conn, from),
            Event::LinkUp { conn, node, initiated } => self.link_up(conn, node, initiated),
            Event::LinkDown { conn, node } => self.link_down(conn, node),
            Event::ConnectFailed { node, life, refused } => {
                self.connect_failed(node, life, refused);
            }
            Event::Handler { node, life, id, handler, exit } => {
                self.handler_done(node, life, id, handler, exit);
            }
            Event::Measured { node, life, volume } => self.measured(node, life, volume),
            Event::Open { node, life } => self.open_clients(node, life),
            Event::Client(client) => self.ask(client),
            Event::Fault(fault) => self.fault(fault),
            Event::Doom { node, death, down } => {
                let effects = self.rng.below(20);
                self.doom(node, death, effects, down);
            }
            Event::Resume(node) => self.resume(node),
            Event::Poll(node) => self.poll(node),
            Event::Heal => self.heal(),
            Event::Watch => self.watch(),
        }
    }

    /// Something is going to happen then; not before now.
    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        let at = at.max(self.now);
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    /// The next moment of the history: nanoseconds of the world, but no two alike.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.stamp = self.now.0.max(self.stamp + 1);
        self.stamp
    }

    /// An oracle has found something. The first finding counts.
    pub(crate) fn fail(&mut self, oracle: &'static str, text: String) {
        if self.failure.is_none() {
            self.trace.line(self.now, "FAIL", || format!("{oracle}: {text}"));
            self.failure = Some(Failure { oracle, text, at: self.now });
        }
    }

    /// The class of its trouble.
    pub const fn class(&self) -> Class {
        self.plan.class
    }

    /// What was reached.
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What happened.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What an oracle has found.
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// How many requests clients have made.
    pub fn requests_made(&self) -> usize {
        self.requests.len()
    }

    /// A delay of a message.
    pub(crate) fn delay(&mut self) -> Span {
        Span::micros(self.rng.between(20, self.plan.delay_micros))
    }
}
