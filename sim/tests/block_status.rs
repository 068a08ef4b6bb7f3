//! Block status told step by step: a map of zeros is a read, and what is out-of-sync is told at
//! once.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use sim::script::{Failed, Script};
use std::ops::Range;
use types::{DiskState, Span};

const A: usize = 0;
const B: usize = 1;

/// Which of these blocks are zeros; all of them are data, or all are zeros.
fn map(script: &mut Script, node: usize, blocks: Range<u64>) -> Result<Vec<bool>, Failed> {
    let asking = script.ask_map(node, blocks);
    script.wait_map(asking)
}

fn trim(script: &mut Script, node: usize, blocks: Range<u64>) {
    let asking = script.ask_trim(node, blocks);
    script.wait(asking).unwrap();
}

/// Whatever is answered on one node is so in the maps of both.
#[test]
fn what_was_written_is_data_and_what_was_trimmed_is_zeros_on_both_nodes() {
    let mut script = Script::two_primaries();
    for (tag, writer) in (1..).zip([A, B, A, B]) {
        script.write(writer, 1, tag).unwrap();
        for node in [A, B] {
            assert_eq!(map(&mut script, node, 1..2), Ok(vec![false]));
            assert_eq!(map(&mut script, node, 2..9), Ok(vec![true; 7]));
        }
        trim(&mut script, 1 - writer, 1..2);
        for node in [A, B] {
            assert_eq!(map(&mut script, node, 1..2), Ok(vec![true]));
        }
    }
    script.linearizable();
}

/// A map that is asked for at any moment of a trim, or of a write over zeros: once it has said zeros,
/// nobody reads what was there before; and once the write is read, no map says zeros.
#[test]
fn a_map_is_never_followed_by_something_older() {
    for moment in 0..80 {
        for (trims, maps) in [(A, B), (B, A), (A, A)] {
            let mut script = Script::two_primaries();
            script.write(A, 1, 7).unwrap();
            let trim = script.ask_trim(trims, 1..2);
            (0..moment).for_each(|_| script.one_event());
            let _ = map(&mut script, maps, 1..2).unwrap();
            for node in [A, B] {
                script.read(node, 1).unwrap();
            }
            script.wait(trim).unwrap();
            let write = script.ask_write(maps, 1, 8);
            (0..moment).for_each(|_| script.one_event());
            for node in [A, B] {
                script.read(node, 1).unwrap();
                let _ = map(&mut script, node, 1..2).unwrap();
            }
            script.wait(write).unwrap();
            script.linearizable();
        }
    }
}

/// A Primary that is being brought up to date says nothing of what it lacks: its disk holds zeros
/// there, and the peer does not.
#[test]
fn what_a_target_lacks_is_never_called_zeros() {
    let mut script = Script::new(true);
    script.start_both();
    script.promote(A).unwrap();
    script.part();
    for block in 8..40 {
        script.write(A, block, 1000 + block).unwrap();
    }
    script.heal();
    script.connected();
    script.promote(B).unwrap();
    let mut lacking = 0;
    while !script.is_in_sync() {
        lacking += u64::from(script.out_of_sync(B, 8..9) == Ok(1));
        assert_eq!(map(&mut script, B, 8..40), Ok(vec![false; 32]));
        let before = map(&mut script, B, 0..40).unwrap();
        assert!(before[..8].iter().all(|zero| *zero), "{before:?}");
        assert!(before[8..].iter().all(|zero| !zero), "{before:?}");
    }
    assert!(lacking > 0, "the resync was over before anybody asked");
    script.linearizable();
}

#[test]
fn a_map_waits_while_io_is_suspended_and_what_is_out_of_sync_does_not() {
    let mut script = Script::two_primaries();
    script.suspend_io(A);
    let asking = script.ask_map(A, 1..2);
    script.pass(Span::secs(3600));
    assert!(!script.is_over(asking));
    assert_eq!(script.out_of_sync(A, 0..100), Ok(0));
    script.resume_io(A);
    assert_eq!(script.wait_map(asking), Ok(vec![true]));
}

#[test]
fn what_is_out_of_sync_is_what_is_marked() {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 3, 3).unwrap();
    // What may be in a cache of the peer would be marked too.
    script.flush(A).unwrap();
    assert_eq!(script.out_of_sync(A, 0..100), Ok(0));
    script.part();
    for block in [1, 2, 50, 99] {
        script.write(A, block, block).unwrap();
    }
    for (blocks, marked) in [(0..100, 4), (2..51, 2), (3..50, 0), (99..script.blocks(), 1)] {
        assert_eq!(script.out_of_sync(A, blocks.clone()), Ok(marked), "{blocks:?}");
    }
    script.heal();
    script.in_sync();
    assert_eq!(script.out_of_sync(A, 0..100), Ok(0));
}

/// Without its disk a Primary has nothing to tell, which is data, and all of it is out-of-sync. With
/// nobody to serve it a map fails, as a read does.
#[test]
fn without_a_disk_all_is_data_and_out_of_sync() {
    let mut script = Script::two_primaries();
    script.writes_fail(A);
    script.write(A, 2, 20).unwrap();
    assert_eq!(script.status(A).volumes[0].disk, DiskState::Diskless);
    assert_eq!(map(&mut script, A, 1..9), Ok(vec![false; 8]));
    assert_eq!(map(&mut script, B, 3..9), Ok(vec![true; 6]));
    assert_eq!(script.out_of_sync(A, 1..9), Ok(8));
    script.stop(B);
    assert_eq!(map(&mut script, A, 1..9), Err(Failed));
    assert_eq!(script.out_of_sync(A, 1..9), Ok(8));
}

/// A disk that cannot say where it has data is not given up for that.
#[test]
fn a_map_that_fails_is_data_and_costs_no_disk() {
    let mut script = Script::two_primaries();
    script.reads_fail(A);
    assert_eq!(map(&mut script, A, 1..9), Ok(vec![false; 8]));
    script.heal_disk(A);
    assert_eq!(map(&mut script, A, 1..9), Ok(vec![true; 8]));
    let volume = &script.status(A).volumes[0];
    assert_eq!((volume.disk, volume.counters.read_errors), (DiskState::UpToDate, 0));
}

/// What could not be read is fetched from the peer: until that is written, nothing is known of it.
#[test]
fn what_cannot_be_read_is_data() {
    let mut script = Script::two_primaries();
    script.bad_blocks(A, 4..6);
    let read = script.ask_read(A, 4..6);
    let mut unknown = 0;
    while !script.is_over(read) {
        unknown += u64::from(map(&mut script, A, 4..6) == Ok(vec![false; 2]));
        script.one_event();
    }
    assert!(unknown > 0, "the repair was over before anybody asked");
    script.until("it is repaired", |script| {
        script.status(A).volumes[0].counters.repaired_blocks == 2
    });
    assert_eq!(map(&mut script, A, 4..6), Ok(vec![true; 2]));
    script.linearizable();
}
