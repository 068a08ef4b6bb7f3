//! The connection breaks again and again while both nodes write: nobody notices but the log.

use super::undisturbed::{self, Before};
use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::load::{Load, Plan};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;

const RESETS: u64 = 10;
/// Answers at each node between two resets.
const BETWEEN: u64 = 300;
/// Each way, where conflicts are the point: what is on its way is what can be concurrent.
const FAR: Duration = Duration::from_millis(2);

/// Nobody may be given up in the moments that a busy machine needs to connect anew.
pub(super) fn patient(setup: Setup) -> Setup {
    setup.net("timeout", "100").net("ping-int", "20").net("connect-int", "20")
}

/// With hardly a conflict.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(patient(Setup::new(64 * MIB)))?;
    under(&cluster, Plan::scattered(8, 8, 1), report)?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// In the middle of conflicts: DP7.
pub(super) fn in_conflicts(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(patient(Setup::new(16 * MIB)))?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    under(&cluster, Plan::scattered(1, 3, 1), report)?;
    let conflicts = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(conflicts > 0, "no conflict in such a crowd");
    report.line(&format!(
        "{conflicts} conflicts, won on one node = lost on the other = superseded, though the \
         connection broke among them"
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

fn under(cluster: &Cluster, plan: Plan, report: &mut Report) -> anyhow::Result<()> {
    let before = Before::look(cluster)?;
    let addresses = cluster.nodes().map(|node| node.address());
    let load = Load::start(&addresses, plan)?;
    let mut slowest = Duration::ZERO;
    for reset in 1..=RESETS {
        load.wait_answered(0, BETWEEN)?;
        load.wait_answered(1, BETWEEN)?;
        cluster.cables().iter().for_each(|cable| cable.reset());
        let took = wait_resumed(cluster, reset).with_context(|| format!("reset {reset}"))?;
        slowest = slowest.max(took);
    }
    load.wait_answered(0, BETWEEN)?;
    load.wait_answered(1, BETWEEN)?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    before.check_undivided(cluster)?;
    report.line(&format!(
        "{RESETS} resets with {} requests at depth 16 on each of two Primaries: resumed each time, \
         at most {slowest:.1?} later, no client error, nothing marked, no new generation, \
         linearizable",
        loaded.answered
    ));
    Ok(())
}

/// Waits until the session has been resumed so often on both nodes.
pub(super) fn wait_resumed(cluster: &Cluster, times: u64) -> anyhow::Result<Duration> {
    let resumed = until("the session resumed", PATIENCE, || {
        let mut resumed = true;
        for node in cluster.nodes() {
            let status = node.status()?;
            resumed &= status.resumed() >= times && status.replication() == "Established";
        }
        Ok(resumed.then_some(()))
    });
    Ok(resumed.with_context(|| cluster.describe())?.1)
}
