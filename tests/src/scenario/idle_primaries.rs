//! The cable is pulled between two Primaries that nobody writes to, and put back.

use super::undisturbed::Before;
use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::load::{registers, runtime};
use crate::nbd_client::Client;
use crate::proxy::Proxy;
use anyhow::Context;
use std::time::Duration;
use types::BLOCK_BYTES;

/// How long the cable is out after both have noticed: `timeout`, which the tests' cluster has at
/// 1 s, and as much again, so that each counts the other as lost.
const OUT: Duration = Duration::from_secs(2);

/// What becomes of the cable.
type Trouble = (&'static str, fn(&Proxy));
const TROUBLES: [Trouble; 2] = [("silent", Proxy::silence), ("cut", Proxy::cut)];

/// A whole block.
const BLOCK: std::ops::Range<u64> = 0..16;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(64 * MIB))?;
    let runtime = runtime()?;
    let before = Before::look(&cluster)?;
    let mut clients = runtime.block_on(connect(&cluster))?;
    runtime.block_on(use_both(&mut clients, 1)).context("before")?;
    let mut value = 1;
    for (name, trouble) in TROUBLES {
        value += 1;
        cluster.cables().iter().for_each(trouble);
        for node in cluster.nodes() {
            node.wait_for("the loss of the link", |status| status.connection() != "Connected")?;
        }
        clock::pass(OUT);
        // Whoever reads only has not gone on alone, either.
        runtime.block_on(look(&mut clients, value - 1)).context(name)?;
        cluster.cables().iter().for_each(Proxy::mend);
        cluster.wait_settled().context(name)?;
        runtime.block_on(use_both(&mut clients, value)).with_context(|| name.to_owned())?;
        before.check_undivided(&cluster).context(name)?;
    }
    // For a moment only, which nobody notices before it is over.
    let resumed = cluster.alpha.status()?.resumed();
    cluster.cables().iter().for_each(Proxy::silence);
    cluster.cables().iter().for_each(Proxy::mend);
    cluster.alpha.wait_for("the session resumed", |status| status.resumed() > resumed)?;
    cluster.wait_settled()?;
    runtime.block_on(use_both(&mut clients, value + 1)).context("at last")?;
    before.check_undivided(&cluster)?;
    report.line(
        "the cable between two idle Primaries silent, cut, each for longer than timeout, and out \
         for a moment: no split brain, no resync, no new generation, the clients go on",
    );
    drop(clients);
    cluster.down_and_compare()?;
    cluster.finish()
}

async fn connect(cluster: &Cluster) -> anyhow::Result<[Client; 2]> {
    let [alpha, beta] = cluster.nodes().map(|node| node.address());
    Ok([Client::connect(&alpha, "r0").await?, Client::connect(&beta, "r0").await?])
}

/// Each writes a block, without a flush, and reads the other's.
async fn use_both(clients: &mut [Client; 2], value: u64) -> anyhow::Result<()> {
    let written = async {
        for (client, block) in clients.iter_mut().zip(0..) {
            let data = registers::filled(&BLOCK, value);
            client.write(block * BLOCK_BYTES, &data, false).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, written).await.context("no answer")??;
    look(clients, value).await
}

/// Each reads what the other has written.
async fn look(clients: &mut [Client; 2], value: u64) -> anyhow::Result<()> {
    for (client, block) in clients.iter_mut().zip([1, 0]) {
        let asked = client.read(block * BLOCK_BYTES, BLOCK_BYTES as u32);
        let data = tokio::time::timeout(PATIENCE, asked).await.context("no answer")??;
        let values = registers::values(&BLOCK, &data)?;
        anyhow::ensure!(values.iter().all(|&found| found == value), "{values:?}, not {value}");
    }
    Ok(())
}
