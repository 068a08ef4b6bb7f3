//! The proof of the oracles: deliberate bugs of the engine, each of which must be found.
//!
//! The command builds this package once more, with the feature `mutations` and in a target
//! directory of its own, and runs that. There, for each mutation, worlds are run from several
//! starts until an oracle finds something; the same world without the mutation must be well.

mod hunt;
mod table;

use crate::Failure;
use crate::plan::Class;
use crate::script::{MOMENTS, late_mark, source_went_on_alone};
use clap::Args;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use types::Time;
use types::mutation::{Mutation, PRESENT};

/// How mutations are hunted.
#[derive(Args, Clone, Debug)]
pub struct Mutations {
    /// A mutation that was not caught in so many worlds from one start is missed.
    #[arg(long, default_value_t = 5000)]
    pub seeds: u64,
    /// From how many starts each is hunted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub starts: u64,
    /// The first seed of the first start; the others are a million apart.
    #[arg(long, default_value_t = 1)]
    pub from: u64,
    /// Only these mutations.
    #[arg(value_parser = mutation)]
    pub only: Vec<Mutation>,
    /// Worlds to run at once; by default as many as there are processors.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Print the table as it stands in docs/guarantees.md.
    #[arg(long)]
    pub markdown: bool,
    /// Tell every catch: its seed, and what the oracle said.
    #[arg(long)]
    pub verbose: bool,
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let all = || Mutation::ALL.iter().copied();
    all().find(|mutation| mutation.as_str() == name).ok_or_else(|| {
        let names: Vec<&str> = all().map(Mutation::as_str).collect();
        format!("no such mutation; there are {}", names.join(", "))
    })
}

/// Runs the command: success if every mutation was caught, and no world fails without one.
///
/// # Errors
/// If the build with the mutations cannot be started.
pub fn run(options: &Mutations) -> io::Result<ExitCode> {
    let well = if PRESENT { hunt::all(options) } else { rebuilt()? };
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds this package with the mutations, and runs the same command there.
fn rebuilt() -> io::Result<bool> {
    let here = std::env::current_exe()?;
    // This program is in target/release: that one goes to target/mutations.
    let target = here.ancestors().nth(2).unwrap_or_else(|| Path::new("target")).join("mutations");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--quiet", "--features", "mutations", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(std::env::args_os().skip(1))
        .status()?;
    Ok(status.success())
}

/// Where a mutation is hunted.
#[derive(Clone, Copy, Debug)]
enum Ground {
    /// In worlds of that class, or of whatever class each seed chooses.
    Worlds(Option<Class>),
    /// In a script that panics if something is wrong; of each number it is another one.
    Script(fn(u64)),
}

impl Ground {
    const fn of(mutation: Mutation) -> Self {
        match mutation {
            Mutation::LateMarkForgotten => Self::Script(|seed| {
                late_mark(seed % MOMENTS);
            }),
            Mutation::SentAnewBlindly => Self::Script(source_went_on_alone),
            _ => Self::Worlds(class(mutation)),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Worlds(Some(class)) => class.as_str(),
            Self::Worlds(None) => "drawn",
            Self::Script(_) => "a script",
        }
    }

    /// What is wrong there with that number.
    fn run(self, seed: u64) -> Option<Failure> {
        match self {
            Self::Worlds(class) => crate::runner::run(seed, class, false).failure,
            Self::Script(script) => {
                let panicked = std::panic::catch_unwind(|| script(seed)).err()?;
                let said = panicked.downcast::<String>().map_or_else(|_| "?".into(), |text| *text);
                let text = said.lines().next().unwrap_or_default().to_owned();
                Some(Failure { oracle: "script", at: Time(0), text })
            }
        }
    }

    fn replay(self, seed: u64) -> String {
        match self {
            Self::Worlds(class) => crate::replay_command(seed, class),
            Self::Script(_) => format!("number {seed} of the script"),
        }
    }
}

/// The worlds in which a mutation is hunted, if not in those that seeds choose: where these would
/// take long, and what happens only to disks that fail, which seeds do not choose.
const fn class(mutation: Mutation) -> Option<Class> {
    match mutation {
        Mutation::IgnoreFailedFlush => Some(Class::DiskFails),
        Mutation::EvictBeforePeerDurable | Mutation::FuaDropped => Some(Class::BothPower),
        Mutation::SupersededEarly
        | Mutation::WaitThenRead
        | Mutation::AnswersFirst
        | Mutation::MirrorWaitsForLog => Some(Class::Resets),
        Mutation::StaleResyncData | Mutation::CsumsUnlooked => Some(Class::OneDies),
        Mutation::SoloBeforeGeneration => Some(Class::Solo),
        Mutation::ClearBeforeFlush => Some(Class::FullSync),
        Mutation::AnswerFrozen | Mutation::ThawUnfenced | Mutation::FreezeLate => {
            Some(Class::Fencing)
        }
        Mutation::StopUndrained | Mutation::InvalidateInFlight => Some(Class::Orders),
        Mutation::GrowTorn | Mutation::GrowDataEarly => Some(Class::Grow),
        Mutation::EarlyUnmarked => Some(Class::Solo),
        Mutation::EarlyNoGeneration => Some(Class::SplitBrain),
        _ => None,
    }
}
