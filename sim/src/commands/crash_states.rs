//! The command: all operations, and a table of what was tried.

use clap::Args;
use sim::crash_states::{Operation, explore};
use std::process::ExitCode;

/// What to try.
#[derive(Args, Debug)]
pub(crate) struct CrashStates {
    /// Only this operation.
    #[arg(long, value_parser = operation)]
    only: Option<Operation>,
}

fn operation(name: &str) -> Result<Operation, String> {
    let all = || Operation::ALL.iter().copied();
    all().find(|operation| operation.as_str() == name).ok_or_else(|| {
        let names: Vec<&str> = all().map(Operation::as_str).collect();
        format!("no such operation; there are {}", names.join(", "))
    })
}

/// Tries the operations one after another and prints a row for each. It fails if any of them does.
#[allow(clippy::disallowed_methods, reason = "the time is shown to people; no bench sees it")]
pub(crate) fn crash_states(options: &CrashStates) -> ExitCode {
    println!("operation               instants   states   images   starts  seconds");
    let mut failed = false;
    let (mut states, mut images, mut starts) = (0, 0, 0);
    let begun = std::time::Instant::now();
    let all = Operation::ALL.iter().copied();
    for operation in all.filter(|one| options.only.is_none_or(|only| only == *one)) {
        let begun = std::time::Instant::now();
        let row = explore(operation);
        println!(
            "{:22}  {:8} {:8} {:8} {:8} {:8.1}",
            operation.as_str(),
            row.instants,
            row.states,
            row.images,
            row.starts,
            begun.elapsed().as_secs_f64()
        );
        (states, images, starts) = (states + row.states, images + row.images, starts + row.starts);
        if let Some(text) = row.failure {
            println!("FAILED: {text}");
            failed = true;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:31}  {states:8} {images:8} {starts:8} {seconds:8.1}", "all");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
