//! Running worlds with a mutation until it is caught.

use super::{Ground, Mutations, table};
use crate::oracle::Failure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use types::mutation::{Mutation, throw};

/// Worlds without a mutation for each start, besides each in which one was caught.
const CONTROLS: u64 = 100;
/// Between two starts.
const APART: u64 = 1_000_000;

/// A mutation that was caught from one start.
#[derive(Clone, Debug)]
pub(super) struct Catch {
    /// In how many worlds.
    pub(super) seeds: u64,
    /// By what.
    pub(super) oracle: &'static str,
    seed: u64,
    text: String,
}

/// What has become of a mutation from one start; nothing was found if it is `None`.
pub(super) type End = Option<Catch>;

/// Something to do: a mutation, or none, from one start.
type Hunt = (Option<Mutation>, u64);

struct State {
    /// Of each mutation what the starts have come to.
    ends: Vec<(Mutation, Vec<End>)>,
    /// How many have been told.
    told: usize,
    /// Worlds that were run without a mutation.
    controls: u64,
    /// What failed there.
    spoilt: Vec<String>,
}

/// Hunts all mutations; true if every one was caught, and no world fails without one.
pub(super) fn all(options: &Mutations) -> bool {
    // A panic of the engine is an outcome like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let chosen = |mutation: &&Mutation| options.only.is_empty() || options.only.contains(mutation);
    let mutations: Vec<Mutation> = Mutation::ALL.iter().filter(chosen).copied().collect();
    let starts = || (0..options.starts).map(|start| options.from + start * APART);
    let each = mutations.iter().copied().map(Some).chain([None]);
    let hunts: Vec<Hunt> =
        each.flat_map(|mutation| starts().map(move |start| (mutation, start))).collect();
    let state = Mutex::new(State {
        ends: mutations.into_iter().map(|mutation| (mutation, Vec::new())).collect(),
        told: 0,
        controls: 0,
        spoilt: Vec::new(),
    });
    let next = AtomicUsize::new(0);
    let jobs = options
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(&hunt) = hunts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(options, hunt, &state);
                }
            });
        }
    });
    conclude(options, &state.into_inner().expect("no thread has panicked"))
}

fn work(options: &Mutations, (mutation, start): Hunt, state: &Mutex<State>) {
    let Some(mutation) = mutation else {
        for seed in start..start + CONTROLS {
            control(seed, None, state);
        }
        return;
    };
    let end = hunt(options, mutation, start, state);
    let mut state = state.lock().expect("no thread has panicked");
    if let Some(Catch { seed, oracle, text, .. }) = end.as_ref().filter(|_| options.verbose) {
        eprintln!("{}: seed {seed}: {oracle}: {text}", mutation.as_str());
    }
    let ends = state.ends.iter_mut().find(|(of, _)| *of == mutation).expect("it is hunted");
    ends.1.push(end);
    // In the order of the catalogue, as soon as it can be told.
    while let Some((mutation, ends)) = state.ends.get(state.told) {
        if (ends.len() as u64) < options.starts {
            break;
        }
        println!("{}", table::line(*mutation, ends));
        state.told += 1;
    }
}

/// Runs worlds from one start until an oracle finds something that is not there without the
/// mutation.
fn hunt(options: &Mutations, mutation: Mutation, start: u64, state: &Mutex<State>) -> End {
    for seeds in 1..=options.seeds {
        let seed = start + seeds - 1;
        throw(Some(mutation));
        let found = Ground::of(mutation).run(seed);
        throw(None);
        if let Some(Failure { oracle, text, .. }) = found
            && control(seed, Some(mutation), state)
        {
            return Some(Catch { seeds, oracle: table::name(oracle), seed, text });
        }
    }
    None
}

/// Whether the world of a seed is well without a mutation, as it must be.
fn control(seed: u64, mutation: Option<Mutation>, state: &Mutex<State>) -> bool {
    let ground = mutation.map_or(Ground::Worlds(None), Ground::of);
    let failure = ground.run(seed);
    let mut state = state.lock().expect("no thread has panicked");
    state.controls += 1;
    let Some(failure) = failure else { return true };
    let replay = ground.replay(seed);
    state.spoilt.push(format!("{failure}\n    {replay}"));
    false
}

fn conclude(options: &Mutations, state: &State) -> bool {
    let all = state.ends.len();
    let caught = state.ends.iter().filter(|(_, ends)| ends.iter().all(Option::is_some)).count();
    println!("{caught} of {all} mutations caught");
    let well = state.spoilt.is_empty();
    let verdict = if well { "all well" } else { "NOT ALL WELL:" };
    println!("control: {} worlds without a mutation: {verdict}", state.controls);
    for text in &state.spoilt {
        println!("{text}");
    }
    if options.markdown {
        print!("{}", table::markdown(&state.ends));
    }
    well && caught == all
}
