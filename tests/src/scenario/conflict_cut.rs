//! The cable is cut when both nodes have a write of the same blocks on its way: DP7.

use super::undisturbed::{self, Before};
use super::{MIB, Report, Scale, resets};
use crate::cluster::{Cluster, PATIENCE, Setup, Status};
use crate::load::{registers, runtime};
use crate::nbd_client::{Client, Operation};
use crate::proxy::Silence;
use crate::torture::keep_one;
use anyhow::Context;
use std::ops::Range;
use tokio::runtime::Runtime;
use types::{BLOCK_BYTES, SECTOR_BYTES};

/// Blocks that both write.
const BLOCKS: u64 = 8;
const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES * registers::PER_SECTOR;

/// Whose writes still get through when the other's do not.
#[derive(Clone, Copy, Debug)]
enum Through {
    Nobodys,
    Alphas,
    Betas,
}

const ALL: [Through; 3] = [Through::Nobodys, Through::Alphas, Through::Betas];

impl Through {
    /// The node whose writes are on their way first: before it has received any of the other's.
    const fn first(self) -> usize {
        match self {
            Self::Nobodys | Self::Betas => 0,
            Self::Alphas => 1,
        }
    }

    fn silence(self, cluster: &Cluster) {
        // Beta connects through the first cable, alpha through the other.
        let ways = match self {
            Self::Nobodys => [Silence::Both; 2],
            Self::Alphas => [Silence::There, Silence::Back],
            Self::Betas => [Silence::Back, Silence::There],
        };
        for (cable, way) in cluster.cables().iter().zip(ways) {
            cable.silence_one_way(way);
        }
    }
}

/// A client at each node.
struct Writers {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Writers {
    fn connect(cluster: &Cluster) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let clients = runtime.block_on(async {
            let mut clients = Vec::new();
            for node in cluster.nodes() {
                clients.push(Client::connect(&node.address(), "r0").await?);
            }
            anyhow::Ok(clients)
        })?;
        Ok(Self { runtime, clients })
    }

    /// Each node gets a write of every block, and none has received the other's before its own are
    /// on their way. `value` and the next one are written.
    fn clash(&mut self, cluster: &Cluster, through: Through, value: u64) -> anyhow::Result<()> {
        through.silence(cluster);
        let first = through.first();
        for at in [first, 1 - first] {
            let (node, client) = (cluster.nodes()[at], &mut self.clients[at]);
            self.runtime.block_on(async {
                for block in 0..BLOCKS {
                    let range = registers_of(block);
                    let data = registers::filled(&range, value + at as u64);
                    client.submit(Operation::write(block * BLOCK_BYTES, data));
                }
                client.send().await
            })?;
            node.wait_for("its writes on their way", |status| in_flight(status) == BLOCKS)?;
        }
        Ok(())
    }

    /// Every write is answered, and well.
    fn wait(&mut self) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            for client in &mut self.clients {
                while !client.in_flight().is_empty() {
                    let reply = tokio::time::timeout(PATIENCE, client.reply()).await;
                    let reply = reply.context("a write was not answered")??;
                    anyhow::ensure!(reply.result.is_ok(), "a write failed: {:?}", reply.result);
                }
            }
            Ok(())
        })
    }

    /// Fails unless all blocks of a node hold that value.
    fn read(&mut self, at: usize, value: u64) -> anyhow::Result<()> {
        let range = 0..BLOCKS * PER_BLOCK;
        let (offset, len) = registers::bytes(&range);
        let data = self.runtime.block_on(self.clients[at].read(offset, len))?;
        let values = registers::values(&range, &data)?;
        let is_one = values.iter().all(|&found| found == value);
        anyhow::ensure!(is_one, "node {at} has {values:?} instead of {value}");
        Ok(())
    }
}

fn registers_of(block: u64) -> Range<u64> {
    block * PER_BLOCK..(block + 1) * PER_BLOCK
}

fn in_flight(status: &Status) -> u64 {
    status.value()["connections"][0]["ap-in-flight"].as_u64().unwrap_or(0)
}

/// The cable is mended before anyone is given up: the session goes on, with one verdict for each
/// of the writes that were on their way.
pub(super) fn resumed(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    const ROUNDS: u64 = 3;
    let cluster = Cluster::two_primaries(resets::patient(Setup::new(16 * MIB)))?;
    let before = Before::look(&cluster)?;
    let mut writers = Writers::connect(&cluster)?;
    let mut cuts = 0;
    for _ in 0..ROUNDS {
        for through in ALL {
            cuts += 1;
            let value = 10 * cuts;
            let story = || format!("cut {cuts}, {through:?} get through");
            writers.clash(&cluster, through, value).with_context(story)?;
            cluster.cables().iter().for_each(|cable| cable.mend());
            writers.wait().with_context(story)?;
            resets::wait_resumed(&cluster, cuts).with_context(story)?;
            // Concurrent all of them: those of the arbiter prevail.
            (0..2).try_for_each(|at| writers.read(at, value)).with_context(story)?;
            let conflicts = undisturbed::conflicts(&cluster).with_context(story)?;
            anyhow::ensure!(conflicts == cuts * BLOCKS, "{}: {conflicts} conflicts", story());
        }
    }
    cluster.wait_settled()?;
    before.check_undivided(&cluster)?;
    report.line(&format!(
        "{cuts} cuts with {BLOCKS} writes of the same blocks on their way from each node, nobody's \
         or only one's still getting through: resumed, all {} concurrent and counted once, the \
         arbiter's on both nodes",
        cuts * BLOCKS
    ));
    drop(writers);
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Nobody mends the cable: both answer their writes alone. Both have marked them, and both find
/// out when they meet; what the operator keeps is on both then.
pub(super) fn alone(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // The silence before the cut must not be noticed, also not by a busy machine.
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB).net("ping-int", "60"))?;
    let mut value = 10;
    for (survivor, through) in [0, 1, 1].into_iter().zip(ALL) {
        let story = || format!("{through:?} get through, node {survivor} is kept");
        let mut writers = Writers::connect(&cluster)?;
        writers.clash(&cluster, through, value).with_context(story)?;
        cluster.cables().iter().for_each(|cable| cable.cut());
        writers.wait().with_context(story)?;
        for node in cluster.nodes() {
            let marked = node.status()?.out_of_sync_kib();
            let written = (BLOCKS * BLOCK_BYTES) >> 10;
            let name = node.name();
            anyhow::ensure!(marked == written, "{}: {name} has marked {marked} KiB", story());
        }
        let kept = value_of(&mut writers, survivor, [value, value + 1]).with_context(story)?;
        drop(writers);
        cluster.cables().iter().for_each(|cable| cable.mend());
        keep_one(&cluster, survivor).with_context(story)?;
        let mut writers = Writers::connect(&cluster)?;
        (0..2).try_for_each(|at| writers.read(at, kept)).with_context(story)?;
        value += 10;
    }
    report.line(&format!(
        "{} cuts with {BLOCKS} writes of the same blocks on their way from each node, and nobody \
         to mend it: answered alone, marked on both, a split brain on both, and the same on both \
         when one side was given up",
        ALL.len()
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Which of these a node has, in all blocks.
fn value_of(writers: &mut Writers, at: usize, among: [u64; 2]) -> anyhow::Result<u64> {
    match among.into_iter().find(|&value| writers.read(at, value).is_ok()) {
        Some(value) => Ok(value),
        None => writers.read(at, among[at]).map(|()| among[at]),
    }
}
