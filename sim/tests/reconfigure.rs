//! Options that change while everything runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use replicator::{Fencing, OnNoData, RefusalKind, Secret};
use sim::script::Script;
use types::{ConnectionState, Role, Span};

const A: usize = 0;
const B: usize = 1;

fn primary_and_secondary() -> Script {
    let mut s = Script::new(false);
    s.start_both();
    s.promote(A).unwrap();
    s
}

/// The second Primary is let in when both nodes say so, and no earlier.
#[test]
fn two_primaries_are_allowed_when_both_nodes_allow_it() {
    let mut s = primary_and_secondary();
    assert_eq!(s.order_promotion(B, false).unwrap_err().kind, RefusalKind::State);
    s.reconfigure(B, |o| o.allow_two_primaries = true).unwrap();
    let refusal = s.order_promotion(B, false).unwrap_err();
    assert!(refusal.text.contains("refused by the peer"), "{}", refusal.text);
    s.reconfigure(A, |o| o.allow_two_primaries = true).unwrap();
    s.promote(B).unwrap();
    for (node, tag) in [(A, 10), (B, 20)] {
        s.write(node, tag, tag).unwrap();
    }
    s.linearizable();
}

#[test]
fn two_primaries_are_not_forbidden_while_there_are_two() {
    let mut s = Script::two_primaries();
    for node in [A, B] {
        let refusal = s.reconfigure(node, |o| o.allow_two_primaries = false).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::State);
        assert!(refusal.text.contains("repadm secondary"), "{}", refusal.text);
    }
    s.write(A, 1, 1).unwrap();
    s.write(B, 1, 2).unwrap();
    s.demote(B);
    // Until the peer has heard of it.
    s.pass(Span::secs(1));
    for node in [A, B] {
        s.reconfigure(node, |o| o.allow_two_primaries = false).unwrap();
    }
    assert!(s.order_promotion(B, false).is_err());
    s.reset();
    s.in_sync();
    assert_eq!(s.status(A).role, Role::Primary);
}

/// What both nodes must say alike is compared when they meet, not when it changes.
#[test]
fn a_difference_keeps_the_link_and_is_named_when_they_meet_again() {
    let mut s = primary_and_secondary();
    let other = |o: &mut replicator::Options| {
        o.must_match.insert("after-sb-0pri".into(), "discard-zero-changes".into());
    };
    s.reconfigure(A, other).unwrap();
    s.pass(Span::secs(30));
    assert!(s.is_connected(A) && s.is_connected(B), "nobody is thrown out by it");
    s.write(A, 3, 30).unwrap();
    s.reset();
    s.pass(Span::secs(30));
    assert!(!s.is_connected(A));
    let why = s.status(A).last_refusal.unwrap();
    assert!(why.contains("after-sb-0pri") && why.contains("discard-zero-changes"), "{why}");
    s.reconfigure(B, other).unwrap();
    s.in_sync();
}

#[test]
fn another_secret_holds_from_the_next_connection_on() {
    let mut s = primary_and_secondary();
    let secret = |o: &mut replicator::Options| o.shared_secret = Some(Secret::new(b"new"));
    s.reconfigure(A, secret).unwrap();
    assert!(s.is_connected(A));
    s.reset();
    s.pass(Span::secs(20));
    assert!(!s.is_connected(A), "the peer does not know it");
    s.reconfigure(B, secret).unwrap();
    s.in_sync();
}

/// I/O that stands still for fencing is set going by `resume-io`, never by a change of options.
#[test]
fn io_that_is_frozen_is_not_thawed_by_other_options() {
    let fences = |o: &mut replicator::Options| o.fencing = Fencing::ResourceAndStonith;
    let mut s = primary_and_secondary();
    s.reconfigure(A, fences).unwrap();
    s.write(A, 1, 1).unwrap();
    s.part();
    let frozen = s.ask_write(A, 2, 2);
    s.pass(Span::secs(60));
    assert!(!s.is_over(frozen), "fencing that was set while it ran holds at the next loss");
    for weaker in [Fencing::DontCare, Fencing::ResourceOnly] {
        let refusal = s.reconfigure(A, |o| o.fencing = weaker).unwrap_err();
        assert!(refusal.text.contains("repadm resume-io"), "{}", refusal.text);
    }
    // Whatever else there is to change can be changed.
    s.reconfigure(A, |o| {
        fences(o);
        o.timeout = Span::secs(3);
    })
    .unwrap();
    s.pass(Span::secs(60));
    assert!(!s.is_over(frozen));
    s.resume_io(A);
    s.wait(frozen).unwrap();
    s.reconfigure(A, |o| o.fencing = Fencing::DontCare).unwrap();
    s.heal();
    s.in_sync();
}

/// Requests that wait for data fail as soon as they are to fail.
#[test]
fn requests_that_wait_for_data_go_by_the_new_policy() {
    let mut s = primary_and_secondary();
    s.reconfigure(A, |o| o.on_no_data_accessible = OnNoData::SuspendIo).unwrap();
    s.detach(A).unwrap();
    s.part();
    let waits = s.ask_read(A, 0..1);
    s.pass(Span::secs(60));
    assert!(!s.is_over(waits));
    s.reconfigure(A, |o| o.on_no_data_accessible = OnNoData::IoError).unwrap();
    assert!(s.wait(waits).is_err());
}

/// A bound that is lowered holds from then on, for what comes; nothing waits for ever for it.
#[test]
fn a_bound_that_is_lowered_below_what_is_outstanding_is_reached() {
    let mut s = primary_and_secondary();
    s.reconfigure(B, |o| o.flush_interval = Span::secs(3600)).unwrap();
    for block in 0..40 {
        s.write(A, block, block + 1).unwrap();
    }
    let undurable = |s: &Script| s.status(A).volumes[0].undurable_bytes;
    assert!(undurable(&s) >= 40 * types::BLOCK_BYTES, "there is something to lower it below");
    let limit = 4 * types::BLOCK_BYTES;
    s.reconfigure(A, |o| o.flush_bytes = limit).unwrap();
    for block in 40..80 {
        s.write(A, block, block + 1).unwrap();
        assert!(undurable(&s) <= limit, "{} bytes", undurable(&s));
    }
}

/// A handshake that is under way is begun anew: what was said in it is not so any more.
#[test]
fn options_that_change_in_a_handshake_are_told_in_the_next() {
    let mut s = Script::new(false);
    s.start(A);
    s.start(B);
    for step in 0..60 {
        s.reset();
        for _ in 0..step {
            s.one_event();
        }
        let name = format!("{step}");
        for node in [A, B] {
            s.reconfigure(node, |o| {
                o.must_match.insert("always-asbp".into(), name.clone());
                o.shared_secret = (step % 2 == 0).then(|| Secret::new(name.as_bytes()));
            })
            .unwrap();
        }
        s.in_sync();
        assert_eq!(s.status(A).connection, ConnectionState::Connected);
    }
}
