//! A device that is taken from its clients by order, and one whose daemon only pauses: what comes
//! late is refused by the one, and left to the next daemon by the other.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::{Client, ClientError, Operation};
use anyhow::Context;
use bytes::Bytes;
use std::thread;
use std::time::Duration;

const ESHUTDOWN: u32 = 108;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    // The peer counts as lost long after all this.
    let setup = Setup::new(16 * MIB).net("timeout", "100");
    let setup = setup.net("ping-int", "20").net("connect-int", "20");
    let mut cluster = Cluster::two_primaries(setup)?;
    for order in [&["secondary", "--force", "r0"][..], &["down", "--force", "r0"]] {
        cluster.wait_settled()?;
        let [alpha, beta] = cluster.nodes();
        let name = order[..2].join(" ");
        taken_away(alpha, beta, order).with_context(|| name.clone())?;
        report
            .line(&format!("{name}: what is late is refused, what was asked for before answered"));
        if order[0] == "down" {
            alpha.repadm(&["up", "r0"])?;
        }
        cluster.wait_settled()?;
        cluster.alpha.repadm(&["primary", "r0"])?;
    }
    paused(&mut cluster)?;
    report.line("SIGTERM: what is late is not answered, and nothing with an error");
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// A write that waits for the peer, which stands still.
async fn held_write(node: &Node, peer: &Node) -> anyhow::Result<(Client, u64)> {
    let mut client = Client::connect(&node.address(), "r0").await?;
    client.write(0, &[1; 4096], false).await?;
    peer.freeze()?;
    let first = client.submit(Operation::write(0, vec![2; 4096]));
    client.send().await?;
    // Sent is not read: an order that comes before finds nothing to wait for.
    node.wait_for("the write is in flight", |status| status.upper_pending() == 1)?;
    Ok((client, first))
}

fn taken_away(node: &Node, peer: &Node, order: &[&str]) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let (mut client, first) = runtime.block_on(held_write(node, peer))?;
    let late = thread::scope(|scope| {
        let ordered = scope.spawn(|| node.repadm(order));
        let late = runtime.block_on(within(late_requests(&mut client, first)));
        peer.thaw()?;
        ordered.join().ok().context("the thread has panicked")??;
        late
    })?;
    anyhow::ensure!(late > 0, "nothing was refused");
    let rest = runtime.block_on(within(to_the_end(&mut client)))?;
    // If it was not answered before the refusals, it is now.
    anyhow::ensure!(!client.in_flight().contains_key(&first), "it is not answered: {rest:?}");
    for (cookie, result) in rest {
        let fine = match cookie == first {
            true => result.is_ok(),
            false => result.is_ok() || result == Err(ESHUTDOWN),
        };
        anyhow::ensure!(fine, "request {cookie} is answered with {result:?}");
    }
    Ok(())
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context("no end of it")?
}

/// Asks for something again and again until that is refused. How often it was.
async fn late_requests(client: &mut Client, first: u64) -> anyhow::Result<usize> {
    loop {
        let cookie = client.submit(Operation::read(8192, 512));
        match client.wait(cookie).await? {
            Ok(_) => {}
            Err(ESHUTDOWN) => break,
            Err(error) => anyhow::bail!("refused with {error}"),
        }
    }
    anyhow::ensure!(client.in_flight().contains_key(&first), "the first was answered before");
    // Whatever it is.
    let zero = Operation::WriteZeroes { offset: 0, len: 4096, no_hole: false, fua: false };
    let late = [Operation::Flush, Operation::write(4096, vec![3; 512]), zero];
    let cookies = late.map(|operation| client.submit(operation));
    for cookie in cookies {
        let result = client.wait(cookie).await?;
        anyhow::ensure!(result == Err(ESHUTDOWN), "late, and answered with {result:?}");
    }
    Ok(1 + cookies.len())
}

/// The answers until the server hangs up.
async fn to_the_end(client: &mut Client) -> anyhow::Result<Vec<(u64, Result<Bytes, u32>)>> {
    let mut answers = Vec::new();
    loop {
        match client.reply().await {
            Ok(reply) => answers.push((reply.cookie, reply.result)),
            Err(ClientError::Io(_)) => return Ok(answers),
            Err(error) => return Err(error.into()),
        }
    }
}

/// An orderly end with a client.
fn paused(cluster: &mut Cluster) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let (mut client, first) = runtime.block_on(held_write(&cluster.alpha, &cluster.beta))?;
    let (alpha, beta) = (&mut cluster.alpha, &cluster.beta);
    let answers = thread::scope(|scope| {
        let ended = scope.spawn(|| alpha.terminate());
        let answers = runtime.block_on(within(asked_until_closed(&mut client, beta)));
        beta.thaw()?;
        ended.join().ok().context("the thread has panicked")??;
        answers
    })?;
    let late = client.in_flight().keys().filter(|&&cookie| cookie != first).count();
    anyhow::ensure!(late > 0, "everything was answered: nothing came late");
    for (cookie, result) in &answers {
        anyhow::ensure!(result.is_ok(), "request {cookie} is answered with {result:?}");
    }
    cluster.alpha.start()?;
    cluster.wait_settled()?;
    let read = async {
        let mut client = Client::connect(&cluster.alpha.address(), "r0").await?;
        Ok(client.read(0, 4096).await?)
    };
    let found = runtime.block_on(within(read))?;
    let answered = answers.iter().any(|(cookie, _)| *cookie == first);
    let is_new = found == vec![2; 4096];
    anyhow::ensure!(is_new || !answered && found == vec![1; 4096], "it holds {:?}", &found[..8]);
    Ok(())
}

/// Asks for something every now and then, until the server hangs up. Everything that is answered.
async fn asked_until_closed(
    client: &mut Client,
    peer: &Node,
) -> anyhow::Result<Vec<(u64, Result<Bytes, u32>)>> {
    const EVERY: Duration = Duration::from_millis(10);
    /// When so many are not answered the daemon is on its way out, and the peer may go on.
    const LATE: usize = 30;
    let mut answers = Vec::new();
    loop {
        client.submit(Operation::read(8192, 512));
        match tokio::time::timeout(EVERY, client.reply()).await {
            Ok(Ok(reply)) => answers.push((reply.cookie, reply.result)),
            Ok(Err(ClientError::Io(_))) => return Ok(answers),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if client.in_flight().len() == LATE => peer.thaw()?,
            Err(_) => {}
        }
    }
}
