//! Making a failing run small: whatever can be left out while it still fails is left out.

use crate::replay::Replay;
use crate::runner::{Outcome, run_replay};

/// The shortest load and trouble that is tried, in milliseconds.
const CHAOS_MIN: u64 = 50;
/// The shortest delay of a message, in microseconds.
const DELAY_MIN: u64 = 20;

/// Makes a run smaller, step by step, as long as `still` says that what became of it is what one
/// is after. Gives up looking after so many runs.
pub fn shrink(start: &Replay, runs_max: u32, still: impl Fn(&Outcome) -> bool) -> Replay {
    let mut best = start.clone();
    let mut runs = 0;
    loop {
        let smaller = candidates(&best).into_iter().find(|candidate| {
            runs += 1;
            runs <= runs_max && still(&run_replay(candidate, false))
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Runs that are smaller in one respect, the boldest first.
fn candidates(from: &Replay) -> Vec<Replay> {
    let plan = from.plan();
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Replay)| {
        let mut replay = from.clone();
        change(&mut replay);
        all.push(replay);
    };
    for requests in less(plan.requests, 1) {
        add(&|replay| replay.requests = Some(requests));
    }
    let whole = plan.faults.len() + from.drop_faults.len();
    for fault in (0..whole).filter(|fault| !from.drop_faults.contains(fault)) {
        add(&|replay| {
            replay.drop_faults.insert(fault);
        });
    }
    for chaos in less(plan.chaos.0 / 1_000_000, CHAOS_MIN) {
        add(&|replay| replay.chaos_ms = Some(chaos));
    }
    for loops in less(plan.loops, 1) {
        add(&|replay| replay.loops = Some(loops));
    }
    let places = plan.places.iter().map(Vec::len).max().unwrap_or(1) as u64;
    for places in less(places, 1) {
        add(&|replay| replay.places = Some(places as usize));
    }
    if plan.delay_micros > DELAY_MIN {
        add(&|replay| replay.delay_us = Some(DELAY_MIN));
    }
    all
}

/// Smaller numbers to try, the smallest first.
fn less(now: u64, least: u64) -> Vec<u64> {
    let mut all = vec![least, now / 2, now * 3 / 4];
    if now <= 32 {
        all.push(now.saturating_sub(1));
    }
    all.retain(|&number| least <= number && number < now);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Mark;
    use crate::plan::{Class, Fault};

    /// A planted failure: «a process was killed between two effects» stands for a bug that only
    /// such a death brings out.
    fn fails(outcome: &Outcome) -> bool {
        outcome.failure.is_none() && outcome.marks.count(Mark::DeathBetweenEffects) > 0
    }

    #[test]
    fn a_planted_failure_is_shrunk_to_what_it_needs() {
        let whole = (1..)
            .map(|seed| Replay::of(seed, Some(Class::OneDies)))
            .find(|replay| replay.plan().faults.len() > 4 && fails(&run_replay(replay, false)))
            .expect("there are always more seeds");
        let small = shrink(&whole, 400, fails);
        assert!(fails(&run_replay(&small, false)), "{small}");
        let (before, after) = (whole.plan(), small.plan());
        assert!(after.faults.len() * 2 <= before.faults.len(), "{:?}", after.faults);
        assert!(after.faults.iter().any(|(_, fault)| matches!(fault, Fault::Die(..))));
        assert!(after.requests < before.requests, "{small}");
        // Nothing more can be left out of it.
        assert_eq!(shrink(&small, 400, fails), small);
    }

    #[test]
    fn shrinking_ends_when_it_has_run_often_enough() {
        let whole = Replay::of(1, Some(Class::Resets));
        assert_eq!(shrink(&whole, 0, |_| true), whole);
    }
}
