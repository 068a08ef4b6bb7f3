//! Protocols A and B, told step by step: what is answered when, and what may be lost with it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::Rule;
use replicator::{Event, Options};
use sim::script::{Asking, Script};
use types::{DiskState, Protocol, ReplicationState, Role, Span};

const A: usize = 0;
const B: usize = 1;

/// A is Primary, both are connected and in sync.
fn serving_with(protocol: Protocol, change: impl FnOnce(&mut Options)) -> Script {
    let mut s = Script::of(false, true, |options| {
        options.protocol = protocol;
        change(options);
    });
    s.start_both();
    s.promote(A).unwrap();
    s.write(A, 1, 1).unwrap();
    s.flush(A).unwrap();
    s.pass(Span::secs(2));
    s
}

fn serving(protocol: Protocol) -> Script {
    serving_with(protocol, |_| {})
}

/// Whether it is answered well before anybody can take the peer for lost.
fn is_prompt(s: &mut Script, asking: Asking) -> bool {
    s.pass(Span::millis(50));
    s.is_over(asking) && s.wait(asking).is_ok()
}

fn is_solo(s: &Script, node: usize) -> bool {
    let generations = s.status(node).volumes[0].generations.clone();
    generations.is_some_and(|generations| generations.bitmap.id.is_set())
}

fn lost(s: &mut Script, node: usize) {
    s.until("the peer is given up", |s| is_solo(s, node));
}

fn warns(s: &Script, node: usize, text: &str) -> bool {
    s.events(node)
        .iter()
        .any(|event| matches!(event, Event::Warning { text: said } if said.contains(text)))
}

/// What each protocol waits for: nothing of the peer, its word that it has come in, its disk.
#[test]
fn each_protocol_answers_when_it_says() {
    for (protocol, unreached, unwritten) in
        [(Protocol::A, true, true), (Protocol::B, false, true), (Protocol::C, false, false)]
    {
        let mut s = serving(protocol);
        s.part();
        let asking = s.ask_write(A, 5, 50);
        assert_eq!(is_prompt(&mut s, asking), unreached, "{protocol}: the peer is not reached");

        let mut s = serving(protocol);
        s.is_stuck(B);
        let asking = s.ask_write(A, 5, 50);
        assert_eq!(is_prompt(&mut s, asking), unwritten, "{protocol}: the peer's disk is stuck");
        let status = s.status(A).volumes[0].counters;
        assert_eq!(status.pending, 1, "{protocol}: it is still on its way");
    }
}

/// A flush is about the disk here, with A and B; with C it is about both.
#[test]
fn a_flush_waits_for_the_peer_with_protocol_c_only() {
    for protocol in [Protocol::A, Protocol::B, Protocol::C] {
        let mut s = serving(protocol);
        s.write(A, 5, 50).unwrap();
        s.is_stuck(B);
        let flush = s.ask_flush(A);
        assert_eq!(is_prompt(&mut s, flush), protocol != Protocol::C, "{protocol}");
    }
}

/// Flushes that are not waited for do not pile up on the link.
#[test]
fn the_peer_is_told_of_a_flush_once_for_what_it_was_sent() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    let before = s.messages_sent(A, "Flush");
    for _ in 0..20 {
        s.flush(A).unwrap();
    }
    assert_eq!(s.messages_sent(A, "Flush") - before, 1);
}

/// What was answered is read at once, whatever the peer has of it.
#[test]
fn a_read_does_not_wait_for_the_peer_of_an_answered_write() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    let read = s.ask_read(A, 5..6);
    s.pass(Span::millis(20));
    assert!(s.is_over(read));
    assert_eq!(s.wait(read).unwrap()[0], 50);
}

/// An answered write is not yet on the peer's disk when the disk here fails: a read that goes there
/// waits for it.
#[test]
fn a_read_at_the_peer_sees_what_was_answered_before_it() {
    for protocol in [Protocol::A, Protocol::B] {
        let mut s = serving(protocol);
        s.is_stuck(B);
        s.write(A, 5, 50).unwrap();
        s.reads_fail(A);
        s.heal_disk(B);
        let read = s.ask_read(A, 5..6);
        s.until("the disk is let go", |s| s.status(A).volumes[0].disk == DiskState::Diskless);
        s.pass(Span::secs(1));
        assert!(!s.is_over(read), "{protocol}: the peer's disk is busy with it for a minute");
        assert_eq!(s.wait(read).unwrap()[0], 50, "{protocol}");
        s.linearizable();
    }
}

/// A Primary without a disk has nothing but its peer to answer from.
#[test]
fn without_a_disk_writes_wait_for_the_peer() {
    for protocol in [Protocol::A, Protocol::B] {
        let mut s = serving(protocol);
        s.detach(A).unwrap();
        s.is_stuck(B);
        let asking = s.ask_write(A, 5, 50);
        assert!(!is_prompt(&mut s, asking), "{protocol}");
    }
}

/// A link that breaks and comes back means nothing: what was answered is sent again.
#[test]
fn what_was_answered_is_sent_again_in_the_session() {
    for protocol in [Protocol::A, Protocol::B] {
        let mut s = serving(protocol);
        s.part();
        let early = s.ask_write(A, 5, 50);
        assert_eq!(is_prompt(&mut s, early), protocol == Protocol::A);
        s.pass(Span::secs(1));
        s.reset();
        s.heal();
        s.in_sync();
        s.wait(early).unwrap();
        assert_eq!(s.rule(A), Some(Rule::SessionResumed));
        assert!(!is_solo(&s, A), "{protocol}: nobody went on alone");
        assert_eq!(s.on_disk(B, 5), 50);
        s.linearizable();
    }
}

/// The client was told; so the loss of the peer is made durable without waiting for another write.
#[test]
fn an_answered_write_is_marked_and_has_a_generation_when_the_peer_is_lost() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    lost(&mut s, A);
    assert_eq!(s.status(A).volumes[0].out_of_sync_blocks, 1);
    s.heal();
    s.in_sync();
    assert_eq!(s.rule(A), Some(Rule::AheadByBitmap));
    assert_eq!(s.on_disk(B, 5), 50);
}

/// The peer took over without what was answered: both have something that the other lacks.
#[test]
fn a_peer_that_went_on_without_answered_writes_is_a_split_brain() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    lost(&mut s, A);
    s.promote(B).unwrap();
    s.write(B, 9, 90).unwrap();
    s.heal();
    for node in [A, B] {
        s.stands_alone(node);
        assert!(s.status(node).split_brain.is_some());
    }
    assert_eq!((s.on_disk(A, 5), s.on_disk(B, 9)), (50, 90), "nothing is discarded");
}

/// The same, when the first that a Primary hears of its loss is the peer's hello.
#[test]
fn answered_writes_are_stood_by_also_in_the_handshake_that_tells_of_the_loss() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    s.pause(A, Span::secs(30));
    s.promote(B).unwrap();
    s.write(B, 9, 90).unwrap();
    s.heal();
    for node in [A, B] {
        s.stands_alone(node);
        assert!(s.status(node).split_brain.is_some());
    }
}

/// With B the peer has received what was answered: it has that, and there is no split brain.
#[test]
fn what_the_peer_has_received_does_not_make_a_split_brain() {
    let mut s = serving(Protocol::B);
    s.is_stuck(B);
    s.write(A, 5, 50).unwrap();
    s.heal_disk(B);
    s.part();
    s.clients_leave(A);
    s.pause(A, Span::secs(100));
    s.promote(B).unwrap();
    s.write(B, 9, 90).unwrap();
    s.heal();
    s.in_sync();
    assert_eq!((s.status(A).role, s.status(B).role), (Role::Secondary, Role::Primary));
    assert!(s.status(A).split_brain.is_none());
    assert_eq!((s.on_disk(A, 5), s.on_disk(B, 5), s.on_disk(A, 9)), (50, 50, 90));
}

/// The Primary crashes with something under way, and nobody takes over: it is right when it is back.
#[test]
fn a_crashed_primary_that_comes_back_has_what_it_answered() {
    for protocol in [Protocol::A, Protocol::B] {
        let mut s = serving(protocol);
        s.part();
        let asking = s.ask_write(A, 5, 50);
        assert_eq!(is_prompt(&mut s, asking), protocol == Protocol::A);
        s.kill(A);
        s.heal();
        s.start(A);
        s.in_sync();
        assert_eq!(s.rule(A), Some(Rule::CrashedHasAll));
        assert_eq!(s.on_disk(B, 5), 50, "{protocol}");
    }
}

/// The Primary crashes, the peer takes over: what had not come through is lost with A, and that is
/// said.
#[test]
fn a_failover_with_protocol_a_loses_what_had_not_come_through_and_says_so() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    s.kill(A);
    s.heal();
    s.promote(B).unwrap();
    assert_eq!(s.read(B, 5).unwrap(), 0);
    s.write(B, 9, 90).unwrap();
    s.start(A);
    s.in_sync();
    assert_eq!((s.on_disk(A, 5), s.on_disk(A, 9)), (0, 90));
    assert!(warns(&s, A, "protocol A"), "{:?}", s.events(A));
}

/// The same, with a node that took over and has written nothing: the crashed one is still right, and
/// a Primary is not made a target under its clients.
#[test]
fn a_node_that_took_over_and_wrote_nothing_is_not_overwritten_under_its_clients() {
    let mut s = serving(Protocol::A);
    s.part();
    s.write(A, 5, 50).unwrap();
    s.kill(A);
    s.heal();
    s.promote(B).unwrap();
    assert_eq!(s.read(B, 5).unwrap(), 0);
    s.start(A);
    s.stands_alone(B);
    assert_eq!(s.rule(B), Some(Rule::CrashedHasAll));
    s.demote(B);
    s.connect(A);
    s.connect(B);
    s.in_sync();
    assert_eq!(s.on_disk(B, 5), 50, "the operator has given way: what was answered is back");
}

/// What the two say differently is found when they meet; before, each does what it is told.
#[test]
fn the_protocol_changes_at_once_and_must_be_the_same_when_they_meet() {
    let mut s = serving(Protocol::C);
    s.is_stuck(B);
    let asking = s.ask_write(A, 5, 50);
    assert!(!is_prompt(&mut s, asking));
    s.reconfigure(A, |options| options.protocol = Protocol::A).unwrap();
    assert!(is_prompt(&mut s, asking), "what is under way is answered by the new rule");
    s.heal_disk(B);
    s.reset();
    s.until("a refusal", |s| s.status(A).last_refusal.is_some());
    let refusal = s.status(A).last_refusal.unwrap();
    assert!(refusal.contains("option protocol is `A` here and `C` at the peer"), "{refusal}");
    s.reconfigure(B, |options| options.protocol = Protocol::A).unwrap();
    s.in_sync();
}

/// What stands still because the link is congested goes on when it is not.
#[test]
fn a_congested_link_makes_writes_wait() {
    let mut s = serving_with(Protocol::A, |options| options.congestion_fill = 4 * 4096);
    s.part();
    for block in 10..14 {
        s.write(A, block, block).unwrap();
    }
    let fifth = s.ask_write(A, 14, 14);
    assert!(!is_prompt(&mut s, fifth));
    s.reset();
    s.heal();
    s.wait(fifth).unwrap();
    s.in_sync();
}

/// Without that option the bound is that of what may be lost at the peer, as with C.
#[test]
fn what_is_on_its_way_is_bounded_with_protocol_a_too() {
    let mut s = serving_with(Protocol::A, |options| options.flush_bytes = 4 << 20);
    s.part();
    let mut block = 10;
    loop {
        let asking = s.ask_write_blocks(A, block..block + 128, block);
        if !is_prompt(&mut s, asking) {
            break;
        }
        block += 128;
        assert!(block < 2000, "more than 4 MiB are on their way");
    }
    assert!(block > 900, "{block}");
}

fn overloaded(on_congestion: replicator::OnCongestion) -> Script {
    let mut s = serving_with(Protocol::A, |options| {
        options.on_congestion = on_congestion;
        options.congestion_fill = 8 * 4096;
    });
    s.slow_link(Span::millis(60));
    s
}

/// A write to each of eight blocks, and a moment.
fn burst(s: &mut Script, tag: u64) {
    let asked: Vec<Asking> = (0..12).map(|i| s.ask_write(A, 20 + i, tag + i)).collect();
    for asking in asked {
        s.wait(asking).unwrap();
    }
    s.pass(Span::millis(5));
}

/// Ahead: writes go on at the speed of the disk, the peer knows that it is Behind and is of no use,
/// and it is brought back when the link is free.
#[test]
fn a_congested_link_is_pulled_ahead_of() {
    let mut s = overloaded(replicator::OnCongestion::PullAhead);
    burst(&mut s, 1000);
    let here = s.status(A).volumes[0].clone();
    assert_eq!(here.replication, ReplicationState::Ahead);
    assert_eq!(here.peer_disk, DiskState::Outdated);
    assert!(is_solo(&s, A), "what it answers now its peer lacks");
    s.until("the peer knows", |s| s.status(B).volumes[0].replication == ReplicationState::Behind);
    assert_eq!(s.status(B).volumes[0].disk, DiskState::Outdated);
    s.flush(A).unwrap();
    s.in_sync();
    assert_eq!(s.on_disk(B, 31), 1011);
    assert_eq!(s.rule(A), Some(Rule::AheadByBitmap));
}

/// A peer that is Behind does not take over by itself.
#[test]
fn whoever_is_behind_is_not_promoted() {
    let mut s = overloaded(replicator::OnCongestion::PullAhead);
    burst(&mut s, 1000);
    s.until("the peer knows", |s| s.status(B).volumes[0].disk == DiskState::Outdated);
    s.kill(A);
    s.pass(Span::secs(10));
    let refusal = s.order_promotion(B, false).unwrap_err();
    assert!(refusal.text.contains("Outdated"), "{}", refusal.text);
    s.start(A);
    s.in_sync();
    assert_eq!(s.on_disk(B, 31), 1011);
}

/// The link is lost while the peer is Behind: it is the older one still.
#[test]
fn a_link_that_breaks_while_the_peer_is_behind_is_no_resumption() {
    let mut s = overloaded(replicator::OnCongestion::PullAhead);
    burst(&mut s, 1000);
    s.reset();
    s.in_sync();
    assert_eq!(s.rule(A), Some(Rule::AheadByBitmap));
    assert_eq!(s.on_disk(B, 31), 1011);
}

/// RS6: under a load that is too much for the link for good the two do not flap. The peer is left
/// Behind for longer each time, and it is brought back in between, under load.
#[test]
fn rs6_ahead_and_behind_do_not_flap() {
    let mut s = overloaded(replicator::OnCongestion::PullAhead);
    let mut tag = 1000;
    let minutes = 10;
    for _ in 0..minutes * 60 {
        burst(&mut s, tag);
        tag += 12;
        s.pass(Span::secs(1));
    }
    let turned = |state| {
        let to = |event: &&Event| matches!(event, Event::Replication { new, .. } if *new == state);
        s.events(A).into_iter().filter(to).count()
    };
    let (ahead, synced) = (turned(ReplicationState::Ahead), turned(ReplicationState::SyncSource));
    // 2, 4, 8, … 64 s: six until the longest is reached, then one in 64 s at most.
    assert!((4..=16).contains(&ahead), "{ahead} times Ahead in {minutes} minutes");
    assert!(synced >= ahead - 1, "{ahead} times Ahead, {synced} times brought back");
    s.in_sync();
}

/// `on-congestion disconnect`: the peer is left until somebody connects again.
#[test]
fn a_congested_link_is_given_up_if_so_wanted() {
    let mut s = overloaded(replicator::OnCongestion::Disconnect);
    burst(&mut s, 1000);
    s.stands_alone(A);
    assert!(warns(&s, A, "on-congestion disconnect"));
    s.write(A, 40, 40).unwrap();
    s.slow_link(Span::millis(1));
    s.connect(A);
    s.in_sync();
    assert_eq!((s.on_disk(B, 31), s.on_disk(B, 40)), (1011, 40));
}
