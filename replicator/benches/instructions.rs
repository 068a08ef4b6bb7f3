//! How many instructions the engine takes for a request: `cargo bench -p replicator --bench
//! instructions`. Needs `valgrind`.
//!
//! Counted by callgrind, in **both** nodes' engines and the codec, so it says the same on a busy
//! machine as on an idle one. Fails if a request takes more than is written here: whoever makes one
//! dearer says so by changing the number.

mod pair;

use pair::Pair;
use std::process::{Command, ExitCode};

/// What is counted (the work, and how many requests are in flight), and what a request may take: what it
/// took when this was written, and a tenth, for another compiler or C library.
const JOBS: [(&str, u64); 6] = [
    ("write-1", 24_300),
    ("write-32", 30_500),
    ("read-1", 5_050),
    ("read-32", 6_200),
    ("conflict-1", 23_500),
    ("conflict-32", 41_500),
];
/// Two runs that differ by so many requests: what is left is the requests' own.
const FEW: u64 = 2048;
const MANY: u64 = 10240;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("run"), Some(job), Some(count)) => {
            run(&job, count.parse().expect("a number"));
            ExitCode::SUCCESS
        }
        _ => measure(),
    }
}

fn run(job: &str, count: u64) {
    let (kind, depth) = job.split_once('-').expect("a job of the table");
    let depth = depth.parse().expect("a number");
    let mut pair = Pair::new();
    match kind {
        "write" => pair.write(0, count, depth),
        "read" => pair.read(0, count, depth),
        // Two requests each.
        "conflict" => pair.conflict(count / 2, depth),
        _ => panic!("no job {kind}"),
    }
}

fn measure() -> ExitCode {
    println!("{:12} {:>12} {:>9}", "job", "instructions", "at most");
    let mut is_well = true;
    for (job, most) in JOBS {
        let (few, many) = match (count(job, FEW), count(job, MANY)) {
            (Ok(few), Ok(many)) => (few, many),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let each = (many - few) / (MANY - FEW);
        let verdict = if each <= most { "" } else { "  TOO MANY" };
        is_well &= each <= most;
        println!("{job:12} {each:12} {most:9}{verdict}");
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many instructions a run of this program takes.
fn count(job: &str, requests: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", job, &requests.to_string()])
        .output()
        .map_err(|error| {
            format!("valgrind (of the package of that name) cannot be run: {error}")
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let collected = collected.and_then(|(_, number)| number.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or_else(|| format!("valgrind: {said}"))
}
