//! Two nodes that have both written alone, and what each has then.

use super::MIB;
use crate::clock::until;
use crate::cluster::{Cluster, Node, PATIENCE};
use crate::disks;
use crate::load::{registers, runtime};
use crate::nbd_client::Client;
use anyhow::Context;
use std::fs;
use std::ops::Range;
use types::{BLOCK_BYTES, SECTOR_BYTES};

/// Blocks that each writes alone: beta more, and one of them is the same.
pub(super) const ALONE: [Range<u64>; 2] = [10..14, 13..20];
/// The size of the disks.
pub(super) const DISK_BYTES: u64 = 8 * MIB;

/// How the two come to have written alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// Both were Primary.
    BothPrimary,
    /// Beta became Primary after it.
    BetaLater,
    /// Alpha, to which nobody had written, crashed; it is Primary again alone, and has nothing to
    /// tell, while beta took over.
    AlphaCrashed,
}

/// Everything that a node serves.
pub(super) type Image = Vec<u8>;

pub(super) async fn read_all(node: &Node) -> anyhow::Result<Image> {
    let mut client = Client::connect(&node.address(), "r0").await?;
    let mut left = disks::data_bytes(DISK_BYTES)?;
    let mut image = Vec::new();
    while left > 0 {
        let piece = left.min(MIB);
        let asked = client.read(image.len() as u64, piece as u32);
        image.extend(tokio::time::timeout(PATIENCE, asked).await.context("no answer")??);
        left -= piece;
    }
    client.disconnect().await?;
    Ok(image)
}

async fn write(node: &Node, blocks: Range<u64>, base: u64) -> anyhow::Result<()> {
    const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES * registers::PER_SECTOR;
    let mut client = Client::connect(&node.address(), "r0").await?;
    for block in blocks {
        let range = block * PER_BLOCK..(block + 1) * PER_BLOCK;
        let data = registers::filled(&range, base + block);
        let write = client.write(block * BLOCK_BYTES, &data, false);
        tokio::time::timeout(PATIENCE, write).await.context("no answer")??;
    }
    client.flush().await?;
    client.disconnect().await?;
    Ok(())
}

/// The cable is cut, and both write alone, values from `base` on. What each has then, node by node.
pub(super) fn part(
    cluster: &mut Cluster,
    parting: Parting,
    base: u64,
) -> anyhow::Result<[Image; 2]> {
    let runtime = runtime()?;
    let crash = parting == Parting::AlphaCrashed;
    if !crash {
        runtime.block_on(write(&cluster.alpha, 1..3, base + 100))?;
    }
    if parting == Parting::BothPrimary {
        cluster.beta.repadm(&["primary", "r0"])?;
    }
    cluster.wait_settled()?;
    if crash {
        cluster.alpha.kill()?;
    }
    cluster.cables().iter().for_each(|cable| cable.cut());
    if crash {
        cluster.alpha.start()?;
    }
    for node in cluster.nodes() {
        node.wait_for("the loss of the link", |status| status.connection() != "Connected")?;
    }
    if crash {
        cluster.alpha.wait_for("Primary again", |status| status.role() == "Primary")?;
    } else {
        runtime.block_on(write(&cluster.alpha, ALONE[0].clone(), base + 1000)).context("alpha")?;
    }
    if parting != Parting::BothPrimary {
        cluster.beta.repadm(&["primary", "r0"])?;
    }
    runtime.block_on(write(&cluster.beta, ALONE[1].clone(), base + 2000)).context("beta")?;
    let mut images = Vec::new();
    for node in cluster.nodes() {
        images.push(runtime.block_on(read_all(node))?);
    }
    images.try_into().ok().context("two nodes")
}

/// Waits until both are in sync, or both stand alone; whether they are in sync.
pub(super) fn meet(cluster: &Cluster) -> anyhow::Result<bool> {
    cluster.cables().iter().for_each(|cable| cable.mend());
    let met = until("a verdict", PATIENCE, || {
        let [alpha, beta] = cluster.nodes().map(|node| node.status());
        let both = [alpha?, beta?];
        if both.iter().all(|status| status.connection() == "StandAlone") {
            return Ok(Some(false));
        }
        Ok(both.iter().all(|status| status.is_settled()).then_some(true))
    });
    Ok(met.with_context(|| cluster.describe())?.0)
}

/// Takes the resource down, and compares the disks with what each is to have.
pub(super) fn check_disks(cluster: &Cluster, images: [&Image; 2]) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        node.repadm(&["down", "r0"])?;
    }
    for (node, image) in cluster.nodes().into_iter().zip(images) {
        let disk = fs::read(node.disk())?;
        anyhow::ensure!(disk[..image.len()] == **image, "{}'s disk is another", node.name());
    }
    Ok(())
}
