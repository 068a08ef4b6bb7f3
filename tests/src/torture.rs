//! Random trouble under load, in rounds, until the time is over: who was told that a write is
//! done must find it, whatever happened to daemons, cable and disks.
//!
//! A round is a window of the history: clients work at both nodes while some `acts` of trouble
//! happen; then all is mended, the clients end, and the round is judged:
//!
//! - the history of all clients of both nodes must be linearizable ([`sim::linear`]);
//! - both disks must be the same, byte by byte;
//! - they must hold what the history says, and zeros where nothing was ever written.
//!
//! The next round begins with what this one has left, so time and memory stay bounded. SIGKILL
//! leaves the page cache alone: what was answered survives it, on both nodes.
//!
//! The seed chooses what happens; when exactly, the machine does. What cannot be avoided by design
//! is kept out of the choice (`acts::Kind::choose`): `fencing dont-care` makes a split brain of
//! two Primaries that lose sight of each other for longer than `timeout`, so cuts are shorter then,
//! except in rounds that are about just that (`split_brain`).

mod acts;
mod evidence;
mod judge;
mod round;
mod split_brain;

pub(crate) use split_brain::keep_one;

use crate::cluster::{Cluster, Setup};
use crate::load::{Mix, Plan};
use crate::{clock, namespace};
use anyhow::Context;
use sim::history::BlockId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};
use types::{BLOCK_BYTES, EXTENT_BYTES, Prng};

/// Extents that are used: more than may be hot at once.
const EXTENTS: u64 = 72;
/// The fewest that an activity log may have.
const AL_EXTENTS: u64 = 67;
/// Blocks that are used in a row.
const AREA: u64 = 8;
const DISK_BYTES: u64 = EXTENTS * EXTENT_BYTES + (4 << 20);
/// Bytes of the file system of a disk that can be full: the files are sparse.
const MOUNT_BYTES: u64 = 128 << 20;
/// Between two requests of one client: a window's history has to stay small.
const PACE: Duration = Duration::from_millis(2);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long; the round that runs then is finished.
    pub time: Duration,
    /// Chooses what happens.
    pub seed: u64,
    /// Whether both nodes are Primary.
    pub two_primaries: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Rounds.
    pub rounds: u64,
    /// SIGKILLs of daemons.
    pub kills: u64,
    /// Faults of the cable.
    pub cuts: u64,
    /// Daemons that stood still.
    pub pauses: u64,
    /// Disks that were full, or were detached.
    pub disks: u64,
    /// Orders of the operator, orderly restarts among them.
    pub orders: u64,
    /// Split brains, on purpose.
    pub split_brains: u64,
    /// Requests that were answered, and judged.
    pub operations: u64,
    /// Requests that were answered with an error while no good copy was in reach.
    pub refused: u64,
    /// Connections of clients that were made anew.
    pub reconnects: u64,
    /// How often a node had to be told that it is Primary after a round.
    pub promoted: u64,
    /// The longest time without an answer at a node that was Primary.
    pub longest_pause: Duration,
}

/// Everything that a round needs and leaves.
struct Torture {
    options: Options,
    start: Instant,
    cluster: Cluster,
    prng: Prng,
    /// Who is Primary between rounds, alpha and beta.
    primary: [bool; 2],
    can_fill: bool,
    areas: Vec<Range<u64>>,
    /// What the registers hold.
    known: BTreeMap<BlockId, u64>,
    windows: u64,
    tally: Tally,
}

/// Tortures two nodes for a while, and prints a line for each round and a summary.
///
/// # Errors
/// If anything is not as it was promised; then the evidence is left, and where is printed.
pub fn run(options: Options) -> anyhow::Result<Tally> {
    let mut torture = Torture::begin(options)?;
    while torture.tally.rounds == 0 || torture.start.elapsed() < options.time {
        torture.tally.rounds += 1;
        if let Err(error) = torture.round() {
            let round = torture.tally.rounds;
            let error = error.context(format!("round {round} of seed {}", options.seed));
            return Err(torture.leave_evidence(error));
        }
    }
    let (tally, took) = (torture.tally, torture.start.elapsed());
    torture.cluster.down_and_compare()?;
    torture.cluster.finish()?;
    println!("{}", summary(&tally, took));
    Ok(tally)
}

fn summary(tally: &Tally, took: Duration) -> String {
    let Tally { rounds, kills, cuts, pauses, disks, orders, split_brains, .. } = tally;
    format!(
        "{took:.0?}: {rounds} rounds, {kills} kills, {cuts} faults of the cable, {pauses} frozen \
         daemons, {disks} full or detached disks, {orders} orders and restarts, {split_brains} \
         split brains on purpose; {} operations verified, {} answered with an error while no good \
         copy was in reach, {} reconnects, {} promoted by hand; longest pause {:.1?}; no failure",
        tally.operations, tally.refused, tally.reconnects, tally.promoted, tally.longest_pause
    )
}

impl Torture {
    fn begin(options: Options) -> anyhow::Result<Self> {
        let can_fill = namespace::is_inside();
        println!("torture: {}", command(options));
        if !can_fill {
            println!("skipped: full disks, which need a mount namespace");
        }
        // A loaded machine needs some time between a cut that is mended and the loss of the peer.
        let mut setup = Setup::new(DISK_BYTES)
            .net("timeout", "40")
            .net("ping-int", "3")
            .net("ping-timeout", "20")
            .net("connect-int", "1");
        setup.two_primaries = options.two_primaries;
        setup.disk = vec![format!("al-extents {AL_EXTENTS}")];
        let suspends = suspends(options);
        let no_data = if suspends { "suspend-io" } else { "io-error" };
        setup.options = vec![format!("on-no-data-accessible {no_data}")];
        setup.small_mounts = can_fill.then_some(MOUNT_BYTES);
        let cluster = match options.two_primaries {
            true => Cluster::two_primaries(setup),
            false => Cluster::one_primary(setup),
        };
        Ok(Self {
            options,
            start: clock::now(),
            cluster: cluster.context("before anything has happened")?,
            prng: Prng::new(options.seed),
            primary: [true, options.two_primaries],
            can_fill,
            areas: areas(),
            known: BTreeMap::new(),
            windows: 0,
            tally: Tally::default(),
        })
    }

    /// What the clients of the next window do. Its seed makes its values new.
    fn plan(&mut self) -> Plan {
        self.windows += 1;
        Plan {
            areas: self.areas.clone(),
            mix: Mix::Everything,
            clients: 2,
            depth: 4,
            pace: PACE,
            seed: self.windows,
            reconnect: true,
        }
    }
}

/// Whether requests wait while no good copy is in reach; else they are answered with errors.
const fn suspends(options: Options) -> bool {
    options.seed.is_multiple_of(2)
}

/// The command that does the same again.
fn command(options: Options) -> String {
    format!(
        "cargo run --release -p tests -- torture --minutes {:.1} --seed {} --primaries {}",
        options.time.as_secs_f64() / 60.0,
        options.seed,
        if options.two_primaries { 2 } else { 1 }
    )
}

/// One area in each extent; every third lies across the border to the next extent.
fn areas() -> Vec<Range<u64>> {
    let per_extent = EXTENT_BYTES / BLOCK_BYTES;
    (0..EXTENTS)
        .map(|extent| {
            let at = if extent % 3 == 0 { per_extent - AREA / 2 } else { extent * 5 };
            extent * per_extent + at..extent * per_extent + at + AREA
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_do_not_overlap_and_are_on_the_disk() {
        let areas = areas();
        assert!(areas.is_sorted_by(|one, other| one.end <= other.start));
        let data = crate::disks::data_bytes(DISK_BYTES).unwrap();
        assert!(areas.last().unwrap().end * BLOCK_BYTES <= data);
    }

    #[test]
    fn the_command_to_do_it_again_names_everything() {
        let time = Duration::from_secs(90);
        let command = command(Options { time, seed: 7, two_primaries: false });
        assert!(command.ends_with("torture --minutes 1.5 --seed 7 --primaries 1"), "{command}");
    }
}
