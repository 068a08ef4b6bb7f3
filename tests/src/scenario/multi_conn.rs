//! One client with connections to both nodes: DP11.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, PATIENCE, Setup, Status};
use crate::load::{registers, runtime};
use crate::nbd_client::{Address, Client, Operation};
use anyhow::Context;
use types::BLOCK_BYTES;

/// Blocks that are written through the two in turn.
const BLOCKS: u64 = 16;
/// NBD_FLAG_CAN_MULTI_CONN.
const CAN_MULTI_CONN: u16 = 1 << 8;
/// A whole block.
const BLOCK: std::ops::Range<u64> = 0..16;

/// A flush on either node is for what either has answered, and the death of either is no error of
/// the other's: all four combinations of who is flushed and who dies.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // Nobody makes anything durable but the client.
    let mut setup = Setup::new(64 * MIB);
    setup.options.push("durable-interval 600".to_owned());
    let mut cluster = Cluster::two_primaries(setup)?;
    let addresses = cluster.nodes().map(|node| node.address());
    let runtime = runtime()?;
    for (round, (flushed, victim)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
        let value = 10 * (1 + round as u64);
        let story = || format!("{flushed} is flushed and {victim} dies, of alpha 0 and beta 1");
        let mut paths = runtime.block_on(Paths::connect(&addresses)).with_context(story)?;
        runtime.block_on(paths.write(&[0, 1], value)).with_context(story)?;
        for node in cluster.nodes() {
            let open = node.status()?.undurable_writes();
            anyhow::ensure!(open > 0, "{}: all is durable on {} unasked", story(), node.name());
        }
        runtime.block_on(paths.flush(flushed)).with_context(story)?;
        let own = cluster.nodes()[flushed].status()?.undurable_writes();
        anyhow::ensure!(own == 0, "{}: {own} writes are not durable after a flush", story());
        let all_durable = |status: &Status| status.undurable_writes() == 0;
        cluster.nodes()[1 - flushed].wait_for("what the other flushed", all_durable)?;

        // The survivor has writes in flight that the victim never answers.
        let survivor = 1 - victim;
        cluster.nodes()[victim].freeze()?;
        runtime.block_on(paths.ask(survivor, value)).with_context(story)?;
        cluster.nodes_mut()[victim].kill()?;
        runtime.block_on(paths.answered(survivor)).with_context(story)?;
        runtime
            .block_on(async {
                paths.lose(victim).await?;
                paths.read(survivor, value).await?;
                paths.write(&[survivor], value + 1).await?;
                paths.flush(survivor).await?;
                paths.read(survivor, value + 1).await
            })
            .with_context(story)?;
        drop(paths);
        cluster.nodes_mut()[victim].start()?;
        cluster.wait_settled().with_context(story)?;
        cluster.nodes()[victim].wait_for("Primary again", |status| status.role() == "Primary")?;
        let mut paths = runtime.block_on(Paths::connect(&addresses)).with_context(story)?;
        runtime.block_on(paths.read(victim, value + 1)).with_context(story)?;
    }
    report.line(
        "a client with a connection to each of two Primaries: a flush on either makes durable what \
         either has answered, and the survivor of a SIGKILL of either answers everything without \
         an error",
    );
    cluster.down_and_compare()?;
    cluster.finish()
}

/// A connection to each node.
struct Paths([Client; 2]);

impl Paths {
    async fn connect(addresses: &[Address; 2]) -> anyhow::Result<Self> {
        let [alpha, beta] = addresses;
        let paths = [Client::connect(alpha, "r0").await?, Client::connect(beta, "r0").await?];
        let can = paths.iter().all(|client| client.export().flags & CAN_MULTI_CONN != 0);
        anyhow::ensure!(can, "an export does not offer several connections");
        Ok(Self(paths))
    }

    /// Writes all blocks through these in turn; all are answered then.
    async fn write(&mut self, through: &[usize], value: u64) -> anyhow::Result<()> {
        for (block, &at) in (0..BLOCKS).zip(through.iter().cycle()) {
            let data = registers::filled(&BLOCK, value);
            let asked = self.0[at].write(block * BLOCK_BYTES, &data, false);
            tokio::time::timeout(PATIENCE, asked).await.context("no answer")??;
        }
        Ok(())
    }

    /// Asks for writes of all blocks.
    async fn ask(&mut self, at: usize, value: u64) -> anyhow::Result<()> {
        for block in 0..BLOCKS {
            let data = registers::filled(&BLOCK, value);
            self.0[at].submit(Operation::write(block * BLOCK_BYTES, data));
        }
        Ok(self.0[at].send().await?)
    }

    /// All that was asked for is answered, and well.
    async fn answered(&mut self, at: usize) -> anyhow::Result<()> {
        while !self.0[at].in_flight().is_empty() {
            let reply = tokio::time::timeout(PATIENCE, self.0[at].reply()).await;
            let reply = reply.context("no answer")??;
            anyhow::ensure!(reply.result.is_ok(), "answered with {:?}", reply.result);
        }
        Ok(())
    }

    async fn flush(&mut self, at: usize) -> anyhow::Result<()> {
        Ok(tokio::time::timeout(PATIENCE, self.0[at].flush()).await.context("no answer")??)
    }

    /// Fails unless all blocks have that value.
    async fn read(&mut self, at: usize, value: u64) -> anyhow::Result<()> {
        let range = 0..BLOCKS * BLOCK.end;
        let (offset, len) = registers::bytes(&range);
        let asked = self.0[at].read(offset, len);
        let data = tokio::time::timeout(PATIENCE, asked).await.context("no answer")??;
        let values = registers::values(&range, &data)?;
        anyhow::ensure!(values.iter().all(|&found| found == value), "{values:?}, not {value}");
        Ok(())
    }

    /// A node that died has hung up; it has not answered with an error.
    async fn lose(&mut self, at: usize) -> anyhow::Result<()> {
        let asked = self.0[at].flush();
        match tokio::time::timeout(PATIENCE, asked).await.context("no end")? {
            Err(error) if error.is_connection_lost() => Ok(()),
            other => anyhow::bail!("a node that was killed answers with {other:?}"),
        }
    }
}
