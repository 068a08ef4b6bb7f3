//! The fault atlas: which worlds there are, and what each may have to endure.
//!
//! A class says which faults happen, and thereby what may be demanded of the engines: the oracles
//! ask the class (see `oracle`). Everything random about a world that is not decided while it runs
//! is decided here, from the seed.

use crate::disk::DiskFaults;
use crate::node::VOLUMES;
use crate::resync_orders::{draw_orders, draw_paces};
use replicator::{Digest, Fencing, OnCongestion, OnNoData, Options};
use types::{BLOCK_BYTES, EXTENT_BYTES, NodeId, Prng, Protocol, Span};

/// What kind of trouble a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Connections break, stall or fall silent, processes are paused; never for so long that a
    /// node may go on alone. All resumes, and nobody notices.
    Resets,
    /// One node at a time is killed or loses power; the other stays up until both are in sync.
    OneDies,
    /// Both nodes lose power, at once or one after the other: flushed writes survive.
    BothPower,
    /// Both daemons are killed, the machines stay up: all answered writes survive.
    BothKilled,
    /// The only Primary is without its peer for long and goes on alone.
    Solo,
    /// Both are Primary and without each other for long: split brain, found by both.
    SplitBrain,
    /// An operator changes roles, disconnects, stops and starts nodes in order.
    Orders,
    /// Fresh disks: one is forced Primary, all is copied, with interruptions.
    FullSync,
    /// One disk of one node fails, or is detached under load; the peer's disk stays good.
    DiskFails,
    /// `fencing resource-and-stonith`: links are lost for long, nodes die, and handlers shoot the
    /// peer or do not. Nobody diverges.
    Fencing,
    /// Disks grow, an operator has the volumes grow, and one node at a time is killed or loses power.
    Grow,
    /// Whatever a script does; no seed draws it.
    Scripted,
}

impl Class {
    /// Every class that a seed can have.
    pub const ALL: [Self; 11] = [
        Self::Resets,
        Self::OneDies,
        Self::BothPower,
        Self::BothKilled,
        Self::Solo,
        Self::SplitBrain,
        Self::Orders,
        Self::FullSync,
        Self::DiskFails,
        Self::Fencing,
        Self::Grow,
    ];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::OneDies => "one-dies",
            Self::BothPower => "both-power",
            Self::BothKilled => "both-killed",
            Self::Solo => "solo",
            Self::SplitBrain => "split-brain",
            Self::Orders => "orders",
            Self::FullSync => "full-sync",
            Self::DiskFails => "disk-fails",
            Self::Fencing => "fencing",
            Self::Grow => "grow",
            Self::Scripted => "scripted",
        }
    }

    /// Whether engines lose disks and get them back while they run.
    pub const fn loses_disks(self) -> bool {
        matches!(self, Self::DiskFails | Self::Scripted)
    }

    /// Whether a read or write may fail for want of data while a node is Primary.
    pub const fn errors_allowed(self) -> bool {
        !matches!(self, Self::Resets | Self::OneDies | Self::Solo | Self::DiskFails | Self::Fencing)
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|class| class.as_str() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("no class `{name}`; there are {names}")
        })
    }
}

/// How a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// SIGKILL: the system's cache survives.
    Kill,
    /// No power: what was not flushed may be lost.
    Power,
}

/// Something that happens to a world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// All connections are reset; each side hears of it, maybe later.
    Reset,
    /// All connections fall silent in these directions (sent by node 0, by node 1); new ones work.
    Silence([bool; 2]),
    /// Everything sent is late by so much.
    Stall(Span),
    /// No link at all for so long, and nobody is told.
    Partition(Span),
    /// All connections are reset, both sides hear of it, and there is no link for so long.
    Unplug(Span),
    /// A process stands still for so long.
    Pause(NodeId, Span),
    /// A node dies as soon as it may, after that many more effects; and comes back after so long.
    Die(NodeId, Death, u64, Span),
    /// The Secondary takes over if the Primary is dead.
    Failover,
    /// This node becomes Primary although the other may be one, unseen.
    TakeOver(NodeId),
    /// Stop in order; start again after so long.
    Restart(NodeId, Span),
    /// The Primary gives its role to the other.
    SwapRoles,
    /// Ask for a demotion while clients are there.
    DemoteBusy(NodeId),
    /// Ask for a second Primary where that is not allowed.
    PromoteBoth,
    /// Disconnect by order; connect again after so long.
    Disconnect(NodeId, Span),
    /// One process of a dead pair stays dead until the other may be waiting for it.
    DieBoth(Death, Span),
    /// A disk of a node begins to fail in this way; it comes back after so long.
    DiskFails(NodeId, usize, DiskFaults, Span),
    /// A disk of a node is detached by order, while it may be failing; it comes back.
    Detach(NodeId, usize, DiskFaults, Span),
    /// A disk of a node is larger by so many bytes from now on.
    Enlarge(NodeId, usize, u64),
    /// An operator wants a volume to be as large as it can, at this node.
    Resize(NodeId, usize),
    /// The options of a node change, to what this seed says, while everything goes on.
    Reconfigure(NodeId, u64),
    /// The resync of a volume is to stand still at a node, for so long.
    PauseSync(NodeId, usize, Span),
    /// A node is told that the copy of a volume, its own or its peer's, is to be given up.
    Invalidate {
        /// Who is told.
        node: NodeId,
        /// Which volume.
        volume: usize,
        /// The peer's copy.
        remote: bool,
        /// Only what is marked.
        marked: bool,
    },
    /// A node is to verify a volume, or to end that; and again and again, as this seed says.
    Verify(NodeId, usize, u64),
}

impl Fault {
    /// Whether a node loses its power.
    pub(crate) const fn cuts_power(&self) -> bool {
        matches!(self, Self::Die(_, Death::Power, ..) | Self::DieBoth(Death::Power, _))
    }
}

/// All that is decided beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The class.
    pub class: Class,
    /// Both nodes are Primary.
    pub two_primaries: bool,
    /// The first Primary (one of two, or the only one).
    pub first_primary: NodeId,
    /// Sizes of the disks of the two volumes.
    pub device_bytes: [u64; 2],
    /// The granule of each node's disks.
    pub granules: [u64; 2],
    /// How slow each node's disks are.
    pub slowness: [u64; 2],
    /// How many extents may be hot.
    pub al_extents: u32,
    /// Options of the engines.
    pub options: Options,
    /// Whether disks keep an activity log.
    pub al_updates: bool,
    /// First bytes of the places that clients fight for, for each volume: runs of eight blocks.
    pub places: [Vec<u64>; 2],
    /// The same beyond the size that the volumes begin with.
    pub later_places: [Vec<u64>; 2],
    /// Request loops for each node and volume.
    pub loops: u64,
    /// Requests of all clients together.
    pub requests: u64,
    /// How long a client that takes its time thinks, on average.
    pub think: Span,
    /// The longest delay of a message, in microseconds.
    pub delay_micros: u64,
    /// When trouble and load end.
    pub chaos: Span,
    /// What happens, and when.
    pub faults: Vec<(Span, Fault)>,
    /// Whether clients ask for nothing more once the nodes are parted for long.
    pub idle_when_parted: bool,
    /// How each node's `fence-peer` ends, and how long it takes. With 7 it has shot the peer.
    pub fence: [(Option<i32>, Span); 2],
    /// Whether disks begin equal, with a common generation.
    pub begins_in_sync: bool,
}

const MIB: u64 = 1 << 20;

/// The classes that seeds draw; the more often one stands here, the more often.
const DRAWN: &[Class] = &[
    Class::Resets,
    Class::Resets,
    Class::Resets,
    Class::OneDies,
    Class::OneDies,
    Class::OneDies,
    Class::OneDies,
    Class::BothPower,
    Class::BothPower,
    Class::BothKilled,
    Class::BothKilled,
    Class::Solo,
    Class::Solo,
    Class::SplitBrain,
    Class::Orders,
    Class::Orders,
    Class::FullSync,
    Class::DiskFails,
    Class::DiskFails,
];

impl Plan {
    /// The plan of a seed, of that class or one that the seed chooses.
    pub fn new(seed: u64, class: Option<Class>) -> Self {
        let mut rng = Prng::new(seed ^ 0x706c_616e);
        let drawn = draw_class(seed, &mut rng);
        let class = class.unwrap_or(drawn);
        let two_primaries = two_primaries(class, seed, &mut rng);
        let many_extents = !matches!(class, Class::FullSync | Class::Grow) && rng.chance(1, 12);
        let device_bytes = std::array::from_fn(|_| match class {
            Class::FullSync => rng.between(1, 6) * MIB + 256 * 1024,
            Class::Grow => rng.between(5, 20) * MIB,
            _ if many_extents => 400 * MIB,
            _ => rng.between(20, 80) * MIB,
        });
        let extents = if many_extents { rng.between(75, 95) } else { rng.between(1, 3) };
        let places = device_bytes.map(|device| places(&mut rng, device, extents));
        let later_places = match class {
            Class::Grow => device_bytes.map(later_places),
            _ => [Vec::new(), Vec::new()],
        };
        let granules = if rng.chance(1, 3) { [512, 4096] } else { [512, 512] };
        let chaos = Span::millis(rng.between(1500, 12_000));
        let mut plan = Self {
            class,
            two_primaries,
            first_primary: NodeId(rng.below(2) as u8),
            device_bytes,
            granules: if rng.chance(1, 2) { granules } else { [granules[1], granules[0]] },
            slowness: [rng.between(1, 4), rng.between(1, 4)],
            al_extents: rng.between(2, 6) as u32,
            options: options(&mut rng, two_primaries, many_extents),
            al_updates: true,
            places,
            later_places,
            loops: rng.between(1, 4),
            requests: if many_extents { 700 } else { rng.between(100, 300) },
            think: Span(0),
            delay_micros: *rng.pick(&[100, 300, 1000, 5000, 20_000]),
            chaos,
            faults: Vec::new(),
            idle_when_parted: rng.chance(1, 3),
            fence: [(Some(0), Span(0)); 2],
            begins_in_sync: class != Class::FullSync,
        };
        if class == Class::SplitBrain {
            // The partition lasts until load ends: nobody writes after it is healed.
            let long = Span(plan.options.timeout.0 * 2 + 2_000_000_000);
            plan.chaos = plan.chaos + long;
        }
        let loops = plan.loops * 2 * if two_primaries { 2 } else { 1 };
        plan.think = Span(plan.chaos.0 * 5 * loops / plan.requests);
        // Of its own numbers: what is drawn above stays what it was.
        plan.draw_policies(&mut Prng::new(seed ^ 0x706f_6c69));
        plan.draw_protocol(&mut Prng::new(seed ^ 0x7072_6f74));
        plan.faults = faults(&mut rng, &plan);
        let changes = reconfigurations(&mut Prng::new(seed ^ 0x6164_6a75), &plan);
        plan.faults.extend(changes);
        let mut resyncs = Prng::new(seed ^ 0x7265_7379);
        let orders = draw_orders(&mut resyncs, &plan);
        plan.faults.extend(orders);
        if class != Class::Scripted {
            draw_paces(&mut resyncs, &mut plan);
        }
        plan.draw_csums(&mut Prng::new(seed ^ 0x6373_756d));
        let verifies = plan.draw_verifies(&mut Prng::new(seed ^ 0x7665_7269));
        plan.faults.extend(verifies);
        plan.faults.sort_by_key(|(at, _)| at.0);
        if class == Class::Resets && rng.chance(1, 3) {
            plan.crowd();
        }
        plan
    }

    /// What becomes of requests without data, and of a peer that is lost.
    fn draw_policies(&mut self, rng: &mut Prng) {
        self.al_updates = !rng.chance(1, 12);
        if rng.chance(1, 3) {
            self.options.on_no_data_accessible = OnNoData::SuspendIo;
        }
        if self.class == Class::Fencing {
            self.options.fencing = Fencing::ResourceAndStonith;
            let shoots = rng.chance(1, 2);
            self.fence = std::array::from_fn(|_| {
                let fails = *rng.pick(&[Some(0), Some(1), None]);
                let after = Span::millis(rng.between(1, 8000));
                (if shoots { Some(7) } else { fails }, after)
            });
        }
    }

    /// When writes are answered: early only with one Primary.
    fn draw_protocol(&mut self, rng: &mut Prng) {
        let parted = self.class == Class::SplitBrain;
        if self.two_primaries || self.class == Class::Scripted || !(parted || rng.chance(2, 3)) {
            return;
        }
        if parted {
            // What is on its way when the other node takes over is what it is about.
            self.idle_when_parted = rng.chance(3, 4);
            self.delay_micros = 20_000;
        }
        // Frozen I/O and answers that are queued only do not go together.
        let received = self.class == Class::Fencing || rng.chance(1, 3);
        self.options.protocol = if received { Protocol::B } else { Protocol::A };
        let diverges = matches!(
            self.class,
            Class::OneDies | Class::BothKilled | Class::Solo | Class::Orders | Class::FullSync
        );
        if rng.chance(1, 2) {
            self.options.congestion_fill = rng.between(1, 16) << 12;
            self.options.congestion_extents = rng.between(1, 8) as u32;
            if !received && diverges && rng.chance(2, 3) {
                self.options.on_congestion = OnCongestion::PullAhead;
            }
        }
    }

    /// Whether resyncs compare before they copy.
    fn draw_csums(&mut self, rng: &mut Prng) {
        if self.class != Class::Scripted && rng.chance(1, 3) {
            self.options.csums_alg = Some(*rng.pick(&[Digest::Xxh3, Digest::Sha256]));
            self.options.csums_after_crash_only = rng.chance(1, 3);
        }
    }

    /// Verifies, now and then one after the other from both nodes.
    fn draw_verifies(&mut self, rng: &mut Prng) -> Vec<(Span, Fault)> {
        self.options.verify_alg = Some(*rng.pick(&Digest::ALL));
        let drawn = rng.chance(1, 4) && self.class != Class::Scripted;
        let orders = if drawn { rng.between(1, 3) } else { 0 };
        let order = |_| {
            let when = Span(rng.below(self.chaos.0 / 2));
            let node = NodeId(rng.below(2) as u8);
            (when, Fault::Verify(node, rng.below(2) as usize, rng.next_u64()))
        };
        (0..orders).map(order).collect()
    }

    /// All want one place at once, the link is fast and the disks are slow.
    fn crowd(&mut self) {
        for places in &mut self.places {
            places.truncate(1);
        }
        self.loops = 4;
        self.requests = 300;
        self.think = Span::millis(2);
        self.delay_micros = 100;
        self.slowness = [4, 4];
    }

    /// How large the volumes are at first: what the disks have room for, as far as it is used.
    pub(crate) fn first_sizes(&self) -> [u64; 2] {
        std::array::from_fn(|volume| {
            let room = crate::disk::layout(self.device_bytes[volume]).data_bytes();
            match self.options.of_volume(VOLUMES[volume]).size {
                0 => room,
                size => room.min((size / BLOCK_BYTES * BLOCK_BYTES).max(BLOCK_BYTES)),
            }
        })
    }

    /// The longest outage that no engine may take for the loss of its peer, if it hears of it.
    pub fn short(&self) -> Span {
        Span(self.options.timeout.0 / 4)
    }

    /// The same for silences: short enough that most are over before they are noticed.
    pub fn short_silence(&self) -> Span {
        Span(self.options.ping_timeout.0 * 3 / 4)
    }
}

fn draw_class(seed: u64, rng: &mut Prng) -> Class {
    let drawn = *rng.pick(DRAWN);
    // Of its own numbers: what is drawn else stays what it was.
    let fencing = Prng::new(seed ^ 0x6665_6e63).chance(1, 14);
    let grows = Prng::new(seed ^ 0x6772_6f77).chance(1, 16);
    match (fencing, grows) {
        (true, _) => Class::Fencing,
        (false, true) => Class::Grow,
        (false, false) => drawn,
    }
}

fn two_primaries(class: Class, seed: u64, rng: &mut Prng) -> bool {
    match class {
        // Now and then one Primary, and the other node takes over unseen.
        Class::SplitBrain => !Prng::new(seed ^ 0x756e_7365).chance(1, 3),
        Class::Solo => false,
        Class::Orders | Class::FullSync | Class::DiskFails | Class::Scripted => rng.chance(1, 2),
        Class::Resets
        | Class::OneDies
        | Class::BothPower
        | Class::BothKilled
        | Class::Grow
        | Class::Fencing => rng.chance(3, 4),
    }
}

fn options(rng: &mut Prng, two_primaries: bool, many_extents: bool) -> Options {
    // After a crash all hot extents travel: that must not take more requests than a world is worth.
    let request = if many_extents { 1 << 20 } else { 16_384 << rng.below(5) };
    Options {
        allow_two_primaries: two_primaries,
        timeout: Span::millis(rng.between(3000, 6000)),
        ko_count: if rng.chance(1, 4) { 0 } else { 7 },
        ping_int: Span::millis(rng.between(300, 1000)),
        ping_timeout: Span::millis(rng.between(300, 500)),
        connect_int: Span::millis(rng.between(500, 2000)),
        flush_interval: Span::millis(rng.between(50, 1000)),
        flush_bytes: if rng.chance(1, 3) { rng.between(16, 128) << 12 } else { 64 << 20 },
        resync_window: request * rng.between(1, 8),
        resync_request: request,
        ..Options::default()
    }
}

/// What an operator may change of the options of a running node. Nothing that the class of the world
/// relies on: what a loss of the peer is, and what becomes of it.
pub(crate) fn other_options(planned: &Options, seed: u64) -> Options {
    let rng = &mut Prng::new(seed);
    let most = planned.flush_bytes;
    Options {
        ko_count: if rng.chance(1, 4) { 0 } else { 7 },
        ping_int: Span::millis(rng.between(300, 1000)),
        connect_int: Span::millis(rng.between(500, 2000)),
        flush_interval: Span::millis(rng.between(50, 1000)),
        flush_bytes: if rng.chance(1, 2) { most.min(rng.between(16, 128) << 12) } else { most },
        ..planned.clone()
    }
}

fn reconfigurations(rng: &mut Prng, plan: &Plan) -> Vec<(Span, Fault)> {
    let times =
        if rng.chance(1, 3) && plan.class != Class::Scripted { rng.between(1, 6) } else { 0 };
    let change = |_| {
        let when = Span(rng.below(plan.chaos.0 * 9 / 10));
        (when, Fault::Reconfigure(NodeId(rng.below(2) as u8), rng.next_u64()))
    };
    (0..times).map(change).collect()
}

/// Places in different extents, some of them astride the border to the next extent.
fn places(rng: &mut Prng, device_bytes: u64, extents: u64) -> Vec<u64> {
    let usable = crate::disk::layout(device_bytes).data_bytes() - 64 * 1024;
    let all = usable / EXTENT_BYTES;
    let mut places: Vec<u64> = Vec::new();
    for i in 0..extents {
        // Spread evenly, so that no two places are in the same extent unless there are too few.
        let extent = if all == 0 { 0 } else { i * all / extents };
        let border = rng.chance(1, 3);
        let within = if border { EXTENT_BYTES - 4 * 4096 } else { rng.below(1000) * 4096 };
        let place = (extent * EXTENT_BYTES + within).min(usable / 4096 * 4096);
        if places.iter().all(|other| other.abs_diff(place) >= 8 * 4096) {
            places.push(place);
        }
    }
    places
}

fn faults(rng: &mut Prng, plan: &Plan) -> Vec<(Span, Fault)> {
    let mut faults = Vec::new();
    // A moment in the middle of the trouble.
    let at = |rng: &mut Prng| Span(rng.between(plan.chaos.0 / 20, plan.chaos.0 * 9 / 10));
    let node = |rng: &mut Prng| NodeId(rng.below(2) as u8);
    let blips = match plan.class {
        Class::Resets => rng.between(2, 8),
        Class::SplitBrain => 0,
        _ => rng.below(3),
    };
    for _ in 0..blips {
        let silent = Span(rng.between(1_000_000, plan.short_silence().0));
        let loud = Span(rng.between(1_000_000, plan.short().0));
        let silence = *rng.pick(&[[true, true], [true, false], [false, true]]);
        let kinds = if plan.class == Class::DiskFails { 4 } else { 9 };
        let fault = match rng.below(kinds) {
            0..=3 => Fault::Reset,
            4 => Fault::Silence(silence),
            5 => Fault::Stall(silent),
            6 => Fault::Pause(node(rng), silent),
            7 => Fault::Unplug(loud),
            _ => Fault::Partition(silent),
        };
        let when = at(rng);
        faults.push((when, fault));
        if rng.chance(1, 4) {
            // Flapping.
            let again = Span(rng.between(100_000, 300_000_000));
            faults.push((Span(when.0 + again.0), Fault::Reset));
        }
    }
    let own = match plan.class {
        Class::Resets | Class::Scripted => Vec::new(),
        Class::FullSync if rng.chance(1, 4) => {
            vec![Fault::DieBoth(Death::Kill, Span::micros(rng.below(20_000)))]
        }
        Class::OneDies | Class::FullSync => {
            (0..rng.between(1, 4)).flat_map(|_| one_death(rng, plan)).collect()
        }
        Class::BothPower => vec![Fault::DieBoth(Death::Power, gap(rng, plan))],
        Class::BothKilled => vec![Fault::DieBoth(Death::Kill, gap(rng, plan))],
        Class::Solo => solo(rng, plan),
        Class::SplitBrain => {
            let mut faults = vec![Fault::Partition(Span::secs(60))];
            if !plan.two_primaries {
                faults.push(Fault::TakeOver(NodeId(1 - plan.first_primary.0)));
            }
            faults
        }
        Class::Orders => (0..rng.between(1, 4)).map(|_| order(rng, plan)).collect(),
        Class::DiskFails => (0..rng.between(1, 3)).map(|_| disk_loss(rng)).collect(),
        Class::Fencing => (0..rng.between(1, 4)).map(|_| long_loss(rng, plan)).collect(),
        Class::Grow => growth(rng, plan),
    };
    for fault in own {
        let when = match plan.class {
            // The same moment for what belongs together is fine; near the start leaves time.
            Class::SplitBrain => Span(plan.chaos.0 - plan.options.timeout.0 * 2 - 1_500_000_000),
            Class::BothPower | Class::BothKilled => Span(at(rng).0 / 2),
            // Early, or all has been copied.
            Class::FullSync if rng.chance(1, 4) => Span(rng.between(50, 1500) * 1_000_000),
            _ => at(rng),
        };
        faults.push((when, fault));
    }
    faults
}

/// Disks grow in any order, an operator tries again and again, and nodes die meanwhile.
fn growth(rng: &mut Prng, plan: &Plan) -> Vec<Fault> {
    let node = |rng: &mut Prng| NodeId(rng.below(2) as u8);
    let mut faults = Vec::new();
    for volume in 0..rng.between(1, 2) as usize {
        for at in 0..2 {
            if rng.chance(1, 10) {
                // Too little for the metadata to move.
                faults.push(Fault::Enlarge(NodeId(at), volume, BLOCK_BYTES));
            }
            let extra = rng.between(1, 30) * MIB + rng.below(2) * 13 * BLOCK_BYTES;
            faults.push(Fault::Enlarge(NodeId(at), volume, extra));
        }
        let orders = rng.between(2, 5);
        faults.extend((0..orders).map(|_| Fault::Resize(node(rng), volume)));
    }
    let deaths = rng.below(4);
    faults.extend((0..deaths).flat_map(|_| one_death(rng, plan)));
    faults
}

/// The last blocks before the old end, with the first behind it, where the metadata were; and one
/// further on.
fn later_places(device_bytes: u64) -> Vec<u64> {
    let end = crate::disk::layout(device_bytes).data_bytes();
    vec![end - 4 * BLOCK_BYTES, end + 256 * 1024]
}

/// Between the deaths of both nodes: none, hardly any, or so much that the second is alone.
fn gap(rng: &mut Prng, plan: &Plan) -> Span {
    match rng.below(8) {
        0 => Span(0),
        1..=3 => Span::micros(rng.below(20_000)),
        4..=6 => Span::millis(rng.below(2000)),
        _ => Span(plan.options.timeout.0 * 2 + rng.below(2_000_000_000)),
    }
}

fn down_time(rng: &mut Prng) -> Span {
    Span::millis(if rng.chance(1, 2) { rng.between(1, 300) } else { rng.between(300, 9000) })
}

fn one_death(rng: &mut Prng, plan: &Plan) -> Vec<Fault> {
    let death = if rng.chance(1, 2) { Death::Kill } else { Death::Power };
    let effects = if rng.chance(3, 4) { rng.below(40) } else { 0 };
    let die = Fault::Die(NodeId(rng.below(2) as u8), death, effects, down_time(rng));
    if !plan.two_primaries && rng.chance(1, 2) { vec![die, Fault::Failover] } else { vec![die] }
}

/// A loss of the link that is longer than anybody waits, or the death of a node.
fn long_loss(rng: &mut Prng, plan: &Plan) -> Fault {
    let long = Span(plan.options.timeout.0 + rng.below(12_000_000_000));
    match rng.below(4) {
        0 | 1 => Fault::Partition(long),
        2 => Fault::Unplug(long),
        _ => {
            let death = if rng.chance(1, 2) { Death::Kill } else { Death::Power };
            Fault::Die(NodeId(rng.below(2) as u8), death, rng.below(40), down_time(rng))
        }
    }
}

fn solo(rng: &mut Prng, plan: &Plan) -> Vec<Fault> {
    let primary = plan.first_primary;
    let secondary = NodeId(1 - primary.0);
    let long = Span(plan.options.timeout.0 * 2 + rng.below(4_000_000_000));
    let mut faults = vec![match rng.below(4) {
        0 | 1 => Fault::Partition(long),
        2 => Fault::Pause(secondary, long),
        _ => Fault::Disconnect(NodeId(rng.below(2) as u8), long),
    }];
    let primary_dies = rng.chance(1, 3);
    if primary_dies {
        faults.push(Fault::Die(primary, Death::Kill, rng.below(20), down_time(rng)));
    }
    if rng.chance(1, 2) {
        // Lost caches at one node and a dead Primary would be two failures at once.
        let power = !primary_dies && rng.chance(1, 2);
        let death = if power { Death::Power } else { Death::Kill };
        faults.push(Fault::Die(secondary, death, rng.below(20), down_time(rng)));
    }
    faults
}

fn disk_loss(rng: &mut Prng) -> Fault {
    let (node, volume) = (NodeId(rng.below(2) as u8), rng.below(2) as usize);
    let ordered = rng.chance(1, 4);
    let sound = ordered && rng.chance(2, 3);
    let faults = if sound { DiskFaults::default() } else { DiskFaults::draw(rng) };
    let back = down_time(rng);
    if ordered {
        Fault::Detach(node, volume, faults, back)
    } else {
        Fault::DiskFails(node, volume, faults, back)
    }
}

fn order(rng: &mut Prng, plan: &Plan) -> Fault {
    let node = NodeId(rng.below(2) as u8);
    match rng.below(6) {
        0 | 1 => Fault::Restart(node, down_time(rng)),
        2 => Fault::DemoteBusy(node),
        3 if !plan.two_primaries => Fault::SwapRoles,
        4 if !plan.two_primaries => Fault::PromoteBoth,
        5 if !plan.two_primaries => Fault::Disconnect(node, down_time(rng)),
        _ => Fault::Reset,
    }
}
