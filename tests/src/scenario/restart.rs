//! A daemon that is started again within the boot brings back what was up.

use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Setup};
use crate::load::runtime;
use crate::nbd_client::{Address, Client};
use anyhow::Context;
use std::thread;
use std::time::Duration;

/// Crashes without load: of one node, then of both at once.
pub(super) fn after_a_crash(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(32 * MIB))?;
    let mut client = open(&cluster.alpha.address())?;
    runtime_done(&mut client, b"before")?;
    cluster.alpha.kill()?;
    drop(client);
    cluster.alpha.start()?;
    // Held in the negotiation until alpha is Primary again.
    let mut client = open(&cluster.alpha.address()).context("during the restart")?;
    client.runtime.block_on(client.client.read(0, 6)).context("after the restart").and_then(
        |data| {
            anyhow::ensure!(&data[..] == b"before", "read {data:?}");
            Ok(())
        },
    )?;
    drop(client);
    both_primary(&cluster)?;
    report
        .line("SIGKILL, restart: Primary again; a client that came at once was held, then served");

    for node in cluster.nodes_mut() {
        node.kill()?;
    }
    for node in cluster.nodes_mut() {
        node.start()?;
    }
    both_primary(&cluster)?;
    report.line("SIGKILL of both, restart: both Primary again");

    cluster.alpha.repadm(&["down", "r0"])?;
    cluster.alpha.kill()?;
    cluster.alpha.start()?;
    let role = cluster.alpha.try_repadm(&["cstate", "r0"])?;
    anyhow::ensure!(role.out.trim() == "Unconfigured", "{role}");
    report.line("what was down stays down");
    cluster.finish()
}

/// Orderly ends, with a client and without.
pub(super) fn in_order(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::two_primaries(Setup::new(32 * MIB))?;
    let generation = cluster.beta.status()?.generation().to_owned();
    let mut client = open(&cluster.alpha.address())?;
    runtime_done(&mut client, b"paused")?;
    cluster.alpha.terminate()?;
    // It comes while nobody is there, and keeps trying.
    let address = cluster.alpha.address();
    let waiting = thread::spawn(move || {
        clock::until("a connection", crate::cluster::PATIENCE, || Ok(open(&address).ok()))
    });
    cluster.alpha.start()?;
    let (mut next, took) = waiting.join().ok().context("the client's thread has panicked")??;
    let data = next.runtime.block_on(next.client.read(0, 6))?;
    anyhow::ensure!(&data[..] == b"paused", "read {data:?}");
    both_primary(&cluster)?;
    let status = cluster.beta.status()?;
    anyhow::ensure!(status.generation() == generation, "a new generation: {}", status.brief());
    anyhow::ensure!(status.resync_sent_kib() <= 32 << 10, "{}", status.brief());
    report.line(&format!(
        "SIGTERM with a client, restart: Primary again, the client back after {took:.1?}, no new \
         generation"
    ));
    drop(next);

    cluster.alpha.wait_for("no client", |status| {
        status
            .value()
            .pointer("/devices/0/clients")
            .is_some_and(|c| c.as_array().is_some_and(Vec::is_empty))
    })?;
    cluster.alpha.terminate()?;
    cluster.alpha.start()?;
    cluster.wait_settled()?;
    let roles = cluster.alpha.repadm(&["role", "r0"])?;
    anyhow::ensure!(roles.trim() == "Secondary/Primary", "roles {roles}");
    report.line("SIGTERM without a client, restart: Secondary");
    cluster.down_and_compare()?;
    cluster.finish()
}

fn both_primary(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        node.wait_for("both Primary", |status| {
            (status.role(), status.peer_role()) == ("Primary", "Primary") && status.is_settled()
        })?;
    }
    Ok(())
}

/// A client that lives between two steps.
struct Open {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

fn open(address: &Address) -> anyhow::Result<Open> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, Client::connect(address, "r0")).await
    })??;
    Ok(Open { client, runtime })
}

fn runtime_done(open: &mut Open, data: &[u8]) -> anyhow::Result<()> {
    open.runtime.block_on(open.client.write(0, data, true))?;
    Ok(())
}
