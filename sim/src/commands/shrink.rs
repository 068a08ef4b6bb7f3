//! Making a failing run small.

use clap::Args;
use sim::marks::Mark;
use sim::plan::Class;
use sim::replay::Replay;
use sim::{Outcome, run_replay};
use std::process::ExitCode;

/// What to make small, and how long to try.
#[derive(Args, Debug)]
pub(crate) struct Shrink {
    /// The seed of a run that fails.
    #[arg(long)]
    seed: u64,
    /// The class of its world, if it was told.
    #[arg(long)]
    class: Option<Class>,
    /// Look for a run that is well and reaches this mark, instead of one that fails.
    #[arg(long)]
    reaches: Vec<Mark>,
    /// How many runs to try at most.
    #[arg(long, default_value_t = 2000)]
    runs: u32,
}

/// Prints the smallest run found that fails in the same way.
pub(crate) fn shrink(args: &Shrink) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let whole = Replay { reaches: args.reaches.clone(), ..Replay::of(args.seed, args.class) };
    let oracle = |outcome: &Outcome| outcome.failure.as_ref().map(|failure| failure.oracle);
    let found = oracle(&run_replay(&whole, false));
    let same =
        |outcome: &Outcome| oracle(outcome) == found && whole.missed(&outcome.marks).is_empty();
    if found.is_none() == args.reaches.is_empty() || !same(&run_replay(&whole, false)) {
        eprintln!("seed {} fails: {found:?}; that is not what is to be shrunk", args.seed);
        return ExitCode::FAILURE;
    }
    let small = sim::shrink::shrink(&whole, args.runs, same);
    let outcome = run_replay(&small, false);
    if let Some(failure) = outcome.failure {
        let text = failure.to_string().replace('\n', "\n# ");
        println!("# {text}");
    }
    println!("# {} requests; what is left of the faults:", outcome.requests);
    for (at, fault) in small.plan().faults {
        println!("#   {at} {fault:?}");
    }
    print!("{small}");
    ExitCode::SUCCESS
}
