//! Primaries' daemons are killed under load, again and again.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Loaded, Mix, Plan};
use anyhow::Context;
use sim::history::BlockId;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{EXTENT_BYTES, Prng};

/// Extents that are written to: no more than these are hot at a crash.
const EXTENTS: u64 = 6;
const DISK_BYTES: u64 = 256 * MIB;

/// One node is killed, alpha and beta in turns, while the other goes on.
pub(super) fn one(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    rounds(scale, report, |round| vec![(round % 2) as usize])
}

/// Both are killed at one moment, and come back in either order: CR2.
pub(super) fn both(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    rounds(scale, report, |round| match round % 2 {
        0 => vec![0, 1],
        _ => vec![1, 0],
    })
}

/// Each way, where conflicts are the point: what is on its way is what can be concurrent.
const FAR: Duration = Duration::from_millis(2);

/// One of two Primaries dies in the middle of conflicts, each of them once, and stays away while
/// the other goes on: the history of both nodes' clients, told to its end by the survivor, is that
/// of one disk.
pub(super) fn in_conflicts(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(16 * MIB))?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    let addresses = cluster.nodes().map(|node| node.address());
    let mut known = BTreeMap::new();
    for (victim, seed) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        let (survivor, name) = (1 - victim, cluster.nodes()[victim].name());
        let mut plan = Plan::scattered(1, 3, seed);
        plan.reconnect = true;
        let load = Load::start(&addresses, plan)?;
        (0..2).try_for_each(|node| load.wait_answered(node, 500))?;
        let conflicts = cluster.nodes()[survivor].status()?;
        anyhow::ensure!(conflicts.conflicts_won() + conflicts.conflicts_lost() > 0, "no conflict");
        cluster.nodes_mut()[victim].kill()?;
        load.wait_answered(survivor, 500).with_context(|| format!("{name} has died"))?;
        let loaded = load.finish_through(|node| usize::from(node) == survivor)?;
        loaded.check(&known).with_context(|| format!("{name} has died"))?;
        report.line(&format!(
            "{name} killed in the middle of conflicts: {} answers of both nodes' clients, \
             linearizable through the survivor",
            loaded.answered
        ));
        cluster.nodes_mut()[victim].start()?;
        cluster.wait_settled()?;
        known = loaded.last;
    }
    let load = Load::start(&addresses, Plan::scattered(1, 3, 5))?;
    load.finish()?.check(&known)?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Kills within one window of the history.
const WINDOW: u64 = 25;

/// One node is killed and started at once, alpha and beta in turns, as often as the scale says,
/// under verifying load on both Primaries: CR6. The pauses are told, and not judged.
pub(super) fn a_thousand(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES))?;
    let mut prng = Prng::new(6);
    let mut before = BTreeMap::new();
    let (mut pauses, mut longest) = (Vec::new(), Duration::ZERO);
    let (mut answered, mut reconnects, mut killed) = (0, 0, 0);
    while killed < scale.kills_in_a_row {
        let mut plan = Plan::scattered(EXTENTS, 8, 1 + killed);
        (plan.mix, plan.reconnect, plan.pace) = (Mix::Everything, true, Duration::from_millis(1));
        let load = Load::start(&cluster.nodes().map(|node| node.address()), plan)?;
        for _ in 0..WINDOW.min(scale.kills_in_a_row - killed) {
            killed += 1;
            let victim = (killed % 2) as usize;
            load.wait_answered(victim, 1 + prng.below(60))?;
            let start = clock::now();
            cluster.nodes_mut()[victim].kill()?;
            cluster.nodes_mut()[victim].start()?;
            for node in 0..2 {
                load.wait_answered(node, 1).with_context(|| cluster.describe())?;
            }
            pauses.push(start.elapsed());
            // The other may be the next: it must not be the only one with the data then.
            cluster.wait_settled()?;
        }
        let loaded = load.finish()?;
        loaded.check(&before).with_context(|| format!("after {killed} kills"))?;
        (answered, reconnects) = (answered + loaded.answered, reconnects + loaded.reconnects);
        longest = loaded.pauses.values().copied().fold(longest, Duration::max);
        before = loaded.last;
    }
    pauses.sort();
    let at = |percent: usize| pauses[(pauses.len() - 1) * percent / 100];
    report.line(&format!(
        "{killed} times SIGKILL under load on two Primaries: {answered} requests answered, \
         linearizable, no error but {reconnects} connections made anew; both answer again after \
         {:.0?}, 99 % after {:.0?}, all after {:.0?}; the longest time without an answer {longest:.0?}",
        at(50),
        at(99),
        at(100)
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

fn rounds(
    scale: &Scale,
    report: &mut Report,
    victims: impl Fn(u64) -> Vec<usize>,
) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(DISK_BYTES))?;
    let mut prng = Prng::new(4);
    let mut before = BTreeMap::new();
    let (mut answered, mut most_sent_kib, mut slowest) = (0, 0, Duration::ZERO);
    for round in 1..=scale.kills {
        let victims = victims(round);
        let done = one_round(&mut cluster, &mut prng, round, &victims, &before)
            .with_context(|| format!("round {round}"))?;
        slowest = slowest.max(done.took);
        most_sent_kib = most_sent_kib.max(done.sent_kib);
        answered += done.loaded.answered;
        before = done.loaded.last;
    }
    report.line(&format!(
        "{} times SIGKILL under load at depth 16 on both Primaries: {answered} requests answered, \
         linearizable, both Primary again; resync at most {most_sent_kib} KiB of {} KiB, at most \
         {slowest:.1?} after the restart",
        scale.kills,
        DISK_BYTES >> 10
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

struct Round {
    loaded: Loaded,
    took: Duration,
    sent_kib: u64,
}

fn one_round(
    cluster: &mut Cluster,
    prng: &mut Prng,
    round: u64,
    victims: &[usize],
    before: &BTreeMap<BlockId, u64>,
) -> anyhow::Result<Round> {
    let addresses = cluster.nodes().map(|node| node.address());
    let mut plan = Plan::scattered(EXTENTS, 8, round);
    plan.reconnect = true;
    let load = Load::start(&addresses, plan)?;
    load.wait_answered(0, 50 + prng.below(500))?;
    for &victim in victims {
        cluster.nodes_mut()[victim].kill()?;
    }
    for &victim in victims {
        // Some rounds are over before a survivor goes on alone, some are not.
        clock::pass(Duration::from_millis(prng.below(2500)));
        cluster.nodes_mut()[victim].start()?;
    }
    let took = cluster.wait_settled()?;
    for &victim in victims {
        load.wait_answered(victim, 50)?;
    }
    let loaded = load.finish()?;
    loaded.check(before)?;
    let mut sent_kib = 0;
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.role() == "Primary", "{}", status.brief());
        sent_kib = sent_kib.max(status.resync_sent_kib());
    }
    let hot_kib = (EXTENTS * EXTENT_BYTES) >> 10;
    anyhow::ensure!(sent_kib <= hot_kib, "{sent_kib} KiB sent, the hot extents have {hot_kib}");
    Ok(Round { loaded, took, sent_kib })
}
