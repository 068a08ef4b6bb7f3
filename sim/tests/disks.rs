//! Disks that fail, told step by step: IO3, IO5 to IO7, CR7, and what `on-io-error` and
//! `on-no-data-accessible` make of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::Rule;
use replicator::{OnIoError, OnNoData, Options};
use sim::script::{Failed, Script};
use types::{BLOCK_BYTES, DiskState, Span};

const A: usize = 0;
const B: usize = 1;

/// A is Primary, both are connected and in sync.
fn serving(change: impl FnOnce(&mut Options)) -> Script {
    let mut script = Script::of(false, true, change);
    script.start_both();
    script.promote(A).unwrap();
    script
}

fn serving_without_log() -> Script {
    let mut script = Script::new(false);
    script.without_log();
    script.start_both();
    script.promote(A).unwrap();
    script
}

fn pass_on(options: &mut Options) {
    options.on_io_error = OnIoError::PassOn;
}

fn suspend_io(options: &mut Options) {
    options.on_no_data_accessible = OnNoData::SuspendIo;
}

fn disk(script: &Script, node: usize) -> DiskState {
    script.status(node).volumes[0].disk
}

/// Both lose power at the same instant, the disks are well again, and both return.
fn both_crash_and_return(script: &mut Script) {
    script.cut_power(A);
    script.cut_power(B);
    script.heal_disk(A);
    script.heal_disk(B);
    script.start_both();
    script.in_sync();
}

/// Part of a request is on blocks that cannot be read: the whole of it fails, whichever part ends
/// last; the disk stays, and other requests are served.
#[test]
fn io3_an_error_of_a_part_is_an_error_of_the_whole() {
    let mut script = serving(pass_on);
    for block in 1020..1028 {
        script.write(A, block, block).unwrap();
    }
    script.stop(B);
    script.bad_blocks(A, 1022..1023);
    let whole = script.ask_read(A, 1020..1028);
    assert_eq!(script.wait(whole), Err(Failed));
    assert_eq!(script.read(A, 1021), Ok(1021));
    assert_eq!(disk(&script, A), DiskState::UpToDate);
}

/// One node's disk has no room: it is let go, and its clients do not notice.
#[test]
fn io5_a_full_disk_on_one_node_is_let_go() {
    for node in [A, B] {
        let mut script = serving(|_| {});
        script.is_full(node);
        script.write(A, 1, 10).unwrap();
        assert_eq!(script.read(A, 1), Ok(10));
        script.until("it is let go", |script| disk(script, node) == DiskState::Diskless);
        script.attach(node).unwrap();
        script.in_sync();
        assert_eq!(script.read(A, 1), Ok(10));
        script.linearizable();
    }
}

/// A full disk that is kept (`pass_on`), with and without a peer.
#[test]
fn io5_a_full_disk_that_is_kept_tells_its_client() {
    let mut script = serving(pass_on);
    script.stop(B);
    script.is_full(A);
    assert_eq!(script.write(A, 1, 10), Err(Failed));
    assert_eq!(disk(&script, A), DiskState::UpToDate);
    script.heal_disk(A);
    script.write(A, 1, 11).unwrap();
    assert_eq!(script.read(A, 1), Ok(11));
    script.start(B);
    script.in_sync();
}

/// A flush fails and drops what it should have made durable. The disk is let go; the flush is
/// answered because the peer has it all. Then both lose power, the disk works again, and its node
/// would win every tie: what was flushed is there.
#[test]
fn io6_a_failed_flush_is_final_and_nothing_flushed_is_lost() {
    let mut script = serving(|_| {});
    script.write(A, 1, 10).unwrap();
    script.flushes_fail(A);
    script.flush(A).unwrap();
    assert_eq!(disk(&script, A), DiskState::Diskless);
    both_crash_and_return(&mut script);
    script.promote(B).unwrap();
    assert_eq!(script.read(B, 1), Ok(10));
}

/// A flush that fails alone fails for the client too, and nothing makes a success of it later.
#[test]
fn io6_a_flush_that_fails_alone_is_told() {
    let mut script = serving(|_| {});
    script.stop(B);
    script.write(A, 1, 10).unwrap();
    script.flushes_fail(A);
    assert_eq!(script.flush(A), Err(Failed));
    script.heal_disk(A);
    assert_eq!(script.flush(A), Err(Failed));
    assert_eq!(disk(&script, A), DiskState::Diskless);
}

/// A write is answered by the peer alone, its disk having failed; both lose power at once.
#[test]
fn io6_what_only_the_peer_has_survives_a_crash_of_both() {
    for change in [|_: &mut Options| {}, pass_on] {
        let mut script = serving(change);
        script.write(A, 1, 10).unwrap();
        script.writes_fail(A);
        script.write(A, 1, 11).unwrap();
        assert_eq!(script.read(A, 1), Ok(11));
        script.flush(A).unwrap();
        both_crash_and_return(&mut script);
        script.promote(B).unwrap();
        assert_eq!(script.read(B, 1), Ok(11));
    }
}

/// A block cannot be read: its client gets it from the peer, the disk gets it too, and stays.
#[test]
fn io7_a_read_error_is_served_by_the_peer_and_repaired() {
    let mut script = serving(|_| {});
    for block in 0..4 {
        script.write(A, block, 10 + block).unwrap();
    }
    script.bad_blocks(A, 1..3);
    let whole = script.ask_read(A, 0..4);
    assert_eq!(
        script.wait(whole).map(|seen| [seen[0], seen[8], seen[16], seen[24]]),
        Ok([10, 11, 12, 13])
    );
    script.until("it is repaired", |script| {
        script.status(A).volumes[0].counters.repaired_blocks == 4
    });
    assert_eq!(disk(&script, A), DiskState::UpToDate);
    assert_eq!(script.status(A).volumes[0].counters.read_errors, 1);
    // By itself now.
    script.stop(B);
    assert_eq!(script.read(A, 2), Ok(12));
    assert_eq!(disk(&script, A), DiskState::UpToDate);
    script.linearizable();
}

/// While a block is repaired both nodes write it: the repair overwrites nothing newer.
#[test]
fn io7_a_repair_never_overwrites_a_write() {
    for moment in 0..40 {
        let mut script = Script::new(true);
        script.start_both();
        script.promote(A).unwrap();
        script.promote(B).unwrap();
        script.write(A, 1, 10).unwrap();
        script.bad_blocks(A, 1..2);
        let read = script.ask_read(A, 1..2);
        (0..moment).for_each(|_| script.one_event());
        let writes = [script.ask_write(B, 1, 20), script.ask_write(A, 1, 30)];
        for asking in writes.into_iter().chain([read]) {
            script.wait(asking).unwrap();
        }
        assert_eq!(script.read(A, 1), script.read(B, 1));
        script.in_sync();
        script.linearizable();
    }
}

/// A read error with nobody to ask: `detach` lets the disk go, `pass_on` tells the client.
#[test]
fn io7_without_a_peer_the_policy_decides() {
    let mut script = serving(|_| {});
    script.stop(B);
    script.bad_blocks(A, 1..2);
    assert_eq!(script.read(A, 1), Err(Failed));
    assert_eq!(disk(&script, A), DiskState::Diskless);

    let mut script = serving(pass_on);
    script.stop(B);
    script.bad_blocks(A, 1..2);
    assert_eq!(script.read(A, 1), Err(Failed));
    assert_eq!(disk(&script, A), DiskState::UpToDate);
    assert_eq!(script.read(A, 2), Ok(0));
}

/// `pass_on`: a disk that lacks what the peer has is kept, Inconsistent; what it lacks is read at
/// the peer, and copied with the next connection.
#[test]
fn pass_on_keeps_a_disk_that_lacks_a_write() {
    for node in [A, B] {
        let mut script = serving(pass_on);
        script.writes_fail(node);
        script.write(A, 1, 10).unwrap();
        script.until("it is Inconsistent", |script| disk(script, node) == DiskState::Inconsistent);
        assert_eq!(script.read(A, 1), Ok(10));
        script.heal_disk(node);
        script.write(A, 2, 20).unwrap();
        script.disconnect(B);
        script.connect(B);
        script.in_sync();
        assert_eq!(script.on_disk(node, 1), 10);
        assert_eq!(script.on_disk(node, 2), 20);
        script.linearizable();
    }
}

/// An error of the metadata always costs the disk, whatever the policy.
#[test]
fn metadata_errors_always_detach() {
    for node in [A, B] {
        let mut script = serving(pass_on);
        script.metadata_fails(node);
        // Each in an extent of its own: more than the log has hot.
        for block in (0..4).map(|extent| extent * 1024) {
            script.write(A, block, 10).unwrap();
        }
        script.flush(A).unwrap();
        script.part();
        script.pass(Span::secs(30));
        if node == B {
            // Its copy takes no part in what happens now.
            script.write(A, 3, 30).unwrap();
        }
        script.heal();
        script.connected();
        script.disconnect(B);
        script.connect(B);
        script.connected();
        script.until("it is let go", |script| disk(script, node) == DiskState::Diskless);
        script.attach(node).unwrap();
        script.in_sync();
        assert_eq!(script.read(A, 1024), Ok(10));
    }
}

/// `on-no-data-accessible suspend-io`: a Primary without its disk waits for its peer without an
/// error, for as long as it takes.
#[test]
fn suspend_io_waits_for_data() {
    let mut script = serving(suspend_io);
    script.write(A, 1, 10).unwrap();
    script.writes_fail(A);
    script.write(A, 2, 20).unwrap();
    assert_eq!(disk(&script, A), DiskState::Diskless);
    let in_flight = script.ask_write(A, 3, 30);
    script.part();
    let asked = [script.ask_read(A, 1..2), script.ask_write(A, 4, 40)];
    script.pass(Span::secs(3600));
    assert!(asked.iter().chain([&in_flight]).all(|asking| !script.is_over(*asking)));
    assert!(script.status(A).volumes[0].suspended.any());
    script.heal();
    for asking in asked.into_iter().chain([in_flight]) {
        script.wait(asking).unwrap();
    }
    assert!(!script.status(A).volumes[0].suspended.any());
    assert_eq!(script.read(A, 4), Ok(40));
    script.attach(A).unwrap();
    script.in_sync();
    script.linearizable();
}

/// The same with nobody to wait for: an orderly end ends it.
#[test]
fn suspend_io_ends_with_the_resource() {
    let mut script = serving(suspend_io);
    script.stop(B);
    script.writes_fail(A);
    // What was in flight on the disk that failed fails.
    assert_eq!(script.write(A, 1, 10), Err(Failed));
    let asked = [script.ask_write(A, 1, 11), script.ask_read(A, 1..2)];
    script.pass(Span::secs(600));
    assert!(asked.iter().all(|asking| !script.is_over(*asking)));
    script.stop(A);
    assert!(asked.into_iter().all(|asking| script.wait(asking).is_err()));
}

/// `io-error`, the default: what nobody can serve fails.
#[test]
fn io_error_fails_what_nobody_can_serve() {
    let mut script = serving(|_| {});
    script.writes_fail(A);
    script.write(A, 2, 20).unwrap();
    script.part();
    assert_eq!(script.read(A, 2), Err(Failed));
    assert_eq!(script.write(A, 2, 21), Err(Failed));
    script.heal();
    script.connected();
    script.until("its peer serves", |script| {
        script.status(A).volumes[0].peer_disk == DiskState::UpToDate
    });
    assert_eq!(script.read(A, 2), Ok(20));
}

/// Without an activity log a crash of the Primary marks the whole disk.
#[test]
fn cr7_a_crash_without_a_log_marks_everything() {
    let mut script = serving_without_log();
    let quiet = script.status(A).volumes[0].counters.al_writes;
    for block in (0..4).map(|extent| extent * 1024) {
        script.write(A, block, 10).unwrap();
    }
    assert_eq!(script.status(A).volumes[0].counters.al_writes, quiet);
    script.cut_power(A);
    script.start(A);
    script.in_sync();
    assert_eq!(script.resync_bytes(A), script.blocks() * BLOCK_BYTES);
}

/// A snapshot of B's disk, taken while it was in use and put back after an orderly stop: within one
/// generation, and nothing marked.
#[test]
fn rs11_a_snapshot_of_the_same_generation_is_refused() {
    let mut script = serving(|_| {});
    script.write(A, 1, 10).unwrap();
    let old = script.image(B);
    script.write(A, 2, 20).unwrap();
    script.flush(A).unwrap();
    script.stop(B);
    script.put_image(B, &old);
    script.start(B);
    script.stands_alone(B);
    assert_eq!(script.rule(B), Some(Rule::RolledBack));
    script.stands_alone(A);
    assert_eq!(script.read(A, 2), Ok(20));
}

/// B's disk is put back to what it was before the last session, and the other node stopped first: it
/// heard nothing more from B.
#[test]
fn rs11_a_disk_of_before_the_session_is_refused() {
    let mut script = serving(|_| {});
    script.write(A, 1, 10).unwrap();
    script.stop(B);
    let old = script.image(B);
    script.start(B);
    script.in_sync();
    script.write(A, 2, 20).unwrap();
    script.stop(A);
    script.stop(B);
    script.put_image(B, &old);
    script.start(A);
    script.start(B);
    script.until("a node stands alone", |script| {
        [A, B].iter().any(|node| script.rule(*node) == Some(Rule::RolledBack))
    });
}

/// Writes to cold extents that come together cost one transaction of the log for all, not one each:
/// the first begins one, and the others wait for the next.
#[test]
fn cold_extents_are_heated_in_batches() {
    let mut script = serving(|_| {});
    let before = script.status(A).volumes[0].counters;
    let asked: Vec<_> =
        (0..4).map(|extent| script.ask_write(A, extent * 1024 + 7, 10 + extent)).collect();
    for asking in asked {
        script.wait(asking).unwrap();
    }
    let after = script.status(A).volumes[0].counters;
    assert_eq!(after.al_misses - before.al_misses, 4);
    assert_eq!(after.al_writes - before.al_writes, 2);
    // Hot now.
    script.write(A, 1024, 20).unwrap();
    let hot = script.status(A).volumes[0].counters;
    assert_eq!((hot.al_writes, hot.al_hits), (after.al_writes, after.al_hits + 1));
}

/// The disk of a resync's source fails: a write that only the incomplete target has is not answered as
/// done, for the source's copy will overrule it once it is back.
#[test]
fn io6_what_only_an_incomplete_copy_has_is_an_error() {
    let mut script = serving(|options| options.resync_window = 2 * BLOCK_BYTES);
    script.part();
    for block in 0..64 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.heal();
    script.until("the resync runs", |script| disk(script, B) == DiskState::Inconsistent);
    script.until("it is joined", |script| script.status(A).volumes[0].resync.is_some());
    script.writes_fail(A);
    assert_eq!(script.write(A, 500, 10), Err(Failed));
    assert_eq!(disk(&script, A), DiskState::Diskless);
}

/// A disk is let go in order, without an activity log. What the peer may still have in its cache is
/// made durable first: else both lose power, and only the disk that was let go has it, unmarked.
#[test]
fn cr7_a_disk_is_let_go_when_the_peer_has_it_all() {
    let mut script = serving_without_log();
    for block in 0..64 {
        script.write(A, block, 10).unwrap();
    }
    script.detach(A).unwrap();
    both_crash_and_return(&mut script);
    script.promote(B).unwrap();
    assert_eq!(script.read(B, 1), Ok(10));
}

/// A write that both disks have, the local one after I/O was suspended: not even that is answered
/// until it goes on.
#[test]
fn what_ends_while_io_is_suspended_is_answered_after_it() {
    let mut script = serving(|options| {
        suspend_io(options);
        options.resync_window = 2 * BLOCK_BYTES;
    });
    script.stop(A);
    script.promote(B).unwrap();
    for block in 0..64 {
        script.write(B, block, 1000 + block).unwrap();
    }
    script.demote(B);
    script.start(A);
    script.until("the resync runs", |script| script.status(A).volumes[0].resync.is_some());
    script.promote(A).unwrap();
    script.write(A, 500, 10).unwrap();
    script.is_stuck(A);
    let asking = script.ask_write(A, 500, 11);
    script.until("the peer has answered it", |script| {
        script.status(A).volumes[0].counters.pending == 0
    });
    script.kill(B);
    script.heal_disk(A);
    script.until("I/O is suspended", |script| script.status(A).volumes[0].suspended.any());
    script.pass(Span::secs(100));
    assert!(!script.is_over(asking), "answered while I/O is suspended");
    script.start(B);
    script.wait(asking).unwrap();
}
