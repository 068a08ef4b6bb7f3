//! What a client of one daemon, and of two that replicate, gets: small random requests over NBD.
//! `bench nbd` compares with other NBD servers, `bench compare` with all that a user would pick instead.
//!
//! It makes two nodes on this machine in a temporary directory, so both disks, both daemons and the
//! client share its processors: the numbers are for comparing one version with another on the
//! same machine, and with the file underneath, not for what two machines would do.

#![forbid(unsafe_code)]

mod client;
mod compare;
mod contents;
mod gluster;
mod lanes;
mod load;
mod nbd;
mod nodes;
mod pair;
mod peers;
mod servers;
mod table;

use anyhow::{Context as _, bail};
use clap::Parser;
use load::{Direct, Kind, Load, Measured};
use nodes::{Name, Nodes};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures small random reads and writes: on a file, through one daemon, through two.
#[derive(Debug, Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The size of each disk in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65536))]
    size: u64,
    /// Where the disks are made: a directory on the file system to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compares with other NBD servers: more patterns, several connections, all in one run.
    Nbd(nbd::Args),
    /// Compares with what a user would pick instead, by fio, and with the bars that are set.
    Compare(compare::Args),
    /// Measures what only a pair does: resyncs, two writers at once, and what it costs.
    Pair(pair::Args),
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // A daemon is this program again: nothing else needs to be built or found.
    if args.get(1).is_some_and(|word| word == "__daemon") {
        return ExitCode::from(repadm::run(args, &mut std::io::stdout()) as u8);
    }
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Nbd(args)) => nbd::measure(args),
        Some(Command::Compare(args)) => compare::measure(args),
        Some(Command::Pair(args)) => pair::measure(args),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds.max(1));
    println!("4 KiB at random places, {} s each, disks of {} MiB", time.as_secs(), args.size);
    println!(
        "{:<24} {:<6} {:>5} {:>10} {:>10} {:>10}",
        "", "", "depth", "a second", "mean", "99 %"
    );
    let mut nodes = Nodes::make(&args.dir, args.size << 20)?;
    let mut direct = Direct::new(&nodes.scratch()?, args.size << 20)?;
    for kind in Kind::ALL {
        row("file, O_DIRECT", kind, 1, &direct.run(kind, time)?);
    }
    nodes.start(Name::Alpha)?;
    nodes.repadm(Name::Alpha, &["primary", "--force", "r0"])?;
    serve("one daemon", &nodes, time)?;
    nodes.start(Name::Beta)?;
    nodes.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "120", "r0"])?;
    serve("two daemons, protocol C", &nodes, time)?;
    for name in [Name::Alpha, Name::Beta] {
        nodes.repadm(name, &["down", "r0"])?;
    }
    if !nodes.are_equal().context("comparing the disks")? {
        bail!("the two disks differ: that is a bug, please keep the version and report it");
    }
    println!("both disks are the same");
    Ok(())
}

fn serve(what: &str, nodes: &Nodes, time: Duration) -> anyhow::Result<()> {
    for kind in Kind::ALL {
        for depth in [1, 32] {
            let mut load = Load::connect(&nodes.socket(Name::Alpha), nodes.data_bytes())?;
            row(what, kind, depth, &load.run(kind, depth, time)?);
        }
    }
    Ok(())
}

fn row(what: &str, kind: Kind, depth: usize, measured: &Measured) {
    let micros = |time: Duration| format!("{:.0} µs", time.as_secs_f64() * 1e6);
    println!(
        "{what:<24} {:<6} {depth:>5} {:>10.0} {:>10} {:>10}",
        kind.as_str(),
        measured.per_second(),
        micros(measured.mean()),
        micros(measured.percentile(99))
    );
}
