//! Both nodes writing at once, each at its own half of the volume or both at one spot, next to one node
//! writing alone.

use super::{Args, writes};
use crate::compare::fio::{self, Outcome, Target};
use crate::compare::report::median;
use crate::nodes::{Name, Nodes};
use anyhow::{Context, ensure};
use std::thread;
use std::time::Duration;

const DISK_BYTES: u64 = 256 << 20;
const DEPTH: u32 = 16;
/// Where both write when they are to meet: sixteen blocks.
const SPOT_BYTES: u64 = 64 << 10;

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!("\n4 KiB at random, depth {DEPTH} on each node, disks in {}", args.tmpfs.display());
    let mut nodes = Nodes::make(&args.tmpfs, DISK_BYTES)?;
    nodes.start_both()?;
    nodes.repadm(Name::Beta, &["primary", "r0"])?;
    let half = nodes.data_bytes() / 2;
    let (mut one, mut both, mut storm) = (vec![], vec![], vec![]);
    for _ in 0..args.repeats {
        one.push(run(&nodes, Name::Alpha, 0, half, args.time())?.per_second);
        both.push(at_once(&nodes, [0, half], half, args.time())?);
        storm.push(at_once(&nodes, [0, 0], SPOT_BYTES, args.time())?);
    }
    for name in [Name::Alpha, Name::Beta] {
        nodes.repadm(name, &["down", "r0"])?;
    }
    ensure!(nodes.are_equal()?, "the two disks differ: that is a bug, please report it");
    let one = median(one);
    for (what, rates) in [
        ("one node writes", vec![one]),
        ("both, each its half: together", both),
        ("both, the same 16 blocks: together", storm),
    ] {
        let rate = median(rates);
        println!("  {what:<36} {rate:>9.0} IOPS {:>6.2} x one", rate / one);
    }
    println!("  (each disk takes the writes of both; the two disks are the same in the end)");
    Ok(0)
}

fn run(
    nodes: &Nodes,
    name: Name,
    from: u64,
    bytes: u64,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let target = Target::Nbd(nodes.uri(name));
    fio::run_at(&writes(DEPTH), &target, from, bytes, time, || Duration::ZERO)
}

/// The rates of both, together.
fn at_once(nodes: &Nodes, from: [u64; 2], bytes: u64, time: Duration) -> anyhow::Result<f64> {
    thread::scope(|scope| {
        let there = scope.spawn(|| run(nodes, Name::Beta, from[1], bytes, time));
        let here = run(nodes, Name::Alpha, from[0], bytes, time)?;
        let there = there.join().ok().context("the thread has panicked")??;
        Ok(here.per_second + there.per_second)
    })
}
