//! A node: a machine with disks, and what runs on it.

use crate::disk::{Disk, Ticket};
use crate::disk_loss::Loss;
use crate::marks::Mark;
use crate::plan::Plan;
use metadata::{Batch, OutOfSync, Recovered};
use replicator::{CommandId, DiskOpId, Engine, Input, MetaOpId};
use std::collections::{BTreeMap, VecDeque};
use types::{NodeId, Role, Time, VolumeId};

/// The volumes of every world.
pub(crate) const VOLUMES: [VolumeId; 2] = [VolumeId(0), VolumeId(1)];
/// Their names.
pub(crate) const NODE_NAMES: [&str; 2] = ["alpha", "beta"];
/// The resource of every world.
pub(crate) const RESOURCE: &str = "sim";

/// What runs on a machine.
#[derive(Debug)]
pub(crate) enum Process {
    /// Nothing: dead, or stopped in order.
    Down,
    /// The daemon makes the plans of recovered metadata durable.
    Recovering {
        /// What is still to be written, in order.
        todo: VecDeque<(usize, Batch)>,
        /// What it is for.
        recovered: Vec<Recovered>,
    },
    /// The engine runs.
    Running(Box<Engine>),
}

/// Whose answer an operation of a disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// The engine's, about data.
    Data(DiskOpId),
    /// The engine's, about metadata.
    Meta(MetaOpId),
    /// The start procedure's.
    Recovery,
    /// That of an operator who gives a disk back to a running engine.
    Reattach,
}

/// What an order was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Attach a volume.
    Attach,
    /// Attach a volume again that had lost its disk.
    Reattach(usize),
    /// Let the disk of a volume go.
    Detach(usize),
    /// Seek the peer.
    Connect,
    /// Leave the peer.
    Disconnect,
    /// Become Primary (by force).
    Promote(bool),
    /// Become Secondary.
    Demote,
    /// End in order.
    Stop,
    /// Take other options; and what it means if they are refused, which they must be then.
    Reconfigure(Option<Mark>),
    /// Give a copy up, the peer's or its own.
    Invalidate(bool),
    /// Grow a volume.
    Resize {
        /// Which.
        volume: usize,
        /// The peer is away, and believed to have room.
        assumed: bool,
    },
    /// Verify so many blocks of a volume; whether nothing is in the way of it.
    Verify {
        /// Which volume.
        volume: usize,
        /// How many blocks.
        blocks: u64,
        /// Nothing is in the way.
        calm: bool,
    },
    /// What changes nothing that the world must know of.
    Other,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Which.
    pub(crate) id: NodeId,
    /// Counts starts of its process, and deaths.
    pub(crate) life: u32,
    /// How many inputs its engines have taken.
    pub(crate) steps: u64,
    /// What runs.
    pub(crate) process: Process,
    /// Whether the machine has power, so that it can say that nobody listens.
    pub(crate) powered: bool,
    /// Until then the process stands still.
    pub(crate) paused_until: Time,
    /// Inputs that came while it stood still.
    pub(crate) waiting: Vec<Input>,
    /// One for each volume.
    pub(crate) disks: Vec<Disk>,
    /// Operations of the disks in flight.
    pub(crate) disk_ops: BTreeMap<(usize, Ticket), Asker>,
    /// The marks as a recovery would find them, while no engine has the disk.
    pub(crate) offline: Vec<Option<OutOfSync>>,
    /// How many extents can be hot on each volume, and which were written in this life.
    pub(crate) extents: Vec<(u32, std::collections::BTreeSet<u64>)>,
    /// Whether the daemon is to make it Primary, once it can.
    pub(crate) wants_primary: bool,
    /// From then on it becomes Primary without having met the peer.
    pub(crate) alone_after: Time,
    /// The next try to become Primary.
    pub(crate) promote_after: Time,
    /// The role, as the engine has answered.
    pub(crate) role: Role,
    /// Whether it is to stay disconnected until then.
    pub(crate) disconnected_until: Option<Time>,
    /// Until when the resync of each volume is paused by order here.
    pub(crate) sync_paused: [Option<Time>; 2],
    /// Orders not yet answered.
    pub(crate) orders: BTreeMap<CommandId, (Order, Time)>,
    /// The next timer event, if one is queued.
    pub(crate) timer_at: Option<Time>,
    /// It dies after so many more effects.
    pub(crate) doomed: Option<Doom>,
    /// How far its clock is ahead of the world's.
    pub(crate) clock: types::Span,
    /// The number of its last connection.
    pub(crate) last_epoch: u64,
    /// Whether its last process ended in order.
    pub(crate) stopped: bool,
    /// Its power was cut at least once.
    pub(crate) lost_power: bool,
    /// Which volumes' sessions the handshake that runs has resumed.
    pub(crate) resumed: [bool; 2],
    /// It has died and is not yet in sync again: the other has all that it has.
    pub(crate) behind: bool,
    /// How large each volume is for its clients.
    pub(crate) sizes: [u64; 2],
    /// How large its disks were when their metadata were put where they are: kept by the daemon, and
    /// durable.
    pub(crate) ends: [Vec<u64>; 2],
    /// Its peer was left behind in a volume, and has not been in touch since.
    pub(crate) ahead: [bool; 2],
    /// It died while its peer was left behind, and the peer may not have known.
    pub(crate) died_ahead: bool,
    /// Disks that fail or are gone, and come back.
    pub(crate) losses: [Option<Loss>; 2],
}

/// A death that is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doom {
    /// After so many more effects.
    pub(crate) effects: u64,
    /// How.
    pub(crate) death: crate::plan::Death,
    /// For how long.
    pub(crate) down: types::Span,
}

impl Node {
    /// A machine without a process.
    pub(crate) fn new(id: NodeId, plan: &Plan, rng: &mut types::Prng) -> Self {
        let at = usize::from(id.0);
        let disk = |bytes| Disk::new(bytes, plan.granules[at], plan.slowness[at], rng.fork());
        Self {
            id,
            life: 0,
            steps: 0,
            process: Process::Down,
            powered: true,
            paused_until: Time(0),
            waiting: Vec::new(),
            disks: plan.device_bytes.into_iter().map(disk).collect(),
            disk_ops: BTreeMap::new(),
            offline: VOLUMES.map(|_| None).into(),
            extents: VOLUMES.map(|_| (0, std::collections::BTreeSet::new())).into(),
            wants_primary: false,
            alone_after: Time(u64::MAX),
            promote_after: Time(0),
            role: Role::Secondary,
            disconnected_until: None,
            sync_paused: [None; 2],
            orders: BTreeMap::new(),
            timer_at: None,
            doomed: None,
            clock: types::Span::secs(rng.between(1_700_000_000, 1_700_100_000)),
            last_epoch: 0,
            stopped: false,
            lost_power: false,
            resumed: [false; 2],
            behind: false,
            sizes: plan.first_sizes(),
            ends: plan.device_bytes.map(|bytes| vec![bytes]),
            ahead: [false; 2],
            died_ahead: false,
            losses: [None, None],
        }
    }

    /// The engine, if one runs.
    pub(crate) const fn engine(&self) -> Option<&Engine> {
        match &self.process {
            Process::Running(engine) => Some(engine),
            Process::Down | Process::Recovering { .. } => None,
        }
    }

    /// Whether its process stands still.
    pub(crate) fn is_paused(&self, now: Time) -> bool {
        now < self.paused_until
    }
}
