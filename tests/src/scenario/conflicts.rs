//! Both nodes write one and the same block, for long and at great depth: DP1, DP6.

use super::undisturbed::{self, Before};
use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Loaded, Mix, Plan};
use anyhow::Context;
use sim::history::BlockId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// The block of the conflicts, and one that only the second node writes.
const SAME: Range<u64> = 0..1;
const OWN: Range<u64> = 8..9;
/// Requests of each node within one window of the history.
const WINDOW: u64 = 20_000;
/// Answers that are waited for at once: each has a deadline.
const AT_ONCE: u64 = 500;
/// Each way, in the storm: what is on its way is what can be concurrent.
const FAR: Duration = Duration::from_millis(1);
/// Requests in flight of a node in the crowd.
const CROWD: usize = 4;
/// And in the storm.
const STORM: usize = 128;

fn plan(area: Range<u64>, mix: Mix, depth: usize, seed: u64) -> Plan {
    let areas = vec![area];
    Plan { areas, mix, clients: 1, depth, pace: Duration::ZERO, seed, reconnect: false }
}

/// Waits until each of the nodes of a load has answered so many requests.
fn wait(load: &Load, nodes: usize, requests: u64) -> anyhow::Result<()> {
    for goal in (AT_ONCE..=requests).step_by(AT_ONCE as usize) {
        for node in 0..nodes {
            load.wait_answered(node, goal.saturating_sub(load.answered(node)))?;
        }
    }
    Ok(())
}

/// Two writers and readers of one block: DP1.
pub(super) fn one_block(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // A cable would only make it slower.
    let cluster = Cluster::two_primaries(Setup { direct: true, ..Setup::new(16 * MIB) })?;
    let before = Before::look(&cluster)?;
    let addresses = cluster.nodes().map(|node| node.address());
    let mut known: BTreeMap<BlockId, u64> = BTreeMap::new();
    let mut written = [0, 0];
    for seed in 1.. {
        let load = Load::start(&addresses, plan(SAME, Mix::Blocks, CROWD, seed))?;
        wait(&load, 2, WINDOW.min(scale.dp1_writes))?;
        let loaded = load.finish()?;
        loaded.check(&known).with_context(|| format!("window {seed}"))?;
        for (node, times) in loaded.write_times() {
            written[usize::from(node)] += times.len() as u64;
        }
        // A whole block is written by everyone: it holds one of the writes, and not a mixture.
        let mut values = loaded.last.values();
        let first = values.next().context("a block has registers")?;
        anyhow::ensure!(values.all(|value| value == first), "a mixture: {:?}", loaded.last);
        known = loaded.last;
        if written.iter().all(|&writes| writes >= scale.dp1_writes) {
            break;
        }
    }
    let conflicts = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(conflicts > 0, "no conflict among {written:?} writes of one block");
    before.check_connected(&cluster)?;
    report.line(&format!(
        "{written:?} writes of one block by two Primaries, and half as many reads: linearizable, \
         never disconnected; {conflicts} conflicts, won on one node = lost on the other = \
         superseded"
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Nothing but writes of one block, at a great depth: DP6. Next to it the same where each node has
/// a block of its own.
pub(super) fn storm(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB))?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    let before = Before::look(&cluster)?;
    let addresses = cluster.nodes().map(|node| node.address());
    let mut loads = Vec::new();
    for (at, own) in [SAME, OWN].into_iter().enumerate() {
        let plan = plan(own, Mix::Writes, STORM, 1 + at as u64);
        loads.push(Load::start(&addresses[at..=at], plan)?);
    }
    loads.iter().try_for_each(|load| wait(load, 1, scale.dp6_writes))?;
    let mut calm = Vec::new();
    let mut known = BTreeMap::new();
    for load in loads {
        let loaded = load.finish()?;
        loaded.check(&BTreeMap::new())?;
        calm.push(Times::of(&loaded, 0)?);
        known.extend(loaded.last);
    }
    let none = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(none == 0, "{none} conflicts where each node has a block of its own");

    let load = Load::start(&addresses, plan(SAME, Mix::Writes, STORM, 3))?;
    wait(&load, 2, scale.dp6_writes)?;
    let loaded = load.finish()?;
    loaded.check(&known)?;
    let conflicts = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(conflicts > 0, "no conflict in a storm of {} requests", loaded.answered);
    before.check_connected(&cluster)?;
    for (node, calm) in calm.iter().enumerate() {
        let storm = Times::of(&loaded, node as u8)?;
        report.line(&format!(
            "{}, depth {STORM}: {storm} on the block of both; {calm} on one of its own",
            cluster.nodes()[node].name()
        ));
    }
    report.line(&format!(
        "{conflicts} conflicts, won on one node = lost on the other = superseded; linearizable, \
         never disconnected, every write answered"
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// How long the writes of a node took.
struct Times(Vec<Duration>);

impl Times {
    fn of(loaded: &Loaded, node: u8) -> anyhow::Result<Self> {
        let mut times = loaded.write_times().remove(&node).context("no write was answered")?;
        times.sort_unstable();
        Ok(Self(times))
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |per_mille: usize| self.0[(self.0.len() - 1) * per_mille / 1000];
        let (p50, p99, most) = (at(500), at(990), at(1000));
        write!(f, "{} writes, p50 {p50:.1?} p99 {p99:.1?} max {most:.1?}", self.0.len())
    }
}
