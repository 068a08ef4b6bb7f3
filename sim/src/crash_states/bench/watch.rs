//! What must be so on a bench at every moment.

use super::Bench;
use crate::crash_states::VOLUME;
use replicator::Event;
use types::{BLOCK_BYTES, DiskState, SECTOR_BYTES, VolumeId};

impl Bench {
    pub(super) fn event(&mut self, node: usize, event: &Event) {
        self.note(|| format!("node {node}: {event}"));
        match event {
            Event::Disk { old: DiskState::Inconsistent, new: DiskState::UpToDate, .. } => {
                self.ledger.resynced(node);
            }
            Event::Verdict { .. } if self.must_agree => self.defined = true,
            Event::DiskFailed { .. } => self.fail(format!("node {node}: {event}")),
            Event::SplitBrain { .. } | Event::Refused { .. } if self.must_agree => {
                self.fail(format!("node {node}: {event}"));
            }
            _ => {}
        }
    }

    /// A block that differs is marked, or would be if the nodes parted now.
    pub(super) fn check_covered(&mut self) {
        let ids: [Option<VolumeId>; 2] = [0, 1].map(|node| {
            self.engine(node).and_then(|engine| engine.out_of_sync(VOLUME)).map(|_| VOLUME)
        });
        if !self.defined || ids.contains(&None) || self.wrong.is_some() {
            return;
        }
        let per_block = BLOCK_BYTES / SECTOR_BYTES;
        let covers =
            |node, block| self.engine(node).is_some_and(|engine| engine.covers(VOLUME, block));
        let bare = self.differing().find(|sector| {
            let block = sector / per_block;
            !covers(0, block) && !covers(1, block)
        });
        if let Some(sector) = bare {
            let [one, other] = [0, 1].map(|node: usize| self.nodes[node].platter.content(sector));
            self.fail(format!(
                "sector {sector} differs ({one:?} and {other:?}), and no node has it marked"
            ));
        }
    }

    /// The sectors of data that differ between the disks.
    pub(in crate::crash_states) fn differing(&self) -> impl Iterator<Item = u64> {
        let end = self.layout.data_bytes() / SECTOR_BYTES;
        let [one, other] = [0, 1].map(|node: usize| &self.nodes[node].platter);
        let used = one.used().chain(other.used()).filter(move |sector| *sector < end);
        used.filter(|&sector| one.content(sector) != other.content(sector))
    }

    /// Whether both nodes are UpToDate and replicate, with nothing to do.
    pub(in crate::crash_states) fn at_rest(&self) -> bool {
        let rests = |node: usize| {
            let Some(engine) = self.engine(node) else { return false };
            let status = engine.status();
            let volume = &status.volumes[0];
            status.established
                && volume.disk == DiskState::UpToDate
                && volume.peer_disk == DiskState::UpToDate
                && volume.resync.is_none()
                && volume.out_of_sync_blocks == 0
        };
        rests(0) && rests(1) && self.is_quiet()
    }

    /// The first finding counts.
    pub(in crate::crash_states) fn fail(&mut self, text: String) {
        self.note(|| format!("WRONG: {text}"));
        self.wrong.get_or_insert(text);
    }

    pub(super) fn describe(&self, node: usize) -> String {
        let Some(engine) = self.engine(node) else { return format!("node {node} is off") };
        let status = engine.status();
        let volume = &status.volumes[0];
        format!(
            "node {node}: {} {} disk {} peer {} {} marked {}, refused: {:?}",
            status.role,
            status.connection,
            volume.disk,
            volume.peer_disk,
            volume.replication,
            volume.out_of_sync_blocks,
            status.last_refusal
        )
    }
}
