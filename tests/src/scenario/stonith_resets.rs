//! Fencing with `resource-and-stonith`: a link that will not stay, and every way in which
//! `fence-peer` can end (QF2).

use super::undisturbed::Before;
use super::{MIB, Report, Scale};
use crate::clock::{self, until};
use crate::cluster::{Cluster, Node, PATIENCE, Setup, Status};
use crate::load::{Load, Plan};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Ten resets a second.
const EVERY: Duration = Duration::from_millis(100);
/// The link is out for so long after the resets, so many times: longer than `timeout`, and shorter
/// than `fence-peer` takes.
const OUT: Duration = Duration::from_millis(2500);
const CUTS: usize = 3;
/// How long `fence-peer` takes in vain, and then some.
const HANDLER_ENDS: Duration = Duration::from_secs(6);

/// A minute of all that a node can do would be a history of gigabytes.
pub(super) fn paced(seed: u64) -> Plan {
    let mut plan = Plan::scattered(4, 6, seed);
    plan.pace = Duration::from_millis(2);
    plan
}

fn count(cluster: &Cluster, what: &str) -> usize {
    cluster.nodes().iter().map(|node| node.log().matches(what).count()).sum()
}

/// The link is reset ten times a second, and out for longer a few times; `fence-peer` fails after
/// 5 s. Nobody diverges, and nothing that it says is ever used.
pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(64 * MIB).net("fencing", "resource-and-stonith");
    setup.handlers = vec!["fence-peer \"sleep 5; exit 1\"".to_owned()];
    let cluster = Cluster::two_primaries(setup)?;
    let before = Before::look(&cluster)?;
    let load = Load::start(&cluster.nodes().map(Node::address), paced(1))?;
    let (start, mut resets) = (clock::now(), 0);
    while start.elapsed() < scale.reset_for {
        cluster.cables().iter().for_each(|cable| cable.reset());
        resets += 1;
        clock::pass(EVERY);
    }
    let mut outages = Vec::new();
    for _ in 0..CUTS {
        (0..2).try_for_each(|at| load.wait_answered(at, 200)).context("connected")?;
        cluster.cables().iter().for_each(|cable| cable.cut());
        let cut = load.elapsed();
        clock::pass(OUT);
        cluster.cables().iter().for_each(|cable| cable.mend());
        outages.push(cut..load.elapsed());
        (0..2).try_for_each(|at| load.wait_answered(at, 200)).context("mended")?;
        clock::pass(HANDLER_ENDS);
    }
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    before.check_undivided(&cluster)?;
    let (begun, ignored) = (count(&cluster, "handler started"), count(&cluster, "is ignored"));
    anyhow::ensure!(begun >= CUTS, "fence-peer was started {begun} times only");
    anyhow::ensure!(begun == ignored, "{begun} started, {ignored} ignored");
    let slowest = loaded.slowest_beside(&outages);
    report.line(&format!(
        "{resets} resets, one each {EVERY:?}, and {CUTS} times {OUT:?} without the link, under \
         load on both Primaries: {} requests, no error, linearizable, no split brain, no resync; \
         fence-peer was started {begun} times, and its result never used; the slowest answer \
         {slowest:.2?} after the link was back",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// How a frozen Primary goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// As soon as the handler has ended.
    On,
    /// When the link is back: the handler has ended, and settles nothing.
    WhenMended,
    /// The same: the handler still runs.
    WhenMendedFirst,
    /// By order.
    ByOrder,
}

/// The Primary with clients loses the Secondary; what `fence-peer` does, and what comes of it.
const ENDS: [(&str, Goes); 9] = [
    ("exit 3", Goes::On),
    ("exit 4", Goes::On),
    ("exit 5", Goes::On),
    ("exit 7", Goes::On),
    ("exit 1", Goes::WhenMended),
    ("exit 0", Goes::WhenMended),
    ("kill -KILL $$", Goes::WhenMended),
    ("sleep 90", Goes::WhenMendedFirst),
    ("exit 1", Goes::ByOrder),
];

fn frozen(node: &Node) -> anyhow::Result<Status> {
    node.wait_for("frozen", |status| status.value()["suspended-fencing"] == true)
}

/// Each exit code, a crash, and a handler that hangs.
pub(super) fn every_exit_code(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(16 * MIB).net("fencing", "resource-and-stonith");
    let mut cluster = Cluster::new(setup.clone())?;
    let script = cluster.directory().join("fence");
    setup.handlers = vec![format!("fence-peer \"sh {}\"", script.display())];
    for node in cluster.nodes() {
        cluster.configure(node, &setup)?;
    }
    cluster.bring_up()?;
    cluster.first_sync()?;
    let mut known = BTreeMap::new();
    for ((command, goes), seed) in ENDS.into_iter().zip(1..) {
        let story = || format!("«{command}», {goes:?}");
        fs::write(&script, command)?;
        let load = Load::start(&[cluster.alpha.address()], paced(seed))?;
        load.wait_answered(0, 50)?;
        one_loss(&cluster, &load, goes).with_context(story)?;
        let loaded = load.finish()?;
        loaded.check(&known).with_context(story)?;
        known = loaded.last;
    }
    // It says that the peer is Primary: the copy here is the older one, and nothing goes on.
    fs::write(&script, "exit 6")?;
    cluster.cables().iter().for_each(|cable| cable.cut());
    cluster.alpha.wait_for("Outdated", |status| status.disk() == "Outdated")?;
    cluster.cables().iter().for_each(|cable| cable.mend());
    cluster.wait_settled()?;
    report.line(&format!(
        "fence-peer that ends with 3, 4, 5 or 7 lets a frozen Primary go on; {} other ways do not, \
         but the peer or an order does; 6 makes it Outdated; no error, linearizable",
        ENDS.len() - 4
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

fn one_loss(cluster: &Cluster, load: &Load, goes: Goes) -> anyhow::Result<()> {
    let alpha = &cluster.alpha;
    let (log, generation) = (alpha.log().len(), alpha.status()?.generation().to_owned());
    cluster.cables().iter().for_each(|cable| cable.cut());
    let awaited = match goes {
        Goes::WhenMendedFirst => "handler started",
        _ => "handler ended",
    };
    until(awaited, PATIENCE, || Ok(alpha.log()[log..].contains(awaited).then_some(())))?;
    if goes != Goes::On {
        let status = frozen(alpha)?;
        let answered = load.answered(0);
        clock::pass(Duration::from_secs(1));
        anyhow::ensure!(load.answered(0) == answered, "answered: {}", status.brief());
    }
    if goes == Goes::ByOrder {
        alpha.repadm(&["resume-io", "r0"])?;
    }
    let alone = matches!(goes, Goes::On | Goes::ByOrder);
    if alone {
        load.wait_answered(0, 50).context("alone")?;
    }
    cluster.cables().iter().for_each(|cable| cable.mend());
    load.wait_answered(0, 50).context("mended")?;
    cluster.wait_settled()?;
    let same = alpha.status()?.generation() == generation;
    anyhow::ensure!(same != alone, "went on alone: {}", !same);
    Ok(())
}
