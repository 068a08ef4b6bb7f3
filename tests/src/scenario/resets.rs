//! The connection breaks again and again while both nodes write: nobody notices but the log.

use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::load::{Load, Plan};
use std::collections::BTreeMap;

const RESETS: u64 = 10;
/// Answers at each node between two resets.
const BETWEEN: u64 = 300;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // Nobody may be given up in the moments that a busy machine needs to connect anew.
    let setup =
        Setup::new(64 * MIB).net("timeout", "100").net("ping-int", "20").net("connect-int", "20");
    let cluster = Cluster::two_primaries(setup)?;
    let before = cluster.alpha.status()?;
    let addresses = cluster.nodes().map(|node| node.address());
    let load = Load::start(&addresses, Plan::scattered(8, 8, 1))?;
    let mut slowest = std::time::Duration::ZERO;
    for reset in 1..=RESETS {
        load.wait_answered(0, BETWEEN)?;
        load.wait_answered(1, BETWEEN)?;
        cluster.cables().iter().for_each(|cable| cable.reset());
        let goal = before.resumed() + reset;
        let (_, took) = until(&format!("session resumed after reset {reset}"), PATIENCE, || {
            let mut resumed = true;
            for node in cluster.nodes() {
                let status = node.status()?;
                resumed &= status.resumed() >= goal && status.replication() == "Established";
            }
            Ok(resumed.then_some(()))
        })?;
        slowest = slowest.max(took);
    }
    load.wait_answered(0, BETWEEN)?;
    load.wait_answered(1, BETWEEN)?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    for node in cluster.nodes() {
        let status = node.status()?;
        let marked = status.out_of_sync_kib();
        anyhow::ensure!(marked == 0, "{}: {marked} KiB are marked", node.name());
        anyhow::ensure!(
            status.generation() == before.generation(),
            "{}: a new generation {}, it was {}",
            node.name(),
            status.generation(),
            before.generation()
        );
        anyhow::ensure!(status.role() == "Primary", "{}: {}", node.name(), status.brief());
    }
    report.line(&format!(
        "{RESETS} resets with {} requests at depth 16 on each of two Primaries: resumed each time, \
         at most {slowest:.1?} later, no client error, nothing marked, no new generation, \
         linearizable",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}
