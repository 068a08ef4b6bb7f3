//! Every state that a loss of power can leave, for each operation of the engine, and what comes
//! of it.
//!
//! Two engines as they ship carry out an operation on devices of 64 sectors, without chance.
//! Power goes after each single thing that happens; at each such instant every sector of the
//! victim's disk that is not flushed may keep any of its contents since the last flush, whatever
//! the others keep. Each of these disks is started again: alone, where it must give out
//! nothing but good data, and with its peer, in several ways, where the two must agree, become
//! equal, and have everything that was answered.
//!
//! The device has two superblock slots, the smallest log (two blocks), a page of bitmap and three
//! blocks of data. Only for the eviction of an extent it is larger, since an extent has 4 MiB;
//! no more sectors of it are used.

mod bench;
mod judge;
mod ledger;
mod platter;
mod scripts;

use bench::{Bench, Pace};
use judge::{Fate, judge};
use platter::Image;
use scripts::Cast;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use types::{DiskState, Span, VolumeId};

const RESOURCE: &str = "bench";
const VOLUME: VolumeId = VolumeId(0);
const NODES: [&str; 2] = ["alpha", "beta"];
/// The link is faster than the disks, or slower.
const PACES: [Pace; 2] = [
    Pace { message: Span::micros(30), data: Span::micros(100), flush: Span::micros(300) },
    Pace { message: Span::micros(700), data: Span::micros(100), flush: Span::micros(300) },
];

macro_rules! operations {
    ($($(#[doc = $words:literal])+ $name:ident = $id:literal,)+) => {
        /// What a node is doing when its power goes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[doc = $words])+ $name,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }
        }
    };
}

operations! {
    /// Its disk comes into service, and it joins a Primary.
    Attach = "attach",
    /// It recovers from a crash as Primary, and joins the peer.
    Recover = "attach-after-crash",
    /// It becomes Primary.
    Promote = "promote",
    /// It becomes Primary after a crash, without the peer, and writes.
    PromoteAfterCrash = "promote-after-crash",
    /// It becomes Primary, for the one that was has lost its power.
    Failover = "failover",
    /// It loses the link, gives the peer up and answers alone.
    GoSolo = "go-solo",
    /// It writes to a cold extent.
    LogTransaction = "log-transaction",
    /// The peer writes to a cold extent, and it mirrors that.
    MirroredWrite = "mirrored-write",
    /// The log is full, and an extent goes cold.
    Evict = "evict",
    /// The same alone: marks become durable first.
    EvictAlone = "evict-alone",
    /// Marks become durable by and by.
    BitmapWriteBack = "bitmap-write-back",
    /// A full resync to it.
    FullSyncTarget = "full-sync-target",
    /// A full resync from it.
    FullSyncSource = "full-sync-source",
    /// A resync of what is marked, to it.
    ResyncTarget = "resync-target",
    /// A resync of what is marked, from it.
    ResyncSource = "resync-source",
    /// It becomes Secondary after writes.
    Demote = "demote",
    /// It lets its disk go, and the peer is Primary.
    Detach = "detach",
    /// It lets its disk go, and is Primary.
    DetachPrimary = "detach-primary",
    /// Without a disk, as Primary, it writes through its peer.
    DisklessWrite = "diskless-write",
    /// As Primary it leaves the peer and goes on alone.
    Disconnect = "disconnect",
    /// A Primary leaves it and goes on alone.
    Disconnected = "disconnected",
    /// As Primary it ends in order.
    Stop = "stop",
    /// As Primary it grows by order, and the peer with it.
    Grow = "grow",
    /// The peer, who is Primary, grows by order, and it does, too.
    Grown = "grown",
    /// As Primary it grows by order, without the peer.
    GrowAlone = "grow-alone",
}

/// What was tried of an operation, and found.
#[derive(Clone, Debug)]
pub struct Row {
    /// The operation.
    pub operation: Operation,
    /// Instants at which the power went.
    pub instants: u64,
    /// Disks that it can have left, at each of these instants.
    pub states: u64,
    /// How many of these disks are different ones.
    pub images: u64,
    /// Starts: of different disks, with the peer in different states, with different fates.
    pub starts: u64,
    /// What is wrong, if anything is: the first case of it, and how it came about.
    pub failure: Option<String>,
}

/// Tries every state of an operation, up to the first that is wrong: with each node as the one
/// whose power goes, the link faster and slower than the disks.
pub fn explore(operation: Operation) -> Row {
    let mut row = Row { operation, instants: 0, states: 0, images: 0, starts: 0, failure: None };
    for victim in 0..2 {
        for pace in PACES {
            let explorer = Explorer { operation, cast: Cast { victim, pace } };
            if let Err(text) = explorer.explore(&mut row) {
                row.failure = Some(text);
                return row;
            }
        }
    }
    row
}

/// Cases are the same if these are: the number of the image, what the peer has been told, what
/// clients have been promised, the fate.
type Case = (usize, u64, u64, Fate);

struct Explorer {
    operation: Operation,
    cast: Cast,
}

impl Explorer {
    fn explore(&self, row: &mut Row) -> Result<(), String> {
        let whole = self.at(u64::MAX, None);
        if let Some(text) = &whole.wrong {
            return Err(format!("{}: the script fails: {text}", self.name()));
        }
        let mut images: BTreeMap<Image, usize> = BTreeMap::new();
        let mut seen: BTreeSet<Case> = BTreeSet::new();
        let good_at_first = self.is_good(&self.at(0, None));
        for instant in 0..=whole.happened() {
            let bench = self.at(instant, None);
            let good = good_at_first && self.is_good(&bench);
            let applies = |fate: &Fate| fate.applies(&bench, self.cast.victim);
            let fates: Vec<Fate> = Fate::ALL.into_iter().filter(applies).collect();
            let left = bench.nodes[self.cast.victim].platter.images();
            row.instants += 1;
            row.states += left.len() as u64;
            for image in left {
                let known = images.len();
                let number = *images.entry(image.clone()).or_insert(known);
                for &fate in &fates {
                    let alone = fate == Fate::Alone;
                    let peer = if alone { 0 } else { bench.inputs(1 - self.cast.victim) };
                    if seen.insert((number, peer, bench.ledger.version(), fate)) {
                        row.starts += 1;
                        self.start_again(instant, &image, fate, good)?;
                    }
                }
            }
        }
        row.images += images.len() as u64;
        Ok(())
    }

    fn is_good(&self, bench: &Bench) -> bool {
        bench.disk(self.cast.victim) == DiskState::UpToDate
    }

    fn name(&self) -> String {
        format!("{} (node {})", self.operation.as_str(), self.cast.victim)
    }

    /// The bench as it is at that instant of the operation.
    fn at(&self, instant: u64, trace: Option<Vec<String>>) -> Bench {
        let mut bench = scripts::set(self.operation, self.cast);
        bench.trace = trace;
        bench.stop_after(instant);
        scripts::play(self.operation, &mut bench, self.cast.victim);
        bench
    }

    /// One case. What is wrong with it is an error, and tells how it came about.
    fn start_again(
        &self,
        instant: u64,
        image: &Image,
        fate: Fate,
        good: bool,
    ) -> Result<(), String> {
        let judged = |trace| {
            let mut bench = self.at(instant, trace);
            let ended = catch_unwind(AssertUnwindSafe(|| {
                judge(&mut bench, self.cast.victim, image.clone(), fate, good);
            }));
            let panicked = ended.is_err().then(|| "a panic".to_owned());
            (panicked.or(bench.wrong), bench.trace)
        };
        let (Some(text), _) = judged(None) else { return Ok(()) };
        let (_, trace) = judged(Some(Vec::new()));
        let at = format!("{} cut at instant {instant}, {fate:?}", self.name());
        Err(format!("{at}: {text}\n{}", trace.unwrap_or_default().join("\n")))
    }
}
