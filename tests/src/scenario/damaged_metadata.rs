//! Superblock slots that a disk has damaged: one is no harm, both are refused with the way out:
//! CR8.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::{Load, Plan};
use anyhow::Context;
use metadata::Layout;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

const DISK_BYTES: u64 = 32 * MIB;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::one_primary(Setup::new(DISK_BYTES))?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let mut before = BTreeMap::new();
    for slot in [0, 1] {
        let load = Load::start(&[alpha.address()], Plan::scattered(4, 4, 1 + slot as u64))?;
        load.wait_answered(0, 100)?;
        beta.repadm(&["down", "r0"])?;
        load.wait_answered(0, 100)?;
        damage(beta, &[slot])?;
        beta.repadm(&["up", "r0"])?;
        cluster.wait_settled().with_context(|| format!("with a damaged slot {slot}"))?;
        let loaded = load.finish()?;
        loaded.check(&before)?;
        before = loaded.last;
        let told = format!("superblock slot {slot} is damaged");
        anyhow::ensure!(beta.log().contains(&told), "nothing about «{told}» in beta's log");
    }
    report.line("one slot of two damaged: attached, told in the log, and in sync again");

    beta.repadm(&["down", "r0"])?;
    damage(beta, &[0, 1])?;
    let refused = beta.try_repadm(&["up", "r0"])?.ended_with(10)?;
    let disk = beta.disk().display().to_string();
    for text in ["r0/0", disk.as_str(), "both superblock slots are bad", "create-md"] {
        anyhow::ensure!(refused.err.contains(text), "nothing about «{text}» in {refused}");
    }
    // Damaged metadata may be worth a look: they are not overwritten without being told so.
    beta.repadm(&["create-md", "--force", "r0"])?;
    beta.repadm(&["up", "r0"])?;
    beta.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    report.line("both slots: refused with 10, the disk and the command; which then copies all");
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Makes these superblock slots unreadable by their checksums.
fn damage(node: &Node, slots: &[usize]) -> anyhow::Result<()> {
    let offsets = Layout::internal_superblock_offsets(DISK_BYTES)?;
    let disk = File::options().write(true).open(node.disk())?;
    for &slot in slots {
        // Behind magic and version: it is still one of ours.
        disk.write_all_at(&[0xEE; 64], offsets[slot] + 512)?;
    }
    Ok(())
}
