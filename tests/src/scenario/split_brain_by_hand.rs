//! Both have written alone, and an operator looks, and decides: the commands of docs/runbooks.md,
//! from either side and in either order.

use super::divergence::{ALONE, DISK_BYTES, Parting, check_disks, meet, part, read_all};
use super::{Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::runtime;
use anyhow::Context;
use serde_json::Value;
use types::BLOCK_BYTES;

/// `repadm` exits with it: a split brain.
const SPLIT: i32 = 18;
/// The same: the other node cannot be asked, and nothing is known.
const UNKNOWN: i32 = 20;
/// The same: not in this state.
const WRONG_STATE: i32 = 11;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES))?;
    let rounds = [(0, true), (1, true), (0, false), (1, false)];
    let mut last = None;
    for (round, (victim, victim_first)) in rounds.into_iter().enumerate() {
        let story =
            || format!("round {round}: {victim} gives up, its command first: {victim_first}");
        let images = part(&mut cluster, Parting::BothPrimary, 10_000 * (round as u64 + 1));
        let images = images.with_context(story)?;
        for node in cluster.nodes() {
            let asked = node.try_repadm(&["split-brain", "r0"])?.ended_with(UNKNOWN)?;
            anyhow::ensure!(asked.out.contains("is not known"), "{}", asked.out);
        }
        anyhow::ensure!(!meet(&cluster)?, "settled by itself: {}", story());
        cluster.nodes().into_iter().try_for_each(look).with_context(story)?;
        let resynced = recover(&cluster, victim, victim_first).with_context(story)?;
        let union = ((ALONE[1].end - ALONE[0].start) * BLOCK_BYTES) >> 10;
        anyhow::ensure!(resynced == union, "{}: {resynced} KiB, not {union}", story());
        let [alpha, beta] = cluster.nodes();
        for node in [alpha, beta] {
            let image = runtime()?.block_on(read_all(node))?;
            anyhow::ensure!(image == images[1 - victim], "{}: not the survivor's", story());
        }
        last = Some(images[1 - victim].clone());
    }
    report.line(&format!(
        "{} split brains: found by both, described by both without any change, refused to be \
         settled on a Primary, and settled in two commands from either side, in either order and \
         said twice: what either had changed was copied, and both have the survivor's bytes",
        rounds.len()
    ));
    let last = last.context("a round")?;
    check_disks(&cluster, [&last, &last])?;
    cluster.finish()
}

/// What the node tells of both, which changes nothing.
fn look(node: &Node) -> anyhow::Result<()> {
    let before = node.status()?;
    anyhow::ensure!(before.is_split(), "{}", before.brief());
    let text = node.try_repadm(&["split-brain", "r0"])?.ended_with(SPLIT)?.out;
    for part in ["SPLIT BRAIN", "Nothing has been discarded.", "both changed: 1 block", "Keep beta"]
    {
        anyhow::ensure!(text.contains(part), "no «{part}» in {text}");
    }
    let json = node.try_repadm(&["split-brain", "--json", "r0"])?.ended_with(SPLIT)?.out;
    let value: Value = serde_json::from_str(&json).with_context(|| json.clone())?;
    let bytes = ALONE.map(|blocks| (blocks.end - blocks.start) * BLOCK_BYTES);
    let [here, there] = if node.name() == "alpha" { bytes } else { [bytes[1], bytes[0]] };
    let told = ["discard-here-bytes", "discard-there-bytes"].map(|name| value[name].as_u64());
    anyhow::ensure!(told == [Some(here), Some(there)], "{told:?}, not {here} and {there}");
    node.try_repadm(&["connect", "--tentative", "r0"])?.ended_with(SPLIT)?;
    let after = node.status()?;
    let same = (after.brief(), after.generation()) == (before.brief(), before.generation());
    anyhow::ensure!(same, "a look has changed «{}» to «{}»", before.brief(), after.brief());
    Ok(())
}

/// In two commands, each said twice. KiB that were copied.
fn recover(cluster: &Cluster, victim: usize, victim_first: bool) -> anyhow::Result<u64> {
    let (gives_up, keeps) = (cluster.nodes()[victim], cluster.nodes()[1 - victim]);
    let discard = ["connect", "--discard-my-data", "r0"];
    let refused = gives_up.try_repadm(&discard)?.ended_with(WRONG_STATE)?;
    anyhow::ensure!(refused.err.contains("repadm secondary"), "{}", refused.err);
    gives_up.repadm(&["secondary", "r0"])?;
    let mut commands = [(gives_up, &discard[..]), (keeps, &["connect", "r0"][..])];
    if !victim_first {
        commands.reverse();
    }
    for (node, words) in commands {
        for _ in 0..2 {
            node.repadm(words)?;
        }
    }
    gives_up.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    cluster.wait_settled()?;
    let status = gives_up.status()?;
    for (node, words) in commands {
        node.repadm(words)?;
    }
    cluster.wait_settled()?;
    let same = gives_up.status()?.generation() == status.generation();
    anyhow::ensure!(same, "the commands, said again, have done something");
    gives_up.repadm(&["primary", "r0"])?;
    Ok(status.resync_sent_kib())
}
