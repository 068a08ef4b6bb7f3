//! How long a full resync takes, and what it costs the Primary's clients: idle, and under random
//! writes of 4 KiB at depth 16, for several settings; what was scattered; and what a plain copy of
//! the same files takes. Nothing is asserted on time.

use super::{MIB, Report, Scale, full_sync};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Mix, Plan, scatter};
use anyhow::Context;
use std::time::Duration;
use types::BLOCK_BYTES;

/// How long clients work before the resync begins.
const BEFORE: Duration = Duration::from_secs(3);

/// What is set in `disk`, beside the default.
const SETTINGS: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("c-min-rate 0 (load not looked at)", &["c-min-rate 0"]),
    ("c-max-rate 100M", &["c-max-rate 100M"]),
    ("c-plan-ahead 0, resync-rate 50M", &["c-plan-ahead 0", "resync-rate 50M"]),
];

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let bytes = scale.resync_bytes;
    let rate = |took: Duration| bytes as f64 / MIB as f64 / took.as_secs_f64();
    let mut setup = Setup::new(bytes);
    setup.direct = true;
    let cluster = Cluster::connected(setup)?;
    full_sync::fill(&cluster.alpha.disk(), bytes - 2 * MIB)?;
    cluster.first_sync()?;
    for (index, (name, disk)) in SETTINGS.iter().enumerate() {
        let mut setup = cluster.setup().clone();
        setup.disk = disk.iter().map(|word| (*word).to_owned()).collect();
        for node in cluster.nodes() {
            cluster.configure(node, &setup)?;
            node.repadm(&["adjust", "r0"])?;
        }
        let idle = resync(&cluster)?;
        report.line(&format!("{name}: idle {idle:.1?} ({:.0} MiB/s)", rate(idle)));
        let seed = 20 + 2 * index as u64;
        let (before, _) = under_load(&cluster, seed, || {
            std::thread::sleep(BEFORE);
            Ok(())
        })?;
        let mut took = Duration::ZERO;
        let (during, writes) = under_load(&cluster, seed + 1, || {
            took = resync(&cluster)?;
            Ok(())
        })?;
        report.line(&format!(
            "{name}: under load {took:.1?} ({:.0} MiB/s), {:.0} writes a second; p99 before \
             {before:.2?}, during {during:.2?}: {:.2} times",
            rate(took),
            writes as f64 / took.as_secs_f64(),
            during.as_secs_f64() / before.as_secs_f64()
        ));
    }
    scattered(&cluster, scale, report)?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    let copy = full_sync::copy_by_nbdkit(&cluster)?;
    report.line(&format!("nbdcopy between two nbdkit file: {copy:.1?} ({:.0} MiB/s)", rate(copy)));
    cluster.finish()
}

/// All of it, to beta.
fn resync(cluster: &Cluster) -> anyhow::Result<Duration> {
    let start = clock::now();
    cluster.beta.repadm(&["invalidate", "r0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "900", "r0"])?;
    Ok(start.elapsed())
}

/// The 99th percentile of writes at alpha as long as that lasts, and how many they were.
fn under_load(
    cluster: &Cluster,
    seed: u64,
    lasts: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, usize)> {
    let blocks = cluster.setup().disk_bytes / BLOCK_BYTES;
    let areas = (0..2000).map(|at| at * (blocks / 2100)).map(|block| block..block + 1).collect();
    let plan = Plan { areas, mix: Mix::Writes, ..Plan::scattered(1, 1, seed) };
    let load = Load::start(&[cluster.alpha.address()], plan)?;
    load.wait_answered(0, 100)?;
    lasts()?;
    let loaded = load.finish()?;
    anyhow::ensure!(loaded.refused.is_empty(), "clients were told of errors: {:?}", loaded.refused);
    let mut times = loaded.write_times().remove(&0).context("no write was answered")?;
    times.sort_unstable();
    Ok((times[(times.len() - 1) * 99 / 100], times.len()))
}

/// What was written alone, in pieces of 4 KiB.
fn scattered(cluster: &Cluster, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    cluster.alpha.repadm(&["disconnect", "r0"])?;
    let blocks = scale.scattered_bytes / BLOCK_BYTES;
    scatter(&cluster.alpha.address(), blocks, 2, 77)?;
    let start = clock::now();
    cluster.alpha.repadm(&["connect", "r0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "300", "r0"])?;
    let took = start.elapsed();
    let sent = cluster.beta.status()?.resync_sent_kib();
    report.line(&format!(
        "{} MiB scattered in pieces of 4 KiB: {took:.1?} from `connect` on, {sent} KiB sent",
        scale.scattered_bytes / MIB
    ));
    Ok(())
}
