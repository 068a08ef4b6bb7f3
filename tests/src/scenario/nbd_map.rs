//! What clients of other people are told of holes, and of what is out-of-sync.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::{disks, foreign};
use anyhow::Context;
use serde_json::Value;

const KIB: u64 = 1 << 10;
const OUT_OF_SYNC: &str = "--map=x-repd:out-of-sync";

/// Start and length.
type Run = (u64, u64);

/// What is trimmed, on either node, is a hole on both, and nothing else; what is written alone is
/// out-of-sync, until it is resynced.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(64 * MIB))?;
    let size = disks::data_bytes(cluster.setup().disk_bytes)?;
    let (alpha, beta) = (cluster.alpha.uri(), cluster.beta.uri());
    let all = size / MIB * MIB;
    let rest = size - all;
    let mut fill: Vec<String> =
        (0..all / MIB).map(|at| format!("write -P 0x61 {at}M 1M")).collect();
    if rest > 0 {
        fill.push(format!("write -P 0x61 {all} {rest}"));
    }
    foreign::qemu_io(&alpha, &fill.iter().map(String::as_str).collect::<Vec<_>>())?;
    holes_are(&cluster, &[]).context("after everything was written")?;

    foreign::qemu_io(&alpha, &["discard 4M 1M", "discard 8M 64k"])?;
    foreign::qemu_io(&beta, &["discard 20M 5M", "discard 40M 128k"])?;
    foreign::qemu_io(&beta, &["write -P 0x62 21M 64k", "write -zu 50M 1M"])?;
    foreign::qemu_io(&alpha, &["write -z 55M 1M", "flush"])?;
    let holes = [
        (4 * MIB, MIB),
        (8 * MIB, 64 * KIB),
        (20 * MIB, MIB),
        (21 * MIB + 64 * KIB, 4 * MIB - 64 * KIB),
        (40 * MIB, 128 * KIB),
        (50 * MIB, MIB),
    ];
    holes_are(&cluster, &holes).context("after the trims")?;
    report.line(&format!(
        "{} trimmed ranges: nbdinfo --map and qemu-img map show them as holes on both nodes, and \
         nothing else; what was zeroed without trimming is none",
        holes.len()
    ));

    for node in cluster.nodes() {
        let marked = nbdinfo(node, OUT_OF_SYNC, |kind| kind != 0)?;
        anyhow::ensure!(marked.is_empty(), "{} says out-of-sync: {marked:?}", node.name());
    }
    cluster.beta.kill()?;
    let alone = ["write -P 0x63 1M 64k", "discard 30M 256k", "write -P 0x64 60M 4k", "flush"];
    foreign::qemu_io(&alpha, &alone)?;
    let expected = [(MIB, 64 * KIB), (30 * MIB, 256 * KIB), (60 * MIB, 4 * KIB)];
    let marked = nbdinfo(&cluster.alpha, OUT_OF_SYNC, |kind| kind != 0)?;
    anyhow::ensure!(marked == expected, "out-of-sync is {marked:?}, and not {expected:?}");
    let status = cluster.alpha.status()?;
    let kib = marked.iter().map(|(_, len)| len >> 10).sum::<u64>();
    anyhow::ensure!(status.out_of_sync_kib() == kib, "{kib} KiB, {}", status.brief());
    cluster.beta.start()?;
    cluster.wait_settled()?;
    cluster.beta.wait_for("Primary", |status| status.role() == "Primary")?;
    for node in cluster.nodes() {
        let marked = nbdinfo(node, OUT_OF_SYNC, |kind| kind != 0)?;
        anyhow::ensure!(marked.is_empty(), "{} says out-of-sync: {marked:?}", node.name());
    }
    report
        .line("nbdinfo --map=x-repd:out-of-sync: what was written alone; after the resync nothing");
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Both programs say of both nodes that these are the holes, which read as zeros, and that all else
/// is data or zeros that take room.
fn holes_are(cluster: &Cluster, expected: &[Run]) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let holes = nbdinfo(node, "--map", |kind| kind & 3 == 3)?;
        anyhow::ensure!(holes == expected, "{}: {holes:?}, not {expected:?}", node.name());
        let odd = nbdinfo(node, "--map", |kind| kind & 3 == 1)?;
        anyhow::ensure!(odd.is_empty(), "{}: holes that are no zeros: {odd:?}", node.name());
        let ran =
            foreign::succeed("qemu-img", &["map", "-f", "raw", "--output=json", &node.uri()])?;
        let is_hole = |run: &Value| run["data"] == false && run["zero"] == true;
        let holes = runs(&ran.out, "start", is_hole)?;
        anyhow::ensure!(holes == expected, "qemu: {}: {holes:?}: {ran}", node.name());
    }
    Ok(())
}

/// The runs of a context that are of this kind.
fn nbdinfo(node: &Node, map: &str, is: impl Fn(u64) -> bool) -> anyhow::Result<Vec<Run>> {
    let ran = foreign::succeed("nbdinfo", &["--json", map, &node.uri()])?;
    let all = runs(&ran.out, "offset", |_| true)?;
    let size = disks::data_bytes(std::fs::metadata(node.disk())?.len())?;
    anyhow::ensure!(all == [(0, size)], "not all of {size} bytes: {ran}");
    runs(&ran.out, "offset", |run| run["type"].as_u64().is_some_and(&is))
}

/// Those that are wanted, put together where they touch.
fn runs(json: &str, start: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Run>> {
    let all: Vec<Value> = serde_json::from_str(json).with_context(|| json.to_owned())?;
    let mut found: Vec<Run> = Vec::new();
    for run in all.iter().filter(|run| is(run)) {
        let number = |key: &str| run[key].as_u64().with_context(|| format!("{key} of {run}"));
        let (start, len) = (number(start)?, number("length")?);
        match found.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += len,
            _ => found.push((start, len)),
        }
    }
    Ok(found)
}
