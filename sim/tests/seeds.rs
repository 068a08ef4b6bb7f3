//! Five hundred worlds, and that the simulator itself can be trusted.

use sim::marks::{Mark, Marks};
use sim::plan::Class;
use sim::{replay_command, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 500;
/// And so many of the class that few seeds choose, and that reaches what no other does.
const FENCING: u64 = 150;
/// And of the one in which disks grow.
const GROW: u64 = 350;

const LAST: u64 = SEEDS + FENCING + GROW;

/// Every seed is well, and together they reach everything that a world can go through: without
/// that, they would prove little.
#[test]
fn five_hundred_seeds_are_well_and_reach_every_mark() {
    let (next, all) = (AtomicU64::new(1), Mutex::new((Marks::default(), Vec::new())));
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let seed @ 1..=LAST = next.fetch_add(1, Ordering::Relaxed) {
                    let class = match seed {
                        ..=SEEDS => None,
                        seed if seed <= SEEDS + FENCING => Some(Class::Fencing),
                        _ => Some(Class::Grow),
                    };
                    let outcome = run(seed, class, false);
                    let mut all = all.lock().unwrap();
                    all.0.add(&outcome.marks);
                    if let Some(failure) = outcome.failure {
                        all.1.push(format!("{failure}\n    {}", replay_command(seed, class)));
                    }
                }
            });
        }
    });
    let (marks, failures) = all.into_inner().unwrap();
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
    let missing: Vec<&str> = marks.missing().map(Mark::words).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

/// A seed means the same run, of every class; and two seeds do not mean the same.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for class in Class::ALL {
        let hashes: Vec<u64> = [1, 2].map(|seed| run(seed, Some(class), false).hash).into();
        let again: Vec<u64> = [1, 2].map(|seed| run(seed, Some(class), true).hash).into();
        assert_eq!(hashes, again, "{}", class.as_str());
        assert_ne!(hashes[0], hashes[1], "{}", class.as_str());
    }
}
