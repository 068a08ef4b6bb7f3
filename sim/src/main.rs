//! Runs many worlds, one for each seed, and says what became of them.

use clap::{Args, Parser, Subcommand};
use sim::marks::{Mark, Marks};
use sim::mutations::Mutations;
use sim::plan::Class;
use sim::{Outcome, replay_command, run};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

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
    /// Run the worlds of many seeds.
    Seeds(Seeds),
    /// Hunt deliberate bugs of the engine: each must be caught by an oracle.
    Mutations(Mutations),
}

#[derive(Args, Debug)]
struct Seeds {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only worlds of this class, instead of the one that each seed chooses.
    #[arg(long, value_parser = class)]
    class: Option<Class>,
    /// Write down everything that happens.
    #[arg(long)]
    trace: bool,
    /// Worlds to run at once; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a failure, and give all of them.
    #[arg(long)]
    keep_going: bool,
}

fn class(name: &str) -> Result<Class, String> {
    Class::ALL.into_iter().find(|class| class.as_str() == name).ok_or_else(|| {
        let names = Class::ALL.map(Class::as_str).join(", ");
        format!("no such class; there are {names}")
    })
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Seeds(cli.seeds)) {
        Command::Seeds(args) => seeds(&args),
        Command::Mutations(options) => sim::mutations::run(&options).unwrap_or_else(|error| {
            eprintln!("the build with the mutations cannot be run: {error}");
            ExitCode::FAILURE
        }),
    }
}

fn seeds(args: &Seeds) -> ExitCode {
    // A panic of the engine is an outcome like any other; only its place is of interest here.
    std::panic::set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            eprintln!("panic at {}:{}", place.file(), place.line());
        }
    }));
    let failed = run_all(args);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all seeds and gives the number of those that failed.
fn run_all(args: &Seeds) -> u64 {
    let jobs = args
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (send, outcomes) = mpsc::sync_channel(64);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, next, stop) = (send.clone(), &next, &stop);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= args.seeds || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run(args.from.wrapping_add(at), args.class, args.trace);
                    if send.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        collect(args, outcomes, &stop)
    })
}

#[allow(clippy::disallowed_methods, reason = "the speed is shown to people; no world sees it")]
fn collect(args: &Seeds, outcomes: mpsc::Receiver<Outcome>, stop: &AtomicBool) -> u64 {
    let begun = std::time::Instant::now();
    let (mut done, mut failed, mut requests) = (0u64, 0u64, 0usize);
    let mut shown = begun;
    let mut marks = Marks::default();
    let mut classes = vec![0u64; Class::ALL.len()];
    for outcome in outcomes {
        done += 1;
        requests += outcome.requests;
        marks.add(&outcome.marks);
        classes[outcome.class as usize] += 1;
        if args.trace {
            print!("{}", outcome.text);
            println!("seed {} trace hash {:016x}", outcome.seed, outcome.hash);
        }
        if let Some(failure) = &outcome.failure {
            failed += 1;
            println!("\nseed {} ({}): {failure}", outcome.seed, outcome.class.as_str());
            println!("    replay: {}", replay_command(outcome.seed, args.class));
            stop.store(!args.keep_going, Ordering::Relaxed);
        }
        if shown.elapsed().as_secs() >= 5 {
            shown = std::time::Instant::now();
            let speed = done as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{done} of {} seeds, {speed:.0} a second, {failed} failed", args.seeds);
        }
    }
    summary(&marks, &classes);
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{done} seeds from {}, {requests} requests, {took:.1} s, {:.0} seeds a second: {}",
        args.from,
        done as f64 / took,
        if failed == 0 { "all well".into() } else { format!("{failed} FAILED") }
    );
    std::io::stdout().flush().expect("standard output can be written");
    failed
}

fn summary(marks: &Marks, classes: &[u64]) {
    println!("worlds:");
    for (class, count) in Class::ALL.iter().zip(classes) {
        println!("  {count:9}  {}", class.as_str());
    }
    println!("reached:");
    for &mark in Mark::ALL {
        println!("  {:9}  {}", marks.count(mark), mark.words());
    }
}
