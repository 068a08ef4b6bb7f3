//! Shows what is promised, with the real processes, at full scale:
//! `cargo run --release -p tests -- acceptance [NAME]`.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tests::scenario::{self, Report, Scale};

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
}

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = tests::programs::play(&args)? {
        return Ok(code);
    }
    let Command::Acceptance { name, small } = Args::parse().command;
    let scale = if small { Scale::small() } else { Scale::full() };
    let mut failed = Vec::new();
    let mut shown = 0;
    for scenario in scenario::ALL {
        if name.as_ref().is_some_and(|name| !scenario.name.contains(name)) {
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
