//! Where the time of a request goes: each wait counts at the stage that it is in.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use sim::script::Script;
use types::{Histogram, Span, Stage};

const A: usize = 0;
const B: usize = 1;

/// What was counted by `work`, stage by stage.
fn counted(s: &mut Script, work: impl FnOnce(&mut Script)) -> impl Fn(Stage) -> Histogram {
    let before = s.ledger(A);
    work(s);
    let now = s.ledger(A);
    move |stage| now.of(stage).since(before.of(stage))
}

fn serving() -> Script {
    let mut s = Script::new(false);
    s.start_both();
    s.promote(A).unwrap();
    s.write(A, 1, 1).unwrap();
    s.pass(Span::secs(1));
    s
}

#[test]
fn a_peer_that_stands_still_is_where_the_time_goes() {
    let mut s = serving();
    s.pause(B, Span::secs(1));
    let of = counted(&mut s, |s| s.write(A, 1, 2).unwrap());
    let most = |stage| of(stage).percentile_micros(100).unwrap();
    assert!(most(Stage::Peer) > 900_000 && most(Stage::Write) > 900_000);
    assert!(most(Stage::Disk) < 200_000 && most(Stage::Queue) < 1000);
    assert_eq!(most(Stage::Finish), 0, "the answer of the peer is all that it waits for");
    assert_eq!((of(Stage::Log).count(), of(Stage::Read).count()), (0, 0));
}

#[test]
fn each_request_counts_once_as_what_it_is() {
    let mut s = serving();
    let of = counted(&mut s, |s| {
        for tag in 2..5 {
            s.write(A, 1, tag).unwrap();
        }
        s.read(A, 1).unwrap();
        s.read(A, 1).unwrap();
        s.flush(A).unwrap();
    });
    let counts = [Stage::Write, Stage::Disk, Stage::Peer, Stage::Finish, Stage::Read, Stage::Flush];
    assert_eq!(counts.map(|stage| of(stage).count()), [3, 3, 3, 3, 2, 1]);
    let begun = of(Stage::Queue).count() + of(Stage::Log).count();
    assert_eq!(begun, 3, "each is begun once, with or without the log");
}

#[test]
fn an_extent_that_is_not_in_the_log_counts_there() {
    let mut s = serving();
    let extent = types::EXTENT_BYTES / types::BLOCK_BYTES;
    let of = counted(&mut s, |s| s.write(A, extent, 2).unwrap());
    assert_eq!((of(Stage::Log).count(), of(Stage::Queue).count()), (1, 0));
    assert!(of(Stage::Log).percentile_micros(100) > Some(0), "a transaction takes time");
}

#[test]
fn what_stands_still_by_order_waits_in_the_queue() {
    let mut s = serving();
    let of = counted(&mut s, |s| {
        s.suspend_io(A);
        let asking = s.ask_write(A, 1, 2);
        s.pass(Span::millis(300));
        s.resume_io(A);
        s.wait(asking).unwrap();
    });
    assert!(of(Stage::Queue).percentile_micros(100) >= Some(300_000));
    assert!(of(Stage::Peer).percentile_micros(100) < Some(100_000));
}
