//! What `repadm` refuses: a clear message with the way out, and the exit code of interfaces.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup};
use crate::load::runtime;
use crate::nbd_client::{Client, ClientError, Handshake};
use crate::process::Ran;
use anyhow::Context;
use std::fs;

/// Runs a command that must be refused with that code, and a message with all these words.
fn refused(node: &Node, code: i32, words: &[&str], told: &[&str]) -> anyhow::Result<Ran> {
    let ran = node.try_repadm(words)?.ended_with(code)?;
    for text in told {
        anyhow::ensure!(ran.err.contains(text), "nothing about «{text}» in {ran}");
    }
    Ok(ran)
}

/// Before anything replicates.
pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(16 * MIB))?;
    let alpha = &mut cluster.alpha;
    let control = alpha.control().display().to_string();
    refused(
        alpha,
        20,
        &["up", "r0"],
        &["the daemon cannot be reached", &control, "start it with"],
    )?;
    report.line("no daemon: 20");
    let good = fs::read_to_string(alpha.config())?;
    alpha.start()?;
    refused(alpha, 1, &["up", "r1"], &["r1", "r0"])?;
    refused(alpha, 1, &["frobnicate"], &["frobnicate"])?;
    refused(alpha, 1, &["verify", "r0"], &["not up", "repadm up r0"])?;
    report.line("an undefined resource: 1, with the nearest name");
    fs::write(alpha.config(), good.trim_end().trim_end_matches('}'))?;
    let place = format!("{}:", alpha.config().display());
    refused(alpha, 10, &["up", "r0"], &[&place, "}"])?;
    fs::remove_file(alpha.config())?;
    refused(alpha, 20, &["up", "r0"], &[&alpha.config().display().to_string()])?;
    fs::write(alpha.config(), good)?;
    report.line("a missing brace: 10, with its place; no configuration: 20");
    refused(alpha, 10, &["up", "r0"], &["metadata", "create-md"])?;
    report.line("a disk without metadata: 10");
    alpha.repadm(&["create-md", "r0"])?;
    refused(alpha, 10, &["create-md", "r0"], &["--force"])?;
    report.line("metadata in the way: 10");
    alpha.repadm(&["up", "r0"])?;
    let ran = alpha.try_repadm(&["primary", "r0"])?.ended_with(17)?;
    anyhow::ensure!(ran.err.contains("--force") && ran.err.contains("UpToDate"), "{ran}");
    report.line("primary with an Inconsistent disk: 17");
    refused(alpha, 5, &["wait-connect", "--wfc-timeout", "1", "r0"], &[])?;
    alpha.repadm(&["disconnect", "r0"])?;
    refused(
        alpha,
        11,
        &["wait-connect", "--wfc-timeout", "1", "r0"],
        &["stands alone", "repadm connect r0"],
    )?;
    report.line("a wait that times out: 5; StandAlone by order: 11");
    cluster.finish()
}

/// With a client, and with a peer that is Primary.
pub(super) fn roles(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(16 * MIB);
    setup.two_primaries = false;
    let cluster = Cluster::one_primary(setup)?;
    let (alpha, beta) = (&cluster.alpha, &cluster.beta);
    refused(beta, 11, &["primary", "r0"], &["Primary"])?;
    report.line("a second Primary that is not allowed: 11");
    let runtime = runtime()?;
    let mut client = runtime.block_on(Client::connect(&alpha.address(), "r0"))?;
    runtime.block_on(client.write(0, b"kept", true))?;
    for command in ["secondary", "down"] {
        refused(alpha, 11, &[command, "r0"], &["--force", "r0"])?;
    }
    let read = runtime.block_on(client.read(0, 4)).context("after the refusals")?;
    anyhow::ensure!(&read[..] == b"kept", "read {read:?}");
    report.line("secondary and down with a client: 11, with who has the device; it goes on");
    alpha.repadm(&["secondary", "--force", "r0"])?;
    let gone = runtime.block_on(client.read(0, 4));
    anyhow::ensure!(gone.is_err(), "the client was not dropped: {gone:?}");
    let told = runtime.block_on(async {
        Handshake::connect(&alpha.address()).await?.go("r0").await.map_err(|(error, _)| error)
    });
    match told {
        Err(ClientError::Refused { kind, text })
            if kind == ClientError::POLICY
                && text.contains("Secondary")
                && text.contains("repadm primary") => {}
        other => anyhow::bail!("a client of a Secondary was told {other:?}"),
    }
    report.line("a client of a Secondary is told so, and the command");
    cluster.down_and_compare()?;
    cluster.finish()
}
