//! What is done at boot and at shutdown: `repadm service start` and `service stop`.

use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::Client;
use crate::process::Ran;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

const DISK_BYTES: u64 = 8 * MIB;
const TIMEOUT: i32 = 5;
const REFUSED: i32 = 11;
const NO_DATA: i32 = 17;
const SPLIT: i32 = 18;
/// Longer than a program may take: a test that waits for it fails.
const TOO_LONG: &str = "100000";

fn setup(startup: &[&str]) -> Setup {
    let startup = startup.iter().map(|&option| option.to_owned()).collect();
    Setup { startup, ..Setup::new(DISK_BYTES) }
}

fn says(ran: &Ran, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        anyhow::ensure!(ran.err.contains(part), "no «{part}» in {ran}");
    }
    Ok(())
}

/// Both nodes begin at once, each waits for the other.
fn start_both(cluster: &Cluster) -> anyhow::Result<[Ran; 2]> {
    let [alpha, beta] = cluster.nodes();
    let both = thread::scope(|scope| {
        let start = |node: &'_ Node| node.try_repadm(&["service", "start"]);
        let other = scope.spawn(move || start(beta));
        let one = start(alpha);
        other.join().ok().map(|other| (one, other))
    });
    let (one, other) = both.context("a thread has panicked")?;
    Ok([one?, other?])
}

/// Fresh nodes, then such with data; stopped and started again; clients in the way.
pub(super) fn start(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(setup(&["become-primary-on both"]))?;
    for node in cluster.nodes_mut() {
        node.start()?;
        node.repadm(&["create-md", "r0"])?;
    }
    for ran in start_both(&cluster)? {
        says(&ran.ended_with(NO_DATA)?, &["no UpToDate data", "primary --force", "5 times"])?;
    }
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.connection() == "Connected", "{}", status.brief());
    }
    report.line("fresh disks: up, connected, and told how to begin");
    cluster.first_sync()?;
    for _ in 0..2 {
        for ran in start_both(&cluster)? {
            ran.ended_with(0)?;
        }
        both_primary(&cluster)?;
    }
    report.line("with data: both Primary; a second time there is nothing to do");

    let address = cluster.alpha.address();
    let runtime = runtime()?;
    let client = runtime.block_on(Client::connect(&address, "r0"))?;
    let refused = cluster.alpha.try_repadm(&["service", "stop"])?.ended_with(REFUSED)?;
    says(&refused, &["r0/0 by ", "--force"])?;
    cluster.alpha.repadm(&["service", "stop", "--force"])?;
    drop(client);
    cluster.alpha.repadm(&["service", "stop", "r0"])?;
    cluster.beta.repadm(&["service", "stop"])?;
    for node in cluster.nodes() {
        let up = node.repadm(&["cstate", "r0"])?;
        anyhow::ensure!(up.trim() == "Unconfigured", "{up}");
    }
    report.line("stop: refused by name while a client has it, and done by --force");
    for ran in start_both(&cluster)? {
        ran.ended_with(0)?;
    }
    both_primary(&cluster)?;
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

fn both_primary(cluster: &Cluster) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.role() == "Primary", "{}", status.brief());
    }
    Ok(())
}

/// A peer that does not come: each of the three times in its circumstances, and the interruption.
pub(super) fn waits(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::one_primary(setup(&["become-primary-on alpha"]))?;
    cluster.beta.terminate()?;
    let alone = |cluster: &Cluster, startup: &[&str]| {
        cluster.alpha.repadm(&["service", "stop"])?;
        cluster.configure(&cluster.alpha, &setup(startup))?;
        cluster.alpha.try_repadm(&["service", "start"])
    };
    let primary = |cluster: &Cluster| -> anyhow::Result<()> {
        let status = cluster.alpha.status()?;
        anyhow::ensure!(status.role() == "Primary", "{}", status.brief());
        Ok(())
    };
    // Nothing was written without the peer: an ordinary start.
    let ran = alone(&cluster, &["become-primary-on alpha", "wfc-timeout 1"])?;
    says(&ran.ended_with(TIMEOUT)?, &["not reached within 1.0 s", "going on without beta"])?;
    primary(&cluster)?;
    report.line("wfc-timeout is over: exit code 5, and Primary all the same");

    let address = cluster.alpha.address();
    runtime()?.block_on(async {
        let mut client = Client::connect(&address, "r0").await?;
        client.write(0, &[7; 4096], false).await?;
        client.disconnect().await?;
        anyhow::Ok(())
    })?;
    // Now it has gone on alone, by order and by a crash.
    let degraded =
        ["become-primary-on alpha", &format!("wfc-timeout {TOO_LONG}"), "degr-wfc-timeout 1"];
    let ran = alone(&cluster, &degraded)?;
    says(&ran.ended_with(TIMEOUT)?, &["degr-wfc-timeout", "going on without beta"])?;
    primary(&cluster)?;
    cluster.alpha.kill()?;
    cluster.alpha.start()?;
    cluster.alpha.wait_for("Primary again", |status| status.role() == "Primary")?;
    let ran = cluster.alpha.try_repadm(&["wait-connect", "r0"])?;
    says(&ran.ended_with(TIMEOUT)?, &["degr-wfc-timeout"])?;
    let ran = cluster.alpha.try_repadm(&["wait-sync", "--degr-wfc-timeout", "2", "r0"])?;
    says(&ran.ended_with(TIMEOUT)?, &["within 2.0 s"])?;
    report.line("degr-wfc-timeout for a node that was alone already");

    interrupt(&cluster)?;
    report.line("an interruption ends the waiting, and leaves up what is up");

    // The peer is known to be Outdated: a Primary that leaves in order has it do so.
    cluster.beta.start()?;
    let fencing = |startup: &[&str]| setup(startup).net("fencing", "resource-only");
    for node in cluster.nodes() {
        node.try_repadm(&["service", "stop", "--force"])?.ended_with(0)?;
        let handler = "fence-peer \"exit 4\"".to_owned();
        let setup = fencing(&["wfc-timeout 60", "become-primary-on alpha"]);
        cluster.configure(node, &Setup { handlers: vec![handler], ..setup })?;
    }
    for ran in start_both(&cluster)? {
        ran.ended_with(0)?;
    }
    cluster.wait_settled()?;
    cluster.alpha.repadm(&["disconnect", "r0"])?;
    cluster.beta.wait_for("Outdated", |status| status.disk() == "Outdated")?;
    cluster.beta.terminate()?;
    cluster.alpha.repadm(&["connect", "r0"])?;
    let words = ["wait-connect", "--wfc-timeout", TOO_LONG, "--outdated-wfc-timeout", "1", "r0"];
    says(&cluster.alpha.try_repadm(&words)?.ended_with(TIMEOUT)?, &["outdated-wfc-timeout"])?;
    report.line("outdated-wfc-timeout for a peer that is known to be Outdated");
    cluster.finish()
}

/// Waits for ever, says so, and is interrupted.
fn interrupt(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.configure(&cluster.alpha, &setup(&[]))?;
    let mut command = cluster.alpha.repadm_command(&["service", "start"])?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let mut said = Vec::new();
    for line in lines {
        let line = line?;
        if line.contains("waiting for beta: r0; ") {
            // It may have ended by itself, which is then found out.
            let _ = kill_process(Pid::from_child(&child), Signal::INT);
        }
        said.push(line);
    }
    let (status, _) = until("the end", PATIENCE, || Ok(child.try_wait()?))?;
    let said = said.join("\n");
    anyhow::ensure!(status.code() == Some(TIMEOUT), "{status}: {said}");
    anyhow::ensure!(said.contains("interrupted: not done with r0"), "{said}");
    let status = cluster.alpha.status()?;
    anyhow::ensure!(status.connection() == "Connecting", "{}", status.brief());
    Ok(())
}

/// Both have written alone: nobody is promoted by itself, and the waiting goes on if it is to.
pub(super) fn split_brain(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let both = ["become-primary-on both"];
    let cluster = Cluster::two_primaries(setup(&both))?;
    cluster.cables().iter().for_each(|cable| cable.cut());
    for node in cluster.nodes() {
        node.wait_for("the loss of the link", |status| status.connection() != "Connected")?;
        let address = node.address();
        runtime()?.block_on(async {
            let mut client = Client::connect(&address, "r0").await?;
            client.write(0, &[node.name().as_bytes()[0]; 4096], false).await?;
            client.disconnect().await?;
            anyhow::Ok(())
        })?;
        node.repadm(&["service", "stop"])?;
    }
    cluster.cables().iter().for_each(|cable| cable.mend());
    for ran in start_both(&cluster)? {
        let told = ["repadm split-brain r0", "not made Primary"];
        says(&ran.ended_with(SPLIT)?, &told)?;
    }
    for node in cluster.nodes() {
        let status = node.status()?;
        anyhow::ensure!(status.role() == "Secondary", "{}", status.brief());
        let words = ["wait-connect", "--wfc-timeout", "1", "--wait-after-sb", "r0"];
        node.try_repadm(&words)?.ended_with(TIMEOUT)?;
    }
    report.line("split brain: told with the way out, nobody Primary; wait-after-sb waits on");
    cluster.beta.repadm(&["connect", "--discard-my-data", "r0"])?;
    cluster.alpha.repadm(&["connect", "r0"])?;
    // Until they have met, the split brain is what is known.
    for node in cluster.nodes() {
        node.wait_for("the peer", |status| status.connection() == "Connected")?;
    }
    for ran in start_both(&cluster)? {
        ran.ended_with(0)?;
    }
    both_primary(&cluster)?;
    cluster.wait_settled()?;
    report.line("settled: both Primary");
    cluster.down_and_compare()?;
    cluster.finish()
}
