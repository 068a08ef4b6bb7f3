//! Every pair of copies that can meet, as far as a verdict can tell them apart (SB1).
//!
//! The whole product of all facts would be some 10^13 pairs. It is cut along the way in which the
//! verdict reads the facts, and each part is enumerated whole:
//!
//! | test | all of | with |
//! |---|---|---|
//! | `copies` | generations × (disk, role, crashed, full-sync, dirty, discard) of both × protocol | two nodes, two disks, nothing forgotten |
//! | `presences` | generations × (disk, session, node, identity) of both | marks on neither, one, both |
//! | `memories` | generations × (sequence, what is remembered of it, exposed) of both | worth, a mark, a flag |
//!
//! That is complete, because a verdict is reached in three steps that hand on nothing but their
//! result: presence and identity are looked at first, and either decide or say nothing; then the
//! copies decide; then a disk that was rolled back overrules. `samples` holds the seams: pairs in
//! which all facts vary at once, with long histories, the same in every run.
//!
//! Generations are enumerated up to renaming: names are random numbers, of which only equality is
//! looked at. Four names and histories of up to two tell all relations of two copies: each has a
//! current, a bitmap and former ones that may or may not be the other's.
//!
//! What is asserted is formulated from the meaning of the names (`model`), not from the rules.
//! `cargo test -p metadata --test universe -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod copies;
mod generations;
mod memories;
mod model;
mod presences;
mod samples;

use metadata::{GenerationId, Rule, Side, decide};
use std::collections::BTreeMap;
use types::{DiskState, NodeId, Protocol};

/// An UpToDate copy on a disk of its own, Secondary, nothing marked, nothing forgotten.
fn side(node: u8) -> Side {
    Side {
        node: NodeId(node),
        generations: generations::of(0x10, 0, &[]),
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

/// How often each rule gave the verdict.
#[derive(Default)]
struct Figures {
    pairs: u64,
    rules: BTreeMap<Rule, u64>,
}

impl Figures {
    /// Judges a pair from both sides, and holds the verdict against the model.
    fn judge(&mut self, one: &Side, other: &Side, protocol: Protocol) {
        let here = decide(one, other, protocol);
        let there = decide(other, one, protocol);
        let agree = here.verdict.mirrored() == there.verdict && here.rule == there.rule;
        if let Err(wrong) = model::check(one, other, protocol, here) {
            panic!("{wrong}: {here:?} for\n{one:?}\n{other:?}\n{protocol}");
        }
        assert!(agree, "not antisymmetric: {here:?}, {there:?} for\n{one:?}\n{other:?}");
        self.pairs += 1;
        *self.rules.entry(here.rule).or_default() += 1;
    }

    fn report(&self, name: &str, started: std::time::Instant) {
        let seconds = started.elapsed().as_secs_f64();
        println!("sb1 {name}: {} pairs in {seconds:.1} s", self.pairs);
    }

    fn reached(&self, rules: &[Rule]) {
        for rule in rules {
            assert!(self.rules.contains_key(rule), "{rule} is never reached");
        }
    }
}

/// Some clock, to print how long it took; nothing is decided by it.
#[allow(clippy::disallowed_methods, reason = "a figure for people, nothing depends on it")]
fn started() -> std::time::Instant {
    std::time::Instant::now()
}
