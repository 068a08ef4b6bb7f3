//! A volume grows under load on both Primaries: OP4.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::{Load, Mix, Plan, runtime};
use crate::nbd_client::Client;
use crate::{clock, disks};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;
use types::{EXTENT_BYTES, Prng};

/// Round by round both disks are enlarged, and the volume grows while both nodes write; in all
/// rounds but the last a daemon is killed meanwhile, and the order is given again.
pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(scale.grow_from);
    // When the source of what is new is killed the other waits for it.
    setup.options.push("on-no-data-accessible suspend-io".to_owned());
    let mut cluster = Cluster::two_primaries(setup)?;
    let addresses = cluster.nodes().map(Node::address);
    let mut prng = Prng::new(11);
    let mut known = BTreeMap::new();
    let (mut size, mut longest, mut answered) = (scale.grow_from, Duration::ZERO, 0);
    let step = (scale.grow_to - scale.grow_from) / scale.grow_rounds;
    for round in 1..=scale.grow_rounds {
        size += step / MIB * MIB;
        // The last extents of what there is are used, too: they are new in the round before.
        let mut plan = Plan::scattered((size - step) / EXTENT_BYTES - 1, 2, round);
        (plan.mix, plan.reconnect, plan.pace) = (Mix::Everything, true, Duration::from_millis(1));
        let load = Load::start(&addresses, plan)?;
        (0..2).try_for_each(|node| load.wait_answered(node, 50))?;
        let first = (round % 2) as usize;
        for node in [first, 1 - first] {
            enlarge(cluster.nodes()[node], size)?;
        }
        let victim = (round < scale.grow_rounds).then_some((round / 2 % 2) as usize);
        let took = grow(&mut cluster, first, victim, &mut prng, size)
            .with_context(|| format!("round {round}: {}", cluster.describe()))?;
        longest = longest.max(took);
        (0..2).try_for_each(|node| load.wait_answered(node, 50))?;
        cluster.wait_settled()?;
        let loaded = load.finish()?;
        loaded.check(&known).with_context(|| format!("round {round}"))?;
        answered += loaded.answered;
        known = loaded.last;
        for node in cluster.nodes() {
            told(node, size)?;
        }
    }
    report.line(&format!(
        "{} MiB -> {} MiB in {} rounds under load on two Primaries, a daemon killed in all but the \
         last: {answered} requests answered, linearizable; a resize took at most {longest:.1?}; a \
         new connection is told the new size",
        scale.grow_from / MIB,
        size / MIB,
        scale.grow_rounds
    ));
    cluster.down_and_compare()?;
    let len = disks::data_bytes(size)?;
    let [alpha, beta] = cluster.nodes().map(Node::disk);
    let differ = disks::first_difference(&alpha, &beta, len)?;
    anyhow::ensure!(differ.is_none(), "the disks differ at byte {differ:?}");
    cluster.finish()
}

fn enlarge(node: &Node, bytes: u64) -> anyhow::Result<()> {
    let file = File::options().write(true).open(node.disk())?;
    file.set_len(bytes).with_context(|| format!("{}: {bytes} bytes", node.name()))
}

/// Orders it, kills one meanwhile if that is wanted, and orders it again until it is done.
fn grow(
    cluster: &mut Cluster,
    node: usize,
    victim: Option<usize>,
    prng: &mut Prng,
    size: u64,
) -> anyhow::Result<Duration> {
    let wanted = disks::data_bytes(size)?;
    if let Some(victim) = victim {
        let mut order = cluster.nodes()[node].repadm_command(&["resize", "r0"])?;
        let mut ordered = order.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(prng.below(60)));
        cluster.nodes_mut()[victim].kill()?;
        ordered.wait()?;
        cluster.nodes_mut()[victim].start()?;
        cluster.wait_settled()?;
    }
    let start = clock::now();
    cluster.nodes()[node].repadm(&["resize", "r0"])?;
    let took = start.elapsed();
    for node in cluster.nodes() {
        let kib = node.status()?.size_kib();
        anyhow::ensure!(kib << 10 == wanted, "{}: {kib} KiB, not {wanted} bytes", node.name());
    }
    Ok(took)
}

/// Whoever connects is told the size, and can use it to its end.
fn told(node: &Node, disk_bytes: u64) -> anyhow::Result<()> {
    let wanted = disks::data_bytes(disk_bytes)?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&node.address(), "r0").await?;
        let size = client.export().size;
        anyhow::ensure!(size == wanted, "{}: told {size}, not {wanted}", node.name());
        client.read(size - 4096, 4096).await?;
        client.disconnect().await?;
        Ok(())
    })
}
