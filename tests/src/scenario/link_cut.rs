//! The other node is away while the Primary writes on, and gets what it missed when it is back.

use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, Setup, Status};
use crate::load::scatter;
use anyhow::Context;
use std::time::Duration;
use types::BLOCK_BYTES;

/// Blocks between two that are written: scattered, not a stripe.
const STRIDE: u64 = 3;
/// So slow, bytes a second, is the cable when it is mended, that a resync can be watched.
const SLOW: u64 = 16 * MIB;
/// What a busy machine may add before something that has happened can be seen.
const SLACK: Duration = Duration::from_secs(1);

fn cluster(scale: &Scale) -> anyhow::Result<Cluster> {
    let setup = Setup::new(STRIDE * scale.scattered_bytes + 16 * MIB);
    Cluster::one_primary(setup.net("ping-int", "2").net("ping-timeout", "10"))
}

fn write(cluster: &Cluster, scale: &Scale) -> anyhow::Result<()> {
    let blocks = scale.scattered_bytes / BLOCK_BYTES;
    scatter(&cluster.alpha.address(), blocks, STRIDE, 7).context("writing on alpha")
}

/// The cable breaks, and both nodes see it break.
pub(super) fn by_reset(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = cluster(scale)?;
    cluster.cables().iter().for_each(|cable| cable.cut());
    for node in cluster.nodes() {
        node.wait_for("the loss of the link", |status| status.connection() != "Connected")?;
    }
    write(&cluster, scale)?;
    come_back(&cluster, scale, report, |cluster| {
        cluster.cables().iter().for_each(|cable| cable.mend());
        Ok(())
    })?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// The cable breaks, and nobody is told.
pub(super) fn in_silence(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = cluster(scale)?;
    cluster.cables().iter().for_each(|cable| cable.silence());
    // ping-int and ping-timeout, as `cluster` has them.
    let bound = Duration::from_secs(2) + Duration::from_secs(1);
    let (_, took) = until("silence noticed by alpha", bound + SLACK, || {
        Ok((cluster.alpha.status()?.connection() != "Connected").then_some(()))
    })?;
    report.line(&format!("silence noticed after {took:.1?}; ping-int + ping-timeout is {bound:?}"));
    write(&cluster, scale)?;
    cluster.beta.wait_for("silence noticed", |status| status.connection() != "Connected")?;
    come_back(&cluster, scale, report, |cluster| {
        cluster.cables().iter().for_each(|cable| cable.mend());
        Ok(())
    })?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// The Secondary's daemon is killed, and started again.
pub(super) fn secondary_killed(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = cluster(scale)?;
    cluster.beta.kill()?;
    cluster.alpha.wait_for("the loss of beta", |status| status.connection() != "Connected")?;
    write(&cluster, scale)?;
    let marked = cluster.alpha.status()?.out_of_sync_kib();
    cluster.cables().iter().for_each(|cable| cable.throttle(Some(SLOW)));
    cluster.beta.start()?;
    watch(&cluster, scale, marked, report)?;
    cluster.down_and_compare()?;
    cluster.finish()
}

fn come_back(
    cluster: &Cluster,
    scale: &Scale,
    report: &mut Report,
    mend: impl FnOnce(&Cluster) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let marked = cluster.alpha.status()?.out_of_sync_kib();
    cluster.cables().iter().for_each(|cable| cable.throttle(Some(SLOW)));
    mend(cluster)?;
    watch(cluster, scale, marked, report)
}

/// The resync, from its beginning to its end.
fn watch(
    cluster: &Cluster,
    scale: &Scale,
    marked_kib: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let written_kib = scale.scattered_bytes >> 10;
    anyhow::ensure!(
        marked_kib == written_kib,
        "{written_kib} KiB were written alone, {marked_kib} KiB are marked"
    );
    let is_target = |status: &Status| status.replication() == "SyncTarget";
    let first = cluster.beta.wait_for("a resync", is_target)?;
    let source = cluster.alpha.wait_for("a resync", |s| s.replication() == "SyncSource")?;
    anyhow::ensure!(source.disk() == "UpToDate", "the source: {}", source.brief());
    anyhow::ensure!(first.disk() == "Inconsistent", "the target: {}", first.brief());
    let begun = first.resync_percent().context("a resync without progress")?;
    let further = |status: &Status| status.resync_percent().is_some_and(|now| now > begun);
    let second = cluster.beta.wait_for("progress", |s| is_target(s) && further(s))?;
    let overview = cluster.beta.repadm(&["overview"])?;
    anyhow::ensure!(overview.contains('%'), "no progress bar in\n{overview}");
    cluster.cables().iter().for_each(|cable| cable.throttle(None));
    cluster.wait_settled()?;
    for node in cluster.nodes() {
        let sent = node.status()?.resync_sent_kib();
        anyhow::ensure!(
            sent > 0 && sent * 100 <= marked_kib * 102,
            "{}: {sent} KiB were sent, {marked_kib} KiB marked",
            node.name()
        );
    }
    let sent = cluster.alpha.status()?.resync_sent_kib();
    report.line(&format!(
        "{written_kib} KiB in pieces of 4 KiB written alone, {marked_kib} KiB marked at reconnect; \
         SyncSource/SyncTarget, seen at {begun} % and {} %; resync-sent {sent} KiB",
        second.resync_percent().unwrap_or_default()
    ));
    let roles = cluster.alpha.repadm(&["role", "r0"])?;
    anyhow::ensure!(roles.trim() == "Primary/Secondary", "roles {roles}");
    Ok(())
}
