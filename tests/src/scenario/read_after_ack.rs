//! What is answered on one node is read on the other, in the middle of a crowd over a cable that is
//! far: DP4.

use super::undisturbed::{self, Before};
use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, PATIENCE, Setup};
use crate::load::{Load, Plan, registers, runtime};
use crate::nbd_client::{Address, Client};
use anyhow::Context;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use types::Prng;

/// Each way.
const FAR: Duration = Duration::from_millis(1);
/// What is handed to and fro, beside the crowd's blocks: a few registers at odd bytes.
const BALL: Range<u64> = 1001..1008;

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB))?;
    let before = Before::look(&cluster)?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    let addresses = cluster.nodes().map(|node| node.address());
    let load = Load::start(&addresses, Plan::scattered(1, 3, 9))?;
    let passes = runtime()?.block_on(play(&addresses, scale.conflicts / 8))?;
    for node in 0..2 {
        load.wait_answered(node, scale.conflicts)?;
    }
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    let conflicts = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(conflicts > 0, "no conflict in such a crowd");
    before.check_connected(&cluster)?;
    report.line(&format!(
        "{} requests at depth 16 on each node to the same 3 blocks, {FAR:?} apart: {conflicts} \
         conflicts, linearizable, never disconnected; {passes} times the other node read at once \
         what one had been answered",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Writes on one node, and reads on the other as soon as that is answered.
async fn play(addresses: &[Address; 2], passes: u64) -> anyhow::Result<u64> {
    let mut clients = Vec::new();
    for address in addresses {
        clients.push(Client::connect(address, "r0").await?);
    }
    let (offset, len) = registers::bytes(&BALL);
    let mut prng = Prng::new(44);
    for pass in 1..=passes {
        let one_pass = async {
            let writer = prng.below(2) as usize;
            clients[writer].write(offset, &registers::filled(&BALL, pass), false).await?;
            let data = clients[1 - writer].read(offset, len).await?;
            let values = registers::values(&BALL, &data)?;
            let is_new = values.iter().all(|&value| value == pass);
            anyhow::ensure!(
                is_new,
                "node {} was answered {pass}, the other reads {values:?}",
                writer
            );
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, one_pass).await.context("no answer")??;
    }
    for client in clients {
        client.disconnect().await?;
    }
    Ok(passes)
}
