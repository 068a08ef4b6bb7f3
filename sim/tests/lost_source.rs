//! A Primary whose own copy is incomplete, and whose source is gone for a while: what becomes of its
//! writes in flight.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::OnNoData;
use sim::script::{Asking, FAR, Failed, Script, source_went_on_alone};
use types::Span;

const A: usize = 0;
const B: usize = 1;

fn ask_writes(script: &mut Script) -> Vec<Asking> {
    (0..8).map(|i| script.ask_write(A, FAR + i, 500 + i)).collect()
}

/// Wherever the source is killed, it is as if the link had been slow: nothing fails at the target.
#[test]
fn what_was_in_flight_when_the_source_was_killed_is_sent_anew() {
    for events in 0..80 {
        let mut script = Script::with_a_primary_target(|_| {});
        let mut asked = ask_writes(&mut script);
        asked.push(script.ask_read(A, FAR..FAR + 8));
        asked.push(script.ask_flush(A));
        asked.extend((0..8).map(|i| script.ask_write(A, FAR + i, 600 + i)));
        (0..events).for_each(|_| script.one_event());
        script.kill(B);
        script.start(B);
        for asking in asked {
            script.wait(asking).unwrap_or_else(|_| panic!("killed after {events} events"));
        }
        let seen: Vec<_> = (FAR..FAR + 8).map(|block| script.read(A, block).unwrap()).collect();
        assert_eq!(seen, (600..608).collect::<Vec<_>>());
        script.in_sync();
        script.linearizable();
    }
}

/// With `on-no-data-accessible suspend-io` it may take as long as it likes.
#[test]
fn with_suspend_io_the_source_may_be_away_for_long() {
    for events in (0..60).step_by(3) {
        let mut script = Script::with_a_primary_target(|_| {});
        let asked = ask_writes(&mut script);
        (0..events).for_each(|_| script.one_event());
        script.kill(B);
        script.pass(Span::secs(300));
        script.start(B);
        for asking in asked {
            script.wait(asking).unwrap();
        }
        script.in_sync();
        script.linearizable();
    }
}

/// With `io-error`, the default, it fails when the source has not come back in time.
#[test]
fn with_io_error_what_is_in_flight_fails_when_the_source_does_not_come_back() {
    let mut script = Script::with_a_primary_target(|options| {
        options.on_no_data_accessible = OnNoData::IoError;
    });
    script.kill(B);
    let asked = ask_writes(&mut script);
    for asking in asked {
        assert_eq!(script.wait(asking), Err(Failed));
    }
}

/// The source goes on alone, dies, and is back: what it wrote meanwhile stays.
#[test]
fn what_was_in_flight_is_not_done_again_when_the_source_went_on_alone() {
    (0..4).for_each(source_went_on_alone);
}

/// Both write to one block, and both look, when the source is killed: what came later stays.
#[test]
fn what_the_source_wrote_over_is_not_done_again() {
    for events in 0..120 {
        let mut script = Script::with_a_primary_target(|_| {});
        let mut asked = Vec::new();
        for round in 0..4 {
            asked.push(script.ask_write(A, FAR, 30 + round));
            script.one_event();
            script.one_event();
            asked.push(script.ask_write(B, FAR, 40 + round));
            asked.push(script.ask_read(B, FAR..FAR + 1));
            script.one_event();
        }
        (0..events).for_each(|_| script.one_event());
        script.kill(B);
        script.start(B);
        for asking in asked {
            // An error is the truth about what came before a write of the source's.
            let _outcome = script.wait(asking);
        }
        script.in_sync();
        script.read(A, FAR).unwrap();
        script.linearizable();
    }
}

/// Of two writes of the target, of which the source wrote over the later one only, the earlier one
/// is sent anew: the copies are equal all the same.
#[test]
fn what_is_sent_anew_below_a_write_that_is_not_is_copied_all_the_same() {
    for (before, after) in (0..24).flat_map(|before| [2, 4, 6, 8].map(|after| (before, after))) {
        let mut script = Script::with_a_primary_target(|_| {});
        script.write(A, FAR, 20).unwrap();
        script.write(B, FAR + 1, 21).unwrap();
        let mut asked = vec![script.ask_write(A, FAR, 30)];
        asked.push(script.ask_write_blocks(A, FAR..FAR + 2, 31));
        (0..before).for_each(|_| script.one_event());
        asked.push(script.ask_write(B, FAR + 1, 40));
        (0..after).for_each(|_| script.one_event());
        script.kill(B);
        script.start(B);
        for asking in asked {
            let _outcome = script.wait(asking);
        }
        script.in_sync();
        script.linearizable();
    }
}
