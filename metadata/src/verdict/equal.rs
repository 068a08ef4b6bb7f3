//! Equal generations: nobody answered a write alone. What is marked was in flight when somebody
//! crashed or the link broke, or was found by a verify.

use super::{Rule, Side, Verdict, bitmap_unless_flagged, only_one};
use types::mutation::{self, Mutation};
use types::{DiskState, Protocol};

pub(super) fn decide(me: &Side, peer: &Side, protocol: Protocol) -> (Verdict, Rule) {
    let marked = me.dirty() || peer.dirty();
    if !marked || mutation::on(Mutation::EqualIsInSync) {
        // A crash marks all that it could have changed, so without marks nothing differs.
        let missed_end = me.generations.bitmap.id.is_set() != peer.generations.bitmap.id.is_set();
        let rule = if missed_end { Rule::MissedEnd } else { Rule::NothingMarked };
        return (Verdict::InSync, rule);
    }
    let (me_is_source, rule) = source(me, peer, protocol);
    (Verdict::toward_peer(me_is_source, bitmap_unless_flagged(me, peer)), rule)
}

/// Whether this side is the source, and why.
fn source(me: &Side, peer: &Side, protocol: Protocol) -> (bool, Rule) {
    let arbiter = me.is_arbiter(peer);
    if me.crashed_primary && peer.crashed_primary {
        let both = mutation::on(Mutation::BothCrashedBothSource);
        return (arbiter || both, Rule::BothCrashed);
    }
    let outdated = |side: &Side| side.disk == DiskState::Outdated;
    let one_outdated = only_one(outdated(me), outdated(peer));
    if let Some(me_crashed) = only_one(me.crashed_primary, peer.crashed_primary) {
        return match protocol {
            // Its disk was given back to a Primary that lives: it lacks what went on without it.
            Protocol::A | Protocol::B if one_outdated == Some(me_crashed) => {
                (!me_crashed, Rule::OtherOutdated)
            }
            // With C the survivor has every write that was answered, and the other may have lost
            // its cache. (DRBD takes the crashed one.)
            Protocol::C => (!me_crashed, Rule::SurvivorHasAll),
            // With A and B the crashed Primary answered writes that the survivor may not have.
            Protocol::A | Protocol::B => (me_crashed, Rule::CrashedHasAll),
        };
    }
    if let Some(me_primary) = only_one(me.primary, peer.primary) {
        return (me_primary, Rule::PrimaryNow);
    }
    if let Some(me_outdated) = one_outdated {
        return (!me_outdated, Rule::OtherOutdated);
    }
    if let Some(me_dirty) = only_one(me.dirty(), peer.dirty()) {
        return (me_dirty, Rule::MarkedHere);
    }
    (arbiter, Rule::MarkedOnBoth)
}
