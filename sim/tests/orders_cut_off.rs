//! Orders about volumes that something else comes in the way of: each is answered, and nobody waits
//! for ever for what it had begun.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{Digest, OnIoError};
use sim::script::Script;
use types::{DiskState, Span, VolumeId};

const A: usize = 0;
const B: usize = 1;
const MIB: u64 = 1 << 20;

/// A verify finds a difference while both hold still for a resize: that is refused then, and the
/// peer's clients go on.
#[test]
fn a_find_of_a_verify_while_a_volume_grows_keeps_nobody_waiting() {
    let mut refused = 0;
    for chunk in 0..60 {
        let mut script = Script::of(true, true, |options| options.verify_alg = Some(Digest::Xxh3));
        script.start_both();
        for node in [A, B] {
            script.promote(node).unwrap();
            script.enlarge(node, 8 * MIB);
        }
        script.flip(B, 64 * chunk, 77);
        script.verify(A, 0..4000).unwrap();
        let order = script.ask_resize(A);
        refused += u64::from(script.answer(order).is_err());
        for (node, block) in [(A, 1), (B, 2)] {
            script.write(node, block, 500 + block).unwrap();
        }
    }
    assert!(refused > 2, "{refused} times");
}

/// The peer leaves by order while it is asked to grow, and the operator has said that it has room.
#[test]
fn a_peer_that_leaves_while_a_volume_grows_is_not_waited_for() {
    for events in 0..60 {
        let mut script = Script::new(false);
        script.start_both();
        script.promote(A).unwrap();
        script.enlarge(A, 8 * MIB);
        script.enlarge(B, 8 * MIB);
        let order = script.ask_resize_of(A, |order| order.assume_peer_has_space = true);
        (0..events).for_each(|_| script.one_event());
        if events % 2 == 0 {
            script.disconnect(B);
        } else {
            script.reset();
        }
        let _ = script.answer(order);
        script.write(A, 1, 11).unwrap();
        if events % 2 == 0 {
            // A disk is as large as it was when it was attached, if nobody has asked it to grow.
            script.detach(B).unwrap();
            script.attach(B).unwrap();
            script.connect(B);
        }
        script.in_sync();
        assert_eq!(script.size(A), script.size(B));
    }
}

/// The peer's disk fails while it takes the generation of two fresh disks.
#[test]
fn a_disk_that_fails_while_the_first_resync_is_left_out_is_told() {
    let mut script = Script::fresh();
    script.start_both();
    script.metadata_fails(B);
    let refused = script.new_current_uuid(A, true).unwrap_err();
    assert!(refused.text.contains("failed meanwhile"), "{}", refused.text);
    assert_eq!(script.disk(A), DiskState::Inconsistent);
}

/// The peer's disk fails while it is asked for a repair: writes to that place go on.
#[test]
fn a_repair_that_the_peer_cannot_give_locks_nothing() {
    for events in 0..30 {
        let mut script = Script::of(false, true, |options| options.on_io_error = OnIoError::PassOn);
        script.start_both();
        script.promote(A).unwrap();
        script.write(A, 1, 10).unwrap();
        script.bad_blocks(A, 1..2);
        script.slow_link(Span::millis(20));
        script.flushes_fail(B);
        let flush = script.ask_flush(A);
        (0..events).for_each(|_| script.one_event());
        let read = script.ask_read(A, 1..2);
        let _ = script.wait(flush);
        let _ = script.wait(read);
        script.write(A, 1, 11).unwrap();
    }
}

/// More places than are repaired at once cannot be read: the peer serves them all.
#[test]
fn more_bad_places_than_repairs_are_all_read() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    for block in 0..200 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.bad_blocks(A, 0..200);
    let asked: Vec<_> = (0..200).map(|block| script.ask_read(A, block..block + 1)).collect();
    for (asking, block) in asked.into_iter().zip(0..) {
        assert_eq!(script.wait(asking).map(|seen| seen[0]), Ok(1000 + block), "block {block}");
    }
    script.until("all is repaired", |script| {
        script.status(A).volumes[0].counters.repaired_blocks == 200
    });
    assert_eq!(script.disk(A), DiskState::UpToDate);
}

/// A Primary gives its copy up, and then its peer loses power: what clients were answered was durable
/// there first.
#[test]
fn a_primary_gives_its_copy_up_only_for_one_that_is_durable() {
    // What a loss of power takes is another thing each time.
    for earlier in 0..5 {
        let mut script = Script::new(false);
        script.start_both();
        script.promote(A).unwrap();
        for _ in 0..earlier {
            script.write(A, 9, 900).unwrap();
            script.cut_power(B);
            script.start(B);
            script.in_sync();
        }
        for block in 0..8 {
            script.write(A, block, 700 + block).unwrap();
        }
        script.invalidate(A, false).unwrap();
        script.cut_power(B);
        script.start(B);
        script.in_sync();
        for block in 0..8 {
            assert_eq!(script.read(A, block), Ok(700 + block), "after {earlier} losses of power");
        }
    }
}

/// A disk that was given up and still works at what it was given is not taken again before it has
/// ended that.
#[test]
fn a_disk_that_was_given_up_comes_back_when_it_has_ended_what_it_was_given() {
    let limit = Span::secs(2);
    let mut script = Script::of(false, true, |options| {
        options.volumes.entry(VolumeId(0)).or_default().disk_timeout = limit;
    });
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 11).unwrap();
    script.is_stuck(B);
    script.write(A, 1, 12).unwrap();
    assert_eq!(script.disk(B), DiskState::Diskless);
    script.attach(B).unwrap();
    script.in_sync();
    script.pass(Span::secs(120));
    assert_eq!(script.on_disk(B, 1), 12);
    script.linearizable();
}

/// A write fails at the peer, whose disk is kept: what comes after it is made durable there all the
/// same, and the Primary can go.
#[test]
fn a_write_that_failed_at_the_peer_holds_up_nothing_behind_it() {
    let mut script = Script::of(false, true, |options| options.on_io_error = OnIoError::PassOn);
    script.start_both();
    script.promote(A).unwrap();
    script.writes_fail(B);
    script.write(A, 1, 11).unwrap();
    script.heal_disk(B);
    // More extents than the log holds.
    for extent in 0..4 {
        script.write(A, extent * 1000, 20 + extent).unwrap();
    }
    script.flush(A).unwrap();
    script.demote(A);
}

/// What a node could not write while the link was away is known when its session goes on.
#[test]
fn a_write_that_failed_while_the_link_was_away_is_not_read() {
    for events in 0..20 {
        let mut script = Script::of(false, true, |options| options.on_io_error = OnIoError::PassOn);
        script.start_both();
        script.promote(A).unwrap();
        script.write(A, 1, 10).unwrap();
        script.writes_fail(B);
        let asked = script.ask_write(A, 1, 11);
        (0..events).for_each(|_| script.one_event());
        script.reset();
        script.wait(asked).unwrap();
        script.connected();
        script.pass(Span::secs(1));
        assert_ne!(script.disk(B), DiskState::UpToDate, "after {events} events");
    }
}

/// A read that is longer than one request for a repair may be is served all the same.
#[test]
fn a_long_read_of_a_bad_place_is_served_and_repaired() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 2000, 77).unwrap();
    script.bad_blocks(A, 2000..2001);
    let long = script.ask_read(A, 0..3000);
    assert_eq!(script.wait(long).map(|seen| seen[2000 * 8]), Ok(77));
    script.until("it is repaired", |script| {
        script.status(A).volumes[0].counters.repaired_blocks == 3000
    });
    let wrong = script.events(A).iter().any(|event| event.to_string().contains("protocol error"));
    assert!(!wrong, "the link was not given up");
}
