//! Protocols A, B and C over a link that is far, slow, or gone.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::{runtime, scatter};
use crate::nbd_client::{Address, Client, Operation};
use anyhow::Context;
use std::time::Duration;
use types::BLOCK_BYTES;

/// How far the nodes are from each other, one way.
const FAR: Duration = Duration::from_millis(20);
/// So many writes, one after the other, are timed.
const TIMED: u64 = 25;

fn setup(protocol: &str) -> Setup {
    let mut setup = Setup::new(48 * MIB).net("protocol", protocol);
    setup.two_primaries = false;
    setup
}

/// The median time of an answer, of writes one after the other.
fn median(address: &Address) -> anyhow::Result<Duration> {
    runtime()?.block_on(async {
        let mut client = Client::connect(address, "r0").await?;
        let mut times = Vec::new();
        for at in 0..TIMED {
            let start = clock::now();
            let data = vec![at as u8 + 1; BLOCK_BYTES as usize];
            let cookie = client.submit(Operation::write(at * 3 * BLOCK_BYTES, data));
            let reply = client.wait_reply(cookie).await?;
            anyhow::ensure!(reply.result.is_ok(), "a write was refused: {:?}", reply.result);
            times.push(start.elapsed());
        }
        client.flush().await?;
        client.disconnect().await?;
        times.sort();
        Ok(times[times.len() / 2])
    })
}

/// What each waits for, over a far link; and both disks are equal with each.
pub(super) fn answers(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    for protocol in ["A", "B", "C"] {
        let cluster = Cluster::one_primary(setup(protocol))?;
        cluster.cables().iter().for_each(|cable| cable.delay(FAR));
        let took = median(&cluster.alpha.address())?;
        report.line(&format!(
            "protocol {protocol}: half of the writes are answered within {took:.1?}, with a peer \
             that is {FAR:?} away"
        ));
        scatter(&cluster.alpha.address(), 512, 5, 3)?;
        let shown = cluster.alpha.repadm(&["overview"])?;
        anyhow::ensure!(shown.contains(&format!(" {protocol} ")), "overview: {shown}");
        cluster.cables().iter().for_each(|cable| cable.delay(Duration::ZERO));
        cluster.wait_settled()?;
        cluster.down_and_compare()?;
        cluster.finish()?;
    }
    Ok(())
}

/// The Primary is killed while what it has answered is not at its peer; the peer takes over, and the
/// old Primary comes back and says what that means.
pub(super) fn failover(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::one_primary(setup("A"))?;
    scatter(&cluster.alpha.address(), 256, 5, 3)?;
    cluster.cables().iter().for_each(|cable| cable.silence());
    scatter(&cluster.alpha.address(), 64, 7, 4).context("what the peer does not get")?;
    cluster.alpha.kill()?;
    cluster.cables().iter().for_each(|cable| cable.mend());
    cluster.beta.wait_for("the loss of alpha", |status| status.connection() != "Connected")?;
    cluster.beta.repadm(&["primary", "r0"])?;
    scatter(&cluster.beta.address(), 32, 11, 5).context("writing on beta")?;
    cluster.alpha.start()?;
    cluster.wait_settled()?;
    let roles = cluster.beta.repadm(&["role", "r0"])?;
    anyhow::ensure!(roles.trim() == "Primary/Secondary", "roles {roles}");
    let named = cluster.alpha.log().contains("answered here with protocol A");
    anyhow::ensure!(named, "alpha does not say what was lost:\n{}", cluster.alpha.end_of_log());
    report.line(
        "alpha killed with 64 answered writes on their way; beta took over without them, and alpha \
         says so when it is back",
    );
    cluster.down_and_compare()?;
    cluster.finish()
}

/// More is written than the link carries: the peer is left Behind and brought back.
pub(super) fn ahead(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    const WRITTEN: u64 = 12 * MIB;
    let setup = setup("A").net("on-congestion", "pull-ahead").net("congestion-fill", "1M");
    let cluster = Cluster::one_primary(setup)?;
    cluster.cables().iter().for_each(|cable| cable.throttle(Some(MIB)));
    let start = clock::now();
    scatter(&cluster.alpha.address(), WRITTEN / BLOCK_BYTES, 3, 6)?;
    let took = start.elapsed();
    let status = cluster.alpha.status()?;
    anyhow::ensure!(status.replication() == "Ahead", "alpha: {}", status.brief());
    anyhow::ensure!(status.peer_disk() == "Outdated", "alpha: {}", status.brief());
    cluster.beta.wait_for("to be Behind", |status| status.replication() == "Behind")?;
    cluster.cables().iter().for_each(|cable| cable.throttle(None));
    cluster.wait_settled()?;
    let sent = cluster.alpha.status()?.resync_sent_kib();
    report.line(&format!(
        "{} KiB answered in {took:.1?} over a link of 1 MiB/s: Ahead and Behind; brought back by a \
         resync of {sent} KiB",
        WRITTEN >> 10
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}
