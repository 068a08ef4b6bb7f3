//! What an inspection has found, in the words of the control protocol.

use super::status::generation;
use config::Host;
use control::{
    CopyReport, GenerationStatus, MarksReport, Outcome, PolicyReport, RangeReport,
    SplitBrainReport, VerdictReport, VolumeReport,
};
use metadata::{Decision, Extent, GenerationRecord, Generations, Settlement, Verdict};
use replicator::{InspectedCopy, InspectedVolume, Inspection, Marks};
use types::{BLOCK_BYTES, Role, Time};

/// The report on a resource that is Primary here or not.
pub(super) fn report(
    resource: &config::Resource,
    me: &Host,
    peer: &Host,
    role: Role,
    inspection: &Inspection,
) -> SplitBrainReport {
    let names = [me.name.as_str(), peer.name.as_str()];
    let volumes: Vec<VolumeReport> =
        inspection.volumes.iter().map(|volume| volume_report(volume, names)).collect();
    let split = |volume: &VolumeReport| {
        volume.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::SplitBrain)
    };
    SplitBrainReport {
        resource: resource.name.clone(),
        node: me.name.clone(),
        peer: peer.name.clone(),
        role,
        peer_role: match inspection.peer_primary {
            Some(true) => Role::Primary,
            Some(false) => Role::Secondary,
            None => Role::Unknown,
        },
        peer_silent: inspection.peer_silent.clone(),
        split_brain: volumes.iter().any(split),
        volumes,
    }
}

fn volume_report(volume: &InspectedVolume, names: [&str; 2]) -> VolumeReport {
    let generations = |copy: &Option<InspectedCopy>| copy.as_ref().map(|c| c.generations.clone());
    let (here, there) = (generations(&volume.here), generations(&volume.there));
    VolumeReport {
        volume: volume.id,
        verdict: volume.decision.map(verdict_report),
        common: volume.common().map(named),
        here: volume.here.as_ref().map(|copy| copy_report(copy, there.as_ref())),
        there: volume.there.as_ref().map(|copy| copy_report(copy, here.as_ref())),
        overlap: marks_report(&volume.overlap),
        union_bytes: volume.union_blocks * BLOCK_BYTES,
        policy: volume.settlement.map(|settlement| policy_report(settlement, names)),
    }
}

fn verdict_report(Decision { verdict, rule }: Decision) -> VerdictReport {
    let outcome = match verdict {
        Verdict::Resume => Outcome::Resume,
        Verdict::InSync => Outcome::InSync,
        Verdict::Source(Extent::Bitmap) => Outcome::SourceOfMarks,
        Verdict::Source(Extent::Full) => Outcome::SourceOfAll,
        Verdict::Target(Extent::Bitmap) => Outcome::TargetOfMarks,
        Verdict::Target(Extent::Full) => Outcome::TargetOfAll,
        Verdict::SplitBrain { .. } => Outcome::SplitBrain,
        Verdict::BothUnusable
        | Verdict::NoPeerDisk
        | Verdict::NoLocalDisk
        | Verdict::NeitherDisk => Outcome::NothingToDo,
        Verdict::Unrelated | Verdict::Refuse(_) => Outcome::Refused,
    };
    let why = match verdict {
        Verdict::Refuse(reason) => reason.explain(),
        _ => rule.explain().to_owned(),
    };
    VerdictReport { outcome, rule: rule.to_string(), why }
}

fn policy_report(settlement: Settlement, [here, there]: [&str; 2]) -> PolicyReport {
    match settlement {
        Settlement::Unresolved(why) => PolicyReport { discards: None, why: why.to_string() },
        Settlement::Resolved { verdict, demote, by } => {
            let loser = if matches!(verdict, Verdict::Source(_)) { there } else { here };
            let first = if demote { ", which becomes Secondary first" } else { "" };
            let why = format!("{by} discards the changes of {loser}{first}");
            PolicyReport { discards: Some(loser.to_owned()), why }
        }
    }
}

/// A generation as both nodes call it: the mark of a Primary in its name would have one look like
/// two to who compares them.
fn named(record: &GenerationRecord) -> GenerationStatus {
    generation(&GenerationRecord { id: record.id.with_primary(false), ..*record })
}

fn copy_report(copy: &InspectedCopy, other: Option<&Generations>) -> CopyReport {
    let generations = &copy.generations;
    // What the other does not know was begun after the two parted. If it does not tell, only the
    // current one is sure to be of that time: older ones may be those of earlier troubles.
    let own = |record: &&GenerationRecord| match other {
        Some(other) => !other.knows(record.id),
        None => record.id.same(generations.current.id),
    };
    let records = || {
        let current = std::iter::once(&generations.current);
        current.chain(generations.history.iter()).take_while(own)
    };
    let first = records().filter_map(|record| record.first_solo).min();
    let last = records().filter_map(|record| record.last_solo).max();
    CopyReport {
        disk: copy.disk,
        current: named(&generations.current),
        first_solo: first.map(Time::unix_millis),
        last_solo: last.map(Time::unix_millis),
        rounded_up: copy.crashed_primary,
        everything: copy.full_sync,
        marks: marks_report(&copy.marks),
    }
}

fn marks_report(marks: &Marks) -> MarksReport {
    let range = |run: &types::BlockRange| RangeReport {
        offset: run.start * BLOCK_BYTES,
        bytes: run.len() * BLOCK_BYTES,
    };
    MarksReport {
        blocks: marks.blocks,
        bytes: marks.blocks * BLOCK_BYTES,
        ranges: marks.ranges.iter().map(range).collect(),
        more_ranges: marks.more_ranges,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::GenerationId;
    use types::NodeId;

    #[test]
    fn a_generation_has_one_name_whoever_was_primary() {
        let mut record = Generations::just_created(NodeId(0), Time(0)).current;
        record.id = GenerationId(0x1230);
        let name = named(&record).id;
        record.id = record.id.with_primary(true);
        assert_eq!(named(&record).id, name);
        assert_ne!(generation(&record).id, name);
    }
}
