//! Running one seed, whatever becomes of it.

use crate::marks::Marks;
use crate::oracle::Failure;
use crate::plan::Class;
use crate::replay::Replay;
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use types::Time;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The class of its world.
    pub class: Class,
    /// The hash of all that happened.
    pub hash: u64,
    /// What was reached.
    pub marks: Marks,
    /// Requests that clients made.
    pub requests: usize,
    /// What an oracle has found, or where the engine panicked.
    pub failure: Option<Failure>,
    /// What happened, line by line, if that was asked for.
    pub text: String,
}

/// Runs the world of a seed to its end. With `text`, what happens in it is written down.
pub fn run(seed: u64, class: Option<Class>, text: bool) -> Outcome {
    run_replay(&Replay::of(seed, class), text)
}

/// As [`run`], with less in the world than the seed says.
pub fn run_replay(replay: &Replay, text: bool) -> Outcome {
    let seed = replay.seed;
    let mut world = World::of_plan(seed.wrapping_add(replay.stir << 32), replay.plan(), text);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let mut failure = world.failure().cloned();
    if let Err(panic) = ended {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        failure = Some(Failure { oracle: "panic", text: said.into(), at: world.now() });
    }
    Outcome {
        seed,
        class: world.class(),
        hash: world.trace().hash(),
        marks: world.marks().clone(),
        requests: world.requests_made(),
        failure,
        text: world.trace().text().into(),
    }
}

/// The command that replays a seed.
pub fn replay_command(seed: u64, class: Option<Class>) -> String {
    let class = class.map_or_else(String::new, |class| format!(" --class {}", class.as_str()));
    format!("cargo run --release -p sim -- --seeds 1 --from {seed}{class} --trace")
}

impl World {
    /// Its clock.
    pub const fn now(&self) -> Time {
        self.now
    }
}
