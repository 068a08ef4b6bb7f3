use super::*;
use crate::generation::{Cause, GenerationId, Generations};
use crate::verdict::{decide, tests::side};
use types::{Protocol, Time};

const ZERO: [AfterSb0Pri; 8] = [
    AfterSb0Pri::Disconnect,
    AfterSb0Pri::DiscardYoungerPrimary,
    AfterSb0Pri::DiscardOlderPrimary,
    AfterSb0Pri::DiscardZeroChanges,
    AfterSb0Pri::DiscardLeastChanges,
    AfterSb0Pri::DiscardNode(NodeId(0)),
    AfterSb0Pri::DiscardNode(NodeId(1)),
    AfterSb0Pri::Disconnect,
];
const ONE: [AfterSb1Pri; 5] = [
    AfterSb1Pri::Disconnect,
    AfterSb1Pri::Consensus,
    AfterSb1Pri::ViolentlyAs0p,
    AfterSb1Pri::DiscardSecondary,
    AfterSb1Pri::CallPriLostAfterSb,
];
const TWO: [AfterSb2Pri; 3] =
    [AfterSb2Pri::Disconnect, AfterSb2Pri::ViolentlyAs0p, AfterSb2Pri::CallPriLostAfterSb];

/// What one node is when the two meet after a split brain.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    changes: u64,
    was: bool,
    is: bool,
    used: bool,
}

fn of(node: u8, what: Node) -> Side {
    let mut side = side(node);
    let old = side.generations.current.id;
    side.generations.current.id = old.with_primary(what.was);
    let id = GenerationId(0x20 + 2 * u64::from(node));
    side.generations.go_solo(id, Cause::PeerLost, side.node, Time(0));
    (side.dirty_blocks, side.primary, side.in_use) = (what.changes, what.is, what.used);
    side
}

/// What the first node (the arbiter) does, after a look from both.
fn settled(a: Node, b: Node, policies: Policies) -> Settlement {
    let (one, other) = (of(0, a), of(1, b));
    let verdict = decide(&one, &other, Protocol::C).verdict;
    assert_eq!(verdict, Verdict::SplitBrain { automatic: true });
    let (here, there) =
        (settle(&one, &other, true, &policies), settle(&other, &one, true, &policies));
    assert_eq!(here, there.mirrored(), "{a:?} {b:?} {policies:?}");
    here
}

/// Whether the arbiter is source, with nobody Primary.
fn zero(policy: AfterSb0Pri, a: Node, b: Node) -> Option<bool> {
    source(settled(a, b, Policies { zero: policy, ..Policies::default() }))
}

fn source(settlement: Settlement) -> Option<bool> {
    match settlement {
        Settlement::Unresolved(_) => None,
        Settlement::Resolved { verdict, .. } => Some(matches!(verdict, Verdict::Source(_))),
    }
}

fn changed(changes: u64) -> Node {
    Node { changes, ..Node::default() }
}

fn was(was: bool, changes: u64) -> Node {
    Node { was, changes, ..Node::default() }
}

fn is(is: bool, changes: u64) -> Node {
    Node { is, changes, ..Node::default() }
}

#[test]
fn both_nodes_settle_alike_whatever_they_are() {
    let nodes: Vec<Node> = (0..24u64)
        .map(|n| Node {
            changes: [0, 1, 5][(n % 3) as usize],
            was: n / 3 % 2 == 1,
            is: n / 6 % 2 == 1,
            used: n / 12 % 2 == 1,
        })
        .collect();
    for (&a, &b) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (a, b))) {
        for zero in ZERO {
            for (one, two) in ONE.into_iter().flat_map(|one| TWO.map(|two| (one, two))) {
                let settlement = settled(a, b, Policies { zero, one, two, always: false });
                let Settlement::Resolved { verdict, demote, .. } = settlement else { continue };
                let loser = if matches!(verdict, Verdict::Source(_)) { b } else { a };
                assert!(!demote || loser.is && !loser.used, "who is in use is not demoted");
            }
        }
    }
}

#[test]
fn younger_and_older_go_by_who_was_primary_when_they_parted() {
    use AfterSb0Pri::{DiscardOlderPrimary as Older, DiscardYoungerPrimary as Younger};
    // The arbiter was, the other came later; the number of changes does not matter.
    assert_eq!(zero(Younger, was(true, 1), was(false, 9)), Some(true));
    assert_eq!(zero(Older, was(true, 9), was(false, 1)), Some(false));
    // Both were, or none: then the fewer changes go; with equal ones the arbiter's.
    for both in [false, true] {
        for policy in [Younger, Older] {
            assert_eq!(zero(policy, was(both, 2), was(both, 1)), Some(true));
            assert_eq!(zero(policy, was(both, 0), was(both, 1)), Some(false));
            assert_eq!(zero(policy, was(both, 3), was(both, 3)), Some(false));
        }
    }
}

#[test]
fn zero_and_least_changes_go() {
    use AfterSb0Pri::{DiscardLeastChanges as Least, DiscardZeroChanges as Zero};
    assert_eq!(zero(Zero, changed(0), changed(1)), Some(false));
    assert_eq!(zero(Zero, changed(1), changed(0)), Some(true));
    assert_eq!(zero(Zero, changed(1), changed(9)), None, "both have changes");
    assert_eq!(zero(Zero, changed(0), changed(0)), Some(false), "the arbiter gives way");
    assert_eq!(zero(Least, changed(1), changed(9)), Some(false));
    assert_eq!(zero(Least, changed(4), changed(4)), Some(false), "the arbiter gives way");
    for node in [0, 1] {
        let policy = AfterSb0Pri::DiscardNode(NodeId(node));
        assert_eq!(zero(policy, changed(9), changed(9)), Some(node == 1));
    }
    assert_eq!(zero(AfterSb0Pri::Disconnect, changed(0), changed(9)), None);
}

/// One Primary: the arbiter if `primary`. `after-sb-0pri` takes the one with fewer changes.
fn one(policy: AfterSb1Pri, primary: bool, a: u64, b: u64) -> Option<bool> {
    let policies =
        Policies { zero: AfterSb0Pri::DiscardLeastChanges, one: policy, ..Policies::default() };
    source(settled(is(primary, a), is(!primary, b), policies))
}

#[test]
fn one_primary() {
    assert_eq!(one(AfterSb1Pri::Disconnect, true, 9, 1), None);
    for primary in [true, false] {
        let more = if primary { (1, 9) } else { (9, 1) };
        assert_eq!(one(AfterSb1Pri::DiscardSecondary, primary, more.0, more.1), Some(primary));
        assert_eq!(one(AfterSb1Pri::Consensus, primary, more.0, more.1), None);
        assert_eq!(one(AfterSb1Pri::Consensus, primary, more.1, more.0), Some(primary));
        assert_eq!(one(AfterSb1Pri::ViolentlyAs0p, primary, more.0, more.1), Some(!primary));
    }
}

#[test]
fn a_primary_that_loses_is_demoted_or_nothing_is_settled() {
    let policies = |zero| Policies {
        zero,
        one: AfterSb1Pri::CallPriLostAfterSb,
        two: AfterSb2Pri::CallPriLostAfterSb,
        always: false,
    };
    let least = policies(AfterSb0Pri::DiscardLeastChanges);
    let idle = Node { is: true, changes: 1, ..Node::default() };
    let used = Node { used: true, ..idle };
    for winner in [changed(9), is(true, 9)] {
        let demoted = settled(idle, winner, least);
        let Settlement::Resolved { verdict, demote: true, .. } = demoted else {
            panic!("{demoted:?}")
        };
        assert_eq!(verdict, Verdict::Target(Extent::Bitmap));
        let busy = settled(used, winner, least);
        assert_eq!(busy, Settlement::Unresolved(Unresolved::InUse(NodeId(0))));
    }
    // A Secondary that loses need not be asked.
    let lost = settled(changed(1), used, policies(AfterSb0Pri::DiscardNode(NodeId(0))));
    assert!(matches!(lost, Settlement::Resolved { demote: false, .. }), "{lost:?}");
}

#[test]
fn two_primaries_need_a_policy_that_says_so() {
    let both = (is(true, 9), is(true, 0));
    let with = |two| {
        let zero = AfterSb0Pri::DiscardZeroChanges;
        source(settled(both.0, both.1, Policies { zero, two, ..Policies::default() }))
    };
    assert_eq!(with(AfterSb2Pri::Disconnect), None);
    assert_eq!(with(AfterSb2Pri::ViolentlyAs0p), Some(true));
}

#[test]
fn what_the_marks_do_not_reach_is_settled_only_by_always_asbp_and_copied_whole() {
    let (a, b) = (of(0, changed(1)), of(1, changed(9)));
    let policies = Policies { zero: AfterSb0Pri::DiscardLeastChanges, ..Policies::default() };
    assert_eq!(settle(&a, &b, false, &policies), Settlement::Unresolved(Unresolved::TooOld));
    let always = Policies { always: true, ..policies };
    let Settlement::Resolved { verdict, .. } = settle(&a, &b, false, &always) else {
        panic!("not settled")
    };
    assert_eq!(verdict, Verdict::Target(Extent::Full));
    // Two new copies that were forced have no common data.
    let forced = |node, id| {
        let mut side = side(node);
        side.generations = Generations::just_created(NodeId(node), Time(0));
        side.generations.force(GenerationId(id), NodeId(node), Time(0));
        side
    };
    let settlement = settle(&forced(0, 0x50), &forced(1, 0x60), true, &policies);
    assert!(
        matches!(settlement, Settlement::Resolved { verdict: Verdict::Target(Extent::Full), .. }),
        "{settlement:?}"
    );
}
