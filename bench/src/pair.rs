//! What only a pair does, next to what comes nearest to it: resyncs, both nodes writing at once, writes
//! that the activity log has not seen, verifies, and what volumes and resources cost.

mod both;
mod cold;
mod memory;
mod resources;
mod resync;
mod verify;

use crate::compare::job::{Does, Job};
use std::path::PathBuf;
use std::time::Duration;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measure>,
    /// How long each measurement of a load takes, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeats: u32,
    /// Where the disks are made that are to be in memory.
    #[arg(long, default_value = "/dev/shm")]
    tmpfs: PathBuf,
    /// Where the disks are made that are not: two of 16 GiB, for `cold`.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

impl Args {
    const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    Resync,
    Verify,
    Both,
    Memory,
    Resources,
    Cold,
}

/// Measures, and prints.
pub(crate) fn measure(args: &Args) -> anyhow::Result<()> {
    let all = <Measure as clap::ValueEnum>::value_variants();
    let mut missed = 0;
    for measure in all {
        if !args.only.is_empty() && !args.only.contains(measure) {
            continue;
        }
        missed += match measure {
            Measure::Resync => resync::measure(args)?,
            Measure::Verify => verify::measure(args)?,
            Measure::Both => both::measure(args)?,
            Measure::Memory => memory::measure(args)?,
            Measure::Resources => resources::measure(args)?,
            Measure::Cold => cold::measure(args)?,
        };
    }
    anyhow::ensure!(missed == 0, "{missed} bars are not reached");
    Ok(())
}

/// Writes of 4 KiB at random places.
const fn writes(depth: u32) -> Job {
    Job::one(Does::Write, 4, depth)
}

/// Prints whether a bar was reached; how many were not.
fn bar(what: &str, reached: f64, least: f64) -> usize {
    let kept = reached >= least;
    let word = if kept { "ok  " } else { "MISS" };
    println!("  {word} {what}: {reached:.2}, to be at least {least:.2}");
    usize::from(!kept)
}
