//! Crashes told step by step: CR2, CR3, CR4.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use sim::script::Script;
use types::{DiskState, Span};

const A: usize = 0;
const B: usize = 1;

/// Two Primaries with clients on both nodes, and something under way everywhere.
fn two_primaries() -> Script {
    let mut script = Script::two_primaries();
    for block in 0..8 {
        script.write(A, block, 100 + block).unwrap();
        script.write(B, 8 + block, 200 + block).unwrap();
    }
    // These may be anywhere when the nodes die.
    for block in 0..8 {
        script.ask_write(A, block, 300 + block);
        script.ask_write(B, block, 400 + block);
    }
    script
}

/// After both Primaries were killed at one instant, in any order of return, nothing that was
/// answered is lost and the copies are equal.
#[test]
fn cr2_both_primaries_killed_at_once_and_every_order_of_return() {
    for order in [[A, B], [B, A]] {
        for pause in [Span(0), Span::secs(2), Span::secs(30)] {
            let mut script = two_primaries();
            script.pass(Span::micros(150));
            script.kill(A);
            script.kill(B);
            script.start(order[0]);
            script.pass(pause);
            script.start(order[1]);
            script.in_sync();
            for node in [A, B] {
                script.promote(node).unwrap();
                (0..16).for_each(|block| _ = script.read(node, block).unwrap());
            }
            script.linearizable();
        }
    }
}

/// The first to return serves alone and writes; the other takes over what it wrote.
#[test]
fn cr2_one_of_two_killed_primaries_returns_alone_and_serves() {
    for first in [A, B] {
        let mut script = two_primaries();
        script.pass(Span::micros(150));
        script.kill(A);
        script.kill(B);
        script.start(first);
        script.promote(first).unwrap();
        let kept = script.read(first, 3).unwrap();
        script.write(first, 5, 999).unwrap();
        script.start(1 - first);
        script.in_sync();
        script.promote(1 - first).unwrap();
        assert_eq!(script.read(1 - first, 5), Ok(999));
        assert_eq!(script.read(1 - first, 3), Ok(kept));
        script.linearizable();
    }
}

/// With the power of both gone at once, what was flushed is there, whoever returns first.
#[test]
fn cr2_both_primaries_without_power_keep_what_was_flushed() {
    for first in [A, B] {
        let mut script = two_primaries();
        script.pass(Span::millis(20));
        script.flush(A).unwrap();
        let before: Vec<u64> = (0..16).map(|block| script.read(A, block).unwrap()).collect();
        script.cut_power(A);
        script.cut_power(B);
        script.start(first);
        script.start(1 - first);
        script.in_sync();
        script.promote(A).unwrap();
        let after: Vec<u64> = (0..16).map(|block| script.read(A, block).unwrap()).collect();
        assert_eq!(before, after);
    }
}

/// A crashes, B writes alone and crashes, A returns alone. A cannot know what B wrote: what it
/// serves then has a generation of its own, so that B's return is found to be a split brain and
/// neither side's writes are discarded.
#[test]
fn cr3_a_stale_node_that_serves_alone_never_costs_the_others_writes() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 10).unwrap();
    script.kill(A);
    script.promote(B).unwrap();
    script.write(B, 1, 20).unwrap();
    script.write(B, 2, 21).unwrap();
    script.kill(B);
    script.start(A);
    script.promote(A).unwrap();
    assert_eq!(script.read(A, 1), Ok(10));
    script.start(B);
    script.stands_alone(A);
    script.stands_alone(B);
    assert!(script.status(A).split_brain.is_some() && script.status(B).split_brain.is_some());
    assert_eq!((script.on_disk(A, 1), script.on_disk(B, 1)), (10, 20));
    assert_eq!(script.on_disk(B, 2), 21);
}

/// The same, but nobody uses A before B is back: B is the source, of what it wrote.
#[test]
fn cr3_a_stale_node_that_waits_takes_what_the_other_wrote() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 10).unwrap();
    script.kill(A);
    script.promote(B).unwrap();
    script.write(B, 1, 20).unwrap();
    script.kill(B);
    script.start(A);
    script.pass(Span::secs(60));
    script.start(B);
    script.in_sync();
    script.promote(A).unwrap();
    assert_eq!(script.read(A, 1), Ok(20));
    script.linearizable();
}

/// A is Primary and has `blocks` blocks that B lacks; both are connected, and the resync runs.
fn in_resync(blocks: u64) -> Script {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.kill(B);
    for block in 0..blocks {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.start(B);
    script.until("a resync runs", |script| {
        script.is_connected(B) && script.status(B).volumes[0].resync.is_some()
    });
    script
}

/// Whoever dies in the midst of a resync: it goes on from the marks, and its target can never be
/// promoted while it is incomplete.
#[test]
fn cr4_source_target_or_both_die_in_a_resync() {
    const BLOCKS: u64 = 96;
    for events in (0..160).step_by(8) {
        for dead in [vec![A], vec![B], vec![A, B]] {
            let mut script = in_resync(BLOCKS);
            (0..events).for_each(|_| script.one_event());
            let done = script.is_in_sync();
            dead.iter().for_each(|&node| script.kill(node));
            if dead == [A] && script.status(B).volumes[0].disk == DiskState::Inconsistent {
                let refusal = script.promote(B).expect_err("an incomplete copy is not served");
                assert!(refusal.text.contains("no UpToDate data"), "{}", refusal.text);
            }
            dead.iter().for_each(|&node| script.start(node));
            script.in_sync();
            for node in [A, B] {
                // A crash marks the extents that were hot: one of 4 MiB here, and no more.
                let bytes = script.resync_bytes(node);
                assert!(bytes <= 4 << 20, "{bytes} bytes copied, done before: {done}");
            }
            if dead.contains(&A) {
                script.promote(A).unwrap();
            }
            script.demote(A);
            script.promote(B).unwrap();
            for block in 0..BLOCKS {
                assert_eq!(script.read(B, block), Ok(1000 + block));
            }
            script.linearizable();
        }
    }
}
