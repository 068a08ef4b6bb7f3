//! Links that flap, or are there for one node and not for the other, and both nodes connect at once:
//! SB4, without fencing. As long as nobody answers alone, nothing has happened.

use super::resets::{patient, wait_resumed};
use super::undisturbed::Before;
use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Plan};
use crate::proxy::{Half, Proxy};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;

/// A link that flaps at 10 Hz.
const EVERY: Duration = Duration::from_millis(100);
/// Each way, where both nodes are to connect before they hear of each other. A handshake goes to
/// and fro some ten times, and has to end between two resets.
const FAR: Duration = Duration::from_millis(3);

/// Resets the link again and again for that long. Gives how often.
fn flap(cluster: &Cluster, time: Duration) -> u64 {
    let start = clock::now();
    let mut resets = 0;
    while start.elapsed() < time {
        clock::pass(EVERY);
        cluster.cables().iter().for_each(Proxy::reset);
        resets += 1;
    }
    resets
}

fn start(cluster: &Cluster) -> anyhow::Result<Load> {
    let mut plan = Plan::scattered(8, 8, 1);
    plan.pace = Duration::from_millis(1);
    Load::start(&cluster.nodes().map(|node| node.address()), plan)
}

/// Ends the load: nobody has noticed anything.
fn finish(
    cluster: Cluster,
    before: &Before,
    load: Load,
    what: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    (0..2).try_for_each(|at| load.wait_answered(at, 50)).context("the link is back")?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    before.check_undivided(&cluster)?;
    report.line(&format!(
        "{what}: {} answers, no error, linearizable, no new generation, no split brain",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Resets at 10 Hz, of a near link and of a far one, where both nodes connect at once each time.
pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // Who meets too late between two resets tries again soon.
    let setup = patient(Setup::new(64 * MIB)).net("timeout", "300").net("connect-int", "1");
    let cluster = Cluster::two_primaries(setup)?;
    let before = Before::look(&cluster)?;
    let load = start(&cluster)?;
    let near = flap(&cluster, scale.reset_for / 2);
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    let far = flap(&cluster, scale.reset_for / 2);
    cluster.cables().iter().for_each(|cable| cable.delay(Duration::ZERO));
    let what = format!(
        "{near} resets at 10 Hz under load at both nodes, and {far} where both nodes connect at \
         once, {FAR:?} apart, without fencing"
    );
    finish(cluster, &before, load, &what, report)
}

/// A connection that is gone for one of its ends, which connects anew while the other still takes
/// the old one for good.
pub(super) fn half_open(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = patient(Setup::new(64 * MIB)).net("ping-timeout", "5");
    let cluster = Cluster::two_primaries(setup)?;
    let before = Before::look(&cluster)?;
    let load = start(&cluster)?;
    let halves = [Half::Near, Half::Far, Half::Far, Half::Near];
    for (times, half) in (1..).zip(halves) {
        (0..2).try_for_each(|at| load.wait_answered(at, 50))?;
        cluster.cables().iter().for_each(|cable| cable.half_open(half));
        wait_resumed(&cluster, times).with_context(|| format!("{half:?} alone has noticed"))?;
    }
    let what = format!("{} connections gone for one of their ends only", halves.len());
    finish(cluster, &before, load, &what, report)
}
