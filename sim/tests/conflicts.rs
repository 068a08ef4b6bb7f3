//! Concurrent writes of two Primaries, told step by step: who prevails, and how it is counted.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]
#![allow(clippy::single_range_in_vec_init, reason = "the writes of a node may be just one")]

use replicator::{Counters, Event};
use sim::script::Script;
use std::ops::Range;
use types::{ConflictCounts, ConflictKind};

/// Node 0: its writes prevail.
const ARBITER: usize = 0;
const OTHER: usize = 1;

/// Two Primaries in sync, with the first extent hot on both: a write of either is sent at once.
fn two_primaries() -> Script {
    let mut script = Script::new(true);
    script.start_both();
    for (node, tag) in [(ARBITER, 1), (OTHER, 2)] {
        script.promote(node).unwrap();
        script.write(node, 0, tag).unwrap();
    }
    script
}

/// The writes of both nodes set out at the same instant: none has seen one of the other's. They
/// write the numbers from `tag` on.
fn write_at_once(script: &mut Script, tag: u64, arbiters: &[Range<u64>], others: &[Range<u64>]) {
    let mut asked = Vec::new();
    let mut tags = tag..;
    for (node, writes) in [(ARBITER, arbiters), (OTHER, others)] {
        for (write, tag) in writes.iter().zip(&mut tags) {
            asked.push(script.ask_write_blocks(node, write.clone(), tag));
        }
    }
    for asking in asked {
        script.wait(asking).unwrap();
    }
    script.in_sync();
    script.linearizable();
}

fn counters(script: &Script, node: usize) -> Counters {
    script.status(node).volumes[0].counters
}

fn mirrored(counts: ConflictCounts) -> ConflictCounts {
    let mut other = ConflictCounts::default();
    for kind in ConflictKind::ALL {
        (0..counts.of(kind)).for_each(|_| other.note(kind.mirrored()));
    }
    other
}

/// What the arbiter has won is what the other has lost, seen from the other side, and what was
/// answered as superseded. Gives what the arbiter has won.
fn both_count_the_same(script: &Script) -> ConflictCounts {
    let (arbiter, other) = (counters(script, ARBITER), counters(script, OTHER));
    assert_eq!(mirrored(arbiter.conflicts_won), other.conflicts_lost);
    assert_eq!(arbiter.conflicts_won.total(), other.superseded);
    let none = ConflictCounts::default();
    assert_eq!((arbiter.conflicts_lost, other.conflicts_won, arbiter.superseded), (none, none, 0));
    arbiter.conflicts_won
}

fn kinds_told(script: &Script, node: usize) -> Vec<ConflictKind> {
    let kind = |event: &&Event| match event {
        Event::Conflict { kind, won, .. } => {
            assert_eq!(*won, node == ARBITER);
            Some(*kind)
        }
        _ => None,
    };
    script.events(node).iter().filter_map(kind).collect()
}

#[test]
fn each_kind_of_conflict_is_counted_mirrored_on_both_nodes() {
    for (arbiters, others, kind) in [
        (4..8, 4..8, ConflictKind::Same),
        (4..8, 5..7, ConflictKind::Covers),
        (4..8, 4..6, ConflictKind::Covers),
        (5..7, 4..8, ConflictKind::Covered),
        (6..8, 4..8, ConflictKind::Covered),
        (4..7, 5..8, ConflictKind::Partial),
        (5..8, 4..7, ConflictKind::Partial),
    ] {
        let mut script = two_primaries();
        write_at_once(&mut script, 100, std::slice::from_ref(&arbiters), &[others]);
        let mut expected = ConflictCounts::default();
        expected.note(kind);
        assert_eq!(both_count_the_same(&script), expected);
        assert_eq!(kinds_told(&script, ARBITER), [kind]);
        assert_eq!(kinds_told(&script, OTHER), [kind.mirrored()]);
        for node in [ARBITER, OTHER] {
            assert!(arbiters.clone().all(|block| script.on_disk(node, block) == 100));
        }
    }
}

/// A write that loses to several counts once, by the first of them; one that prevails over several
/// counts once for each.
#[test]
fn a_write_that_loses_is_counted_once_by_the_first_that_it_loses_to() {
    let mut script = two_primaries();
    write_at_once(&mut script, 100, &[4..5, 2..6, 4..8], &[3..8, 3..8, 20..22]);
    // Both writes of the other's contain the first of the arbiter's.
    let covered = ConflictCounts { covered: 2, ..ConflictCounts::default() };
    assert_eq!(both_count_the_same(&script), covered);
    write_at_once(&mut script, 200, &[10..16], &[10..12, 11..13, 15..18]);
    let all = ConflictCounts { covered: 2, covers: 2, partial: 1, same: 0 };
    assert_eq!(both_count_the_same(&script), all);
}

#[test]
fn writes_beside_each_other_or_one_after_the_other_are_no_conflict() {
    let mut script = two_primaries();
    write_at_once(&mut script, 100, &[4..6], &[6..8]);
    for (node, tag) in [(ARBITER, 7), (OTHER, 8), (ARBITER, 9)] {
        script.write(node, 4, tag).unwrap();
    }
    assert_eq!(both_count_the_same(&script).total(), 0);
}

/// Both nodes write and read the same places while a resync copies them, in either direction, and
/// while I/O of one is suspended: nobody disconnects, the copies end equal, and every read fits.
#[test]
fn dp5_conflicts_in_a_resync_and_around_a_suspension() {
    for target in [ARBITER, OTHER] {
        let source = 1 - target;
        let mut script =
            Script::of(true, true, |options| options.resync_window = 2 * types::BLOCK_BYTES);
        script.start_both();
        script.promote(ARBITER).unwrap();
        script.promote(OTHER).unwrap();
        script.kill(target);
        for block in 0..256 {
            script.write(source, block, 10_000 + block).unwrap();
        }
        script.start(target);
        script.until("a resync runs", |script| {
            script.status(target).volumes[0].resync.is_some() && script.is_connected(target)
        });
        script.promote(target).unwrap();
        let mut tag = 100_000;
        let mut in_resync = 0;
        for round in 0..200_u64 {
            let block = (round * 37) % 256;
            let asked: Vec<_> = [ARBITER, OTHER, ARBITER, OTHER]
                .into_iter()
                .map(|node| {
                    tag += 1;
                    script.ask_write(node, block, tag)
                })
                .collect();
            let reads = [
                script.ask_read(ARBITER, block..block + 1),
                script.ask_read(OTHER, block..block + 1),
            ];
            in_resync += u64::from(script.status(target).volumes[0].resync.is_some());
            if round == 100 {
                script.suspend_io(target);
                script.pass(types::Span::secs(20));
                script.resume_io(target);
            }
            for asking in asked.into_iter().chain(reads) {
                script.wait(asking).unwrap();
            }
        }
        assert!(in_resync > 10, "only {in_resync} rounds were in the resync");
        script.in_sync();
        assert!(both_count_the_same(&script).total() > 0);
        script.linearizable();
    }
}
