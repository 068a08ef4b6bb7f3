//! Both nodes write the same few blocks at once, over a cable that is far: DP1, DP4, DP6.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup, Status};
use crate::load::{Load, Plan};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Each way.
const FAR: Duration = Duration::from_millis(2);

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB))?;
    let before = cluster.alpha.status()?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    let addresses = cluster.nodes().map(|node| node.address());
    let load = Load::start(&addresses, Plan::scattered(1, 3, 9))?;
    for node in 0..2 {
        load.wait_answered(node, scale.conflicts)?;
    }
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    let (alpha, beta) = (cluster.alpha.status()?, cluster.beta.status()?);
    mirrored(&alpha, &beta)?;
    mirrored(&beta, &alpha)?;
    let mut conflicts = Vec::new();
    for node in cluster.nodes() {
        let status = node.status()?;
        let counted = status.value()["conflicts"].as_u64().unwrap_or(0);
        anyhow::ensure!(counted > 0, "{}: no conflict in such a crowd", node.name());
        anyhow::ensure!(
            status.generation() == before.generation() && status.resumed() == before.resumed(),
            "the link was lost: {}",
            status.brief()
        );
        conflicts.push(counted);
    }
    report.line(&format!(
        "{} requests at depth 16 on each node to the same 3 blocks, {FAR:?} apart: {conflicts:?} \
         conflicts, linearizable, never disconnected",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// What one node has won the other has lost, kind by kind as seen from the other side, and was
/// answered that it was superseded.
fn mirrored(winner: &Status, loser: &Status) -> anyhow::Result<()> {
    let number = |status: &Status, key: &str| {
        status.value().pointer(&format!("/devices/0/{key}")).and_then(Value::as_u64)
    };
    for (won, lost) in
        [("same", "same"), ("covers", "covered"), ("covered", "covers"), ("partial", "partial")]
    {
        let won = number(winner, &format!("conflicts-by-kind/won/{won}"));
        let lost = number(loser, &format!("conflicts-by-kind/lost/{lost}"));
        anyhow::ensure!(won.is_some() && won == lost, "{}\n{}", winner.value(), loser.value());
    }
    let won = number(winner, "conflicts-won");
    let (lost, superseded) = (number(loser, "conflicts-lost"), number(loser, "superseded"));
    anyhow::ensure!(
        won == lost && lost == superseded,
        "won {won:?}, lost {lost:?}, superseded {superseded:?}"
    );
    Ok(())
}
