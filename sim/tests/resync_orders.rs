//! What an operator orders about resyncs, told step by step: pausing them (RS5), giving copies up,
//! leaving the first one out, and how fast they go.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::Rule;
use replicator::{Options, Pace, PauseCause, RefusalKind, VolumeOptions};
use sim::script::Script;
use types::{BLOCK_BYTES, DiskState, ReplicationState, Span, VolumeId};

const A: usize = 0;
const B: usize = 1;

/// A is Primary and has written these blocks alone, each with 1000 and its number; the link is well
/// again.
fn behind(change: impl FnOnce(&mut Options), blocks: u64) -> Script {
    let mut script = Script::of(true, true, change);
    script.start_both();
    script.promote(A).unwrap();
    script.part();
    for block in 0..blocks {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.heal();
    script
}

/// Each of the blocks has that number and its own, on both nodes.
fn in_sync_and_equal(script: &mut Script, base: u64, blocks: u64) {
    script.in_sync();
    if script.status(B).role != types::Role::Primary {
        script.promote(B).unwrap();
    }
    for node in [A, B] {
        for block in 0..blocks {
            assert_eq!(script.read(node, block), Ok(base + block), "block {block} of {node}");
        }
    }
    script.linearizable();
}

fn replication(script: &Script, node: usize) -> ReplicationState {
    script.status(node).volumes[0].replication
}

/// Paused at either node, by either cause, at every moment, while the Primary writes: nothing moves
/// but what was on its way, both nodes say why, and it ends once nobody wants it to stand still.
#[test]
fn rs5_a_resync_is_paused_and_goes_on_while_clients_write() {
    const BLOCKS: u64 = 64;
    for events in (0..120).step_by(3) {
        let mut script = behind(|_| {}, BLOCKS);
        (0..events).for_each(|_| script.one_event());
        let node = if events % 2 == 0 { A } else { B };
        let cause = if events % 4 < 2 { PauseCause::User } else { PauseCause::Dependency };
        script.pause_sync(node, cause, true);
        script.until("what was on its way has come", |script| script.is_connected(B));
        script.pass(Span::secs(2));
        let before = script.resync_bytes(B);
        for block in 0..BLOCKS {
            script.write(A, block, 2000 + block).unwrap();
        }
        script.pass(Span::secs(5));
        assert_eq!(script.resync_bytes(B), before, "after {events} events");
        let pauses = [A, B].map(|of| script.status(of).volumes[0].pauses);
        let (here, there) = (pauses[node], pauses[1 - node]);
        match cause {
            PauseCause::User => assert!(here.user && there.peer_user && !there.user),
            PauseCause::Dependency => assert!(here.dependency && there.peer_dependency),
        }
        if script.status(B).volumes[0].resync.is_some() {
            assert_eq!(replication(&script, A), ReplicationState::PausedSyncS);
            assert_eq!(replication(&script, B), ReplicationState::PausedSyncT);
        }
        script.pause_sync(node, cause, false);
        in_sync_and_equal(&mut script, 2000, BLOCKS);
    }
}

/// Both want it to stand still, the link breaks meanwhile, and one of them does not want it any more:
/// it still stands still.
#[test]
fn rs5_a_pause_outlives_the_link_and_ends_when_nobody_wants_it() {
    let mut script = behind(|_| {}, 64);
    script.pause_sync(A, PauseCause::User, true);
    script.pause_sync(B, PauseCause::User, true);
    script.until("connected", |script| script.is_connected(B) && script.is_connected(A));
    script.reset();
    script.until("paused again", |script| {
        replication(script, A) == ReplicationState::PausedSyncS
            && replication(script, B) == ReplicationState::PausedSyncT
    });
    script.pause_sync(A, PauseCause::User, false);
    script.pass(Span::secs(3));
    assert_eq!(replication(&script, A), ReplicationState::PausedSyncS);
    assert!(script.status(A).volumes[0].pauses.peer_user);
    script.pause_sync(B, PauseCause::User, false);
    in_sync_and_equal(&mut script, 1000, 64);
}

/// The copy of a Primary is given up at every moment of a load on both nodes: its clients go on
/// through the peer, nothing fails, and all of it is copied anew.
#[test]
fn a_primary_s_copy_is_given_up_under_load_and_nothing_fails() {
    for events in (0..60).step_by(4) {
        let mut script = Script::two_primaries();
        let mut asked = Vec::new();
        for block in 0..8 {
            asked.push(script.ask_write(A, block, 500 + block));
            asked.push(script.ask_write(B, block + 4, 600 + block));
        }
        (0..events).for_each(|_| script.one_event());
        script.invalidate(B, false).unwrap();
        for block in 0..8 {
            asked.push(script.ask_write(A, block, 700 + block));
            asked.push(script.ask_write(B, block, 800 + block));
        }
        for asking in asked {
            script.wait(asking).unwrap();
        }
        script.in_sync();
        assert!(script.resync_bytes(B) > 15 << 20, "all of it: {}", script.resync_bytes(B));
        script.linearizable();
    }
}

/// Only what is marked is copied, if that is the order; and a copy of which nothing is marked is good
/// again at once.
#[test]
fn a_copy_is_given_up_with_its_marks_kept() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 3, 33).unwrap();
    script.flush(A).unwrap();
    script.invalidate(B, true).unwrap();
    script.in_sync();
    assert_eq!(script.resync_bytes(B), 0);
}

/// Whoever is not connected gives its copy up for the next connection, and is worth nothing until
/// then.
#[test]
fn a_copy_that_is_given_up_alone_takes_everything_later() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 3, 33).unwrap();
    script.part();
    script.pass(Span::secs(20));
    let refused = script.invalidate(A, false).unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NoData, "{}", refused.text);
    script.invalidate(B, false).unwrap();
    assert_eq!(script.status(B).volumes[0].disk, DiskState::Inconsistent);
    script.kill(B);
    script.start(B);
    assert_eq!(script.status(B).volumes[0].disk, DiskState::Inconsistent);
    assert_eq!(script.promote(B).unwrap_err().kind, RefusalKind::NoData);
    script.heal();
    script.in_sync();
    assert!(script.resync_bytes(B) > 15 << 20);
}

#[test]
fn the_peer_s_copy_is_given_up_from_here() {
    let mut script = Script::new(true);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 3, 33).unwrap();
    script.invalidate_remote(A).unwrap();
    script.in_sync();
    assert!(script.resync_bytes(B) > 15 << 20);
    // Not from under the peer's clients, and not without the peer.
    script.promote(B).unwrap();
    let refused = script.invalidate_remote(A).unwrap_err();
    assert_eq!(refused.kind, RefusalKind::State, "{}", refused.text);
    assert!(refused.text.contains("is Primary"), "{}", refused.text);
    script.part();
    script.pass(Span::secs(20));
    let refused = script.invalidate_remote(A).unwrap_err();
    assert!(refused.text.contains("not connected"), "{}", refused.text);
}

/// A copy is never given up while the other is not good.
#[test]
fn the_only_good_copy_is_not_given_up() {
    let mut script = behind(|_| {}, 64);
    script.pause_sync(A, PauseCause::User, true);
    script.until("a resync", |script| script.status(A).volumes[0].resync.is_some());
    script.pass(Span::secs(1));
    for refused in [script.invalidate(A, false), script.invalidate_remote(B)] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused.kind, RefusalKind::State | RefusalKind::NoData));
    }
    script.pause_sync(A, PauseCause::User, false);
    in_sync_and_equal(&mut script, 1000, 64);
}

/// Two fresh disks that hold the same: both are UpToDate, and nothing was copied. Whatever breaks on
/// the way, they end equal or unused, and never one in use that lacks something.
#[test]
fn rs10_the_first_resync_is_left_out_at_every_moment_or_done() {
    let mut skipped = 0;
    for events in 0..40 {
        let mut script = Script::fresh();
        script.start_both();
        script.ask_to_skip_sync(A);
        (0..events).for_each(|_| script.one_event());
        if events % 2 == 0 {
            script.reset();
        } else {
            script.kill(events as usize / 2 % 2);
            script.start(events as usize / 2 % 2);
        }
        script.until("they have met", |script| script.is_connected(A) && script.is_connected(B));
        script.pass(Span::secs(10));
        let good = [A, B].map(|node| script.status(node).volumes[0].disk == DiskState::UpToDate);
        assert_eq!(good[A], good[B], "after {events} events: as good as each other");
        skipped += u64::from(good[A] && script.resync_bytes(B) + script.resync_bytes(A) == 0);
    }
    assert!(skipped > 5, "{skipped} were left out");
}

/// A disk that is created anew later is not taken for the one that it was: the name that two fresh
/// disks get is not one that all fresh disks have.
#[test]
fn rs10_a_disk_created_anew_after_a_first_resync_left_out_takes_everything() {
    let mut script = Script::fresh();
    script.start_both();
    script.new_current_uuid(A, true).unwrap();
    script.until("both are good", |script| {
        [A, B].iter().all(|node| script.status(*node).volumes[0].disk == DiskState::UpToDate)
    });
    script.until("a verdict", |script| script.rule(B) == Some(Rule::NothingMarked));
    assert_eq!(script.resync_bytes(A) + script.resync_bytes(B), 0);
    let refused = script.new_current_uuid(A, true).unwrap_err();
    assert!(refused.text.contains("has been in use"), "{}", refused.text);
    script.stop(B);
    script.create_metadata(B);
    script.start(B);
    script.until("all is copied", |script| {
        script.is_connected(B) && script.status(B).volumes[0].disk == DiskState::UpToDate
    });
    assert!(script.rules().contains(&Rule::OneJustCreated), "{:?}", script.rules());
}

/// By order a node without its peer begins a generation that the peer lacks: the peer becomes its
/// target.
#[test]
fn a_new_generation_by_order_is_newer_than_the_peer_s() {
    let mut script = Script::new(false);
    script.start_both();
    let refused = script.new_current_uuid(A, false).unwrap_err();
    assert!(refused.text.contains("disconnect"), "{}", refused.text);
    script.part();
    script.pass(Span::secs(20));
    script.new_current_uuid(A, false).unwrap();
    script.heal();
    script.until("a verdict", |script| script.is_connected(B));
    assert_eq!(script.rule(B), Some(Rule::AheadByBitmap));
}

/// How long the resync of so many blocks takes.
fn time_of(pace: Pace, blocks: u64) -> Span {
    let mut script = behind(
        |options| {
            let of = VolumeOptions { pace, ..VolumeOptions::default() };
            options.volumes.insert(VolumeId(0), of);
            options.resync_request = 64 << 10;
            options.resync_window = 1 << 20;
        },
        blocks,
    );
    script.until("a resync", |script| script.status(B).volumes[0].resync.is_some());
    let began = script.now();
    script.in_sync();
    script.now().since(began)
}

/// `c-max-rate` and, without the controller, `resync-rate` are kept.
#[test]
fn a_rate_that_is_ordered_is_kept() {
    const BLOCKS: u64 = 512;
    let seconds = BLOCKS * BLOCK_BYTES / (256 << 10);
    let limited = Pace { max_rate: 256 << 10, ..Pace::DEFAULT };
    let fixed = Pace { plan_ahead: Span::ZERO, rate: 256 << 10, ..Pace::DEFAULT };
    for pace in [limited, fixed] {
        let took = time_of(pace, BLOCKS);
        let expected = Span::secs(seconds - 1)..Span::secs(seconds + 2);
        assert!(expected.contains(&took), "{took} for {seconds} s at that rate: {pace:?}");
    }
    assert!(time_of(Pace::DEFAULT, BLOCKS) < Span::secs(1));
}

/// Also without a connection the good copy is not given up, as far as is known which one it is.
#[test]
fn a_copy_that_is_known_to_be_the_only_good_one_is_not_given_up_alone() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.part();
    script.pass(Span::secs(20));
    for block in 0..64 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.pause_sync(A, PauseCause::User, true);
    script.heal();
    script.until("a resync", |script| script.status(A).volumes[0].resync.is_some());
    script.demote(A);
    script.part();
    script.pass(Span::secs(20));
    let refused = script.invalidate(A, false).unwrap_err();
    assert_eq!(refused.kind, RefusalKind::NoData, "{}", refused.text);
    assert!(refused.text.contains("Inconsistent"), "{}", refused.text);
}

/// Both nodes order the other to give its copy up at once: neither waits for the other for ever, and
/// one copy at least stays good.
#[test]
fn orders_to_give_copies_up_that_cross_end() {
    for events in 0..30 {
        let mut script = Script::new(false);
        script.start_both();
        script.ask_to_invalidate_remote(A);
        (0..events).for_each(|_| script.one_event());
        script.ask_to_invalidate_remote(B);
        script.pass(Span::secs(5));
        let good = |node: usize| script.status(node).volumes[0].disk == DiskState::UpToDate;
        assert!(good(A) || good(B), "after {events} events");
        script.in_sync();
        // What is ordered next is done.
        script.invalidate_remote(A).unwrap();
        script.in_sync();
    }
}

/// Both nodes leave the first resync out at once: they have one generation, and not each the other's.
#[test]
fn rs10_both_leave_the_first_resync_out_at_once() {
    for events in 0..30 {
        let mut script = Script::fresh();
        script.start_both();
        script.ask_to_skip_sync(A);
        (0..events).for_each(|_| script.one_event());
        script.ask_to_skip_sync(B);
        script.until("both are good", |script| {
            [A, B].iter().all(|node| script.status(*node).volumes[0].disk == DiskState::UpToDate)
        });
        script.pass(Span::secs(2));
        script.reset();
        script.kill(B);
        script.start(B);
        script.until("they have met", |script| script.is_connected(A) && script.is_connected(B));
        let current = |node: usize| {
            script.status(node).volumes[0].generations.as_ref().map(|all| all.current.id)
        };
        assert_eq!(current(A), current(B), "after {events} events");
    }
}
