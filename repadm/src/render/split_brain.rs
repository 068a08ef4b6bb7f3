//! `split-brain`: what two nodes have, for somebody who has to decide between them at night.

use super::size::size;
use super::time::utc;
use control::{CopyReport, MarksReport, Outcome, RangeReport, SplitBrainReport, VolumeReport};
use serde_json::{Value, json};
use std::fmt::Write as _;
use types::{Role, VolumeId};

/// So many ranges are shown of each list; the others are counted, and are in the JSON.
const RANGES_SHOWN: usize = 8;

/// What is known of a resource, and what its volumes measure.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What both nodes have.
    pub report: SplitBrainReport,
    /// The nodes are connected: nothing has to be decided.
    pub connected: bool,
    /// What the daemon says of a split brain that the last handshake has found.
    pub found: Option<String>,
    /// The size of each volume in bytes.
    pub sizes: Vec<(VolumeId, u64)>,
}

impl Picture {
    /// Whether there is a split brain, as far as is known.
    pub const fn is_split(&self) -> bool {
        self.report.split_brain || (self.report.peer_silent.is_some() && self.found.is_some())
    }

    /// Whether it is known that there is none.
    pub const fn is_sound(&self) -> bool {
        self.connected || (self.report.peer_silent.is_none() && !self.report.split_brain)
    }

    /// Whether a split brain would stay one if the nodes connected.
    pub fn stays_split(&self) -> bool {
        let settled = |volume: &VolumeReport| {
            volume.policy.as_ref().is_some_and(|policy| policy.discards.is_some())
        };
        self.report.volumes.iter().any(|volume| is_split(volume) && !settled(volume))
    }

    /// Whether the nodes would refuse each other for another reason.
    pub fn is_refused(&self) -> bool {
        let refused = |volume: &VolumeReport| {
            volume.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Refused)
        };
        self.report.volumes.iter().any(refused)
    }

    /// What giving up one node's changes throws away at most, in bytes: of the split volumes.
    fn cost(&self, of: fn(&VolumeReport) -> Option<&CopyReport>) -> Option<u64> {
        let split = self.report.volumes.iter().filter(|volume| is_split(volume));
        split.map(|volume| of(volume).map(|copy| self.lost(volume, copy))).sum()
    }

    fn lost(&self, volume: &VolumeReport, copy: &CopyReport) -> u64 {
        if copy.everything || !marks_reach_back(volume) {
            let known = self.sizes.iter().find(|(id, _)| *id == volume.volume);
            return known.map_or(copy.marks.bytes, |(_, bytes)| *bytes);
        }
        copy.marks.bytes
    }

    fn lost_here(&self) -> Option<u64> {
        self.cost(|volume| volume.here.as_ref()).filter(|_| self.report.split_brain)
    }

    fn lost_there(&self) -> Option<u64> {
        self.cost(|volume| volume.there.as_ref()).filter(|_| self.report.split_brain)
    }
}

fn is_split(volume: &VolumeReport) -> bool {
    volume.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::SplitBrain)
}

/// Whether the marks tell everything since the nodes parted. With the other rules for a split
/// brain the last generation in common is older than the marks.
fn marks_reach_back(volume: &VolumeReport) -> bool {
    volume.verdict.as_ref().is_none_or(|verdict| verdict.rule == "both-ahead-of-one")
}

/// The report, with what each choice throws away.
pub fn json(picture: &Picture) -> Value {
    let mut value = json!(picture.report);
    value["discard-here-bytes"] = json!(picture.lost_here());
    value["discard-there-bytes"] = json!(picture.lost_there());
    value
}

/// The same for people, with the empty line after it.
pub fn text(picture: &Picture) -> String {
    let report = &picture.report;
    let SplitBrainReport { resource, node, peer, .. } = report;
    let mut text = String::new();
    let line = &mut text;
    if picture.connected {
        let _ = writeln!(line, "{resource}: no split brain: {node} and {peer} are connected\n");
        return text;
    }
    if let Some(why) = &report.peer_silent {
        silent(line, picture, why);
    } else if report.split_brain {
        let _ = writeln!(
            line,
            "{resource}: SPLIT BRAIN: {node} (here, {}) and {peer} ({}) both wrote alone.\nNothing \
             has been discarded.",
            report.role, report.peer_role
        );
    } else {
        let _ = writeln!(line, "{resource}: no split brain");
    }
    for volume in &report.volumes {
        if is_split(volume) || report.peer_silent.is_some() {
            split_volume(line, report, volume);
        } else {
            line.push_str(&decision(report, volume));
        }
    }
    if report.split_brain {
        choices(line, picture);
    }
    line.push('\n');
    text
}

/// The peer does not answer: what is here is shown, and what can be done.
fn silent(text: &mut String, picture: &Picture, why: &str) {
    let SplitBrainReport { resource, peer, .. } = &picture.report;
    match &picture.found {
        Some(found) => {
            let _ =
                writeln!(text, "{resource}: SPLIT BRAIN, the last handshake has found:\n{found}");
        }
        None => {
            let _ = writeln!(text, "{resource}: whether there is a split brain is not known.");
        }
    }
    let _ = writeln!(
        text,
        "{peer} does not tell what it has: {why}.\nThis is what is known here; ask again when its \
         daemon can be reached, or ask there."
    );
}

fn split_volume(text: &mut String, report: &SplitBrainReport, volume: &VolumeReport) {
    let _ = writeln!(text, "\n{}/{}", report.resource, volume.volume);
    parting(text, report, volume);
    if let Some(copy) = &volume.here {
        let known = report.peer_silent.is_some() || marks_reach_back(volume);
        one_copy(text, &format!("{}, here", report.node), copy, known);
    } else {
        let _ = writeln!(text, "  {}, here: no copy", report.node);
    }
    if report.peer_silent.is_some() {
        return;
    }
    if let Some(copy) = &volume.there {
        one_copy(text, &report.peer, copy, marks_reach_back(volume));
    } else {
        let _ = writeln!(text, "  {}: no copy", report.peer);
    }
    let overlap = &volume.overlap;
    if overlap.blocks == 0 {
        let _ = writeln!(text, "  both changed: no block");
    } else {
        let _ = writeln!(text, "  both changed: {}", amount(overlap));
        ranges(text, overlap);
    }
    let _ = writeln!(
        text,
        "  a resync copies {}: what either has changed",
        if marks_reach_back(volume) { size(volume.union_bytes) } else { "everything".into() }
    );
    if let Some(policy) = &volume.policy {
        let _ = match &policy.discards {
            Some(_) => writeln!(text, "  policy: when they connect, {}", policy.why),
            None => writeln!(text, "  policy: nothing by itself: {}", policy.why),
        };
        overrun(text, report, volume);
    }
}

/// When the ways parted, as well as it is known.
fn parting(text: &mut String, report: &SplitBrainReport, volume: &VolumeReport) {
    let first = |copy: &Option<CopyReport>, node: &str| {
        let at = copy.as_ref().and_then(|copy| copy.first_solo)?;
        Some((at, node.to_owned()))
    };
    let writes =
        [first(&volume.here, &report.node), first(&volume.there, &report.peer)].into_iter();
    let earliest = writes.flatten().min();
    if let (Some((at, node)), None) = (&earliest, &report.peer_silent) {
        let _ = writeln!(text, "  parted at the latest {}: first write alone, by {node}", utc(*at));
    }
    if let Some(common) = &volume.common {
        let _ = writeln!(
            text,
            "  last in common: generation {} ({}, {})",
            common.id,
            common.cause,
            utc(common.born)
        );
    }
}

/// `known`: the marks tell all that was changed.
fn one_copy(text: &mut String, node: &str, copy: &CopyReport, known: bool) {
    let _ = writeln!(
        text,
        "  {node}: {}, generation {} ({}, {})",
        copy.disk,
        copy.current.id,
        copy.current.cause,
        utc(copy.current.born)
    );
    let _ = match (copy.first_solo, copy.last_solo) {
        (Some(first), Some(last)) => {
            writeln!(text, "    wrote alone: {} to {}", utc(first), utc(last))
        }
        (Some(first), None) => writeln!(text, "    wrote alone: from {}", utc(first)),
        _ => writeln!(text, "    wrote alone: nothing is known of"),
    };
    if copy.everything {
        let _ = writeln!(text, "    changed: everything counts as changed");
        return;
    }
    if copy.marks.blocks == 0 {
        let _ = writeln!(text, "    changed: nothing");
    } else {
        let _ = writeln!(text, "    changed at most: {}", amount(&copy.marks));
    }
    if !known {
        let _ = writeln!(
            text,
            "    (these marks do not reach back to when they parted: anything may be changed)"
        );
    }
    if copy.rounded_up {
        let _ = writeln!(
            text,
            "    (rounded up: it crashed as Primary, and extents of 4 MiB of its log count whole)"
        );
    }
    ranges(text, &copy.marks);
}

fn amount(marks: &MarksReport) -> String {
    let ranges = marks.ranges.len() as u64 + marks.more_ranges;
    let plural = |n: u64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}, {} in {}",
        plural(marks.blocks, "block"),
        size(marks.bytes),
        plural(ranges, "range")
    )
}

fn ranges(text: &mut String, marks: &MarksReport) {
    for RangeReport { offset, bytes } in marks.ranges.iter().take(RANGES_SHOWN) {
        let _ = writeln!(text, "      at byte {offset}: {}", size(*bytes));
    }
    let more = marks.ranges.len().saturating_sub(RANGES_SHOWN) as u64 + marks.more_ranges;
    if more > 0 {
        let _ = writeln!(text, "      and {more} more");
    }
}

fn choices(text: &mut String, picture: &Picture) {
    let SplitBrainReport { resource, node, peer, .. } = &picture.report;
    let _ = writeln!(
        text,
        "\nChoose whose changes are given up. Save from that node what is worth it first, and end \
         its clients."
    );
    let sides = [
        (node, peer, picture.lost_there(), picture.report.peer_role),
        (peer, node, picture.lost_here(), picture.report.role),
    ];
    for (kept, lost, cost, role) in sides {
        let cost = cost.map_or_else(|| "nothing is known of".to_owned(), size);
        let primary = if role == Role::Primary { " (Primary now)" } else { "" };
        let _ = writeln!(
            text,
            "\nKeep {kept}: what {lost} changed is thrown away, at most {cost}\n  \
             on {lost}{primary}: repadm secondary {resource}; repadm connect --discard-my-data \
             {resource}\n  on {kept}: repadm connect {resource}"
        );
    }
}

/// `connect --tentative`: what the handshake would decide, a line for each volume.
pub fn tentative(picture: &Picture) -> String {
    let report = &picture.report;
    let SplitBrainReport { resource, node, peer, .. } = report;
    if picture.connected {
        return format!("{resource}: {node} and {peer} are connected: nothing is to be decided\n");
    }
    report.volumes.iter().map(|volume| decision(report, volume)).collect()
}

fn decision(report: &SplitBrainReport, volume: &VolumeReport) -> String {
    let SplitBrainReport { resource, node, peer, .. } = report;
    let Some(verdict) = &volume.verdict else { return String::new() };
    let marked = size(volume.union_bytes);
    let outcome = match verdict.outcome {
        Outcome::Resume => "the session goes on".to_owned(),
        Outcome::InSync => "in sync, nothing to copy".to_owned(),
        Outcome::SourceOfMarks => format!("resync from {node} (here) to {peer}, {marked}"),
        Outcome::SourceOfAll => format!("full resync from {node} (here) to {peer}"),
        Outcome::TargetOfMarks => format!("resync from {peer} to {node} (here), {marked}"),
        Outcome::TargetOfAll => format!("full resync from {peer} to {node} (here)"),
        Outcome::SplitBrain => "split brain".to_owned(),
        Outcome::NothingToDo => "no resync".to_owned(),
        Outcome::Refused => "refused".to_owned(),
    };
    let mut text =
        format!("{resource}/{}: {outcome}\n  {} ({})\n", volume.volume, verdict.why, verdict.rule);
    if let Some(policy) = &volume.policy {
        let _ = match &policy.discards {
            Some(_) => writeln!(text, "  then {}", policy.why),
            None => writeln!(text, "  nothing is discarded: {}", policy.why),
        };
    }
    overrun(&mut text, report, volume);
    text
}

/// Whoever would be resynced is Primary.
fn overrun(text: &mut String, report: &SplitBrainReport, volume: &VolumeReport) {
    let SplitBrainReport { node, peer, .. } = report;
    let discards = || volume.policy.as_ref().and_then(|policy| policy.discards.as_ref());
    let target = match volume.verdict.as_ref().map(|verdict| verdict.outcome) {
        Some(Outcome::TargetOfMarks | Outcome::TargetOfAll) => Some(node),
        Some(Outcome::SourceOfMarks | Outcome::SourceOfAll) => Some(peer),
        Some(Outcome::SplitBrain) => discards(),
        _ => None,
    };
    let Some(target) = target else { return };
    let role = if target == node { report.role } else { report.peer_role };
    if role == Role::Primary {
        let _ = writeln!(
            text,
            "  {target} is Primary: it becomes Secondary first if no client has had its device \
             open, else rr-conflict decides"
        );
    }
}

#[cfg(test)]
mod tests;
