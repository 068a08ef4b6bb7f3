//! One resource with two volumes: one link and one role, and for each volume a disk, generations, a
//! resync and a verdict of its own.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::disks;
use crate::load::runtime;
use crate::nbd_client::Client;
use anyhow::Context;
use serde_json::Value;
use types::BLOCK_BYTES;

const DISK_BYTES: u64 = 8 * MIB;
/// `repadm` exits with it: a split brain.
const SPLIT: i32 = 18;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup { volumes: 2, ..Setup::new(DISK_BYTES) };
    let cluster = Cluster::connected(setup)?;
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    for node in cluster.nodes() {
        node.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
    }
    cluster.beta.repadm(&["primary", "r0"])?;
    settled(&cluster)?;
    report.line("one primary --force, one link: both volumes in sync, Primary on both nodes");
    each_has_its_own_data(&cluster)?;
    report.line("each volume has its own bytes, whichever node they were written at");
    one_loses_its_disk(&cluster)?;
    report.line("one volume's disk away and back: only what it missed is copied, only there");
    one_splits(&cluster)?;
    report.line("split brain of one volume: told for it alone, and the other's writes come over");
    for node in cluster.nodes() {
        node.repadm(&["down", "r0"])?;
    }
    let len = disks::data_bytes(DISK_BYTES)?;
    for volume in 0..2 {
        let [one, other] = cluster.nodes().map(|node| node.disk_of(volume));
        let difference = disks::first_difference(&one, &other, len)?;
        anyhow::ensure!(difference.is_none(), "r0/{volume}: they differ at {difference:?}");
    }
    cluster.finish()
}

/// What a node says of a volume.
struct Volume {
    disk: String,
    peer_disk: String,
    replication: String,
    generation: String,
    resync_sent_kib: u64,
}

fn volume(node: &Node, number: usize) -> anyhow::Result<Volume> {
    let status = node.status()?;
    let value = status.value();
    let connections = value["connections"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(connections == 1, "{connections} links for one resource");
    let (device, peer) =
        (&value["devices"][number], &value["connections"][0]["peer_devices"][number]);
    anyhow::ensure!(device["volume"] == number, "another order of volumes: {value}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Volume {
        disk: text(&device["disk-state"]),
        peer_disk: text(&peer["peer-disk-state"]),
        replication: text(&peer["replication-state"]),
        generation: text(&device["generation"]),
        resync_sent_kib: peer["resync-sent"].as_u64().unwrap_or_default(),
    })
}

/// Waits until both volumes are in sync on both nodes.
fn settled(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        node.wait_for("both volumes in sync", |status| {
            let value = status.value();
            (0..2).all(|number| {
                let peer = &value["connections"][0]["peer_devices"][number];
                value["devices"][number]["disk-state"] == "UpToDate"
                    && peer["peer-disk-state"] == "UpToDate"
                    && peer["replication-state"] == "Established"
                    && peer["out-of-sync"] == 0
            })
        })?;
    }
    Ok(())
}

/// Fills blocks of an export with a byte.
fn write(node: &Node, export: &str, block: u64, blocks: u64, byte: u8) -> anyhow::Result<()> {
    let address = node.address();
    runtime()?.block_on(async {
        let writing = async {
            let mut client = Client::connect(&address, export).await?;
            let data = vec![byte; usize::try_from(blocks * BLOCK_BYTES)?];
            client.write(block * BLOCK_BYTES, &data, false).await?;
            client.flush().await?;
            client.disconnect().await?;
            Ok(())
        };
        tokio::time::timeout(PATIENCE, writing).await.context("no answer")?
    })
}

/// Blocks of an export are full of that byte.
fn check(node: &Node, export: &str, block: u64, blocks: u64, byte: u8) -> anyhow::Result<()> {
    let address = node.address();
    let read = runtime()?.block_on(async {
        let reading = async {
            let mut client = Client::connect(&address, export).await?;
            let len = u32::try_from(blocks * BLOCK_BYTES)?;
            let read = client.read(block * BLOCK_BYTES, len).await?;
            client.disconnect().await?;
            anyhow::Ok(read)
        };
        tokio::time::timeout(PATIENCE, reading).await.context("no answer")?
    })?;
    let other = read.iter().position(|found| *found != byte);
    anyhow::ensure!(
        other.is_none(),
        "{} on {}: not {byte} at {other:?} of block {block}",
        export,
        node.name()
    );
    Ok(())
}

fn each_has_its_own_data(cluster: &Cluster) -> anyhow::Result<()> {
    let [alpha, beta] = cluster.nodes();
    write(alpha, "r0/0", 0, 16, 0x10)?;
    write(beta, "r0/1", 0, 16, 0x21)?;
    write(beta, "r0", 16, 16, 0x30)?;
    write(alpha, "r0/1", 16, 16, 0x41)?;
    for node in [alpha, beta] {
        check(node, "r0/0", 0, 16, 0x10)?;
        check(node, "r0/0", 16, 16, 0x30)?;
        check(node, "r0/1", 0, 16, 0x21)?;
        check(node, "r0/1", 16, 16, 0x41)?;
    }
    Ok(())
}

/// Blocks that beta's second disk misses.
const MISSED: u64 = 3;

fn one_loses_its_disk(cluster: &Cluster) -> anyhow::Result<()> {
    let [alpha, beta] = cluster.nodes();
    let before = volume(alpha, 0)?;
    beta.repadm(&["detach", "r0/1"])?;
    let gone = volume(beta, 1)?;
    anyhow::ensure!((gone.disk.as_str(), gone.peer_disk.as_str()) == ("Diskless", "UpToDate"));
    let other = volume(beta, 0)?;
    let is_well = (other.disk.as_str(), other.replication.as_str()) == ("UpToDate", "Established");
    anyhow::ensure!(is_well, "r0/0: {} {}", other.disk, other.replication);
    // It serves through its peer meanwhile.
    check(beta, "r0/1", 16, 16, 0x41)?;
    write(alpha, "r0/1", 100, MISSED, 0x55)?;
    write(beta, "r0/0", 100, 8, 0x56)?;
    beta.repadm(&["attach", "r0/1"])?;
    settled(cluster)?;
    let resynced = volume(beta, 1)?.resync_sent_kib;
    anyhow::ensure!(resynced == (MISSED * BLOCK_BYTES) >> 10, "r0/1: {resynced} KiB");
    let after = volume(alpha, 0)?;
    let same = (after.generation, after.resync_sent_kib);
    anyhow::ensure!(same == (before.generation, before.resync_sent_kib), "r0/0: {same:?}");
    for node in [alpha, beta] {
        check(node, "r0/1", 100, MISSED, 0x55)?;
        check(node, "r0/0", 100, 8, 0x56)?;
    }
    Ok(())
}

/// Both write to the second volume alone, and one of them to the first.
fn one_splits(cluster: &Cluster) -> anyhow::Result<()> {
    let [alpha, beta] = cluster.nodes();
    cluster.cables().iter().for_each(|cable| cable.cut());
    for node in [alpha, beta] {
        node.wait_for("the loss of the link", |status| status.connection() != "Connected")?;
    }
    write(alpha, "r0/0", 200, 2, 0x61)?;
    write(alpha, "r0/1", 200, 2, 0x62)?;
    write(beta, "r0/1", 201, 3, 0x63)?;
    cluster.cables().iter().for_each(|cable| cable.mend());
    for node in [alpha, beta] {
        let is_split = |status: &crate::cluster::Status| {
            status.connection() == "StandAlone" && status.is_split()
        };
        node.wait_for("split brain", is_split)?;
        node.try_repadm(&["wait-connect", "--wfc-timeout", "60", "r0"])?.ended_with(SPLIT)?;
        let told = node.try_repadm(&["split-brain", "--json", "r0"])?.ended_with(SPLIT)?.out;
        let told: Value = serde_json::from_str(&told).with_context(|| told.clone())?;
        let outcome = |number: usize| told["volumes"][number]["verdict"]["outcome"].clone();
        let split = [outcome(0) == "split-brain", outcome(1) == "split-brain"];
        anyhow::ensure!(split == [false, true], "{told:#}");
    }
    beta.repadm(&["secondary", "r0"])?;
    beta.repadm(&["connect", "--discard-my-data", "r0"])?;
    alpha.repadm(&["connect", "r0"])?;
    settled(cluster)?;
    let resynced = [volume(beta, 0)?.resync_sent_kib, volume(beta, 1)?.resync_sent_kib];
    // Of the second what either has changed.
    anyhow::ensure!(resynced == [2, 4].map(|blocks| (blocks * BLOCK_BYTES) >> 10), "{resynced:?}");
    beta.repadm(&["primary", "r0"])?;
    for node in [alpha, beta] {
        check(node, "r0/0", 200, 2, 0x61)?;
        check(node, "r0/1", 200, 2, 0x62)?;
        check(node, "r0/1", 202, 2, 0)?;
    }
    Ok(())
}
