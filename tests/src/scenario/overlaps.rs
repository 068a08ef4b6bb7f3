//! Two requests at once, one on each node, that overlap in every way and are of every kind: DP2,
//! DP3.

mod pair;

use super::undisturbed::{self, Before};
use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Mix, Plan};
use anyhow::Context;
use pair::{Kind, Pair, RELATIONS};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{BLOCK_BYTES, EXTENT_BYTES, Prng};

/// Each way: both requests are on their way at once.
const FAR: Duration = Duration::from_millis(1);
/// Registers between two of the six points of a relation: a byte or so, a sector, a block, and so
/// many that the longest request has 1 MiB.
const UNITS: [u64; 5] = [1, 2, 16, 256, 1024];
/// Extents of the disk that the pairs use.
const EXTENTS: u64 = 3;

fn cluster() -> anyhow::Result<Cluster> {
    let cluster = Cluster::two_primaries(Setup::new((EXTENTS + 2) * EXTENT_BYTES))?;
    cluster.cables().iter().for_each(|cable| cable.delay(FAR));
    Ok(cluster)
}

/// Writes in all relations of two intervals, of all sizes and alignments; and a crowd of them.
pub(super) fn relations(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Before::look(&cluster)?;
    let mut prng = Prng::new(2);
    let mut pair = Pair::new(&cluster.nodes().map(|node| node.address()))?;
    let writes = [Kind::Write, Kind::Write];
    // Those that only come near each other first: they are no conflicts.
    let (apart, overlapping) = RELATIONS.split_at(pair::APART);
    let mut rounds = 0;
    for (relations, is_apart) in [(apart, true), (overlapping, false)] {
        for _ in 0..scale.pairs {
            for relation in relations {
                for unit in UNITS {
                    for granule in [1, 2, 16] {
                        pair.meet(&mut prng, *relation, unit, granule, writes)?;
                        rounds += 1;
                    }
                }
            }
        }
        let conflicts = undisturbed::conflicts(&cluster)?;
        anyhow::ensure!((conflicts == 0) == is_apart, "{conflicts} conflicts, apart {is_apart}");
    }
    pair.part()?;
    let conflicts = undisturbed::conflicts(&cluster)?;
    report.line(&format!(
        "{rounds} pairs of writes in all {} relations, up to 1 MiB, also at odd bytes, {FAR:?} \
         apart: each sector of one of them, {conflicts} conflicts",
        RELATIONS.len()
    ));
    crowd(&cluster, scale, report)?;
    before.check_connected(&cluster)?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Every size and kind at random, on 1 MiB beyond the pairs, against the checker.
fn crowd(cluster: &Cluster, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let first = EXTENTS * EXTENT_BYTES / BLOCK_BYTES;
    let areas = vec![first..first + 1, first + 1..first + MIB / BLOCK_BYTES];
    let (mix, pace) = (Mix::Everything, Duration::ZERO);
    let plan = Plan { areas, mix, clients: 1, depth: 16, pace, seed: 5, reconnect: false };
    let load = Load::start(&cluster.nodes().map(|node| node.address()), plan)?;
    for node in 0..2 {
        load.wait_answered(node, 20 * scale.pairs)?;
    }
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    report.line(&format!(
        "{} requests of every kind and size on 1 MiB at depth 16 on each node: linearizable; {} \
         conflicts in all, won on one node = lost on the other = superseded",
        loaded.answered,
        undisturbed::conflicts(cluster)?
    ));
    Ok(())
}

/// Writes, trims and writes of zeros, with FUA and without, and flushes: each kind on one node
/// against each on the other.
pub(super) fn kinds(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = cluster()?;
    let before = Before::look(&cluster)?;
    let mut prng = Prng::new(3);
    let mut pair = Pair::new(&cluster.nodes().map(|node| node.address()))?;
    let mut rounds = 0;
    for _ in 0..scale.pairs {
        for one in Kind::ALL {
            for other in Kind::ALL {
                let relation = *prng.pick(&RELATIONS[pair::APART..]);
                let (unit, granule) = (*prng.pick(&UNITS), *prng.pick(&[1, 2, 16]));
                let met = pair.meet(&mut prng, relation, unit, granule, [*one, *other]);
                met.with_context(|| format!("{one:?} on alpha, {other:?} on beta"))?;
                rounds += 1;
            }
        }
    }
    pair.part()?;
    let conflicts = undisturbed::conflicts(&cluster)?;
    anyhow::ensure!(conflicts > 0, "no conflict in {rounds} pairs");
    before.check_connected(&cluster)?;
    report.line(&format!(
        "{rounds} pairs of writes, trims, zeros, with FUA and without, and flushes: equal on both \
         nodes, each sector of one of them; {conflicts} conflicts, counted alike"
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}
