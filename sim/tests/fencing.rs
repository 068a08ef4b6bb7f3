//! Losing the peer with `fencing`, told step by step: what is frozen, what a handler's exit code
//! means, and that a result counts for its own loss only (QF2); `suspend-io`; `outdate`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{Fencing, Handler, Options, RefusalKind, RrConflict};
use sim::script::{Asking, Failed, Script};
use types::{ConnectionState, DiskState, Role, Span};

const A: usize = 0;
const B: usize = 1;

fn stonith(options: &mut Options) {
    options.fencing = Fencing::ResourceAndStonith;
}

fn resource_only(options: &mut Options) {
    options.fencing = Fencing::ResourceOnly;
}

/// A is Primary (and B, if so), both are connected and in sync; `fence-peer` of both ends so.
fn serving(
    both: bool,
    exit: Option<i32>,
    after: Span,
    change: impl FnOnce(&mut Options),
) -> Script {
    let mut script = Script::of(both, true, change);
    script.start_both();
    for node in [A, B] {
        script.handler_ends(node, Handler::FencePeer, exit, after);
    }
    script.promote(A).unwrap();
    if both {
        script.promote(B).unwrap();
    }
    script.write(A, 1, 1).unwrap();
    script.pass(Span::secs(5));
    script
}

fn frozen(script: &Script, node: usize) -> bool {
    script.status(node).volumes[0].suspended.fencing
}

fn disk(script: &Script, node: usize) -> DiskState {
    script.status(node).volumes[0].disk
}

fn fences(script: &Script, node: usize) -> usize {
    script.handlers_run(node).iter().filter(|run| **run == Handler::FencePeer).count()
}

/// Waits until a node has noticed that its link is lost.
fn lost(script: &mut Script, node: usize) {
    script.until("the loss is noticed", |script| {
        script.status(node).connection == ConnectionState::Connecting
    });
}

/// Asks for a read and a write, and finds that neither is answered for long.
fn stand_still(script: &mut Script, node: usize) -> [Asking; 2] {
    let asked = [script.ask_read(node, 1..2), script.ask_write(node, 2, 20 + node as u64)];
    script.pass(Span::secs(100));
    assert!(frozen(script, node));
    assert!(asked.iter().all(|asking| !script.is_over(*asking)), "answered while frozen");
    asked
}

#[test]
fn qf2_the_exit_code_decides_whether_a_frozen_primary_goes_on() {
    let minutes = Span::secs(60);
    for (exit, goes_on, peer) in [
        (Some(3), true, DiskState::Inconsistent),
        (Some(4), true, DiskState::Outdated),
        (Some(5), true, DiskState::Outdated),
        (Some(7), true, DiskState::Outdated),
        (Some(0), false, DiskState::DUnknown),
        (Some(1), false, DiskState::DUnknown),
        // It hung and was killed, or could not be run.
        (None, false, DiskState::DUnknown),
    ] {
        let mut script = serving(false, exit, minutes, stonith);
        script.kill(B);
        let in_flight = script.ask_write(A, 3, 30);
        let read = script.ask_read(A, 1..2);
        script.pass(Span::secs(30));
        assert!(frozen(&script, A), "{exit:?}: frozen as long as the handler runs");
        assert!(!script.is_over(in_flight) && !script.is_over(read), "{exit:?}");
        script.pass(Span::secs(60));
        assert_eq!(fences(&script, A), 1, "{exit:?}");
        assert_eq!(frozen(&script, A), !goes_on, "{exit:?}");
        assert_eq!(script.status(A).volumes[0].peer_disk, peer, "{exit:?}");
        assert_eq!(script.is_over(in_flight) && script.is_over(read), goes_on, "{exit:?}");
        if !goes_on {
            // An operator may say so, and nobody else.
            script.pass(Span::secs(3600));
            assert!(!script.is_over(in_flight), "{exit:?}");
            script.resume_io(A);
        }
        assert!(script.wait(in_flight).is_ok() && script.wait(read).is_ok(), "{exit:?}");
        script.start(B);
        script.in_sync();
        assert_eq!(script.on_disk(B, 3), 30, "{exit:?}");
    }
}

/// 6: the peer is Primary, and this node outdates itself; it serves nothing more.
#[test]
fn qf2_a_peer_that_is_primary_makes_this_node_outdated() {
    let mut script = serving(true, Some(6), Span::secs(1), |options| {
        stonith(options);
        options.rr_conflict = RrConflict::Violently;
    });
    script.handler_ends(B, Handler::FencePeer, Some(7), Span::secs(1));
    script.part();
    let asked = script.ask_write(A, 2, 20);
    script.pass(Span::secs(60));
    assert_eq!(disk(&script, A), DiskState::Outdated);
    assert!(!script.is_over(asked), "it stays frozen");
    script.write(B, 3, 30).unwrap();
    script.heal();
    script.in_sync();
    assert_eq!(script.read(A, 3), Ok(30));
}

/// The peer is back while the handler runs: what was in flight goes on in the session, nobody has
/// diverged, and what the handler says then means nothing.
#[test]
fn qf2_a_result_that_comes_after_the_peer_is_ignored() {
    for exit in [Some(7), Some(1)] {
        let mut script = serving(true, exit, Span::secs(300), stonith);
        script.part();
        lost(&mut script, A);
        lost(&mut script, B);
        let asked: Vec<Asking> =
            [A, B].into_iter().flat_map(|node| stand_still(&mut script, node)).collect();
        let before = script.status(A).resumed;
        script.heal();
        for asking in asked {
            script.wait(asking).unwrap();
        }
        assert!(script.status(A).resumed > before, "the session goes on");
        script.pass(Span::secs(600));
        for node in [A, B] {
            let volume = &script.status(node).volumes[0];
            assert!(!volume.flags.unwrap().peer_outdated, "the late result is not used");
            assert_eq!(volume.peer_disk, DiskState::UpToDate);
            assert_eq!(fences(&script, node), 1);
        }
        script.in_sync();
        script.linearizable();
        // The next loss is another one: its handler runs, and its result counts.
        script.handler_ends(A, Handler::FencePeer, Some(4), Span::secs(1));
        script.kill(B);
        script.write(A, 5, 50).unwrap();
        assert_eq!(fences(&script, A), 2);
    }
}

/// A loss that is over before the peer counts as lost: no handler is run at all.
#[test]
fn a_reset_link_fences_nobody() {
    let mut script = serving(true, Some(7), Span::secs(1), stonith);
    for round in 0..20 {
        let asked = [script.ask_write(A, 9, 100 + round), script.ask_write(B, 9, 200 + round)];
        script.reset();
        for asking in asked {
            script.wait(asking).unwrap();
        }
    }
    assert_eq!(fences(&script, A) + fences(&script, B), 0);
    script.in_sync();
    script.linearizable();
}

/// The loser of a fencing: what the survivor had received is done, everything else fails, and what
/// was being read is read anew.
#[test]
fn a_frozen_node_whose_peer_went_on_is_told_what_became_of_its_writes() {
    let mut script = serving(true, Some(1), Span::secs(5), |options| {
        stonith(options);
        options.rr_conflict = RrConflict::Violently;
    });
    script.handler_ends(A, Handler::FencePeer, Some(7), Span::secs(5));
    script.write(B, 2, 20).unwrap();
    // A receives it, and its disk takes a minute.
    script.is_stuck(A);
    let received = script.ask_write(B, 2, 21);
    script.until("A has it", |script| script.status(A).volumes[0].counters.unacked > 0);
    script.heal_disk(A);
    let read = script.ask_read(B, 2..3);
    script.part();
    lost(&mut script, B);
    let never_sent = script.ask_write(B, 3, 30);
    script.pass(Span::secs(100));
    assert!(frozen(&script, B) && !frozen(&script, A));
    script.write(A, 4, 40).unwrap();
    script.heal();
    assert!(script.wait(received).is_ok(), "the survivor has it");
    assert_eq!(script.wait(read).unwrap()[0], 21);
    // It had no number yet, so it is as if it were asked for now.
    assert!(script.wait(never_sent).is_ok());
    script.in_sync();
    assert_eq!(script.read(B, 4), Ok(40));
    assert_eq!(script.read(A, 2), Ok(21));
    script.linearizable();
}

#[test]
fn a_frozen_node_whose_peer_went_on_fails_what_the_peer_never_had() {
    let mut script = serving(true, Some(1), Span::secs(5), |options| {
        stonith(options);
        options.rr_conflict = RrConflict::Violently;
    });
    script.handler_ends(A, Handler::FencePeer, Some(7), Span::secs(5));
    script.part();
    // Sent, and lost on its way.
    let lost = script.ask_write(B, 3, 30);
    script.pass(Span::secs(100));
    script.write(A, 3, 40).unwrap();
    script.heal();
    assert_eq!(script.wait(lost), Err(Failed));
    script.in_sync();
    assert_eq!(script.read(B, 3), Ok(40), "it does not rise again");
    script.linearizable();
}

/// What the disk is still reading then shows such a write, and must not be answered: the write
/// fails. The same for a map of zeros.
#[test]
fn a_frozen_node_whose_peer_went_on_answers_nothing_that_its_disk_read_before() {
    for trims in [false, true] {
        let mut script = serving(true, Some(1), Span::secs(5), |options| {
            stonith(options);
            options.rr_conflict = RrConflict::Violently;
        });
        script.handler_ends(A, Handler::FencePeer, Some(7), Span::secs(5));
        script.write(B, 3, 30).unwrap();
        script.part();
        let lost = if trims { script.ask_trim(B, 3..4) } else { script.ask_write(B, 3, 31) };
        script.pass(Span::millis(200));
        assert_eq!(script.on_disk(B, 3), if trims { 0 } else { 31 });
        // The disk has looked, and takes a minute to say what it saw.
        script.is_stuck(B);
        let ask = |script: &mut Script| match trims {
            true => script.ask_map(B, 3..4),
            false => script.ask_read(B, 3..4),
        };
        let asked: Vec<Asking> = (0..20).map(|_| ask(&mut script)).collect();
        script.heal_disk(B);
        script.until("A goes on", |script| !script.status(A).volumes[0].suspended.any());
        script.pass(Span::secs(20));
        script.write(A, 4, 40).unwrap();
        script.heal();
        assert_eq!(script.wait(lost), Err(Failed));
        script.in_sync();
        for asking in asked {
            script.wait(asking).unwrap();
        }
        assert_eq!(script.read(B, 3), Ok(30));
        script.linearizable();
    }
}

/// `resource-only`: the node goes on at once, and the handler runs meanwhile.
#[test]
fn resource_only_goes_on_and_fences_meanwhile() {
    let mut script = serving(false, Some(4), Span::secs(60), resource_only);
    script.kill(B);
    script.write(A, 2, 20).unwrap();
    assert_eq!((fences(&script, A), frozen(&script, A)), (1, false));
    assert!(!script.status(A).volumes[0].flags.unwrap().peer_outdated);
    script.pass(Span::secs(100));
    assert!(script.status(A).volumes[0].flags.unwrap().peer_outdated);
    assert_eq!(script.status(A).volumes[0].peer_disk, DiskState::Outdated);
    script.start(B);
    script.in_sync();
    script.until("it is let in", |script| {
        script.handlers_run(A).last() == Some(&Handler::UnfencePeer)
    });
    assert!(!script.status(A).volumes[0].flags.unwrap().peer_outdated);
}

/// Becoming Primary without the peer needs it fenced, too: a stale node that starts alone does not
/// serve old data (CR3).
#[test]
fn cr3_a_node_alone_is_promoted_only_if_its_peer_is_fenced() {
    for policy in [stonith as fn(&mut Options), resource_only] {
        let mut script = serving(false, Some(1), Span::secs(3), policy);
        script.kill(A);
        lost(&mut script, B);
        let refusal = script.order_promotion(B, false).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::State);
        assert!(refusal.text.contains("fence-peer"), "{}", refusal.text);
        script.handler_ends(B, Handler::FencePeer, Some(7), Span::secs(3));
        script.order_promotion(B, false).unwrap();
        assert_eq!(fences(&script, B), 2, "asked again, it runs again");
        script.write(B, 2, 20).unwrap();
        script.start(A);
        script.in_sync();
    }
    let mut script = serving(false, Some(6), Span::secs(3), stonith);
    script.part();
    lost(&mut script, B);
    let refusal = script.order_promotion(B, false).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NoData, "{}", refusal.text);
    assert_eq!(disk(&script, B), DiskState::Outdated);
    let mut script = serving(false, None, Span::secs(3), stonith);
    script.kill(A);
    lost(&mut script, B);
    script.order_promotion(B, true).unwrap();
    assert_eq!(script.status(B).role, Role::Primary, "forced, at the operator's word");
}

/// Whoever leaves in order need not be fenced: a Secondary outdates itself first, also when its
/// Primary leaves it.
#[test]
fn an_orderly_end_outdates_the_secondary_and_fences_nobody() {
    let mut script = serving(false, Some(1), Span::secs(3), stonith);
    script.stop(B);
    script.write(A, 2, 20).unwrap();
    assert_eq!((fences(&script, A), frozen(&script, A)), (0, false));
    script.start(B);
    script.in_sync();
    for node in [A, B] {
        let mut script = serving(false, Some(1), Span::secs(3), stonith);
        script.disconnect(node);
        script.write(A, 2, 20).unwrap();
        assert_eq!(fences(&script, A), 0, "node {node} left");
        assert_eq!(disk(&script, B), DiskState::Outdated);
        let refusal = script.order_promotion(B, false).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::NoData);
        script.connect(A);
        script.connect(B);
        script.in_sync();
        assert_eq!(disk(&script, B), DiskState::UpToDate);
    }
}

/// A frozen Primary that is to be Secondary, or to end, does so without having gone on alone.
#[test]
fn a_frozen_primary_can_end_and_has_not_diverged() {
    for stop in [false, true] {
        let mut script = serving(true, Some(1), Span::secs(3), stonith);
        script.part();
        let in_flight = script.ask_write(A, 2, 20);
        script.pass(Span::secs(30));
        assert!(frozen(&script, A));
        let generation =
            |script: &Script| script.status(A).volumes[0].generations.clone().unwrap().current.id;
        let before = generation(&script);
        if stop {
            script.stop(A);
            script.heal();
            script.start(A);
        } else {
            script.demote(A);
            assert!(generation(&script).same(before), "no generation of its own");
            script.heal();
        }
        assert!(script.wait(in_flight).is_err());
        script.in_sync();
        assert_eq!(script.status(B).role, Role::Primary);
        script.linearizable();
    }
}

/// `suspend-io`: nothing is begun or answered; `resume-io` lets it go on. Both may be said twice.
#[test]
fn suspend_io_stops_everything_until_resume_io() {
    let mut script = serving(true, Some(1), Span::secs(3), |_| {});
    script.suspend_io(A);
    script.suspend_io(A);
    let asked = [script.ask_read(A, 1..2), script.ask_write(A, 2, 20)];
    script.pass(Span::secs(3600));
    assert!(asked.iter().all(|asking| !script.is_over(*asking)));
    assert!(script.status(A).volumes[0].suspended.by_user);
    // The other node goes on.
    script.write(B, 3, 30).unwrap();
    script.resume_io(A);
    script.resume_io(A);
    for asking in asked {
        script.wait(asking).unwrap();
    }
    assert_eq!(script.read(A, 3), Ok(30));
    script.suspend_io(A);
    let asked = script.ask_write(A, 2, 21);
    script.clients_leave(A);
    script.demote(A);
    assert!(script.is_over(asked), "who is gone is not waited for");
    script.linearizable();
}

/// `outdate`, as scripts for `fence-peer` use it.
#[test]
fn outdate_is_refused_where_it_would_lie() {
    let mut script = serving(false, Some(1), Span::secs(3), |_| {});
    assert_eq!(script.outdate(A).unwrap_err().kind, RefusalKind::NoData, "A is Primary");
    assert_eq!(script.outdate(B).unwrap_err().kind, RefusalKind::State, "B is connected");
    script.part();
    script.pass(Span::secs(30));
    script.outdate(B).unwrap();
    script.outdate(B).unwrap();
    assert_eq!(disk(&script, B), DiskState::Outdated);
    script.kill(B);
    script.start(B);
    assert_eq!(disk(&script, B), DiskState::Outdated, "it was durable");
    assert_eq!(script.order_promotion(B, false).unwrap_err().kind, RefusalKind::NoData);
    script.detach(B).unwrap();
    assert_eq!(script.outdate(B).unwrap_err().kind, RefusalKind::Lower);
    script.attach(B).unwrap();
    script.heal();
    script.in_sync();
}
