//! Running the worlds of many seeds, so many or for so long, or that of a kept trace.

use clap::Args;
use metadata::Rule;
use sim::marks::{Mark, Marks};
use sim::plan::Class;
use sim::replay::Replay;
use sim::{Outcome, replay_command, run, run_replay};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Which worlds to run.
#[derive(Args, Debug)]
pub(crate) struct Seeds {
    /// How many seeds to run; by default 100, or as many as there is time for.
    #[arg(long)]
    seeds: Option<u64>,
    /// Run for so many minutes.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Run for so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// The first seed; by default 1, or a random one when run for a time.
    #[arg(long)]
    from: Option<u64>,
    /// Only worlds of this class, instead of the one that each seed chooses.
    #[arg(long)]
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
    /// Run the world of a trace that was kept, and write down everything that happens.
    #[arg(long, value_name = "FILE", exclusive = true)]
    replay: Option<PathBuf>,
}

/// Seeds to run, and when to stop.
struct Run<'a> {
    args: &'a Seeds,
    from: u64,
    count: u64,
    time: Option<Duration>,
}

/// Runs the worlds, and says what they have reached and which of them failed.
pub(crate) fn seeds(args: &Seeds) -> ExitCode {
    if let Some(file) = &args.replay {
        return replay(file);
    }
    // A panic of the engine is an outcome like any other; only its place is of interest here.
    std::panic::set_hook(Box::new(|info| {
        if let Some(place) = info.location() {
            eprintln!("panic at {}:{}", place.file(), place.line());
        }
    }));
    let time = args.minutes.map(|minutes| minutes * 60).or(args.seconds).map(Duration::from_secs);
    let from = args.from.unwrap_or_else(|| time.map_or(1, |_| fresh_start()));
    let count = args.seeds.unwrap_or_else(|| time.map_or(100, |_| u64::MAX));
    println!("seeds from {from}");
    let failed = run_all(&Run { args, from, count, time });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A seed that no run before has begun with, more or less, and that is still easy to read.
fn fresh_start() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000_000_000
}

fn replay(file: &std::path::Path) -> ExitCode {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let replay: Replay = match text.and_then(|text| text.parse()) {
        Ok(replay) => replay,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let outcome = run_replay(&replay, true);
    print!("{}", outcome.text);
    for missed in replay.missed(&outcome.marks) {
        println!("not reached: {missed}");
    }
    match &outcome.failure {
        Some(failure) => println!("{failure}"),
        None => println!("all well"),
    }
    let well = outcome.failure.is_none() && replay.missed(&outcome.marks).is_empty();
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all seeds and gives the number of those that failed.
fn run_all(job: &Run<'_>) -> u64 {
    let jobs = job
        .args
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
                    if at >= job.count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = job.from.wrapping_add(at);
                    if send.send(run(seed, job.args.class, job.args.trace)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        collect(job, outcomes, &stop)
    })
}

#[allow(clippy::disallowed_methods, reason = "the speed is shown to people; no world sees it")]
fn collect(job: &Run<'_>, outcomes: mpsc::Receiver<Outcome>, stop: &AtomicBool) -> u64 {
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
        if job.args.trace {
            print!("{}", outcome.text);
            println!("seed {} trace hash {:016x}", outcome.seed, outcome.hash);
        }
        if let Some(failure) = &outcome.failure {
            failed += 1;
            println!("\nseed {} ({}): {failure}", outcome.seed, outcome.class.as_str());
            println!("    replay: {}", replay_command(outcome.seed, job.args.class));
            println!("    shrink: {}", shrink_command(outcome.seed, job.args.class));
            stop.store(!job.args.keep_going, Ordering::Relaxed);
        }
        if job.time.is_some_and(|time| begun.elapsed() >= time) {
            stop.store(true, Ordering::Relaxed);
        }
        if shown.elapsed().as_secs() >= 5 {
            shown = std::time::Instant::now();
            let speed = done as f64 / begun.elapsed().as_secs_f64();
            eprintln!("{done} seeds, {speed:.0} a second, {failed} failed");
        }
    }
    summary(&marks, &classes);
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{done} seeds from {}, {requests} requests, {took:.1} s, {:.0} seeds a second: {}",
        job.from,
        done as f64 / took,
        if failed == 0 { "all well".into() } else { format!("{failed} FAILED") }
    );
    std::io::stdout().flush().expect("standard output can be written");
    failed
}

fn shrink_command(seed: u64, class: Option<Class>) -> String {
    let class = class.map_or_else(String::new, |class| format!(" --class {}", class.as_str()));
    format!("cargo run --release -p sim -- shrink --seed {seed}{class}")
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
    println!("rules of the verdict:");
    for &rule in Rule::ALL {
        println!("  {:9}  {rule}", marks.rule(rule));
    }
}
