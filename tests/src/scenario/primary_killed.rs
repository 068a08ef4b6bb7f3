//! A Primary's daemon is killed under load, again and again, with the other node Primary, too.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Plan};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{EXTENT_BYTES, Prng};

/// Extents that are written to: no more than these are hot at a crash.
const EXTENTS: u64 = 6;
const DISK_BYTES: u64 = 256 * MIB;

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES))?;
    let addresses = cluster.nodes().map(|node| node.address());
    let mut prng = Prng::new(4);
    let mut before = BTreeMap::new();
    let (mut answered, mut most_sent_kib, mut slowest) = (0, 0, Duration::ZERO);
    for round in 1..=scale.kills {
        let mut plan = Plan::scattered(EXTENTS, 8, round);
        plan.reconnect = true;
        let load = Load::start(&addresses, plan)?;
        let context = || format!("round {round}");
        load.wait_answered(0, 50 + prng.below(500)).with_context(context)?;
        // Alpha and beta take turns.
        let victim = (round % 2) as usize;
        cluster.nodes_mut()[victim].kill()?;
        // Some rounds are over before the survivor goes on alone, some are not.
        clock::pass(Duration::from_millis(prng.below(2500)));
        cluster.nodes_mut()[victim].start()?;
        let took = cluster.wait_settled().with_context(context)?;
        slowest = slowest.max(took);
        load.wait_answered(victim, 50).with_context(context)?;
        let loaded = load.finish().with_context(context)?;
        loaded.check(&before).with_context(context)?;
        for node in cluster.nodes() {
            let status = node.status()?;
            anyhow::ensure!(status.role() == "Primary", "round {round}: {}", status.brief());
            let sent_kib = status.resync_sent_kib();
            anyhow::ensure!(
                sent_kib <= (EXTENTS * EXTENT_BYTES) >> 10,
                "round {round}: {sent_kib} KiB were sent, more than the hot extents have"
            );
            most_sent_kib = most_sent_kib.max(sent_kib);
        }
        answered += loaded.answered;
        before = loaded.last;
    }
    report.line(&format!(
        "{} times SIGKILL of a Primary under load at depth 16 on both: {answered} requests \
         answered, linearizable, both Primary again; resync at most {most_sent_kib} KiB of {} KiB, \
         at most {slowest:.1?} after the restart",
        scale.kills,
        DISK_BYTES >> 10
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}
