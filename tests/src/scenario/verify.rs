//! Verify of two Primaries under hot writes, and what it finds of damage: OP7.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Node, Setup, Status};
use crate::load::{Load, Mix, Plan};
use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::time::Duration;
use types::{BLOCK_BYTES, EXTENT_BYTES, Prng, SECTOR_BYTES};

const DISK_BYTES: u64 = 96 * MIB;
/// Extents that clients write to; what is behind them is quiet.
const EXTENTS: u64 = 6;
/// Where the damage is: behind them, and before the metadata.
const QUIET: std::ops::Range<u64> =
    EXTENTS * EXTENT_BYTES / BLOCK_BYTES..(DISK_BYTES - 2 * MIB) / BLOCK_BYTES;
const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;

/// No false alarm under load, and all damage found, listed and repaired.
pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES).net("verify-alg", "xxh3"))?;
    under_load(&cluster, scale.verify_for, report)?;
    let damaged = damage(&cluster, scale.damaged_blocks)?;
    let found = verify(&cluster.alpha, &cluster)?;
    anyhow::ensure!(found == scale.damaged_blocks, "{found} of {} found", scale.damaged_blocks);
    for node in cluster.nodes() {
        let listed = listed(node)?;
        anyhow::ensure!(listed == damaged, "{} lists other blocks", node.name());
        let status = node.status()?;
        anyhow::ensure!(status.out_of_sync_kib() == 4 * found, "{}", status.brief());
        anyhow::ensure!(status.disk() == "UpToDate", "{}", status.brief());
        let text = node.repadm(&["verify", "--report", "r0"])?;
        anyhow::ensure!(text.contains("repadm invalidate --reset-bitmap=no r0"), "{text}");
    }
    report.line(&format!("{found} blocks changed on one file: all found, listed on both nodes"));
    // Beta's file was damaged, and alpha stays Primary: beta gets the marked blocks, and those only.
    cluster.beta.repadm(&["secondary", "r0"])?;
    cluster.beta.terminate()?;
    cluster.beta.start()?;
    cluster.wait_settled()?;
    let again = verify(&cluster.beta, &cluster)?;
    anyhow::ensure!(again == 0, "{again} blocks differ after the repair");
    report.line("repaired by a new connection, and verified");
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Verifies, one after the other and from both nodes in turn, as long as that under load.
fn under_load(cluster: &Cluster, span: Duration, report: &mut Report) -> anyhow::Result<()> {
    let start = clock::now();
    let (mut verifies, mut answered, mut seed, mut before) = (0_u64, 0, 1, BTreeMap::new());
    while verifies == 0 || start.elapsed() < span {
        let mut plan = Plan::scattered(EXTENTS, 3, seed);
        (plan.mix, plan.clients) = (Mix::Everything, 2);
        let load = Load::start(&cluster.nodes().map(Node::address), plan)?;
        // The history of one load stays small enough to be judged.
        let window = clock::now();
        while verifies.is_multiple_of(2) || window.elapsed() < Duration::from_secs(5) {
            let node = cluster.nodes()[(verifies % 2) as usize];
            let found = verify(node, cluster)?;
            verifies += 1;
            anyhow::ensure!(found == 0, "a false alarm: {found} blocks, verify {verifies}");
        }
        let loaded = load.finish()?;
        loaded.check(&before)?;
        answered += loaded.answered;
        before = loaded.last;
        seed += 1;
    }
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.out_of_sync_kib() == 0, "{}", status.brief());
    }
    report.line(&format!(
        "{verifies} verifies of {} MiB in {:.0?} under {answered} requests: no false alarm",
        DISK_BYTES / MIB,
        start.elapsed()
    ));
    Ok(())
}

/// Has a node verify all, waits for the end at both, and gives how many blocks differ.
fn verify(node: &Node, cluster: &Cluster) -> anyhow::Result<u64> {
    let before = ended(&node.status()?);
    node.repadm(&["verify", "r0"])?;
    let status = node.wait_for("the end of a verify", |status| ended(status) > before)?;
    for other in cluster.nodes() {
        other.wait_for("replication after a verify", |status| {
            status.replication() == "Established"
        })?;
    }
    let outcome = outcome(&status).context("an outcome")?;
    anyhow::ensure!(outcome["complete"] == true && outcome["text"] == "", "{outcome}");
    outcome["found-blocks"].as_u64().context("a number of blocks")
}

fn outcome(status: &Status) -> Option<&Value> {
    status.value().pointer("/connections/0/peer_devices/0/verify")
}

fn ended(status: &Status) -> u64 {
    outcome(status).and_then(|outcome| outcome["ended"].as_u64()).unwrap_or(0)
}

/// Changes so many blocks of beta's file behind its daemon's back.
fn damage(cluster: &Cluster, blocks: u64) -> anyhow::Result<BTreeSet<u64>> {
    let disk = std::fs::File::options().write(true).open(cluster.beta.disk())?;
    let mut prng = Prng::new(7);
    let mut damaged = BTreeSet::new();
    while (damaged.len() as u64) < blocks {
        let block = QUIET.start + prng.below(QUIET.end - QUIET.start);
        if damaged.insert(block) {
            let byte = block * BLOCK_BYTES + prng.below(BLOCK_BYTES);
            disk.write_all_at(&[0x5a], byte)?;
        }
    }
    disk.sync_all()?;
    Ok(damaged)
}

/// The blocks that a node reports.
fn listed(node: &Node) -> anyhow::Result<BTreeSet<u64>> {
    let text = node.repadm(&["--json", "verify", "--report", "r0"])?;
    let report: Value = serde_json::from_str(&text)?;
    let ranges = report[0]["volumes"][0]["ranges"].as_array().context("ranges")?;
    let mut blocks = BTreeSet::new();
    for range in ranges {
        let number = |at: usize| range[at].as_u64().with_context(|| format!("{range}"));
        let (start, sectors) = (number(0)?, number(1)?);
        anyhow::ensure!(start % PER_BLOCK == 0 && sectors % PER_BLOCK == 0, "{range}");
        blocks.extend(start / PER_BLOCK..(start + sectors) / PER_BLOCK);
    }
    Ok(blocks)
}
