//! Everything a user would pick instead, under the same load, in one run and in turns.
//!
//! All servers of a medium stand side by side, idle but for the one that is measured; which one begins
//! differs from repeat to repeat. What is told is the median of the repeats. fio is the client of all,
//! by its engine for NBD (and by libaio of the file underneath), and shares the processors with them.

mod bars;
mod chart;
pub(crate) mod fio;
pub(crate) mod job;
pub(crate) mod report;

use crate::gluster::Gluster;
use crate::nodes::metadata_bytes;
use crate::peers::{self, Peer};
use crate::servers::Server;
use anyhow::Context;
use fio::{Outcome, Target};
use job::{Job, Medium};
use report::{Cell, Report};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each measurement takes, in seconds; one more, before it, is not measured.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeats: u32,
    /// The size of each disk in MiB.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..=65536))]
    size: u64,
    /// Where the disks for direct I/O are made: a directory on the file system to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Where the disks in memory are made: on a tmpfs with room for nine of them.
    #[arg(long, default_value = "/dev/shm")]
    tmpfs: PathBuf,
    /// Only these media.
    #[arg(long, value_delimiter = ',')]
    medium: Vec<Medium>,
    /// Only jobs whose key contains one of these, like `write-4k-d1`; see the output of `--list`.
    #[arg(long, value_delimiter = ',')]
    job: Vec<String>,
    /// Only the jobs that the bars are about.
    #[arg(long)]
    few: bool,
    /// Only servers whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    /// Prints the keys of the jobs, and ends.
    #[arg(long)]
    list: bool,
    /// Writes what was measured there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws it there, as SVG.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// What is measured: a server, or the file underneath.
#[derive(Debug)]
struct Measuree {
    name: &'static str,
    about: String,
    target: Target,
    server: Option<Server>,
    /// Ended when this is dropped.
    _gluster: Option<Gluster>,
}

impl Measuree {
    fn of(server: Server) -> Self {
        let (name, about) = (server.name, server.about.clone());
        let target = Target::Nbd(server.uri());
        Self { name, about, target, server: Some(server), _gluster: None }
    }

    fn of_gluster(gluster: Gluster) -> Self {
        let target = Target::File { path: gluster.file.clone(), direct: true };
        let about = gluster.about.clone();
        Self { name: "gluster", about, target, server: None, _gluster: Some(gluster) }
    }

    fn processor_time(&self) -> Duration {
        self.server.as_ref().map_or(Duration::ZERO, Server::processor_time)
    }
}

/// Measures, and prints the tables. An error if a bar is not reached.
pub(crate) fn measure(args: &Args) -> anyhow::Result<()> {
    let jobs = jobs(args);
    if args.list {
        jobs.iter().for_each(|job| println!("{:<18} {job}", job.key()));
        return Ok(());
    }
    anyhow::ensure!(!jobs.is_empty(), "no job is called so; --list shows them");
    let mut report = Report::default();
    let media = if args.medium.is_empty() { &Medium::ALL[..] } else { &args.medium };
    for &medium in media {
        measure_on(medium, args, &jobs, &mut report)?;
    }
    report.summary();
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report.json(args.seconds, args.repeats))?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, chart::svg(&report)).with_context(|| path.display().to_string())?;
    }
    let missed = bars::judge(&report);
    anyhow::ensure!(missed == 0, "{missed} bars are not reached");
    Ok(())
}

fn jobs(args: &Args) -> Vec<Job> {
    let mut jobs = if args.few { Job::few() } else { Job::all() };
    let wanted = |job: &Job| args.job.iter().any(|part| job.key().contains(part.as_str()));
    jobs.retain(|job| args.job.is_empty() || wanted(job));
    jobs
}

fn measure_on(
    medium: Medium,
    args: &Args,
    jobs: &[Job],
    report: &mut Report,
) -> anyhow::Result<()> {
    let parent = if medium == Medium::Tmpfs { &args.tmpfs } else { &args.dir };
    let dir = tempfile::Builder::new().prefix("repd-bench-").tempdir_in(parent)?;
    // At the end of each of repd's disks there are metadata: no server gets that part.
    let bytes = (args.size << 20) - metadata_bytes(args.size << 20);
    println!("\n{}: disks of {} MiB in {}", medium.as_str(), args.size, parent.display());
    let all = measurees(medium, args, dir.path(), bytes)?;
    for one in &all {
        fio::fill(&one.target, bytes).with_context(|| format!("filling {}", one.name))?;
    }
    let time = Duration::from_secs(args.seconds);
    for job in jobs {
        let mut found = vec![Vec::<Outcome>::new(); all.len()];
        for repeat in 0..args.repeats as usize {
            for turn in 0..all.len() {
                let at = (repeat + turn) % all.len();
                let one = &all[at];
                let outcome = fio::run(job, &one.target, bytes, time, || one.processor_time());
                found[at].push(outcome.with_context(|| format!("{}: {job}", one.name))?);
            }
        }
        let names = all.iter().map(|one| one.name);
        report.add(Cell::new(medium, *job, names.zip(found).collect()));
    }
    for one in all {
        if let Some(server) = one.server {
            server.end().context(one.name)?;
        }
    }
    Ok(())
}

fn measurees(medium: Medium, args: &Args, dir: &Path, bytes: u64) -> anyhow::Result<Vec<Measuree>> {
    let wanted = |name: &str| {
        args.server.is_empty() || args.server.iter().any(|part| name.contains(part.as_str()))
    };
    let mut all = Vec::new();
    if wanted("repd, pair") {
        all.push(Measuree::of(Server::pair(dir, args.size << 20)?));
    }
    if wanted("repd, alone") {
        all.push(Measuree {
            name: "repd, alone",
            ..Measuree::of(Server::alone(dir, args.size << 20)?)
        });
    }
    for peer in [Peer::Nbdkit, Peer::Qemu, Peer::NbdServer, Peer::Quorum] {
        if !wanted(peer.name()) {
            continue;
        }
        match peers::start(peer, dir, bytes) {
            Ok(server) => all.push(Measuree::of(server)),
            Err(reason) => println!("  left out: {reason:#}"),
        }
    }
    if wanted("gluster") {
        match Gluster::start(dir) {
            Ok(gluster) => all.push(Measuree::of_gluster(gluster)),
            Err(reason) => println!("  left out: {reason:#}"),
        }
    }
    if wanted("file") {
        let direct = medium == Medium::Direct;
        let about = if direct { "no server: libaio, O_DIRECT" } else { "no server: libaio" };
        let target = Target::File { path: dir.join("raw.img"), direct };
        let about = about.into();
        all.push(Measuree { name: "file", about, target, server: None, _gluster: None });
    }
    anyhow::ensure!(!all.is_empty(), "no server is called so");
    for one in &all {
        println!("  {:<12} {}", one.name, one.about);
    }
    Ok(all)
}
