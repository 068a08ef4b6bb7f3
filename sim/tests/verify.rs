//! Verifies told step by step: OP7, and DP5 and RS7 as far as they are about verify.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{Digest, Event, Handler, OnIoError, Pace, PauseCause, RefusalKind};
use sim::script::Script;
use types::{DiskState, ReplicationState, Span, VolumeId};

const A: usize = 0;
const B: usize = 1;

/// Both are Primary, and verify by this digest.
fn two_primaries(digest: Digest) -> Script {
    let mut script = Script::of(true, true, |options| options.verify_alg = Some(digest));
    script.start_both();
    script.promote(A).unwrap();
    script.promote(B).unwrap();
    script
}

/// As far as a node says.
fn replication(script: &Script, node: usize) -> ReplicationState {
    script.status(node).volumes[0].replication
}

fn is_done(script: &Script, node: usize) -> bool {
    script.status(node).volumes[0].verify.is_none()
}

/// Whatever was damaged, on either disk, is found, by each digest, and marked on both nodes; nothing
/// else is, no disk changes its state, and no resync begins.
#[test]
fn op7_every_damaged_block_is_found_and_marked_on_both_nodes() {
    for digest in Digest::ALL {
        let mut script = two_primaries(digest);
        let last = script.blocks() - 1;
        for block in (0..200).step_by(3) {
            script.write(A, block, 1000 + block).unwrap();
        }
        let mut damaged = vec![0, 1, 2, 63, 64, 129, 200, 1000, last];
        damaged.extend(300..430);
        damaged.sort_unstable();
        for &block in &damaged {
            script.flip(if block % 2 == 0 { A } else { B }, block, 77_000 + block);
        }
        let report = script.verify_all(A);
        assert!(report.complete && report.requester, "{report}");
        assert_eq!(report.compared_blocks, script.blocks(), "{digest}");
        assert_eq!(report.found_blocks, damaged.len() as u64, "{digest}");
        script.until("the other has heard", |script| is_done(script, B));
        script.pass(Span::secs(30));
        for node in [A, B] {
            assert_eq!(script.marked(node), damaged, "{digest}");
            let status = &script.status(node).volumes[0];
            assert_eq!((status.disk, status.peer_disk), (DiskState::UpToDate, DiskState::UpToDate));
            assert_eq!(status.replication, ReplicationState::Established);
            assert_eq!(status.verify_report.as_ref().unwrap().found_blocks, report.found_blocks);
            assert!(script.handlers_run(node).contains(&Handler::OutOfSync));
            assert!(status.last_verify.is_some(), "a whole one has ended");
        }
    }
}

/// Hot blocks, written on both nodes at once all the time, and verified all the time from both, with
/// broken links between: never a difference.
#[test]
fn op7_hot_writes_on_both_nodes_are_no_difference() {
    let mut script = two_primaries(Digest::Xxh3);
    let (mut tag, mut ended, mut cut) = (1, 0, 0);
    let mut asked = Vec::new();
    while ended < 120 {
        for node in [A, B] {
            for block in 0..8 {
                if asked.len() < 32 && (tag + block) % 3 != 0 {
                    tag += 1;
                    asked.push(script.ask_write(node, block, tag));
                }
            }
            if asked.len() < 32 && tag % 7 == 0 {
                tag += 1;
                asked.push(script.ask_trim(node, 2..5));
            }
            if is_done(&script, A) && is_done(&script, B) {
                ended += 1;
                script.verify(node, 0..80).unwrap();
            }
        }
        for _ in 0..3 {
            script.one_event();
        }
        if ended % 10 == 9 && ended != cut {
            cut = ended;
            script.reset();
        }
        asked.retain(|asking| !script.is_over(*asking));
    }
    for asking in asked {
        script.wait(asking).unwrap();
    }
    script.until("both are done", |script| is_done(script, A) && is_done(script, B));
    for node in [A, B] {
        assert!(script.marked(node).is_empty());
        assert!(!script.events(node).iter().any(|event| matches!(event, Event::Differs { .. })));
    }
    script.linearizable();
}

/// Concurrent writes of one block meet a verify of it at every moment: the conflict ends as ever, and
/// is no difference.
#[test]
fn dp5_a_conflict_at_every_moment_of_a_verify_is_no_difference() {
    for events in 0..60 {
        for driver in [A, B] {
            let mut script = two_primaries(Digest::Crc32c);
            script.verify(driver, 0..4).unwrap();
            (0..events / 2).for_each(|_| script.one_event());
            let asked = [script.ask_write(A, 1, 500), script.ask_write(B, 1, 600)];
            (0..events % 2).for_each(|_| script.one_event());
            let more = [script.ask_write_blocks(A, 0..3, 700), script.ask_trim(B, 1..4)];
            for asking in asked.into_iter().chain(more) {
                script.wait(asking).unwrap();
            }
            let report = script.verified(driver);
            assert_eq!((report.complete, report.found_blocks), (true, 0), "{report}");
            script.in_sync();
            script.linearizable();
        }
    }
}

/// A link that breaks at any moment of a verify, and a session that goes on: the verify goes on too,
/// and looks at every block.
#[test]
fn op7_a_broken_link_neither_ends_a_verify_nor_hides_a_difference() {
    for events in (0..60).step_by(2) {
        let mut script = two_primaries(Digest::Xxh3);
        script.flip(B, 100, 7);
        script.verify(A, 0..512).unwrap();
        (0..events).for_each(|_| script.one_event());
        script.reset();
        let report = script.verified(A);
        assert_eq!((report.complete, report.compared_blocks), (true, 512), "{report}");
        assert_eq!(report.found_blocks, 1);
        script.until("the other has heard", |script| is_done(script, B));
        assert_eq!([script.marked(A), script.marked(B)], [[100], [100]]);
    }
}

/// The other node ends it while the link is away, and its word is lost with the link: the one who
/// drives it hears of it when the session goes on. (Found as seed 842723743347.)
#[test]
fn op7_a_verify_that_the_other_node_has_ended_while_the_link_was_away_ends() {
    for events in (0..40).step_by(2) {
        let mut script = two_primaries(Digest::Crc32c);
        script.verify(A, 0..4000).unwrap();
        script.until("the other has heard", |script| {
            replication(script, B) == ReplicationState::VerifyT
        });
        (0..events).for_each(|_| script.one_event());
        script.part();
        script.cancel_verify(B);
        script.pass(Span::millis(100));
        script.heal();
        let report = script.verified(A);
        assert!(!report.complete && report.text.contains("ended at"), "{report}");
        script.in_sync();
    }
}

/// The peer is lost for good: the verify ends, and tells how far it came; from there another one goes
/// on when the peer is back.
#[test]
fn op7_a_lost_peer_ends_a_verify_which_tells_how_far_it_came() {
    let mut script = two_primaries(Digest::Sha256);
    script.verify(A, 64..4000).unwrap();
    script.until("some of it is done", |script| {
        let verify = script.status(A).volumes[0].verify;
        verify.is_some_and(|verify| verify.left_blocks < verify.total_blocks / 2)
    });
    assert_eq!(replication(&script, A), ReplicationState::VerifyS);
    assert_eq!(replication(&script, B), ReplicationState::VerifyT);
    script.kill(B);
    let report = script.verified(A);
    assert!(!report.complete && report.text.contains("lost"), "{report}");
    let position = report.position_sector.unwrap();
    assert_eq!(position, (64 + report.compared_blocks) * 8);
    assert!(report.to_string().contains(&format!("--start {position}")), "{report}");
    assert!(script.status(A).volumes[0].last_verify.is_none(), "nothing whole has ended");
    script.start(B);
    script.in_sync();
    script.verify(A, position / 8..4000).unwrap();
    let report = script.verified(A);
    assert_eq!((report.complete, report.found_blocks), (true, 0), "{report}");
}

/// Whatever ends a verify ends it on both nodes, with a reason, and replication goes on.
#[test]
fn op7_a_verify_ends_cleanly_whatever_ends_it() {
    type Act = fn(&mut Script);
    let acts: [(&str, Act); 6] = [
        ("order", |script| script.cancel_verify(A)),
        ("order", |script| script.cancel_verify(B)),
        ("disk", |script| {
            script.writes_fail(A);
            let asking = script.ask_write(A, 9, 9);
            script.wait(asking).unwrap();
        }),
        ("disk", |script| {
            script.writes_fail(B);
            let asking = script.ask_write(B, 9, 9);
            script.wait(asking).unwrap();
        }),
        ("disk", |script| script.detach(B).unwrap()),
        ("disk", |script| script.detach(A).unwrap()),
    ];
    for (why, act) in acts {
        let mut script = two_primaries(Digest::Xxh3);
        script.verify(A, 0..4000).unwrap();
        script.until("some of it is done", |script| {
            let verify = script.status(A).volumes[0].verify;
            verify.is_some_and(|verify| verify.left_blocks < verify.total_blocks)
        });
        act(&mut script);
        script.until("both have ended", |script| is_done(script, A) && is_done(script, B));
        let report = script.verified(A);
        assert!(!report.complete && report.text.contains(why), "{why}: {report}");
        assert_eq!(report.found_blocks, 0);
        assert_eq!(replication(&script, A), ReplicationState::Established, "{why}");
        assert_eq!(replication(&script, B), ReplicationState::Established, "{why}");
        script.write(A, 3, 33).unwrap();
        assert_eq!(script.read(B, 3), Ok(33));
    }
}

/// A demotion needs no end of a verify, and a verify keeps no node from ending in order.
#[test]
fn op7_roles_change_and_nodes_end_while_a_verify_runs() {
    let mut script = two_primaries(Digest::Xxh3);
    script.verify(A, 0..4000).unwrap();
    script.demote(A);
    script.demote(B);
    assert!(!is_done(&script, A), "it goes on");
    script.stop(B);
    let report = script.verified(A);
    assert!(!report.complete, "{report}");
    script.start(B);
    script.in_sync();
    script.verify(B, 0..4000).unwrap();
    script.stop(B);
    script.start(B);
    script.in_sync();
    assert_eq!(script.verify_all(A).found_blocks, 0);
}

/// What is in the way is named, and nothing has begun.
#[test]
fn op7_a_verify_that_cannot_be_is_refused_with_the_reason() {
    let mut script = Script::new(true);
    script.start_both();
    let refusal = script.verify(A, 0..10).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::State);
    assert!(refusal.text.contains("verify-alg"), "{}", refusal.text);

    let mut script = two_primaries(Digest::Xxh3);
    let refusal = script.verify(A, 1_000_000..2_000_000).unwrap_err();
    assert!(refusal.text.contains("sectors"), "{}", refusal.text);
    script.verify(A, 0..4000).unwrap();
    let refusal = script.verify(A, 0..10).unwrap_err();
    assert!(refusal.text.contains("--cancel"), "{}", refusal.text);
    script.cancel_verify(A);
    script.detach(B).unwrap();
    let refusal = script.verify(A, 0..10).unwrap_err();
    assert!(refusal.text.contains("peer's disk is Diskless"), "{}", refusal.text);
    script.attach(B).unwrap();
    script.in_sync();
    script.disconnect(B);
    script.until("the peer has left", |script| !script.is_connected(A));
    let refusal = script.verify(A, 0..10).unwrap_err();
    assert!(refusal.text.contains("not connected"), "{}", refusal.text);
}

/// Both are ordered to verify at once: one of them does.
#[test]
fn op7_of_two_verifies_at_once_one_is_done() {
    let mut script = two_primaries(Digest::Xxh3);
    script.verify(A, 0..600).unwrap();
    script.verify(B, 0..900).unwrap();
    script.until("both have ended", |script| is_done(script, A) && is_done(script, B));
    let [one, other] = [A, B].map(|node| script.status(node).volumes[0].verify_report.clone());
    assert!(one.as_ref().is_some_and(|report| report.complete && report.requester), "{one:?}");
    assert!(other.as_ref().is_some_and(|report| report.complete), "the arbiter's: {other:?}");
    assert_eq!(replication(&script, A), ReplicationState::Established);
    assert_eq!(replication(&script, B), ReplicationState::Established);
}

/// Places that a disk cannot read are found by a verify, and repaired from the peer's copy; all the
/// rest is compared.
#[test]
fn op7_what_a_disk_cannot_read_is_repaired_and_hides_no_difference() {
    for bad in [A, B] {
        let mut script = Script::of(true, true, |options| {
            options.verify_alg = Some(Digest::Xxh3);
            options.on_io_error = OnIoError::PassOn;
        });
        script.start_both();
        script.promote(A).unwrap();
        for block in 0..100 {
            script.write(A, block, 1000 + block).unwrap();
        }
        script.bad_blocks(bad, 20..22);
        script.flip(B, 30, 7);
        let report = script.verify_all(A);
        assert!(report.complete && report.text.contains("2 blocks"), "{report}");
        assert_eq!(report.found_blocks, 1, "{report}");
        assert!(script.status(A).volumes[0].last_verify.is_none(), "not all was compared");
        script.until("it is repaired", |script| {
            script.status(bad).volumes[0].counters.repaired_blocks == 2
        });
        let again = script.verify_all(A);
        assert!(again.text.is_empty() && again.found_blocks == 1, "{again}");
        assert!(script.status(A).volumes[0].last_verify.is_some());
        assert_eq!([script.marked(A), script.marked(B)], [[30], [30]]);
    }
}

/// Blocks that differ are put right by a new connection: in the direction that the verdict has for
/// marks on both nodes.
#[test]
fn op7_a_new_connection_repairs_what_a_verify_has_marked() {
    let mut script = two_primaries(Digest::Xxh3);
    script.write(A, 5, 55).unwrap();
    script.flip(B, 5, 66);
    assert_eq!(script.verify_all(B).found_blocks, 1);
    script.demote(A);
    script.demote(B);
    script.until("the marks are durable", |script| {
        script.status(A).volumes[0].counters.bm_writes > 0
    });
    script.disconnect(B);
    script.stop(A);
    script.stop(B);
    script.start_both();
    script.in_sync();
    script.until("both have settled that", |script| {
        [A, B].iter().all(|&node| replication(script, node) == ReplicationState::Established)
    });
    assert_eq!(script.rule(A), Some(metadata::Rule::MarkedOnBoth));
    assert_eq!([script.on_disk(A, 5), script.on_disk(B, 5)], [55, 55]);
    assert!(script.marked(A).is_empty() && script.marked(B).is_empty());
    assert_eq!(script.verify_all(A).found_blocks, 0);
}

/// With `verify-interval` the arbiter begins by itself, again and again; without, nobody does.
#[test]
fn op7_a_verify_is_begun_when_it_is_due() {
    let mut script = Script::of(false, true, |options| {
        options.verify_alg = Some(Digest::Crc32c);
        options.verify_interval = Some(Span::secs(3600));
    });
    script.start_both();
    script.promote(B).unwrap();
    script.until("the first is done", |script| script.status(B).volumes[0].last_verify.is_some());
    let first = script.status(A).volumes[0].last_verify.unwrap();
    script.pass(Span::secs(3000));
    assert_eq!(script.status(A).volumes[0].last_verify, Some(first));
    script.pass(Span::secs(700));
    let second = script.status(A).volumes[0].last_verify.unwrap();
    assert!(second.since(first) >= Span::secs(3600), "{second:?} {first:?}");
    let drivers = script
        .events(B)
        .into_iter()
        .filter(|event| matches!(event, Event::Replication { new: ReplicationState::VerifyS, .. }));
    assert_eq!(drivers.count(), 0, "the arbiter does it");
}

/// `pause-sync`, at either node, lets it stand still, across a broken link too; `resume-sync` lets it
/// go on to its end.
#[test]
fn op7_a_verify_is_paused_and_goes_on() {
    for node in [A, B] {
        let mut script = two_primaries(Digest::Xxh3);
        script.flip(B, 3900, 77);
        script.verify(A, 0..4000).unwrap();
        let left = |script: &Script| {
            script.status(A).volumes[0].verify.as_ref().map(|verify| verify.left_blocks)
        };
        script.until("a part is done", |script| left(script).is_some_and(|left| left < 3000));
        script.pause_sync(node, PauseCause::User, true);
        script.reset();
        script.connected();
        // By a new link the wish is told anew.
        script.pass(Span::secs(1));
        let before = left(&script).expect("it has not ended");
        for block in 0..20 {
            script.write(A, block, 900 + block).unwrap();
        }
        script.pass(Span::secs(60));
        assert_eq!(left(&script), Some(before), "it stands still");
        assert!(script.status(A).volumes[0].pauses.any());
        script.pause_sync(node, PauseCause::User, false);
        let report = script.verified(A);
        assert!(report.complete && report.found_blocks == 1, "{report}");
        script.linearizable();
    }
}

/// `c-max-rate` is for a verify, too.
#[test]
fn op7_a_verify_keeps_to_the_rate() {
    let time_of = |pace: Pace| {
        let mut script = Script::of(false, true, |options| {
            options.verify_alg = Some(Digest::Xxh3);
            options.resync_window = 1 << 20;
            options.volumes.entry(VolumeId(0)).or_default().pace = pace;
        });
        script.start_both();
        let began = script.now();
        assert!(script.verify_all(A).complete);
        script.now().since(began)
    };
    let limited = time_of(Pace { max_rate: 1 << 20, ..Pace::DEFAULT });
    assert!((Span::secs(14)..Span::secs(18)).contains(&limited), "16 MiB at 1 MiB/s: {limited}");
    assert!(time_of(Pace::DEFAULT) < Span::secs(3));
}
