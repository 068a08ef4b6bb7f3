use super::*;
use crate::generation::{Cause, GenerationRecord};
use types::Time;

fn record(id: u64) -> GenerationRecord {
    GenerationRecord::new(GenerationId(id), Cause::Created, NodeId(0), Time(0))
}

fn generations(current: u64, bitmap: u64, history: &[u64]) -> Generations {
    Generations {
        current: record(current),
        bitmap: record(bitmap),
        history: history.iter().map(|&id| record(id)).collect(),
    }
}

/// An UpToDate copy of generation 0x10, Secondary, nothing marked.
pub(crate) fn side(node: u8) -> Side {
    Side {
        node: NodeId(node),
        generations: generations(0x10, 0, &[]),
        disk: DiskState::UpToDate,
        primary: false,
        crashed_primary: false,
        peer_outdated: false,
        full_sync: false,
        dirty_blocks: 0,
        resumable: false,
        in_use: false,
        discard_my_data: false,
        disk_incarnation: 0x100 + u64::from(node),
        newest_exposed: GenerationId::UNSET,
        sequence: 50,
        peer_disk_incarnation: 0x100 + u64::from(1 - node),
        peer_sequence: 50,
    }
}

fn pair(a: impl FnOnce(&mut Side), b: impl FnOnce(&mut Side)) -> (Side, Side) {
    let (mut one, mut other) = (side(0), side(1));
    a(&mut one);
    b(&mut other);
    (one, other)
}

/// The decision of the first side, after a look from both.
fn decide_c(a: impl FnOnce(&mut Side), b: impl FnOnce(&mut Side)) -> (Verdict, Rule) {
    let (one, other) = pair(a, b);
    check(&one, &other, Protocol::C);
    let decision = decide(&one, &other, Protocol::C);
    (decision.verdict, decision.rule)
}

/// What holds for every pair.
fn check(one: &Side, other: &Side, protocol: Protocol) {
    let here = decide(one, other, protocol);
    let there = decide(other, one, protocol);
    let show = || format!("{one:?}\n{other:?}\n{protocol}: {here:?}, {there:?}");
    assert_eq!(here.verdict, there.verdict.mirrored(), "not antisymmetric: {}", show());
    assert_eq!(here.rule, there.rule, "rules differ: {}", show());
    assert_eq!(here.verdict.mirrored().mirrored(), here.verdict);
    let marked = one.dirty_blocks + other.dirty_blocks > 0 || one.full_sync || other.full_sync;
    match here.verdict {
        InSync => {
            assert!(!marked, "in sync with marks: {}", show());
            assert!(
                one.generations.current.id.same(other.generations.current.id),
                "in sync with different generations: {}",
                show()
            );
            assert!(!one.inconsistent() && !other.inconsistent(), "{}", show());
        }
        Source(extent) | Target(extent) => {
            let me_is_source = matches!(here.verdict, Source(_));
            let source = if me_is_source { one } else { other };
            assert!(!source.inconsistent() && !source.just_created(), "bad source: {}", show());
            if one.full_sync || other.full_sync {
                assert_eq!(extent, Full, "a flag is ignored: {}", show());
            }
        }
        Verdict::Resume => assert!(one.resumable && other.resumable, "{}", show()),
        SplitBrain { .. }
        | Verdict::Unrelated
        | Verdict::BothUnusable
        | Verdict::NoPeerDisk
        | Verdict::NoLocalDisk
        | Verdict::NeitherDisk
        | Verdict::Refuse(_) => {}
    }
}

use Extent::{Bitmap, Full};
use Verdict::{InSync, Source, SplitBrain, Target};

const NOTHING: fn(&mut Side) = |_| {};

#[test]
fn disks_come_first() {
    let none = |side: &mut Side| side.disk = DiskState::Diskless;
    assert_eq!(decide_c(none, none), (Verdict::NeitherDisk, Rule::BothDiskless));
    assert_eq!(decide_c(none, NOTHING), (Verdict::NoLocalDisk, Rule::OneDiskless));
    assert_eq!(decide_c(NOTHING, none), (Verdict::NoPeerDisk, Rule::OneDiskless));
    let resumable = |side: &mut Side| {
        side.resumable = true;
        side.dirty_blocks = 7;
    };
    assert_eq!(decide_c(resumable, resumable), (Verdict::Resume, Rule::SessionResumed));
    assert_ne!(decide_c(resumable, NOTHING).0, Verdict::Resume);
}

#[test]
fn a_new_copy_takes_everything() {
    let new = |side: &mut Side| {
        side.disk = DiskState::Inconsistent;
        side.generations = Generations::just_created(side.node, Time(0));
    };
    let forced = |side: &mut Side| {
        new(side);
        side.generations.force(GenerationId(0x20), side.node, Time(1));
        side.disk = DiskState::UpToDate;
    };
    let broken = |side: &mut Side| side.disk = DiskState::Inconsistent;
    assert_eq!(decide_c(new, new), (Verdict::BothUnusable, Rule::BothJustCreated));
    // Every new copy has the same name: the forced one's marks may be relative to another disk.
    assert_eq!(decide_c(forced, new), (Source(Full), Rule::OneJustCreated));
    assert_eq!(decide_c(new, NOTHING), (Target(Full), Rule::OneJustCreated));
    assert_eq!(decide_c(new, broken), (Verdict::BothUnusable, Rule::BothInconsistent));
    // Forced on both nodes on their own.
    let forced_too = |side: &mut Side| {
        new(side);
        side.generations.force(GenerationId(0x30), side.node, Time(1));
        side.disk = DiskState::UpToDate;
    };
    assert_eq!(decide_c(forced, forced_too).0, SplitBrain { automatic: true });
    let given_up = |side: &mut Side| {
        forced_too(side);
        side.discard_my_data = true;
    };
    assert_eq!(decide_c(forced, given_up), (Source(Full), Rule::Discarded));
}

#[test]
fn an_inconsistent_copy_is_the_target() {
    let broken = |side: &mut Side| {
        side.disk = DiskState::Inconsistent;
        side.dirty_blocks = 9;
        side.primary = true;
    };
    assert_eq!(decide_c(broken, broken), (Verdict::BothUnusable, Rule::BothInconsistent));
    assert_eq!(decide_c(broken, NOTHING), (Target(Bitmap), Rule::InconsistentKnown));
    let outdated = |side: &mut Side| side.disk = DiskState::Outdated;
    assert_eq!(decide_c(broken, outdated), (Target(Bitmap), Rule::InconsistentKnown));
    let solo = |side: &mut Side| side.generations = generations(0x20, 0x10, &[]);
    assert_eq!(decide_c(solo, broken), (Source(Bitmap), Rule::InconsistentKnown));
    let older = |side: &mut Side| side.generations = generations(0x20, 0x18, &[0x10]);
    assert_eq!(decide_c(older, broken), (Source(Full), Rule::InconsistentUnknown));
    let flagged = |side: &mut Side| side.full_sync = true;
    assert_eq!(decide_c(broken, flagged), (Target(Full), Rule::InconsistentKnown));
}

/// A full resync that is cut off goes on from the marks, even if the source went solo meanwhile.
#[test]
fn a_full_resync_resumes_from_the_marks() {
    let (mut source, mut target) = pair(
        |side| side.generations.force(GenerationId(0x20), NodeId(0), Time(0)),
        |side| {
            side.generations = Generations::just_created(NodeId(1), Time(0));
            side.disk = DiskState::Inconsistent;
        },
    );
    let verdict = |source: &Side, target: &Side| {
        check(source, target, Protocol::C);
        decide(source, target, Protocol::C).verdict
    };
    assert_eq!(verdict(&source, &target), Source(Full));
    let id = GenerationId(0x30);
    source.generations.begin_full_resync_as_source(id, NodeId(0), Time(1));
    // Cut off before the target has written the name: everything again.
    assert_eq!(verdict(&source, &target), Source(Full));
    target.generations.begin_full_resync_as_target(id, NodeId(1), Time(1));
    assert_eq!(verdict(&source, &target), Source(Bitmap));
    source.generations.go_solo(GenerationId(0x40), Cause::PeerLost, NodeId(0), Time(2));
    assert_eq!(verdict(&source, &target), Source(Bitmap));
    // The end: the target has all and says so; the source misses it once.
    target.generations.adopt(&source.generations, NodeId(1), Time(3));
    target.disk = DiskState::UpToDate;
    check(&source, &target, Protocol::C);
    assert_eq!(
        decide(&source, &target, Protocol::C),
        Decision { verdict: InSync, rule: Rule::MissedEnd }
    );
    source.generations.settled_with_peer();
    assert_eq!(decide(&source, &target, Protocol::C).rule, Rule::NothingMarked);
}

#[test]
fn equal_generations() {
    let dirty = |side: &mut Side| side.dirty_blocks = 1;
    let crashed = |side: &mut Side| {
        side.crashed_primary = true;
        side.dirty_blocks = 5;
    };
    let primary = |side: &mut Side| side.primary = true;
    let outdated = |side: &mut Side| side.disk = DiskState::Outdated;
    let ahead = |side: &mut Side| side.generations.bitmap = record(0x8);
    assert_eq!(decide_c(NOTHING, NOTHING), (InSync, Rule::NothingMarked));
    assert_eq!(decide_c(ahead, NOTHING), (InSync, Rule::MissedEnd));
    assert_eq!(decide_c(ahead, dirty), (Target(Bitmap), Rule::MarkedHere));
    assert_eq!(decide_c(|side| side.crashed_primary = true, NOTHING).0, InSync);
    assert_eq!(decide_c(crashed, NOTHING), (Target(Bitmap), Rule::SurvivorHasAll));
    assert_eq!(decide_c(crashed, dirty), (Target(Bitmap), Rule::SurvivorHasAll));
    // The survivor has every answered write whatever its mark or the roles say.
    assert_eq!(decide_c(crashed, outdated), (Target(Bitmap), Rule::SurvivorHasAll));
    assert_eq!(decide_c(crashed, crashed), (Source(Bitmap), Rule::BothCrashed));
    let crashed_and_primary = |side: &mut Side| {
        crashed(side);
        primary(side);
    };
    assert_eq!(decide_c(crashed_and_primary, NOTHING).0, Target(Bitmap));
    assert_eq!(decide_c(dirty, primary), (Target(Bitmap), Rule::PrimaryNow));
    assert_eq!(decide_c(outdated, outdated), (InSync, Rule::NothingMarked));
    let dirty_outdated = |side: &mut Side| {
        dirty(side);
        outdated(side);
    };
    assert_eq!(decide_c(dirty_outdated, NOTHING), (Target(Bitmap), Rule::OtherOutdated));
    assert_eq!(decide_c(dirty_outdated, outdated), (Source(Bitmap), Rule::MarkedHere));
    assert_eq!(decide_c(dirty, dirty), (Source(Bitmap), Rule::MarkedOnBoth));
    let flagged = |side: &mut Side| side.full_sync = true;
    assert_eq!(decide_c(NOTHING, flagged), (Target(Full), Rule::MarkedHere));
    let (one, other) = pair(crashed, dirty);
    for protocol in [Protocol::A, Protocol::B] {
        check(&one, &other, protocol);
        let decision = decide(&one, &other, protocol);
        assert_eq!((decision.verdict, decision.rule), (Source(Bitmap), Rule::CrashedHasAll));
    }
    // The disk that failed under a Primary counts as crashed, and lacks what went on without it.
    let crashed_outdated = |side: &mut Side| {
        crashed(side);
        outdated(side);
    };
    let (one, other) = pair(crashed_outdated, dirty);
    for protocol in [Protocol::A, Protocol::B] {
        check(&one, &other, protocol);
        let decision = decide(&one, &other, protocol);
        assert_eq!((decision.verdict, decision.rule), (Target(Bitmap), Rule::OtherOutdated));
    }
}

#[test]
fn different_generations() {
    let solo = |side: &mut Side| {
        side.generations.go_solo(GenerationId(0x21), Cause::PeerLost, side.node, Time(0));
        side.dirty_blocks = 3;
    };
    let solo_too = |side: &mut Side| {
        side.generations.go_solo(GenerationId(0x30), Cause::PromotedAlone, side.node, Time(0));
    };
    let twice = |side: &mut Side| {
        solo(side);
        side.generations.settled_with_peer();
        side.generations.go_solo(GenerationId(0x40), Cause::PeerLost, side.node, Time(0));
    };
    assert_eq!(decide_c(solo, NOTHING), (Source(Bitmap), Rule::AheadByBitmap));
    assert_eq!(decide_c(NOTHING, twice), (Target(Full), Rule::AheadByHistory));
    assert_eq!(decide_c(solo, solo_too), (SplitBrain { automatic: true }, Rule::BothAheadOfOne));
    assert_eq!(decide_c(twice, solo_too), (SplitBrain { automatic: false }, Rule::CommonAncestor));
    let stranger = |side: &mut Side| side.generations = generations(0x66, 0, &[0x65]);
    assert_eq!(decide_c(solo, stranger), (Verdict::Unrelated, Rule::NothingInCommon));
    // The mark of a Primary is no part of the name.
    assert_eq!(
        decide_c(|side| side.generations.current.id = GenerationId(0x11), NOTHING).0,
        InSync
    );
    // What is ahead has answered writes that the other lacks, Outdated or not.
    let outdated = |side: &mut Side| {
        solo(side);
        side.disk = DiskState::Outdated;
    };
    assert_eq!(
        decide_c(outdated, |side| side.primary = true),
        (Source(Bitmap), Rule::AheadByBitmap)
    );
    let loop_a = |side: &mut Side| side.generations = generations(0x50, 0x60, &[]);
    let loop_b = |side: &mut Side| side.generations = generations(0x60, 0, &[0x50]);
    assert_eq!(decide_c(loop_a, loop_b), (SplitBrain { automatic: false }, Rule::Contradictory));
}

#[test]
fn changes_go_only_when_one_side_gives_them_up() {
    let split = |side: &mut Side, discard, primary| {
        let id = GenerationId(0x20 + 2 * u64::from(side.node.0));
        side.generations.go_solo(id, Cause::PeerLost, side.node, Time(0));
        (side.discard_my_data, side.primary) = (discard, primary);
    };
    let verdict = |a: (bool, bool), b: (bool, bool)| {
        decide_c(|side| split(side, a.0, a.1), |side| split(side, b.0, b.1)).0
    };
    let undecided = SplitBrain { automatic: true };
    assert_eq!(verdict((true, false), (false, true)), Target(Bitmap));
    assert_eq!(verdict((false, false), (true, false)), Source(Bitmap));
    assert_eq!(verdict((true, false), (true, false)), undecided);
    assert_eq!(verdict((true, true), (false, false)), undecided);
    assert_eq!(verdict((true, true), (true, false)), undecided);
    // Without a split brain the wish means nothing.
    assert_eq!(decide_c(|side| side.discard_my_data = true, NOTHING).0, InSync);
}

fn refused(a: fn(&mut Side), b: fn(&mut Side)) -> Option<RefuseReason> {
    match decide_c(a, b).0 {
        Verdict::Refuse(reason) => Some(reason),
        _ => None,
    }
}

/// Metadata that was copied with its data passes as equal in everything but its name.
#[test]
fn rs10_a_disk_and_its_copy_are_refused() {
    let twin: fn(&mut Side) = |side| side.disk_incarnation = 0x100;
    assert_eq!(refused(NOTHING, twin), Some(RefuseReason::SameDisk));
    assert!(RefuseReason::SameDisk.explain().contains("create-md on the copy"));
    let nameless: fn(&mut Side) = |side| side.disk_incarnation = 0;
    assert_eq!(refused(nameless, nameless), None);
    assert_eq!(refused(NOTHING, |side| side.node = NodeId(0)), Some(RefuseReason::SameNode));
}

/// A disk whose metadata was created anew gets everything, whatever the other has marked and
/// whatever it remembers of the disk that was there.
#[test]
fn rs10_a_disk_with_new_metadata_gets_everything() {
    let new = |side: &mut Side| {
        side.generations = Generations::just_created(side.node, Time(0));
        side.disk = DiskState::Inconsistent;
        side.disk_incarnation = 0x999;
        side.sequence = 1;
    };
    assert_eq!(decide_c(new, NOTHING), (Target(Full), Rule::OneJustCreated));
    let solo = |side: &mut Side| {
        side.generations = generations(0x20, 0x10, &[]);
        side.dirty_blocks = 1;
    };
    assert_eq!(decide_c(solo, new), (Source(Full), Rule::OneJustCreated));
    // Forced on its own it is another volume's data, not this one's.
    let forced = |side: &mut Side| {
        new(side);
        side.generations.force(GenerationId(0x70), side.node, Time(0));
        side.disk = DiskState::UpToDate;
    };
    assert_eq!(decide_c(forced, NOTHING), (Verdict::Unrelated, Rule::NothingInCommon));
}

/// Put back to a former generation: the peer knows that generation as a former one, and gives it
/// everything; or the disk has forgotten one that its clients saw, and cannot be trusted.
#[test]
fn rs11_a_disk_of_a_former_generation_is_never_the_source() {
    let snapshot: fn(&mut Side) = |_| {};
    let went_on: fn(&mut Side) = |side| {
        side.generations.go_solo(GenerationId(0x20), Cause::PeerLost, side.node, Time(0));
        side.generations.settled_with_peer();
        side.dirty_blocks = 1;
    };
    assert_eq!(decide_c(snapshot, went_on), (Target(Full), Rule::AheadByHistory));
    // Node 0 showed generation 0x50 to clients, which node 1 has followed; its disk is older.
    let old: fn(&mut Side) = |side| side.newest_exposed = GenerationId(0x50);
    let knows: fn(&mut Side) = |side| side.generations = generations(0x10, 0, &[0x50]);
    assert_eq!(refused(old, knows), Some(RefuseReason::RolledBack { node: NodeId(0) }));
    assert_eq!(refused(old, NOTHING), None);
    // A full history may have forgotten it.
    let full: fn(&mut Side) = |side| {
        let history: Vec<u64> = (1..=HISTORY as u64).map(|n| n << 8).collect();
        side.generations = generations(0x10, 0, &history);
        side.newest_exposed = GenerationId(0x50);
    };
    assert_eq!(refused(full, knows), None);
    // The marks of a resync that it had ended once are gone: they tell nothing of what it lacks.
    let ahead: fn(&mut Side) = |side| side.generations = generations(0x50, 0x10, &[]);
    assert_eq!(refused(old, ahead), Some(RefuseReason::RolledBack { node: NodeId(0) }));
    // As the target of everything it is cured.
    let far_ahead = |side: &mut Side| side.generations = generations(0x60, 0x50, &[0x10]);
    assert_eq!(decide_c(old, far_ahead), (Target(Full), Rule::AheadByHistory));
}

/// Within one generation only the sequence of the superblock tells.
#[test]
fn rs11_a_disk_with_a_lower_sequence_than_told_is_refused() {
    let rolled_back = Verdict::Refuse(RefuseReason::RolledBack { node: NodeId(0) });
    let old: fn(&mut Side) = |side| side.sequence = 49;
    let refused = (rolled_back, Rule::RolledBack);
    let behind = |side: &mut Side| {
        old(side);
        side.dirty_blocks = 3;
    };
    let solo = |side: &mut Side| side.generations = generations(0x20, 0x10, &[]);
    let solo_too = |side: &mut Side| {
        old(side);
        side.generations = generations(0x30, 0x10, &[]);
    };
    let broken = |side: &mut Side| {
        old(side);
        side.disk = DiskState::Inconsistent;
    };
    let stranger = |side: &mut Side| side.generations = generations(0x66, 0, &[]);
    // In sync, source, bitmap target, split brain, inconsistent, unrelated.
    assert_eq!(decide_c(old, NOTHING), refused);
    assert_eq!(decide_c(behind, NOTHING), refused);
    assert_eq!(decide_c(old, solo), refused);
    assert_eq!(decide_c(solo_too, solo), refused);
    assert_eq!(decide_c(broken, NOTHING), refused);
    assert_eq!(decide_c(old, stranger), refused);
    // The ways out that the text names: `create-md` on that node, or on the other.
    let new = |side: &mut Side| {
        side.generations = Generations::just_created(side.node, Time(0));
        side.disk = DiskState::Inconsistent;
        side.sequence = 1;
    };
    assert_eq!(decide_c(new, NOTHING), (Target(Full), Rule::OneJustCreated));
    assert_eq!(decide_c(old, new), (Source(Full), Rule::OneJustCreated));
    let text = RefuseReason::RolledBack { node: NodeId(0) }.explain();
    assert!(text.contains("create-md on node 0") && text.contains("create-md on the other"));
    // As the target of everything it is cured.
    let invalidated = |side: &mut Side| {
        broken(side);
        side.full_sync = true;
    };
    assert_eq!(decide_c(invalidated, NOTHING).0, Target(Full));
    // Another disk than the one that was told of, or nothing known.
    let unknown = |side: &mut Side| side.sequence = 0;
    assert_eq!(decide_c(unknown, NOTHING).0, InSync);
    assert_eq!(decide_c(old, |side| side.peer_disk_incarnation = 7).0, InSync);
    assert_eq!(decide_c(old, |side| side.peer_disk_incarnation = 0).0, InSync);
    assert_eq!(decide_c(|side| side.sequence = 51, NOTHING).0, InSync);
}

/// The resync that gives up one side's changes is cut off: the marks still tell what is left.
#[test]
fn a_resync_after_a_split_brain_resumes_from_the_marks() {
    let solo = |side: &mut Side| {
        let id = GenerationId(0x20 + 2 * u64::from(side.node.0));
        side.generations.go_solo(id, Cause::PeerLost, side.node, Time(0));
    };
    let victim = |side: &mut Side| {
        solo(side);
        side.discard_my_data = true;
    };
    assert_eq!(decide_c(solo, victim), (Source(Bitmap), Rule::Discarded));
    let interrupted = |side: &mut Side| {
        solo(side);
        side.disk = DiskState::Inconsistent;
    };
    assert_eq!(decide_c(solo, interrupted), (Source(Bitmap), Rule::InconsistentKnown));
    // Another source, which is where both were, did not write what is in it now.
    assert_eq!(decide_c(NOTHING, interrupted), (Source(Full), Rule::InconsistentUnknown));
}

/// The page that operators read has every rule, in the order in which they are tried.
#[test]
fn the_documentation_has_every_rule() {
    let page = include_str!("../../../docs/verdict.md");
    let row = |line: &'static str| line.strip_prefix("| `")?.split('`').next();
    let documented: Vec<&str> = page.lines().filter_map(row).collect();
    let rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(documented, rules);
}

#[test]
fn names_and_sentences_are_distinct() {
    let names: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    assert!(Rule::ALL.iter().all(|rule| rule.explain().ends_with('.')));
}
