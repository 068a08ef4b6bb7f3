//! Split brain, told step by step: found by both nodes, settled by policies or by hand, and nothing
//! discarded on a word that both nodes do not mean (SB2, SB3, SB7); and `rr-conflict`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may")]

use metadata::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Policies, Rule};
use replicator::{Event, Handler, Options, RefusalKind, RrConflict};
use sim::script::{Failed, Script};
use types::{BLOCK_BYTES, ConnectionState, DiskState, NodeId, ReplicationState, Role, Span};

const A: usize = 0;
const B: usize = 1;

/// Blocks that A writes alone, and those that B does: they have one in common.
const BY_A: std::ops::Range<u64> = 10..14;
const BY_B: std::ops::Range<u64> = 13..20;

fn policies(zero: AfterSb0Pri, one: AfterSb1Pri, two: AfterSb2Pri) -> impl FnOnce(&mut Options) {
    move |options| options.after_sb = Policies { zero, one, two, always: false }
}

/// Both are Primary and parted; each has written alone what it is told to.
fn diverged(change: impl FnOnce(&mut Options), by_a: bool, by_b: bool) -> Script {
    let mut script = Script::of(true, true, change);
    script.start_both();
    script.promote(A).unwrap();
    script.promote(B).unwrap();
    script.write(A, 1, 1).unwrap();
    // Until it is durable and settled everywhere.
    script.pass(Span::secs(5));
    script.part();
    // Whoever writes nothing has the device open all the same.
    for node in [A, B] {
        script.read(node, 1).unwrap();
    }
    for block in BY_A.filter(|_| by_a) {
        script.write(A, block, 1000 + block).unwrap();
    }
    for block in BY_B.filter(|_| by_b) {
        script.write(B, block, 2000 + block).unwrap();
    }
    script.pass(Span::secs(20));
    script
}

/// Both meet again; waits until they are in sync or both stand alone.
fn meet(script: &mut Script) {
    script.heal();
    script.until("it is settled, or nobody goes on", |script| {
        let alone = |node| script.status(node).connection == ConnectionState::StandAlone;
        script.is_in_sync() || alone(A) && alone(B)
    });
}

/// Whose data both disks have; nothing if they stand alone.
fn winner(script: &mut Script) -> Option<usize> {
    if !script.is_in_sync() {
        return None;
    }
    script.in_sync();
    let common = script.on_disk(A, BY_B.start);
    match common {
        common if common == 1000 + BY_B.start => Some(A),
        common if common == 2000 + BY_B.start => Some(B),
        other => panic!("block {} has {other}", BY_B.start),
    }
}

/// Demotes who shall not be Primary, has them meet, and tells whose data prevails.
fn meet_as(mut script: Script, primary: [bool; 2]) -> (Script, Option<usize>) {
    for node in [A, B].into_iter().filter(|node| !primary[*node]) {
        script.demote(node);
    }
    meet(&mut script);
    let prevails = winner(&mut script);
    if let Some(prevails) = prevails {
        let (theirs, base) = if prevails == A { (BY_B, 1000) } else { (BY_A, 2000) };
        let own = if prevails == A { BY_A } else { BY_B };
        for node in [A, B] {
            for block in own.clone() {
                assert_eq!(script.on_disk(node, block), base + block, "node {node}");
            }
            for block in theirs.clone().filter(|block| !own.contains(block)) {
                assert_eq!(script.on_disk(node, block), 0, "node {node}: discarded");
            }
        }
    }
    (script, prevails)
}

const BOTH: [bool; 2] = [true, true];
const NONE: [bool; 2] = [false, false];

#[test]
fn sb2_both_nodes_find_it_in_one_handshake_a_thousand_times() {
    let mut script = diverged(|_| {}, true, true);
    script.heal();
    let found = |script: &Script, node| {
        let split = |event: &&&Event| matches!(event, Event::SplitBrain { settled: false, .. });
        script.events(node).iter().filter(split).count()
    };
    for round in 1..=1000 {
        for node in [A, B] {
            script.stands_alone(node);
            assert_eq!(found(&script, node), round, "node {node}");
            let status = script.status(node);
            let text = status.split_brain.expect("it is named");
            assert!(text.contains("both nodes wrote alone"), "{text}");
            assert!(text.contains("connect --discard-my-data"), "what to do next: {text}");
            assert_eq!(status.volumes[0].disk, DiskState::UpToDate);
        }
        if round < 1000 {
            script.connect(A);
            script.connect(B);
            script.until("they have met", |script| {
                found(script, A) + found(script, B) >= 2 * round + 2
            });
        }
    }
    for node in [A, B] {
        let run = &script.handlers_run(node)[..2];
        assert_eq!(run, [Handler::InitialSplitBrain, Handler::SplitBrain], "node {node}");
    }
}

#[test]
fn sb3_every_policy_without_a_primary() {
    use AfterSb0Pri::*;
    // B has changed more. A tie would go against A, the arbiter; nobody was Primary first.
    for (zero, expected) in [
        (Disconnect, None),
        (DiscardZeroChanges, None),
        (DiscardLeastChanges, Some(B)),
        (DiscardYoungerPrimary, Some(B)),
        (DiscardOlderPrimary, Some(B)),
        (DiscardNode(NodeId(0)), Some(B)),
        (DiscardNode(NodeId(1)), Some(A)),
    ] {
        let script =
            diverged(policies(zero, AfterSb1Pri::default(), AfterSb2Pri::default()), true, true);
        let (script, prevails) = meet_as(script, NONE);
        assert_eq!(prevails, expected, "{zero:?}");
        for node in [A, B] {
            let unsettled = script.handlers_run(node).contains(&Handler::SplitBrain);
            assert_eq!(unsettled, expected.is_none(), "{zero:?}");
            assert!(script.handlers_run(node).contains(&Handler::InitialSplitBrain), "{zero:?}");
        }
    }
}

#[test]
fn sb3_the_younger_primary_is_who_became_it_after_the_two_had_parted() {
    for (zero, expected) in
        [(AfterSb0Pri::DiscardYoungerPrimary, A), (AfterSb0Pri::DiscardOlderPrimary, B)]
    {
        let change = policies(zero, AfterSb1Pri::default(), AfterSb2Pri::default());
        let mut script = Script::of(true, true, change);
        script.start_both();
        script.promote(A).unwrap();
        script.write(A, 1, 1).unwrap();
        script.part();
        for block in BY_A {
            script.write(A, block, 1000 + block).unwrap();
        }
        script.promote(B).unwrap();
        for block in BY_B {
            script.write(B, block, 2000 + block).unwrap();
        }
        let (_, prevails) = meet_as(script, NONE);
        assert_eq!(prevails, Some(expected), "{zero:?}");
    }
}

#[test]
fn sb3_every_policy_with_one_primary() {
    use AfterSb1Pri::*;
    let zero = AfterSb0Pri::DiscardLeastChanges;
    for (one, primary, expected) in [
        (Disconnect, A, None),
        (DiscardSecondary, A, Some(A)),
        (DiscardSecondary, B, Some(B)),
        (Consensus, A, None),
        (Consensus, B, Some(B)),
        (ViolentlyAs0p, B, Some(B)),
        // The Primary loses, and rr-conflict forbids that its clients' data is replaced.
        (ViolentlyAs0p, A, None),
        (CallPriLostAfterSb, B, Some(B)),
        (CallPriLostAfterSb, A, None),
    ] {
        let script = diverged(policies(zero, one, AfterSb2Pri::default()), true, true);
        let (script, prevails) = meet_as(script, [primary == A, primary == B]);
        assert_eq!(prevails, expected, "{one:?} with {primary} Primary");
        let lost = script.handlers_run(A).contains(&Handler::PriLostAfterSb);
        assert_eq!(lost, one == CallPriLostAfterSb && primary == A, "{one:?}");
        assert_eq!(script.status(primary).role, Role::Primary, "{one:?}");
    }
}

#[test]
fn sb3_every_policy_with_two_primaries() {
    use AfterSb2Pri::*;
    for (two, rr, expected) in [
        (Disconnect, RrConflict::Violently, None),
        (ViolentlyAs0p, RrConflict::Disconnect, None),
        (ViolentlyAs0p, RrConflict::Violently, Some(B)),
        (CallPriLostAfterSb, RrConflict::Disconnect, None),
    ] {
        let change = |options: &mut Options| {
            policies(AfterSb0Pri::DiscardLeastChanges, AfterSb1Pri::default(), two)(options);
            options.rr_conflict = rr;
        };
        let (script, prevails) = meet_as(diverged(change, true, true), BOTH);
        assert_eq!(prevails, expected, "{two:?} {rr:?}");
        for node in [A, B] {
            // Also where a policy has an answer and the roles forbid it: nothing is called settled.
            let split = script.status(node).split_brain;
            assert_eq!(split.is_some(), expected.is_none(), "{two:?} {rr:?}: {split:?}");
            let settled = |event: &&Event| matches!(event, Event::SplitBrain { settled: true, .. });
            let told = script.events(node).into_iter().any(|event| settled(&event));
            assert_eq!(told, expected.is_some(), "{two:?} {rr:?}");
            assert_eq!(script.status(node).role, Role::Primary, "{two:?}: nobody is demoted");
        }
    }
}

/// A Primary without clients that loses by call-pri-lost-after-sb becomes Secondary, and takes the
/// other's data.
#[test]
fn sb3_a_primary_that_nobody_uses_gives_way() {
    let two = AfterSb2Pri::CallPriLostAfterSb;
    let change = policies(AfterSb0Pri::DiscardLeastChanges, AfterSb1Pri::default(), two);
    let mut script = diverged(change, true, true);
    script.clients_leave(A);
    let (script, prevails) = meet_as(script, BOTH);
    assert_eq!(prevails, Some(B));
    assert_eq!((script.status(A).role, script.status(B).role), (Role::Secondary, Role::Primary));
}

/// The policies count at attach, too: the nodes are connected when the diverged disk comes.
#[test]
fn sb3_a_diverged_disk_is_found_when_it_is_attached() {
    let one = AfterSb1Pri::DiscardSecondary;
    for (one, expected) in [(AfterSb1Pri::Disconnect, None), (one, Some(A))] {
        let change = policies(AfterSb0Pri::default(), one, AfterSb2Pri::default());
        let mut script = diverged(change, true, true);
        script.demote(B);
        script.detach(B).unwrap();
        script.heal();
        script.connected();
        script.attach(B).unwrap();
        meet(&mut script);
        assert_eq!(winner(&mut script), expected, "{one:?}");
    }
}

/// The recovery of the DRBD manual, with the commands in any order: only what either has changed
/// travels. Said again it changes nothing.
#[test]
fn the_recovery_by_hand_copies_the_union_and_can_be_repeated() {
    for (victim, survivor, victim_first) in
        [(A, B, true), (B, A, true), (A, B, false), (B, A, false)]
    {
        let mut script = diverged(|_| {}, true, true);
        meet(&mut script);
        assert_eq!(winner(&mut script), None);
        let refusal = script.connect_and_discard(victim).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::State, "a Primary's data is not discarded");
        assert!(refusal.text.contains("repadm secondary"), "{}", refusal.text);
        script.demote(victim);
        if victim_first {
            script.connect_and_discard(victim).unwrap();
            script.connect_and_discard(victim).unwrap();
            script.connect(survivor);
        } else {
            script.connect(survivor);
            script.connect(survivor);
            script.connect_and_discard(victim).unwrap();
        }
        script.until("they agree", |script| script.is_in_sync());
        assert_eq!(winner(&mut script), Some(survivor));
        let union = BY_B.end - BY_A.start;
        assert_eq!(script.resync_bytes(victim), union * BLOCK_BYTES);
        assert_eq!(script.rule(victim), Some(Rule::Discarded));
        assert_eq!(script.status(survivor).split_brain, None);
        script.connect_and_discard(victim).unwrap();
        script.connect(survivor);
        script.pass(Span::secs(5));
        assert!(script.is_in_sync(), "once connected the commands change nothing");
    }
}

/// The victim gives up; the survivor's operator has said nothing yet, or both give up, or the
/// victim is made Primary meanwhile: nothing is discarded.
#[test]
fn sb7_nothing_is_discarded_without_the_other_sides_word() {
    let mut script = diverged(|_| {}, true, true);
    meet(&mut script);
    script.demote(A);
    script.demote(B);
    script.connect_and_discard(A).unwrap();
    script.pass(Span::secs(120));
    assert_eq!(script.on_disk(A, BY_A.start), 1000 + BY_A.start);
    assert_eq!(script.status(B).connection, ConnectionState::StandAlone);
    script.connect_and_discard(B).unwrap();
    meet(&mut script);
    assert_eq!(winner(&mut script), None, "both were to give way");
    let text = script.status(A).split_brain.unwrap();
    assert!(text.contains("both nodes were told to give up"), "{text}");
    script.connect_and_discard(A).unwrap();
    script.promote(A).unwrap();
    script.connect(B);
    meet(&mut script);
    assert_eq!(winner(&mut script), None, "a Primary gives up nothing");
    for (node, blocks, base) in [(A, BY_A, 1000), (B, BY_B, 2000)] {
        for block in blocks {
            assert_eq!(script.on_disk(node, block), base + block, "node {node}");
        }
    }
}

/// Without a split brain the wish to discard means nothing: the one that is behind is the target.
#[test]
fn sb7_the_word_means_nothing_without_a_split_brain() {
    let mut script = diverged(|_| {}, true, false);
    script.demote(A);
    script.demote(B);
    script.disconnect(A);
    script.heal();
    script.connect_and_discard(A).unwrap();
    script.until("they agree", |script| script.is_in_sync());
    assert_eq!(script.on_disk(B, BY_A.start), 1000 + BY_A.start);
}

/// What the operator wants wins over the automatic policy, as in DRBD 9. (8.4 could drop the side
/// that was to be kept.)
#[test]
fn the_operators_word_beats_the_policy() {
    let zero = AfterSb0Pri::DiscardNode(NodeId(0));
    let change = policies(zero, AfterSb1Pri::default(), AfterSb2Pri::default());
    let mut script = diverged(change, true, true);
    script.demote(A);
    script.demote(B);
    script.disconnect(B);
    script.heal();
    script.connect_and_discard(B).unwrap();
    script.until("they agree", |script| script.is_in_sync());
    assert_eq!(winner(&mut script), Some(A), "the policy would have discarded A's");
}

/// A cable that is pulled between two idle Primaries, for as long as one likes, is no split brain:
/// nobody has answered anything alone.
#[test]
fn an_idle_cable_pull_is_no_split_brain() {
    let mut script = Script::of(true, true, |_| {});
    script.start_both();
    script.promote(A).unwrap();
    script.promote(B).unwrap();
    script.write(A, 1, 1).unwrap();
    script.flush(A).unwrap();
    let generation = |script: &Script, node| {
        script.status(node).volumes[0].generations.clone().unwrap().current.id
    };
    let before = [generation(&script, A), generation(&script, B)];
    script.part();
    script.pass(Span::secs(3600));
    script.heal();
    script.in_sync();
    assert_eq!([generation(&script, A), generation(&script, B)], before);
    assert_eq!(script.resync_bytes(A) + script.resync_bytes(B), 0);
    assert!(script.status(A).split_brain.is_none() && script.status(B).split_brain.is_none());
}

/// Both Primary, one of them wrote: the other is behind, and has clients. `rr-conflict` decides.
#[test]
fn a_primary_in_use_never_silently_becomes_the_target() {
    let with = |rr| diverged(move |options: &mut Options| options.rr_conflict = rr, true, false);
    for (rr, handler) in [(RrConflict::Disconnect, false), (RrConflict::CallPriLost, true)] {
        let mut script = with(rr);
        meet(&mut script);
        assert_eq!(script.handlers_run(B).contains(&Handler::PriLost), handler);
        for node in [A, B] {
            assert_eq!(script.status(node).connection, ConnectionState::StandAlone);
        }
        let text = script.status(B).last_refusal.unwrap();
        assert!(text.contains("would become SyncTarget"), "{text}");
        // It knows that it is behind: it serves nothing old, and begins no split brain.
        assert_eq!(script.status(B).volumes[0].disk, DiskState::Outdated);
        assert_eq!(script.read(B, BY_A.start), Err(Failed));
        assert_eq!(script.write(B, 500, 5), Err(Failed));
        script.demote(B);
        script.connect(A);
        script.connect(B);
        script.in_sync();
        assert_eq!(script.on_disk(B, BY_A.start), 1000 + BY_A.start);
    }
    let mut script = with(RrConflict::RetryConnect);
    script.heal();
    script.pass(Span::secs(120));
    assert_eq!(script.status(B).connection, ConnectionState::Connecting);
    script.demote(B);
    script.in_sync();
    let mut script = with(RrConflict::Violently);
    script.heal();
    script.in_sync();
    assert_eq!(script.status(B).role, Role::Primary);
    assert_eq!(script.read(B, BY_A.start), Ok(1000 + BY_A.start));
    // Nobody has had B's device open since the cable was pulled: it is demoted, and says so.
    let mut script = diverged(|_| {}, true, false);
    script.clients_leave(B);
    script.disconnect(B);
    script.heal();
    script.connect(B);
    script.until("it is settled", |script| {
        script.status(B).connection != ConnectionState::Connecting
    });
    assert_eq!(script.status(B).connection, ConnectionState::StandAlone, "it was open meanwhile");
}

/// A Primary is found to be behind while its clients wait for answers: a read of what was written
/// before the two parted, and a write that has no number. Neither is answered from the old copy.
#[test]
fn what_waits_at_a_primary_that_is_behind_fails() {
    let mut script = Script::of(true, true, |_| {});
    script.start_both();
    script.promote(A).unwrap();
    script.promote(B).unwrap();
    script.write(A, 1, 1).unwrap();
    script.read(B, 1).unwrap();
    script.pause(B, Span::secs(60));
    script.write(A, 1, 2).unwrap();
    script.write(A, 1, 3).unwrap();
    let asked = [script.ask_read(B, 1..2), script.ask_write(B, 2, 20)];
    script.stands_alone(B);
    for asking in asked {
        assert!(script.wait(asking).is_err());
    }
    assert_eq!(script.status(B).volumes[0].generations.clone().unwrap().bitmap.id.0, 0);
    script.demote(B);
    script.connect(A);
    script.connect(B);
    script.in_sync();
    assert_eq!(script.on_disk(B, 1), 3);
    script.linearizable();
}

/// Looking at the peer changes nothing, and tells what both have.
#[test]
fn an_inspection_shows_both_sides_and_changes_nothing() {
    let zero = AfterSb0Pri::DiscardLeastChanges;
    let two = AfterSb2Pri::ViolentlyAs0p;
    let mut script = diverged(policies(zero, AfterSb1Pri::default(), two), true, true);
    let alone = script.inspect(A);
    assert!(alone.peer_silent.is_some(), "the cable is pulled");
    assert!(alone.volumes[0].here.is_some() && alone.volumes[0].there.is_none());
    script.disconnect(A);
    script.disconnect(B);
    script.heal();
    for node in [A, B] {
        let seen = script.inspect(node);
        assert_eq!(seen.peer_silent, None);
        assert_eq!(seen.peer_primary, Some(true));
        let volume = &seen.volumes[0];
        let (here, there) = (volume.here.as_ref().unwrap(), volume.there.as_ref().unwrap());
        let (a, b) = if node == A { (here, there) } else { (there, here) };
        assert_eq!(a.marks.ranges, [types::BlockRange::new(BY_A.start, BY_A.end)]);
        assert_eq!(b.marks.ranges, [types::BlockRange::new(BY_B.start, BY_B.end)]);
        assert_eq!(volume.overlap.blocks, BY_A.end - BY_B.start);
        assert_eq!(volume.union_blocks, BY_B.end - BY_A.start);
        assert!(volume.common().is_some() && volume.settlement.is_some());
        let record = here.generations.current;
        assert!(record.first_solo.is_some() && record.first_solo <= record.last_solo);
        assert_eq!(script.status(node).connection, ConnectionState::StandAlone);
        assert_eq!(script.status(node).volumes[0].replication, ReplicationState::Off);
    }
    script.write(A, 500, 5).unwrap();
    script.write(B, 500, 6).unwrap();
}

/// A handler that runs before a resync to its node: it may forbid it, and nobody waits for it.
#[test]
fn before_resync_target_may_forbid_the_resync() {
    for (exit, forbidden) in [(Some(0), false), (Some(1), true), (None, true)] {
        let mut script = Script::of(false, true, |options| options.prepares_resync = true);
        script.start_both();
        script.promote(A).unwrap();
        script.handler_ends(B, Handler::BeforeResyncTarget, exit, Span::secs(30));
        script.part();
        script.write(A, 1, 10).unwrap();
        script.heal();
        script.until("the handler runs", |script| {
            script.handlers_run(B).contains(&Handler::BeforeResyncTarget)
        });
        assert_eq!(script.status(B).volumes[0].disk, DiskState::UpToDate, "not touched yet");
        script.write(A, 2, 20).unwrap();
        if forbidden {
            script.stands_alone(B);
            assert_eq!(script.on_disk(B, 1), 0);
            assert!(script.status(B).last_refusal.unwrap().contains("before-resync-target"));
            script.handler_ends(B, Handler::BeforeResyncTarget, Some(0), Span::secs(1));
            script.connect(B);
        }
        script.in_sync();
        assert_eq!(script.on_disk(B, 2), 20);
        let run = script.handlers_run(B);
        assert_eq!(run.last(), Some(&Handler::AfterResyncTarget), "{run:?}");
        assert!(script.handlers_run(A).contains(&Handler::BeforeResyncSource));
    }
}

/// A policy has an answer, but two Primaries are not allowed, or `rr-conflict` tries for ever: it is
/// a split brain all the same, and both nodes say so, once.
#[test]
fn what_the_roles_forbid_is_called_a_split_brain() {
    for (both, rr) in [(false, RrConflict::Disconnect), (true, RrConflict::RetryConnect)] {
        let mut script = Script::of(both, true, |options| {
            let two = AfterSb2Pri::ViolentlyAs0p;
            let zero = AfterSb0Pri::DiscardLeastChanges;
            policies(zero, AfterSb1Pri::default(), two)(options);
            options.rr_conflict = rr;
        });
        script.start_both();
        script.promote(A).unwrap();
        script.write(A, 1, 1).unwrap();
        script.part();
        script.pass(Span::secs(30));
        script.promote(B).unwrap();
        for (node, blocks) in [(A, BY_A), (B, BY_B)] {
            blocks.for_each(|block| script.write(node, block, 1000 + block).unwrap());
        }
        script.heal();
        script.pass(Span::secs(120));
        for node in [A, B] {
            let found = script.status(node).split_brain.expect("named");
            assert!(found.contains("connect --discard-my-data"), "what to do next: {found}");
            assert!(found.contains("blocks here"), "what is at stake: {found}");
            let told = |event: &&Event| matches!(event, Event::SplitBrain { settled: false, .. });
            let times = script.events(node).into_iter().filter(told).count();
            assert_eq!(times, 1, "{rr:?}, node {node}");
            let alone = script.status(node).connection == ConnectionState::StandAlone;
            assert_eq!(alone, rr == RrConflict::Disconnect, "{rr:?}, node {node}");
        }
    }
}
