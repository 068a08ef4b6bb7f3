//! Shows what is promised, with the real processes, at full scale:
//! `cargo run --release -p tests -- acceptance [NAME]`, and
//! `cargo run --release -p tests -- torture --minutes N [--seed S] [--primaries 1|2]`.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;
use tests::scenario::{self, Report, Scale};
use tests::{namespace, torture};

/// Tests of the real processes, at the scale that a release is accepted by.
#[derive(Debug, Parser)]
#[command(name = "tests")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows one behaviour after the other, and says what was measured
    Acceptance {
        /// Only those whose names contain this
        name: Option<String>,
        /// At the scale of `cargo test`
        #[arg(long)]
        small: bool,
    },
    /// Random trouble under load: kills, frozen daemons, faults of the cable, full disks
    Torture {
        /// How long
        #[arg(long, value_name = "N", default_value_t = 3.0)]
        minutes: f64,
        /// Chooses what happens [default: another one each time]
        #[arg(long)]
        seed: Option<u64>,
        /// How many nodes are Primary
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
        primaries: u8,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = tests::programs::play(&args)? {
        return Ok(code);
    }
    match Args::parse().command {
        Command::Acceptance { name, small } => accept(name.as_deref(), small),
        Command::Torture { minutes, seed, primaries } => {
            // Full disks need a place of their own. Without it, it says what it leaves out.
            if !namespace::is_inside() {
                match namespace::refusal() {
                    Some(why) => println!("no mount namespace here: {why}"),
                    None => return enter(&args),
                }
            }
            let options = torture::Options {
                time: Duration::try_from_secs_f64(minutes * 60.0)?,
                seed: seed.unwrap_or_else(fresh_seed),
                two_primaries: primaries == 2,
            };
            torture::run(options).map(|_| ExitCode::SUCCESS)
        }
    }
}

/// Runs this command once more, where it may mount.
fn enter(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let this = std::env::current_exe()?;
    let error = namespace::command(&this, &args[1..]).exec();
    Err(error).context("unshare")
}

/// Another one each time.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 4];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_or_else(|_| u64::from(std::process::id()), |()| u64::from(u32::from_le_bytes(bytes)))
}

fn accept(name: Option<&str>, small: bool) -> anyhow::Result<ExitCode> {
    let scale = if small { Scale::small() } else { Scale::full() };
    let mut failed = Vec::new();
    let mut shown = 0;
    for scenario in scenario::ALL {
        if name.is_some_and(|name| !scenario.name.contains(name)) {
            continue;
        }
        shown += 1;
        let mut report = Report::printing(scenario.name);
        match (scenario.show)(&scale, &mut report) {
            Ok(()) => report.line("shown"),
            Err(error) => {
                report.line(&format!("FAILED: {error:#}"));
                failed.push(scenario.name);
            }
        }
    }
    anyhow::ensure!(shown > 0, "no such behaviour; there are {}", scenario::names());
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}
