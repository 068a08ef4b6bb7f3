//! What a verdict must and must not be, from the meaning of the names alone.
//!
//! The data of a consistent copy is its current generation. Its marks are all that differs from
//! what its bitmap id names. So a copy is, but for its marks, *near* two states: the one that it
//! is, and the one that its bitmap id names. Two copies that are near one state differ only where
//! one of them has a mark: a resync by bitmap is then right, and a full one a waste. A copy *has
//! been* in its bitmap generation and in those of its history: it lacks no write of these.

use metadata::{
    Decision, Extent, GenerationId, Generations, HISTORY, RefuseReason, Rule, Side, Verdict,
};
use types::{DiskState, Protocol};

/// Holds a verdict of `one` about itself and `other` against the model.
pub(crate) fn check(
    one: &Side,
    other: &Side,
    protocol: Protocol,
    decision: Decision,
) -> Result<(), &'static str> {
    let rolled_back = (is_older(one, other), is_older(other, one));
    match decision.verdict {
        Verdict::NoPeerDisk if has_disk(one) && !has_disk(other) => Ok(()),
        Verdict::NoLocalDisk if !has_disk(one) && has_disk(other) => Ok(()),
        Verdict::NeitherDisk if !has_disk(one) && !has_disk(other) => Ok(()),
        _ if !has_disk(one) || !has_disk(other) => Err("a disk is missing"),
        Verdict::NoPeerDisk | Verdict::NoLocalDisk | Verdict::NeitherDisk => Err("no disk missing"),
        Verdict::Refuse(RefuseReason::RolledBack { node }) => {
            let is_it = |side: &Side, older: bool| older && side.node == node;
            match is_it(one, rolled_back.0) || is_it(other, rolled_back.1) {
                true => Ok(()),
                false => Err("a disk is said to be older and is not"),
            }
        }
        Verdict::Resume => match one.resumable && other.resumable {
            true => unless_older(rolled_back.0 || rolled_back.1),
            false => Err("no session to resume"),
        },
        _ if one.resumable && other.resumable => Err("the session is not resumed"),
        Verdict::Refuse(RefuseReason::SameNode) if one.node == other.node => Ok(()),
        Verdict::Refuse(RefuseReason::SameDisk) if same_disk(one, other) => Ok(()),
        Verdict::Refuse(_) => Err("refused for nothing"),
        _ if one.node == other.node => Err("one node twice"),
        _ if same_disk(one, other) => Err("a disk and its copy"),
        Verdict::InSync => {
            unless_older(rolled_back.0 || rolled_back.1).and_then(|()| in_sync(one, other))
        }
        Verdict::Source(extent) => resync(one, other, extent, rolled_back, protocol),
        Verdict::Target(extent) => {
            resync(other, one, extent, (rolled_back.1, rolled_back.0), protocol)
        }
        Verdict::SplitBrain { automatic } => unless_older(rolled_back.0 || rolled_back.1)
            .and_then(|()| split_brain(one, other, automatic)),
        Verdict::Unrelated => {
            unless_older(rolled_back.0 || rolled_back.1).and_then(|()| unrelated(one, other))
        }
        Verdict::BothUnusable => {
            let new = is_new(one) && is_new(other);
            match is_usable(one) || is_usable(other) {
                true => Err("a copy is of use"),
                false => unless_older((rolled_back.0 || rolled_back.1) && !new),
            }
        }
    }
}

const fn unless_older(older: bool) -> Result<(), &'static str> {
    if older { Err("a disk that was rolled back is let in") } else { Ok(()) }
}

fn has_disk(side: &Side) -> bool {
    use DiskState::{Consistent, Inconsistent, Negotiating, Outdated, UpToDate};
    [Negotiating, Inconsistent, Outdated, Consistent, UpToDate].contains(&side.disk)
}

fn same_disk(one: &Side, other: &Side) -> bool {
    one.disk_incarnation != 0 && one.disk_incarnation == other.disk_incarnation
}

/// By what the other remembers of it.
fn is_older(side: &Side, other: &Side) -> bool {
    let told = match other.peer_disk_incarnation {
        0 => 0,
        disk if disk == side.disk_incarnation => other.peer_sequence,
        _ => 0,
    };
    let forgotten = side.newest_exposed;
    let remembers_all = side.generations.history.len() < HISTORY;
    let by_name = remembers_all
        && has_had(&other.generations, forgotten)
        && !has_had(&side.generations, forgotten);
    side.sequence != 0 && side.sequence < told || by_name
}

fn is_new(side: &Side) -> bool {
    !side.generations.current.id.is_real()
}

fn is_usable(side: &Side) -> bool {
    !is_new(side) && side.disk != DiskState::Inconsistent
}

fn is_marked(side: &Side) -> bool {
    side.full_sync || side.dirty_blocks > 0
}

fn equal(one: GenerationId, other: GenerationId) -> bool {
    one.is_real() && one.0 >> 1 == other.0 >> 1
}

fn has_been(of: &Generations, id: GenerationId) -> bool {
    equal(of.bitmap.id, id) || of.history.iter().any(|record| equal(record.id, id))
}

fn has_had(of: &Generations, id: GenerationId) -> bool {
    equal(of.current.id, id) || has_been(of, id)
}

/// Both differ from one state only where they have marks.
fn are_near(one: &Generations, other: &Generations) -> bool {
    let states = |of: &Generations| [of.current.id, of.bitmap.id];
    states(one).iter().any(|&mine| states(other).iter().any(|&theirs| equal(mine, theirs)))
}

fn in_sync(one: &Side, other: &Side) -> Result<(), &'static str> {
    if is_marked(one) || is_marked(other) {
        return Err("in sync with marks");
    }
    if !is_usable(one) || !is_usable(other) {
        return Err("in sync with a copy that is of no use");
    }
    match equal(one.generations.current.id, other.generations.current.id) {
        true => Ok(()),
        false => Err("in sync with different generations"),
    }
}

fn resync(
    source: &Side,
    target: &Side,
    extent: Extent,
    (source_older, target_older): (bool, bool),
    protocol: Protocol,
) -> Result<(), &'static str> {
    if !is_usable(source) {
        return Err("a source that is of no use");
    }
    if !is_new(target) {
        unless_older(source_older || target_older && extent == Extent::Bitmap)?;
    }
    right_extent(source, target, extent)?;
    if !is_usable(target) {
        return Ok(());
    }
    let (from, to) = (&source.generations, &target.generations);
    if equal(from.current.id, to.current.id) {
        return right_source(source, target, protocol);
    }
    if has_been(to, from.current.id) && !has_been(from, to.current.id) {
        return Err("the copy that lacks writes is the source");
    }
    let target_has_its_own = !has_been(from, to.current.id);
    let contradiction = has_been(to, from.current.id);
    if target_has_its_own || contradiction {
        let given_up = target.discard_my_data && !target.primary && !source.discard_my_data;
        let related = has_been_in_common(from, to) || contradiction;
        return if given_up && related { Ok(()) } else { Err("changes are discarded unasked") };
    }
    Ok(())
}

fn right_extent(source: &Side, target: &Side, extent: Extent) -> Result<(), &'static str> {
    let (from, to) = (&source.generations, &target.generations);
    let flagged = source.full_sync || target.full_sync;
    let near = are_near(from, to);
    match extent {
        Extent::Bitmap if flagged => Err("a flag for everything is ignored"),
        Extent::Bitmap if is_new(target) => Err("the marks are relative to another disk"),
        Extent::Bitmap if !near => Err("no marks tell the difference"),
        Extent::Bitmap => Ok(()),
        Extent::Full if flagged || is_new(target) || !near => Ok(()),
        // It was ahead of what is the source now: so that is not the source that made it
        // Inconsistent, and knows nothing of what that one wrote to it.
        Extent::Full
            if !is_usable(target)
                && equal(to.bitmap.id, from.current.id)
                && !equal(to.bitmap.id, from.bitmap.id) =>
        {
            Ok(())
        }
        // Copies of one metadata: a generation is begun by one node, and whoever takes it over has
        // no bitmap id. The model does not hold for them.
        Extent::Full if has_been_both_ways_or_cloned(from, to) => Ok(()),
        Extent::Full => Err("everything is copied where the marks would do"),
    }
}

/// Relations that no sequence of events of two nodes leads to: each has been where the other is,
/// or the generation that one went on from was taken over by one who is still ahead of the same.
fn has_been_both_ways_or_cloned(from: &Generations, to: &Generations) -> bool {
    let both_ways = has_been(from, to.current.id) && has_been(to, from.current.id);
    let cloned = equal(from.bitmap.id, to.bitmap.id)
        && (has_been(from, to.current.id) || has_been(to, from.current.id));
    both_ways || cloned
}

/// Equal generations: nobody answered a write alone, so the role, the mark of an Outdated copy and
/// the marks decide, unless one crashed and may have lost, or alone has, what was answered.
fn right_source(source: &Side, target: &Side, protocol: Protocol) -> Result<(), &'static str> {
    let with_c = protocol == Protocol::C;
    let outdated = |side: &Side| side.disk == DiskState::Outdated;
    let lacks = |side: &Side, other: &Side| !with_c && outdated(side) && !outdated(other);
    match (source.crashed_primary, target.crashed_primary) {
        (true, true) => return arbiter(source, target),
        (true, false) if with_c => return Err("the crashed one is the source"),
        (true, false) if lacks(source, target) => return Err("the Outdated one is the source"),
        (false, true) if lacks(target, source) => return Ok(()),
        (false, true) if !with_c => return Err("the one that crashed may have more"),
        (true, false) | (false, true) => return Ok(()),
        (false, false) => {}
    }
    if source.primary != target.primary {
        return if source.primary { Ok(()) } else { Err("the Primary is the target") };
    }
    if outdated(source) != outdated(target) {
        return if outdated(target) { Ok(()) } else { Err("the Outdated one is the source") };
    }
    match (is_marked(source), is_marked(target)) {
        (true, false) => Ok(()),
        (false, true) => Err("the one with the marks is the target"),
        (false, false) => Err("a resync of nothing"),
        (true, true) => arbiter(source, target),
    }
}

fn arbiter(source: &Side, target: &Side) -> Result<(), &'static str> {
    if source.node < target.node { Ok(()) } else { Err("the arbiter is the target") }
}

fn has_been_in_common(one: &Generations, other: &Generations) -> bool {
    let former = |of: &Generations| {
        std::iter::once(of.bitmap).chain(of.history.clone()).map(|record| record.id)
    };
    former(one).any(|id| has_been(other, id)) || are_forced(one, other)
}

/// Both were new, and somebody said on each that its data counts.
fn are_forced(one: &Generations, other: &Generations) -> bool {
    let new = |id: GenerationId| id.with_primary(false) == GenerationId::JUST_CREATED;
    new(one.bitmap.id) && new(other.bitmap.id)
}

fn split_brain(one: &Side, other: &Side, automatic: bool) -> Result<(), &'static str> {
    let (mine, theirs) = (&one.generations, &other.generations);
    if !is_usable(one) || !is_usable(other) {
        return Err("a copy that is of no use has no changes");
    }
    if equal(mine.current.id, theirs.current.id) {
        return Err("equal generations");
    }
    let ahead = (has_been(mine, theirs.current.id), has_been(theirs, mine.current.id));
    if ahead.0 != ahead.1 {
        return Err("one has all that the other has");
    }
    if !ahead.0 && !has_been_in_common(mine, theirs) {
        return Err("nothing in common");
    }
    let one_start = equal(mine.bitmap.id, theirs.bitmap.id) || are_forced(mine, theirs);
    let both_from_one = one_start && !ahead.0;
    if automatic == both_from_one { Ok(()) } else { Err("a policy may decide, or not") }
}

fn unrelated(one: &Side, other: &Side) -> Result<(), &'static str> {
    let (mine, theirs) = (&one.generations, &other.generations);
    let knows = has_had(mine, theirs.current.id) || has_had(theirs, mine.current.id);
    match knows || has_been_in_common(mine, theirs) || !is_usable(one) || !is_usable(other) {
        true => Err("they have something in common"),
        false => Ok(()),
    }
}

/// Rules that a table of copies alone reaches.
pub(crate) const OF_COPIES: &[Rule] = &[
    Rule::BothJustCreated,
    Rule::OneJustCreated,
    Rule::BothInconsistent,
    Rule::InconsistentKnown,
    Rule::InconsistentUnknown,
    Rule::MissedEnd,
    Rule::NothingMarked,
    Rule::BothCrashed,
    Rule::SurvivorHasAll,
    Rule::CrashedHasAll,
    Rule::PrimaryNow,
    Rule::OtherOutdated,
    Rule::MarkedHere,
    Rule::MarkedOnBoth,
    Rule::AheadByBitmap,
    Rule::AheadByHistory,
    Rule::BothAheadOfOne,
    Rule::CommonAncestor,
    Rule::Contradictory,
    Rule::Discarded,
    Rule::NothingInCommon,
];
