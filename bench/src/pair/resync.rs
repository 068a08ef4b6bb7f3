//! Resyncs of 1 GiB in memory: everything, and 64 MiB of blocks scattered over it; `nbdcopy` between two
//! servers copies as much.

use super::{Args, bar};
use crate::compare::fio::{self, Target};
use crate::compare::report::median;
use crate::load::now;
use crate::nodes::{Name, Nodes};
use crate::peers::{self, Peer, found};
use crate::servers::Server;
use anyhow::{Context, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

const DISK_BYTES: u64 = 1 << 30;
/// 64 MiB.
const SCATTERED: u64 = 16384;
/// Of what `nbdcopy` does.
const LEAST: f64 = 0.8;

pub(super) fn measure(args: &Args) -> anyhow::Result<usize> {
    println!("\nresync of 1 GiB, disks in {}", args.tmpfs.display());
    let dir = tempfile::Builder::new().prefix("repd-bench-").tempdir_in(&args.tmpfs)?;
    let mut nodes = Nodes::sparse(dir.path(), DISK_BYTES)?;
    nodes.start_both()?;
    let bytes = nodes.data_bytes();
    let target = Target::Nbd(nodes.uri(Name::Alpha));
    // Random bytes: zeros would travel as a word.
    fio::fill(&target, bytes)?;
    let copy = Copy::prepare(dir.path(), bytes)?;
    let (mut full, mut scattered, mut copied) = (vec![], vec![], vec![]);
    for _ in 0..args.repeats {
        full.push(timed(|| {
            nodes.repadm(Name::Beta, &["invalidate", "r0"])?;
            settled(&nodes)
        })?);
        let sent = nodes.resync_sent(Name::Beta)?;
        ensure!(sent >= bytes, "a resync of {bytes} bytes has carried {sent}");
        nodes.repadm(Name::Beta, &["disconnect", "r0"])?;
        fio::scatter(&target, bytes, SCATTERED)?;
        scattered.push(timed(|| {
            nodes.repadm(Name::Beta, &["connect", "r0"])?;
            settled(&nodes)
        })?);
        let sent = nodes.resync_sent(Name::Beta)?;
        ensure!(sent > 0 && sent < bytes, "a resync of 64 MiB has carried {sent} bytes");
        if let Some(copy) = &copy {
            copied.push(timed(|| copy.run())?);
        }
    }
    for name in [Name::Alpha, Name::Beta] {
        nodes.repadm(name, &["down", "r0"])?;
    }
    ensure!(nodes.are_equal()?, "the two disks differ: that is a bug, please report it");
    let row = |what: &str, all: Vec<f64>, bytes: u64| {
        let time = median(all);
        println!(
            "  {what:<32} {time:>7.2} s {:>7.0} MiB/s",
            bytes as f64 / time / f64::from(1 << 20)
        );
        time
    };
    let full = row("everything", full, bytes);
    row("16384 scattered blocks of 4 KiB", scattered, SCATTERED * 4096);
    if copied.is_empty() {
        return Ok(0);
    }
    let copied = row("nbdcopy, nbdkit to nbdkit", copied, bytes);
    Ok(bar("the rate of everything, in parts of nbdcopy's", copied / full, LEAST))
}

/// Nothing is under way any more.
fn settled(nodes: &Nodes) -> anyhow::Result<()> {
    nodes.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "300", "r0"])
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begun = now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Two servers, between which is copied.
struct Copy {
    servers: [Server; 2],
}

impl Copy {
    /// Nothing if the programs are not there, which it says.
    fn prepare(dir: &Path, bytes: u64) -> anyhow::Result<Option<Self>> {
        if found("nbdcopy").is_none() || found("nbdkit").is_none() {
            println!(
                "  left out: nbdcopy and nbdkit are not installed (Debian: libnbd-bin, nbdkit)"
            );
            return Ok(None);
        }
        let start = |name: &str| {
            let dir = dir.join(name);
            std::fs::create_dir(&dir)?;
            peers::start(Peer::Nbdkit, &dir, bytes)
        };
        let servers = [start("from")?, start("to")?];
        for server in &servers {
            fio::fill(&Target::Nbd(server.uri()), bytes)?;
        }
        Ok(Some(Self { servers }))
    }

    fn run(&self) -> anyhow::Result<()> {
        let [from, to] = self.servers.each_ref().map(Server::uri);
        let status = Command::new("nbdcopy").args(["--", &from, &to]).stdin(Stdio::null()).status();
        ensure!(status.context("starting nbdcopy")?.success(), "nbdcopy has failed");
        Ok(())
    }
}
