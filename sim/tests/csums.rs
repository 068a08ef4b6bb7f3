//! Checksum-based resync, told step by step (RS7); `csums-alg`, `csums-after-crash-only`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{Digest, OnIoError, Options};
use sim::script::Script;
use types::{BLOCK_BYTES, Span};

const A: usize = 0;
const B: usize = 1;

fn with(two_primaries: bool, change: impl FnOnce(&mut Options)) -> Script {
    let mut script = Script::of(two_primaries, true, |options| {
        options.csums_alg = Some(Digest::Xxh3);
        options.resync_request = 16 * BLOCK_BYTES;
        options.resync_window = 64 * BLOCK_BYTES;
        change(options);
    });
    script.start_both();
    script.promote(A).unwrap();
    script
}

/// A has written these blocks, and B has them; then A loses its power and comes back.
fn after_a_crash(change: impl FnOnce(&mut Options)) -> Script {
    let mut script = with(false, change);
    for block in 0..100 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.flush(A).unwrap();
    script.cut_power(A);
    script.start(A);
    script
}

/// After a crash of the Primary whole extents are marked, and almost all of it is the same.
#[test]
fn rs7_what_is_the_same_is_not_copied() {
    let mut script = after_a_crash(|_| {});
    script.in_sync();
    script.until("it is told how much of it was the same", |script| {
        script.events(A).iter().any(|event| event.to_string().contains("the same already"))
    });
    assert_eq!(script.resync_bytes(A) + script.resync_bytes(B), 0);
    // Without the option the extents are copied whole.
    let mut script = after_a_crash(|options| options.csums_alg = None);
    script.in_sync();
    assert!(script.resync_bytes(A) >= 4 << 20, "{}", script.resync_bytes(A));
}

/// `csums-after-crash-only`: then, and not when the peer was only away.
#[test]
fn rs7_after_a_crash_only() {
    let mut script = after_a_crash(|options| options.csums_after_crash_only = true);
    script.in_sync();
    assert_eq!(script.resync_bytes(A), 0);
    for (only, copied) in [(true, 64), (false, 0)] {
        let mut script = with(false, |options| options.csums_after_crash_only = only);
        for block in 0..64 {
            script.write(A, block, 1000 + block).unwrap();
        }
        script.part();
        for block in 0..64 {
            script.write(A, block, 1000 + block).unwrap();
        }
        script.heal();
        script.in_sync();
        assert_eq!(script.resync_bytes(B), copied * BLOCK_BYTES, "only after a crash: {only}");
    }
}

/// What differs is copied, in between what does not; zeros are written, too.
#[test]
fn rs7_what_differs_is_copied() {
    for digest in [Digest::Xxh3, Digest::Sha256] {
        let mut script = with(false, |options| options.csums_alg = Some(digest));
        for block in 0..64 {
            script.write(A, block, 1000 + block).unwrap();
        }
        script.part();
        for block in 0..64 {
            let new = if block / 8 % 2 == 0 { 2000 } else { 1000 };
            script.write(A, block, new + block).unwrap();
        }
        let trimmed = script.ask_trim(A, 40..60);
        script.wait(trimmed).unwrap();
        script.heal();
        script.in_sync();
        // 0..8, 16..24 and 32..60 differ.
        assert_eq!(script.resync_bytes(B), 44 * BLOCK_BYTES, "{digest}");
        for block in 0..64 {
            assert_eq!(script.on_disk(A, block), script.on_disk(B, block), "block {block}");
        }
    }
}

/// Both write where it compares, at every moment of it; half of the time the link is lost besides.
#[test]
fn rs7_writes_of_both_meet_it_at_every_moment() {
    for events in 0..160 {
        let mut script = after_a_crash(|options| options.allow_two_primaries = true);
        script.until("a resync", |script| script.status(B).volumes[0].resync.is_some());
        script.promote(A).unwrap();
        script.promote(B).unwrap();
        (0..events).for_each(|_| script.one_event());
        let asked: Vec<_> = (0..100)
            .step_by(7)
            .flat_map(|block| [(A, block, 3000 + block), (B, block, 4000 + block)])
            .map(|(node, block, tag)| script.ask_write(node, block, tag))
            .collect();
        if events % 2 == 0 {
            script.reset();
        }
        for asking in asked {
            script.wait(asking).unwrap();
        }
        script.in_sync();
        for block in 0..100 {
            assert_eq!(script.read(A, block), script.read(B, block), "after {events} events");
        }
        script.linearizable();
    }
}

/// Cut off at every moment, for shorter and for longer than a session lasts, it goes on and ends.
#[test]
fn rs7_it_is_cut_off_at_every_moment_and_goes_on() {
    for events in 0..120 {
        let mut script = with(false, |_| {});
        script.part();
        for block in 0..48 {
            script.write(A, block, if block % 3 == 0 { 0 } else { 1000 + block }).unwrap();
        }
        script.heal();
        script.until("a resync", |script| script.status(B).volumes[0].resync.is_some());
        (0..events).for_each(|_| script.one_event());
        match events % 3 {
            0 => script.reset(),
            1 => {
                script.kill(B);
                script.start(B);
            }
            _ => {
                script.part();
                script.pass(Span::secs(9));
                script.heal();
            }
        }
        script.in_sync();
        for block in 0..48 {
            assert_eq!(script.on_disk(A, block), script.on_disk(B, block), "{events}: {block}");
        }
    }
}

/// What the target cannot read of its own it gets.
#[test]
fn rs7_what_the_target_cannot_read_is_copied() {
    let mut script = with(false, |_| {});
    script.part();
    for block in 0..32 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.bad_blocks(B, 5..7);
    script.heal();
    script.in_sync();
    assert_eq!(script.resync_bytes(B), 32 * BLOCK_BYTES);
    for block in 0..32 {
        assert_eq!(script.on_disk(B, block), 1000 + block);
    }
}

/// On a disk that is kept although it fails a write may be missing: nothing is taken for the same.
#[test]
fn rs7_with_pass_on_everything_is_copied() {
    let mut script = after_a_crash(|options| options.on_io_error = OnIoError::PassOn);
    script.in_sync();
    assert!(script.resync_bytes(A) >= 4 << 20, "{}", script.resync_bytes(A));
}
