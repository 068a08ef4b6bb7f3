//! A resync that is interrupted at its target, at its source and in between goes on from where it
//! was, and a half-synced node is never promoted: CR4.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup, Status};
use crate::load::scatter;
use anyhow::Context;
use types::BLOCK_BYTES;

const WRITTEN: u64 = 16 * MIB;
const SLOW: u64 = 8 * MIB;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::one_primary(Setup::new(2 * WRITTEN + MIB))?;
    cable(&cluster, |cable| cable.cut());
    scatter(&cluster.alpha.address(), WRITTEN / BLOCK_BYTES, 2, 5)?;
    cable(&cluster, |cable| cable.throttle(Some(SLOW)));
    cable(&cluster, |cable| cable.mend());

    wait_left(&cluster, 95)?;
    cable(&cluster, |cable| cable.cut());
    cluster.beta.wait_for("the loss of the link", |s| s.connection() != "Connected")?;
    let refused = cluster.beta.try_repadm(&["primary", "r0"])?.ended_with(17)?;
    anyhow::ensure!(refused.err.contains("Inconsistent"), "{refused}");
    cable(&cluster, |cable| cable.mend());

    wait_left(&cluster, 80)?;
    cluster.beta.kill()?;
    cluster.beta.start()?;

    wait_left(&cluster, 65)?;
    cluster.alpha.kill()?;
    let refused = cluster.beta.try_repadm(&["primary", "r0"])?.ended_with(17)?;
    anyhow::ensure!(refused.err.contains("Inconsistent"), "{refused}");
    cluster.alpha.start()?;

    let left = wait_left(&cluster, 50)?;
    cable(&cluster, |cable| cable.throttle(None));
    cluster.wait_settled()?;
    let roles = cluster.alpha.repadm(&["role", "r0"])?;
    anyhow::ensure!(roles.trim() == "Primary/Secondary", "roles {roles}");
    report.line(&format!(
        "interrupted by a cut, a SIGKILL of the target and of the source; {left} KiB of {} KiB were \
         left for the last part; never promoted while Inconsistent",
        WRITTEN >> 10
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

fn cable(cluster: &Cluster, act: impl Fn(&crate::proxy::Proxy)) {
    cluster.cables().iter().for_each(act);
}

/// Waits until a resync runs that has less than so many percent of everything to do. Gives the KiB.
fn wait_left(cluster: &Cluster, percent: u64) -> anyhow::Result<u64> {
    let limit = (WRITTEN >> 10) * percent / 100;
    let left = |status: &Status| status.out_of_sync_kib();
    let status = cluster.beta.wait_for("the resync to get on", |status| {
        status.is_settled() || (status.replication() == "SyncTarget" && left(status) < limit)
    });
    let status = status.with_context(|| format!("{percent} %: {}", cluster.describe()))?;
    anyhow::ensure!(!status.is_settled(), "it was over before it could be interrupted");
    Ok(left(&status))
}
