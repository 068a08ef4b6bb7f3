//! Both nodes write the same few blocks at once, over a cable that is far: DP1, DP4, DP6.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Plan};
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
