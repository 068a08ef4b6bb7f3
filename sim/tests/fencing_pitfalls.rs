//! Ways in which fencing, suspension and policies went wrong once, found by reading and told step by
//! step: a peer that counts as fenced after it was back, orders that hang, and words that were said
//! too early.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Policies};
use replicator::{Fencing, Handler, OnNoData, Options};
use sim::script::{Failed, Script};
use types::{ConnectionState, DiskState, Role, Span};
const A: usize = 0;
const B: usize = 1;

fn serving(both: bool, exit: Option<i32>, change: impl FnOnce(&mut Options)) -> Script {
    let mut s = Script::of(both, true, |o: &mut Options| {
        o.fencing = Fencing::ResourceAndStonith;
        change(o);
    });
    s.start_both();
    for n in [A, B] {
        s.handler_ends(n, Handler::FencePeer, exit, Span::secs(1));
    }
    s.promote(A).unwrap();
    if both {
        s.promote(B).unwrap();
    }
    s.write(A, 1, 1).unwrap();
    s.pass(Span::secs(5));
    s
}
fn fences(s: &Script, n: usize) -> usize {
    s.handlers_run(n).iter().filter(|h| **h == Handler::FencePeer).count()
}

/// A peer that was fenced comes back into its session: at the next loss it is not fenced any
/// more.
#[test]
fn qf2_a_peer_that_was_back_is_not_fenced_at_the_next_loss() {
    let mut s = serving(true, Some(1), |_| {});
    s.handler_ends(A, Handler::FencePeer, Some(5), Span::secs(1));
    s.part();
    s.pass(Span::secs(60)); // A is idle and goes on; B is frozen
    s.heal();
    s.in_sync();
    assert!(s.status(A).resumed > 0);
    s.handler_ends(A, Handler::FencePeer, Some(1), Span::secs(1));
    s.handler_ends(B, Handler::FencePeer, Some(7), Span::secs(1));
    s.part();
    let a = s.ask_write(A, 2, 20);
    s.pass(Span::secs(60));
    assert!(!s.is_over(a), "answered alone; fence-peer ran {} time(s)", fences(&s, A));
}

/// A Primary without its disk worked through its peer, which is lost. What was written meanwhile
/// is not on the disk that comes back.
#[test]
fn a_disk_that_comes_back_to_a_primary_alone_is_not_taken_for_good() {
    let mut s = serving(true, Some(1), |_| {});
    s.detach(B).unwrap();
    s.write(B, 5, 50).unwrap();
    assert_eq!(s.read(B, 5), Ok(50));
    s.part();
    s.pass(Span::secs(60));
    s.attach(B).unwrap();
    assert_eq!(s.status(B).volumes[0].disk, DiskState::Outdated);
    assert_eq!(s.read(B, 5), Err(Failed));
    s.heal();
    s.in_sync();
    assert_eq!(s.read(B, 5), Ok(50));
    s.linearizable();
}

/// A target is fenced once it is durably Inconsistent, and not by the verdict: it loses its power
/// at any instant of the handshake.
#[test]
fn qf2_a_target_is_not_fenced_by_the_verdict() {
    for steps in 0.. {
        let mut s = serving(true, Some(1), |_| {});
        s.write(A, 7, 70).unwrap();
        s.cut_power(A);
        let asked = s.ask_write(B, 2, 20);
        s.pass(Span::secs(100));
        assert!(!s.is_over(asked));
        s.start(A);
        for _ in 0..steps {
            s.one_event();
        }
        if s.is_connected(B) {
            assert!(steps > 10, "the handshake was looked at");
            return;
        }
        s.cut_power(A);
        s.part();
        s.pass(Span::secs(100));
        let answered = s.is_over(asked);
        s.start(A);
        s.pass(Span::secs(20));
        let good = s.status(A).volumes[0].disk == DiskState::UpToDate;
        assert!(!(good && answered), "after {steps} events: A is good, and B went on alone");
    }
}

/// A peer that was Outdated is found to be equal, and the link breaks before the two have joined:
/// it is good, and not fenced.
#[test]
fn qf2_a_peer_that_was_called_good_is_not_fenced() {
    for steps in 0..40 {
        let mut s = serving(false, Some(4), |_| {});
        s.part();
        s.until("lost", |s| s.status(B).connection == ConnectionState::Connecting);
        s.outdate(B).unwrap();
        s.pass(Span::secs(60));
        s.heal();
        for _ in 0..steps {
            s.one_event();
        }
        if s.is_connected(A) {
            return;
        }
        s.handler_ends(A, Handler::FencePeer, Some(1), Span::secs(1));
        s.part();
        s.until("noticed", |s| {
            [A, B].iter().all(|n| s.status(*n).connection == ConnectionState::Connecting)
        });
        let asked = s.ask_write(A, 2, 20);
        s.pass(Span::secs(60));
        let good = s.status(B).volumes[0].disk == DiskState::UpToDate;
        assert!(!(good && s.is_over(asked)), "after {steps}: B is UpToDate, A alone");
    }
}

/// Whoever says that its copy is Outdated has made that durable, of each volume.
#[test]
fn that_a_copy_is_outdated_is_durable_before_it_is_told() {
    let mut lies = 0;
    for round in 0..50u64 {
        let mut s = serving(false, Some(1), |_| {});
        for i in 0..round {
            s.write(A, 1 + i % 4, i).unwrap();
        }
        s.pass(Span::secs(5));
        s.disconnect(A);
        let believed: Vec<_> = s.status(A).volumes.iter().map(|v| v.peer_disk).collect();
        s.cut_power(B);
        s.start(B);
        let is: Vec<_> = s.status(B).volumes.iter().map(|v| v.disk).collect();
        lies += u32::from(believed != is);
    }
    assert_eq!(lies, 0, "of 50");
}

/// A Secondary that has the only copy does not outdate it.
#[test]
fn the_only_good_copy_is_not_outdated() {
    for stop in [true, false] {
        let mut s = serving(false, Some(1), |_| {});
        s.detach(A).unwrap();
        s.write(A, 5, 50).unwrap();
        if stop {
            s.stop(B);
            s.start(B);
        } else {
            s.disconnect(A);
            s.connect(A);
            s.connect(B);
        }
        s.connected();
        s.pass(Span::secs(5));
        assert_eq!(s.read(A, 5), Ok(50), "stop {stop}: B is {}", s.status(B).volumes[0].disk);
    }
}

/// `resume-io` is said while a handshake runs, which fails: the order holds.
#[test]
fn resume_io_in_a_handshake_that_fails_holds() {
    let (mut hung, mut failed) = (Vec::new(), 0);
    for steps in 0..60 {
        let mut s = serving(true, Some(1), |_| {});
        s.part();
        let asked = s.ask_write(A, 2, 20);
        s.pass(Span::secs(100));
        s.heal();
        for _ in 0..steps {
            s.one_event();
        }
        if s.is_connected(A) || s.is_connected(B) {
            break;
        }
        s.part();
        s.resume_io(A);
        // What was on its way may have ended the handshake: then the peer was lost anew after it.
        let joined = (0..20).any(|_| {
            s.one_event();
            s.is_connected(A)
        });
        failed += usize::from(!joined);
        s.pass(Span::secs(100));
        if !joined && !s.is_over(asked) {
            hung.push((steps, s.status(A).volumes[0].suspended.any()));
        }
    }
    assert!(hung.is_empty(), "(events, called suspended): {hung:?}");
    assert!(failed >= 8, "{failed} handshakes failed after the order");
}

/// Roles changed while the two were parted and nobody wrote: it is the last parting that counts.
#[test]
fn sb3_who_was_primary_is_told_by_the_last_parting() {
    for demoted_while_parted in [true, false] {
        let mut s = Script::of(true, true, |o| {
            o.after_sb = Policies {
                zero: AfterSb0Pri::DiscardYoungerPrimary,
                one: AfterSb1Pri::default(),
                two: AfterSb2Pri::default(),
                always: false,
            };
        });
        s.start_both();
        s.promote(A).unwrap();
        s.write(A, 1, 1).unwrap();
        s.pass(Span::secs(5));
        if demoted_while_parted {
            s.part();
            s.pass(Span::secs(30));
            s.demote(A);
            s.heal();
            s.connected();
            s.promote(B).unwrap();
        } else {
            s.demote(A);
            s.part();
            s.pass(Span::secs(30));
            s.promote(B).unwrap();
            s.heal();
            s.connected();
        }
        s.pass(Span::secs(5));
        assert_eq!((s.status(A).role, s.status(B).role), (Role::Secondary, Role::Primary));
        s.part();
        s.pass(Span::secs(30));
        s.write(B, 20, 2000).unwrap();
        s.promote(A).unwrap();
        for block in 30..40 {
            s.write(A, block, 1000 + block).unwrap();
        }
        s.pass(Span::secs(5));
        s.demote(A);
        s.demote(B);
        s.heal();
        s.in_sync();
        assert_eq!(s.on_disk(A, 20), 2000, "A is the younger Primary ({demoted_while_parted})");
    }
}

/// What `resume-io` allowed a Primary is not allowed the next one.
#[test]
fn resume_io_ends_with_the_role() {
    let mut s = serving(false, Some(1), |_| {});
    s.part();
    let w = s.ask_write(A, 2, 20);
    s.pass(Span::secs(60));
    s.resume_io(A);
    s.wait(w).unwrap();
    s.demote(A);
    s.handler_ends(B, Handler::FencePeer, Some(7), Span::secs(1));
    s.order_promotion(B, false).unwrap();
    assert!(s.order_promotion(A, false).is_err(), "no fence-peer: {}", fences(&s, A));
}

/// A client that opens the device during a handshake keeps its Primary.
#[test]
fn no_primary_is_demoted_under_a_client() {
    for steps in 0..14 {
        let mut s = Script::of(true, true, |_| {});
        s.start_both();
        s.promote(A).unwrap();
        s.promote(B).unwrap();
        s.write(A, 1, 1).unwrap();
        s.pass(Span::secs(5));
        s.clients_leave(A);
        s.part();
        s.pass(Span::secs(30));
        s.write(B, 1, 2).unwrap();
        s.pass(Span::secs(5));
        s.heal();
        for _ in 0..steps {
            s.one_event();
        }
        if s.status(A).role != Role::Primary {
            return;
        }
        let _ = s.ask_read(A, 1..2); // opens the device of a Primary
        s.pass(Span::secs(3));
        assert_eq!(s.status(A).role, Role::Primary, "after {steps} events");
    }
}

/// A disk is attached while writes wait for a lost peer without end: refused, with the way out,
/// and an orderly end still works.
#[test]
fn an_attach_that_would_wait_without_end_is_refused() {
    let mut s = Script::of(false, true, |o| o.on_no_data_accessible = OnNoData::SuspendIo);
    s.start_both();
    s.promote(A).unwrap();
    s.write(A, 1, 1).unwrap();
    s.pass(Span::secs(5));
    s.detach(A).unwrap();
    s.part();
    let _ = s.ask_write(A, 5, 50);
    s.pass(Span::secs(60));
    let refusal = s.attach(A).unwrap_err();
    assert!(refusal.text.contains("repadm resume-io"), "{}", refusal.text);
    s.stop(A);
}

/// While I/O is suspended by order nothing is answered alone, and so nothing diverges.
#[test]
fn suspend_io_across_a_lost_link_is_no_divergence() {
    let mut s = Script::of(true, true, |_| {});
    s.start_both();
    s.promote(A).unwrap();
    s.promote(B).unwrap();
    s.write(A, 1, 1).unwrap();
    s.pass(Span::secs(5));
    s.part();
    let w = s.ask_write(A, 2, 20);
    s.suspend_io(A);
    s.pass(Span::secs(60));
    assert!(!s.is_over(w));
    s.write(B, 3, 30).unwrap();
    s.heal();
    s.pass(Span::secs(60));
    assert!(s.status(A).split_brain.is_none(), "A answered nothing alone");
}

/// Both nodes were told to give up their changes: no policy chooses between them.
#[test]
fn sb7_no_policy_chooses_where_both_give_up() {
    let mut s = Script::of(true, true, |o| {
        o.after_sb = Policies {
            zero: AfterSb0Pri::DiscardLeastChanges,
            one: AfterSb1Pri::default(),
            two: AfterSb2Pri::default(),
            always: false,
        };
    });
    s.start_both();
    s.promote(A).unwrap();
    s.promote(B).unwrap();
    s.write(A, 1, 1).unwrap();
    s.pass(Span::secs(5));
    s.part();
    (10..12).for_each(|b| s.write(A, b, 100 + b).unwrap());
    (12..20).for_each(|b| s.write(B, b, 200 + b).unwrap());
    s.pass(Span::secs(20));
    s.demote(A);
    s.demote(B);
    s.connect_and_discard(A).unwrap();
    s.connect_and_discard(B).unwrap();
    s.heal();
    s.pass(Span::secs(60));
    assert!(!s.is_in_sync(), "A's changes are gone: block 12 there is {}", s.on_disk(A, 12));
}

/// What `fence-peer` said before an order to become Primary says nothing about it.
#[test]
fn a_promotion_asks_fence_peer_anew() {
    let mut s = serving(false, Some(1), |o| o.fencing = Fencing::ResourceOnly);
    s.kill(B);
    s.write(A, 2, 20).unwrap();
    s.pass(Span::secs(60));
    s.demote(A);
    s.handler_ends(A, Handler::FencePeer, Some(7), Span::secs(1));
    assert!(s.order_promotion(A, false).is_ok(), "fence-peer ran {} time(s)", fences(&s, A));
}

/// That a peer left in order, Outdated, is remembered across a restart.
#[test]
fn an_orderly_leave_is_remembered_across_a_restart() {
    let mut s = serving(false, Some(1), |_| {});
    s.stop(B);
    s.write(A, 2, 20).unwrap();
    s.kill(A);
    s.start(A);
    s.pass(Span::secs(20));
    assert!(s.order_promotion(A, false).is_ok(), "fence-peer ran {} time(s)", fences(&s, A));
}

/// Reads of what the lost peer wrote last wait for a generation that overrules it: the forced one
/// does, too.
#[test]
fn a_forced_primary_serves_what_the_lost_peer_wrote_last() {
    let mut s = Script::of(true, true, |_| {});
    s.start_both();
    s.promote(A).unwrap();
    s.write(A, 1, 77).unwrap();
    s.part();
    s.pass(Span::secs(30));
    s.outdate(B).unwrap();
    s.force(B).unwrap();
    assert_eq!(s.read(B, 1).unwrap(), 77);
}

/// An older `fence-peer` still runs when a newer one has ended: it might fence a peer that is let in.
#[test]
fn qf2_nobody_is_let_in_while_an_older_fence_peer_runs() {
    let mut s = serving(true, Some(1), |_| {});
    s.handler_ends(A, Handler::FencePeer, Some(1), Span::secs(300));
    s.part();
    s.pass(Span::secs(20));
    s.heal();
    s.in_sync();
    s.handler_ends(A, Handler::FencePeer, Some(7), Span::secs(1));
    s.part();
    s.pass(Span::secs(20));
    s.write(A, 2, 20).unwrap();
    s.heal();
    s.in_sync();
    assert_eq!(fences(&s, A), 2);
    let let_in = |s: &Script| s.handlers_run(A).contains(&Handler::UnfencePeer);
    assert!(!let_in(&s), "the first fence-peer still runs");
    s.pass(Span::secs(300));
    assert!(let_in(&s));
}
