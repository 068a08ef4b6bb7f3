//! A disk is not the one that was there before: an older copy of itself, a copy of the other
//! node's, or another resource's. Nothing old is taken for new, and the operator is told which
//! disk, and what to do: RS11, RS12.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::{Load, Plan};
use crate::process::Ran;
use std::collections::BTreeMap;
use std::fs;

const DISK_BYTES: u64 = 32 * MIB;

/// The disk of a Secondary is brought back from an older copy.
pub(super) fn older(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::one_primary(Setup::new(DISK_BYTES))?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let copy = cluster.directory().join("older");
    beta.repadm(&["down", "r0"])?;
    fs::copy(beta.disk(), &copy)?;
    beta.repadm(&["up", "r0"])?;
    cluster.wait_settled()?;
    let load = Load::start(&[alpha.address()], Plan::scattered(4, 4, 1))?;
    load.wait_answered(0, 300)?;
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    beta.repadm(&["down", "r0"])?;
    fs::copy(&copy, beta.disk())?;
    beta.repadm(&["up", "r0"])?;
    let refused = |node: &Node| {
        node.wait_for("an older disk to be refused", |status| {
            status.last_refusal().contains("older")
        })
    };
    for node in cluster.nodes() {
        let status = refused(node)?;
        anyhow::ensure!(status.last_refusal().contains("create-md"), "{}", status.brief());
        anyhow::ensure!(node.log().contains("older"), "nothing in {}'s log", node.name());
    }
    report.line("an older copy of the own disk: refused on both nodes, with the way out");
    replace(&cluster, beta)?;
    let now = Load::start(&[alpha.address()], Plan::scattered(4, 4, 2))?.finish()?;
    now.check(&loaded.last)?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// The disk of a Secondary is replaced by a copy of the Primary's, and by another resource's.
pub(super) fn foreign(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::one_primary(Setup::new(DISK_BYTES))?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    beta.repadm(&["down", "r0"])?;
    fs::copy(alpha.disk(), beta.disk())?;
    let refused = beta.try_repadm(&["up", "r0"])?.ended_with(10)?;
    told(&refused, beta, &["written by node 0", "this is node 1", "create-md"])?;
    report.line("a copy of the other node's disk: refused with 10, with its node");
    // `up` has left the resource without a disk.
    beta.repadm(&["down", "r0"])?;

    let mut other = Setup::new(DISK_BYTES);
    other.resource = "r1".to_owned();
    cluster.configure(beta, &other)?;
    beta.repadm(&["create-md", "--force", "r1"])?;
    cluster.configure(beta, cluster.setup())?;
    let refused = beta.try_repadm(&["up", "r0"])?.ended_with(10)?;
    told(&refused, beta, &["belongs to volume r1/0, not to r0/0", "create-md"])?;
    report.line("another resource's disk: refused with 10, with its name");
    replace(&cluster, beta)?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

fn told(refused: &Ran, node: &Node, words: &[&str]) -> anyhow::Result<()> {
    let disk = node.disk().display().to_string();
    for text in words.iter().copied().chain(["r0/0", &disk]) {
        anyhow::ensure!(refused.err.contains(text), "nothing about «{text}» in {refused}");
    }
    Ok(())
}

/// The way out: all is copied anew.
fn replace(cluster: &Cluster, node: &Node) -> anyhow::Result<()> {
    node.repadm(&["down", "r0"])?;
    node.repadm(&["create-md", "--force", "r0"])?;
    node.repadm(&["up", "r0"])?;
    cluster.alpha.repadm(&["connect", "r0"])?;
    node.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    Ok(())
}
