//! Runs many worlds, one for each seed, and says what became of them.

mod commands;

use clap::{Parser, Subcommand};
use commands::{CrashStates, Seeds, Shrink};
use sim::mutations::Mutations;
use std::process::ExitCode;

/// Runs the replication engine in simulated worlds, one for each seed.
#[derive(Debug, Parser)]
#[command(name = "sim", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    seeds: Seeds,
}

/// What there is to do; without a word, [`Command::Seeds`].
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worlds of many seeds, or that of a kept trace.
    Seeds(Seeds),
    /// Make a failing run small, and print it as a trace to keep in sim/traces.
    Shrink(Shrink),
    /// Hunt deliberate bugs of the engine: each must be caught by an oracle.
    Mutations(Mutations),
    /// Try every state that a loss of power can leave, for each operation of the engine.
    CrashStates(CrashStates),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Seeds(cli.seeds)) {
        Command::Seeds(args) => commands::seeds(&args),
        Command::Shrink(args) => commands::shrink(&args),
        Command::CrashStates(options) => commands::crash_states(&options),
        Command::Mutations(options) => sim::mutations::run(&options).unwrap_or_else(|error| {
            eprintln!("the build with the mutations cannot be run: {error}");
            ExitCode::FAILURE
        }),
    }
}
