//! A backing file system that is full, and one that is read-only: IO5.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::load::{Load, Mix, Plan};
use crate::process::run;
use crate::{namespace, programs};
use anyhow::Context;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

fn setup() -> Setup {
    let mut setup = Setup::new(64 * MIB);
    setup.small_mounts = Some(96 * MIB);
    setup
}

/// The disk of one node has no space left while both write.
pub(super) fn full(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    if !namespace::is_inside() {
        return inside("io5-full-disk", report);
    }
    let cluster = Cluster::two_primaries(setup())?;
    let addresses = cluster.nodes().map(|node| node.address());
    let mut plan = Plan::scattered(12, 8, 1);
    plan.mix = Mix::Everything;
    let load = Load::start(&addresses, plan)?;
    load.wait_answered(0, 200)?;
    let beta = &cluster.beta;
    cluster.fill_disk(beta)?;
    beta.wait_for("Diskless", |status| status.disk() == "Diskless")?;
    let told = "no space left";
    anyhow::ensure!(beta.log().contains(told), "nothing about «{told}» in beta's log");
    for node in 0..2 {
        load.wait_answered(node, 200).context("with a disk on alpha only")?;
    }
    let status = cluster.alpha.wait_for("the loss", |status| status.peer_disk() == "Diskless")?;
    anyhow::ensure!(status.disk() == "UpToDate", "{}", status.brief());
    namespace::make_room(&beta.small_mount())?;
    beta.repadm(&["attach", "r0"])?;
    cluster.wait_settled()?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    report.line(&format!(
        "a full disk under two Primaries: let go, {} requests answered without an error, attached \
         again when there was room",
        loaded.answered
    ));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// The disk of one node cannot be written.
pub(super) fn read_only(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    if !namespace::is_inside() {
        return inside("read-only-disk", report);
    }
    let cluster = Cluster::one_primary(setup())?;
    let beta = &cluster.beta;
    beta.repadm(&["down", "r0"])?;
    let remount = |how: &str| {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{how}")]).arg(beta.small_mount());
        run(&mut command, PATIENCE)?.ended_with(0)
    };
    remount("ro")?;
    let disk = beta.disk().display().to_string();
    for words in [&["up", "r0"][..], &["create-md", "--force", "r0"]] {
        let refused = beta.try_repadm(words)?.ended_with(10)?;
        for text in ["r0/0", disk.as_str(), "ead-only"] {
            anyhow::ensure!(refused.err.contains(text), "nothing about «{text}» in {refused}");
        }
    }
    remount("rw")?;
    beta.repadm(&["up", "r0"])?;
    cluster.wait_settled()?;
    report.line("a disk that is read-only: up and create-md refused with 10, and the disk");
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Runs a scenario once more, where it may mount.
fn inside(name: &str, report: &mut Report) -> anyhow::Result<()> {
    if let Some(why) = namespace::refusal() {
        report.line(&format!("SKIPPED, no mount namespace here: {why}"));
        return Ok(());
    }
    let program = programs::binary()?;
    let ran = run(&mut namespace::command(&program, &["acceptance", name]), PATIENCE)?;
    print!("{}", ran.out);
    ran.ended_with(0).map(drop)
}
