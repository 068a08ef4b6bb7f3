//! All facts at once, at random, the same pairs in every run.

use super::*;
use metadata::{Generations, HISTORY};
use types::Prng;

/// Former generations that nobody else has, up to a history that is full; and bit 0 at random.
fn lengthen(prng: &mut Prng, generations: &mut Generations) {
    let wanted = *prng.pick(&[0, 0, 3, 10, HISTORY]);
    while generations.history.len() < wanted {
        let mut record = generations.current;
        record.id = GenerationId::from_random(prng.next_u64() | 1 << 40);
        generations.history.push(record);
    }
    let records = [&mut generations.current, &mut generations.bitmap];
    for record in records.into_iter().chain(&mut generations.history) {
        if record.id.is_real() {
            record.id = record.id.with_primary(prng.chance(1, 2));
        }
    }
}

fn vary(prng: &mut Prng, side: &mut Side) {
    let odds = *prng.pick(&[3, 40]);
    lengthen(prng, &mut side.generations);
    if prng.chance(2, odds) {
        side.disk = *prng.pick(DiskState::ALL);
    }
    side.primary = prng.chance(1, 3);
    side.crashed_primary = prng.chance(1, odds);
    side.peer_outdated = prng.chance(1, odds);
    side.full_sync = prng.chance(1, 2 * odds);
    side.dirty_blocks = prng.below(4).saturating_sub(2) * prng.below(1 << 20);
    side.resumable = prng.chance(1, odds);
    side.in_use = prng.chance(1, 2);
    side.discard_my_data = prng.chance(1, odds);
    if prng.chance(1, 2 * odds) {
        side.disk_incarnation = prng.below(2);
    }
    if prng.chance(1, 5 * odds) {
        side.node = NodeId(0);
    }
    side.newest_exposed = GenerationId(*prng.pick(&[0, 0x10, 0x20, 0x30, 0x41]));
    side.sequence = *prng.pick(&[0, 49, 50, 50, 51]);
    side.peer_sequence = *prng.pick(&[0, 50, 50]);
}

#[test]
fn sb1_samples_of_everything() {
    let started = started();
    let mut figures = Figures::default();
    let mut prng = Prng::new(6);
    for (mine, theirs) in generations::pairs() {
        for _ in 0..2000 {
            let (mut one, mut other) = (side(0), side(1));
            (one.generations, other.generations) = (mine.clone(), theirs.clone());
            vary(&mut prng, &mut one);
            vary(&mut prng, &mut other);
            let protocol = *prng.pick(&[Protocol::A, Protocol::B, Protocol::C, Protocol::C]);
            figures.judge(&one, &other, protocol);
            let same = |protocol| decide(&one, &other, protocol);
            assert_eq!(same(Protocol::A), same(Protocol::B), "B is as A");
            let (mut one, mut other) = (one, other);
            let decision = decide(&one, &other, protocol);
            one.peer_outdated ^= true;
            other.peer_outdated ^= true;
            assert_eq!(decision, decide(&one, &other, protocol), "no rule reads peer_outdated");
        }
    }
    figures.reached(Rule::ALL);
    figures.report("samples", started);
    println!("{:?}", figures.rules);
}
