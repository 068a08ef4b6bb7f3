//! A node stands still for a while, and then goes on as if nothing had been: DP8.

use super::resets::patient;
use super::undisturbed::Before;
use super::{MIB, Report, Scale};
use crate::clock;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::{Load, Plan, runtime};
use crate::nbd_client::{Client, Operation};
use anyhow::Context;
use std::collections::BTreeMap;
use std::time::Duration;

/// A Secondary that stands still for so long is given up: `ping-int` and `ping-timeout` of its
/// cluster, and `timeout`, and as much again.
const GIVEN_UP: Duration = Duration::from_secs(8);
/// A Primary that stands still for less is waited for by patient nodes.
const WAITED_FOR: Duration = Duration::from_secs(15);

/// A Secondary, while the Primary writes: it is promoted then, and shows nothing old.
pub(super) fn secondary(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup::new(64 * MIB).net("ping-int", "2").net("ping-timeout", "10");
    let cluster = Cluster::one_primary(setup)?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let mut known = BTreeMap::new();
    for (&time, seed) in scale.freezes.iter().zip((1..).step_by(2)) {
        let log = beta.log().len();
        let mut plan = Plan::scattered(8, 8, seed);
        // A minute of all that a node can do would be a history of gigabytes.
        plan.pace = Duration::from_millis(1);
        let load = Load::start(&[alpha.address()], plan)?;
        load.wait_answered(0, 200)?;
        beta.freeze()?;
        if time > GIVEN_UP {
            alpha.wait_for("the loss of beta", |status| status.connection() != "Connected")?;
            load.wait_answered(0, 2000).context("alone")?;
        }
        clock::pass(time);
        beta.thaw()?;
        cluster.wait_settled()?;
        load.wait_answered(0, 200).context("together again")?;
        let loaded = load.finish()?;
        loaded.check(&known).with_context(|| format!("beta was frozen for {time:?}"))?;
        beta.repadm(&["primary", "r0"])?;
        let plan = Plan::scattered(8, 8, seed + 1);
        let through_beta = Load::start(&[beta.address()], plan)?.finish()?;
        through_beta.check(&loaded.last).context("through beta")?;
        beta.repadm(&["secondary", "r0"])?;
        known = through_beta.last;
        let resynced = match beta.log()[log..].contains("SyncTarget") {
            true => format!("resync of {} KiB", beta.status()?.resync_sent_kib()),
            false => "no resync".to_owned(),
        };
        report.line(&format!(
            "a Secondary frozen for {time:?}, then thawed: {} answers, no error, {resynced}, and \
             it serves nothing old",
            loaded.answered
        ));
    }
    cluster.down_and_compare()?;
    cluster.finish()
}

/// One of two Primaries with clients, each in turn, for less than it takes to be given up: the
/// other waits, and nobody reads anything old.
pub(super) fn primary(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(patient(Setup::new(64 * MIB)).net("timeout", "200"))?;
    let before = Before::look(&cluster)?;
    let load = Load::start(&cluster.nodes().map(|node| node.address()), Plan::scattered(2, 3, 1))?;
    let mut frozen = Duration::ZERO;
    for &time in scale.freezes.iter().filter(|&&time| time < WAITED_FOR) {
        for node in cluster.nodes() {
            (0..2).try_for_each(|at| load.wait_answered(at, 200))?;
            node.freeze()?;
            clock::pass(time);
            node.thaw()?;
            frozen += time;
            (0..2).try_for_each(|at| load.wait_answered(at, 200)).context("together again")?;
        }
    }
    let loaded = load.finish()?;
    loaded.check(&BTreeMap::new())?;
    cluster.wait_settled()?;
    before.check_undivided(&cluster)?;
    report.line(&format!(
        "two Primaries under load, one of them frozen in turn, {frozen:?} in all: {} answers, no \
         error, linearizable, no resync",
        loaded.answered
    ));
    cluster.down_and_compare()?;
    cluster.finish()
}

/// One of two Primaries, for so long that the other goes on alone. Without a client it is demoted
/// and gets what it missed; with one it stays what it is, alone, and says what to do.
pub(super) fn given_up(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(64 * MIB))?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let mut known = BTreeMap::new();
    let runtime = runtime()?;
    for (is_open, seed) in [(false, 1), (true, 3)] {
        let story = || format!("a client on the frozen Primary: {is_open}");
        let client = match is_open {
            true => Some(runtime.block_on(Client::connect(&beta.address(), "r0"))?),
            false => None,
        };
        beta.freeze()?;
        let load = Load::start(&[alpha.address()], Plan::scattered(8, 8, seed))?;
        alpha.wait_for("the loss of beta", |status| status.connection() != "Connected")?;
        load.wait_answered(0, 200).context("alone").with_context(story)?;
        beta.thaw()?;
        if is_open {
            for node in cluster.nodes() {
                let status = node.wait_for("standing alone", |s| s.connection() == "StandAlone")?;
                let refusal = status.last_refusal();
                anyhow::ensure!(refusal.contains("beta is Primary"), "refused with «{refusal}»");
                anyhow::ensure!(status.role() == "Primary", "{}", status.brief());
            }
            drop(client);
            // As it says itself.
            beta.repadm(&["secondary", "r0"])?;
            for node in cluster.nodes() {
                node.repadm(&["connect", "r0"])?;
            }
        }
        cluster.wait_settled().with_context(story)?;
        let role = beta.status()?.role().to_owned();
        anyhow::ensure!(role == "Secondary", "{}: beta is {role}", story());
        let loaded = load.finish()?;
        loaded.check(&known).with_context(story)?;
        beta.repadm(&["primary", "r0"])?;
        let through_beta = Load::start(&[beta.address()], Plan::scattered(8, 8, seed + 1))?;
        let through_beta = through_beta.finish()?;
        through_beta.check(&loaded.last).context("through beta").with_context(story)?;
        known = through_beta.last;
    }
    report.line(
        "a Primary frozen until the other went on alone: demoted and resynced if it has no client, \
         else both stand alone until it is made Secondary; it serves nothing old once it is back",
    );
    cluster.down_and_compare()?;
    cluster.finish()
}

/// The same with a client, and a read and a write that wait at the frozen Primary when it comes
/// back: neither is answered from what it has, and the documented way out is no split brain.
pub(super) fn given_up_while_asked(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    const LEN: u32 = 4096;
    let cluster = Cluster::two_primaries(Setup::new(16 * MIB))?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    let log = beta.log().len();
    runtime()?.block_on(async {
        let mut at_alpha = Client::connect(&alpha.address(), "r0").await?;
        let mut at_beta = Client::connect(&beta.address(), "r0").await?;
        at_alpha.write(0, &[1; LEN as usize], true).await?;
        beta.freeze()?;
        for data in [[2; LEN as usize], [3; LEN as usize]] {
            let written = at_alpha.write(0, &data, true);
            tokio::time::timeout(PATIENCE, written).await.context("alone")??;
        }
        let read = at_beta.submit(Operation::read(0, LEN));
        let write = at_beta.submit(Operation::write(8192, vec![9; LEN as usize]));
        at_beta.send().await?;
        beta.thaw()?;
        for (what, cookie) in [("read", read), ("write", write)] {
            let answer = tokio::time::timeout(PATIENCE, at_beta.wait(cookie)).await;
            let answer = answer.with_context(|| format!("the {what} is not answered"))??;
            anyhow::ensure!(answer.is_err(), "the {what} of the one given up is done: {answer:?}");
        }
        anyhow::Ok(())
    })?;
    for node in cluster.nodes() {
        let status = node.wait_for("standing alone", |s| s.connection() == "StandAlone")?;
        anyhow::ensure!(!status.is_split(), "{}", status.brief());
    }
    let status = beta.status()?;
    anyhow::ensure!(status.disk() == "Outdated", "{}", status.brief());
    beta.wait_for("the end of its client", |status| !status.has_clients())?;
    beta.repadm(&["secondary", "r0"])?;
    for node in cluster.nodes() {
        node.repadm(&["connect", "r0"])?;
    }
    cluster.wait_settled()?;
    let split = |node: &Node| node.log().contains("split brain");
    anyhow::ensure!(!split(alpha) && !split(beta), "a split brain");
    anyhow::ensure!(beta.log()[log..].contains("SyncTarget"), "beta was not resynced");
    report.line(
        "a Primary frozen until the other went on alone, with a read and a write waiting: both \
         fail, its copy is Outdated; as Secondary it is resynced, and there is no split brain",
    );
    cluster.down_and_compare()?;
    cluster.finish()
}
