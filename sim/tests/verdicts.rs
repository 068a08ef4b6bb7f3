//! Every rule of the verdict is reached by what can happen to two nodes, or it is said why not.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use metadata::Rule;
use replicator::{Fencing, Handler};
use sim::script::Script;
use std::collections::BTreeSet;
use types::{Protocol, Span};

const A: usize = 0;
const B: usize = 1;

/// What no event can reach in a world of two nodes as they are today.
const NOT_REACHED: [(Rule, &str); 3] = [
    (Rule::SameNode, "the Hello is refused before anything is compared"),
    (Rule::SameDisk, "metadata name their node: a copied disk is refused when it is attached"),
    (Rule::Contradictory, "a generation has one successor on each disk: metadata would be forged"),
];

/// In sync, A Primary.
fn one_primary() -> Script {
    let mut script = Script::new(false);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 1).unwrap();
    script.flush(A).unwrap();
    script
}

/// B is the target of a resync that has begun, and died in it.
fn dead_target() -> Script {
    let mut script = one_primary();
    script.kill(B);
    for block in 0..64 {
        script.write(A, block, 100 + block).unwrap();
    }
    script.start(B);
    script.until("a resync runs", |script| script.status(B).volumes[0].resync.is_some());
    script.kill(B);
    script
}

/// B's disk is as it was before A went on alone and B was synchronised.
fn put_back() -> Script {
    let mut script = one_primary();
    script.stop(B);
    let old = script.image(B);
    for round in 0..2 {
        script.write(A, 2, 20 + round).unwrap();
        script.start(B);
        script.in_sync();
        script.stop(B);
    }
    script.put_image(B, &old);
    script
}

fn verdict_of(mut script: Script) -> Vec<Rule> {
    script.start(B);
    script.pass(Span::secs(3));
    script.rules()
}

fn plain_lives() -> Vec<Rule> {
    let mut script = one_primary();
    script.reset();
    script.connected();
    script.detach(B).unwrap();
    script.demote(A);
    script.detach(A).unwrap();
    script.reset();
    script.pass(Span::secs(1));
    script.rules()
}

fn new_disks() -> Vec<Rule> {
    let mut script = Script::fresh();
    script.start_both();
    script.force(A).unwrap();
    script.in_sync();
    script.rules()
}

fn crashes() -> Vec<Rule> {
    let mut script = one_primary();
    script.kill(A);
    script.pass(Span::secs(8));
    script.start(A);
    script.in_sync();
    let mut rules = script.rules();
    let mut script = Script::of(false, true, |options| options.protocol = Protocol::A);
    script.start_both();
    script.promote(A).unwrap();
    script.write(A, 1, 1).unwrap();
    script.kill(A);
    script.start(A);
    script.in_sync();
    rules.extend(script.rules());
    let mut script = Script::new(true);
    script.start_both();
    for node in [A, B] {
        script.promote(node).unwrap();
        script.write(node, 5 + node as u64, 5).unwrap();
    }
    script.kill(A);
    script.kill(B);
    script.start(A);
    script.start(B);
    script.in_sync();
    rules.extend(script.rules());
    rules
}

/// What the lost peer had answered and may have lost is marked, though nobody wrote alone.
fn marks_without_a_generation() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (both, primary_again) in [(false, false), (false, true), (true, false)] {
        let mut script = Script::new(true);
        script.start_both();
        script.promote(A).unwrap();
        script.write(A, 3, 3).unwrap();
        if both {
            script.promote(B).unwrap();
            script.write(B, 4, 4).unwrap();
            script.part();
            script.pass(Span::secs(20));
            script.demote(A);
            script.demote(B);
            script.heal();
        } else {
            script.cut_power(B);
            script.pass(Span::secs(20));
            script.demote(A);
            if primary_again {
                script.promote(A).unwrap();
            }
            script.start(B);
        }
        script.in_sync();
        rules.extend(script.rules());
    }
    rules
}

/// The end of a resync is cut off at every moment: one node misses it.
fn missed_end() -> Vec<Rule> {
    let mut rules = BTreeSet::new();
    for events in 0..60 {
        let mut script = one_primary();
        script.kill(B);
        script.write(A, 7, 7).unwrap();
        script.start(B);
        script.until("a resync runs", |script| script.status(B).volumes[0].resync.is_some());
        (0..events).for_each(|_| script.one_event());
        script.kill(B);
        script.start(B);
        script.in_sync();
        rules.extend(script.rules());
    }
    rules.into_iter().collect()
}

fn both_alone() -> Vec<Rule> {
    let mut script = one_primary();
    script.part();
    script.pass(Span::secs(20));
    script.promote(B).unwrap();
    for node in [A, B] {
        script.write(node, 9, 90 + node as u64).unwrap();
    }
    script.heal();
    script.stands_alone(A);
    script.rules()
}

/// B went on alone, and its disk was put aside. A went on with a new one, and then the old one is
/// back.
fn both_alone_long_ago() -> Vec<Rule> {
    let mut script = one_primary();
    script.part();
    script.pass(Span::secs(20));
    script.promote(B).unwrap();
    for node in [A, B] {
        script.write(node, 9, 90 + node as u64).unwrap();
    }
    script.stop(B);
    let aside = script.image(B);
    script.create_metadata(B);
    script.heal();
    script.start(B);
    script.in_sync();
    script.stop(B);
    script.write(A, 9, 99).unwrap();
    script.put_image(B, &aside);
    script.start(B);
    script.stands_alone(B);
    assert_eq!((script.on_disk(A, 9), script.on_disk(B, 9)), (99, 91));
    script.rules()
}

fn nothing_usable() -> Vec<Rule> {
    let mut script = dead_target();
    script.stop(A);
    script.create_metadata(A);
    script.start(A);
    script.start(B);
    script.pass(Span::secs(3));
    script.rules()
}

fn another_source() -> Vec<Rule> {
    let mut script = dead_target();
    script.stop(A);
    script.create_metadata(A);
    script.start(A);
    script.force(A).unwrap();
    verdict_of(script)
}

fn old_disk() -> Vec<Rule> {
    verdict_of(put_back())
}

fn old_disk_that_went_on() -> Vec<Rule> {
    let mut script = put_back();
    script.part();
    script.start(B);
    script.pass(Span::secs(10));
    script.promote(B).unwrap();
    script.write(B, 2, 99).unwrap();
    script.heal();
    script.stands_alone(B);
    script.rules()
}

/// A frozen Primary gave up what it had in flight, and its peer was outdated by an operator: nobody
/// has written alone.
fn outdated() -> Vec<Rule> {
    let mut script =
        Script::of(false, true, |options| options.fencing = Fencing::ResourceAndStonith);
    script.start_both();
    script.promote(A).unwrap();
    script.handler_ends(A, Handler::FencePeer, Some(1), Span::secs(1));
    script.part();
    script.ask_write(A, 2, 98);
    script.pass(Span::secs(30));
    script.demote(A);
    script.outdate(B).unwrap();
    // Its session is over with it.
    script.stop(A);
    script.heal();
    script.start(A);
    script.in_sync();
    script.rules()
}

fn given_up() -> Vec<Rule> {
    let mut script = one_primary();
    script.part();
    script.write(A, 2, 98).unwrap();
    script.pass(Span::secs(30));
    script.promote(B).unwrap();
    script.write(B, 2, 99).unwrap();
    script.heal();
    script.stands_alone(B);
    script.demote(B);
    script.connect_and_discard(B).unwrap();
    script.connect(A);
    script.in_sync();
    assert_eq!((script.on_disk(A, 2), script.on_disk(B, 2)), (98, 98));
    script.rules()
}

fn strangers() -> Vec<Rule> {
    let mut script = one_primary();
    script.stop(B);
    script.create_metadata(B);
    script.part();
    script.start(B);
    script.force(B).unwrap();
    script.write(B, 2, 99).unwrap();
    script.write(A, 2, 98).unwrap();
    script.heal();
    script.stands_alone(B);
    assert_eq!((script.on_disk(A, 2), script.on_disk(B, 2)), (98, 99));
    script.rules()
}

#[test]
fn every_rule_is_reached_or_it_is_said_why_not() {
    type Story = (&'static str, fn() -> Vec<Rule>);
    let stories: [Story; 14] = [
        ("plain lives", plain_lives),
        ("new disks", new_disks),
        ("crashes", crashes),
        ("marks without a generation", marks_without_a_generation),
        ("a missed end", missed_end),
        ("both alone", both_alone),
        ("both alone, long ago", both_alone_long_ago),
        ("nothing usable", nothing_usable),
        ("another source", another_source),
        ("an old disk", old_disk),
        ("an old disk that went on", old_disk_that_went_on),
        ("given up", given_up),
        ("outdated", outdated),
        ("strangers", strangers),
    ];
    let mut reached = BTreeSet::new();
    for (name, story) in stories {
        let rules = story();
        println!("{name}: {rules:?}");
        reached.extend(rules);
    }
    let expected: BTreeSet<Rule> = Rule::ALL
        .iter()
        .copied()
        .filter(|rule| NOT_REACHED.iter().all(|(not, _)| not != rule))
        .collect();
    let missing: Vec<_> = expected.difference(&reached).collect();
    let surprising: Vec<_> = reached.difference(&expected).collect();
    assert!(missing.is_empty(), "not reached: {missing:?}");
    assert!(surprising.is_empty(), "reached, and said to be unreachable: {surprising:?}");
}
