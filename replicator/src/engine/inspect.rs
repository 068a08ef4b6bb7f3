//! Looking at what the peer has, without joining it: for the report on a split brain and for
//! `connect --tentative`.
//!
//! Whoever is asked says its state and its marks, and good-bye. It does so also while it stands
//! alone, and nothing of its own work waits or changes. Whoever asks judges as in a handshake, and
//! does nothing about it.

use super::Engine;
use super::command::Stage;
use super::judge::side;
use super::link::{Link, Loss, Phase};
use crate::effect::{Effect, Effects, Refusal};
use crate::input::Command;
use crate::inspection::{InspectedCopy, InspectedVolume, Inspection, Marks};
use crate::wire::{Message, Purpose, State};
use metadata::{OutOfSync, Side, Verdict, decide, rle, settle};
use types::{BlockRange, Protocol};

/// What the peer has told so far.
#[derive(Debug, Default)]
pub(super) struct Look {
    state: Option<Box<State>>,
    /// Of each volume, as far as this node knows its size.
    marks: Vec<OutOfSync>,
    resumable: Vec<bool>,
}

impl Engine {
    /// A step of looking at the peer.
    pub(super) fn pump_inspect(
        &mut self,
        stage: Stage,
        out: &mut Effects,
    ) -> Result<Option<Stage>, Refusal> {
        if stage != Stage::Start {
            // Answered by the end of the inspection.
            return Ok(Some(stage));
        }
        if self.link.as_ref().is_some_and(Link::established) {
            let report = self.report(None, Some("the nodes are connected".to_owned()));
            out.push(Effect::Inspected(Box::new(report)));
            return Ok(None);
        }
        if self.link.is_some() || self.dial.is_under_way() {
            // Whatever is being tried ends soon.
            return Ok(Some(Stage::Start));
        }
        self.look = Some(Look::default());
        self.dial.inspect = true;
        self.pump_dial(out);
        Ok(Some(Stage::Granted))
    }

    /// The peer is who it should be, and one of the two only looks.
    pub(super) fn begin_inspection(&mut self, out: &mut Effects) {
        let link = self.link.as_mut().expect("in a handshake");
        link.phase = Phase::Inspecting;
        if link.hello.purpose == Purpose::Inspect {
            return;
        }
        let state = self.make_state();
        self.send(Message::State(Box::new(state)), out);
        for v in 0..self.volumes.len() {
            self.send_bitmap(v, out);
        }
        self.send(Message::Bye, out);
    }

    /// Whether messages are about a look at the peer, by this node.
    pub(super) fn is_looking(&self) -> bool {
        let looks =
            |link: &Link| link.phase == Phase::Inspecting && link.hello.purpose == Purpose::Inspect;
        self.link.as_ref().is_some_and(looks)
    }

    pub(super) fn on_inspected_state(&mut self, state: Box<State>, out: &mut Effects) {
        let known = state.volumes.len() == self.volumes.len();
        let first = self.look.as_ref().is_some_and(|look| look.state.is_none());
        if !known || !first {
            return self.protocol_error("a state that was not asked for", out);
        }
        let resumable = (0..self.volumes.len()).map(|v| self.resumable(v)).collect();
        let marks = (state.volumes.iter().zip(&self.volumes))
            .map(|(theirs, vol)| {
                let data = vol.meta.as_ref().map_or(vol.size, |meta| meta.layout.data_bytes());
                let size = if data == 0 { theirs.disk_bytes.min(UNKNOWN_BYTES_MAX) } else { data };
                OutOfSync::new(size)
            })
            .collect();
        self.look = Some(Look { state: Some(state), marks, resumable });
    }

    pub(super) fn on_inspected_bitmap(
        &mut self,
        v: usize,
        from: u64,
        runs: &[u8],
        out: &mut Effects,
    ) {
        let marks = self.look.as_mut().and_then(|look| look.marks.get_mut(v));
        let decoded = rle::decode(runs, from, u64::MAX >> 13);
        let (Some(marks), Ok((runs, _))) = (marks, decoded) else {
            return self.protocol_error("a bitmap that was not asked for", out);
        };
        let end = marks.blocks();
        for run in runs {
            marks.set(BlockRange::new(run.start.min(end), run.end.min(end)));
        }
    }

    /// The peer has told everything, or something came between.
    pub(super) fn end_inspection(&mut self, result: Result<(), String>, out: &mut Effects) {
        let Some(look) = self.look.take() else { return };
        self.dial.inspect = false;
        let told = look.state.is_some();
        let silent = match result {
            Ok(()) if told => None,
            Ok(()) => Some("it said nothing".to_owned()),
            Err(why) => Some(why),
        };
        let report = self.report(silent.is_none().then_some(&look), silent);
        out.push(Effect::Inspected(Box::new(report)));
        if let Some(running) = &self.running
            && matches!(running.command, Command::Inspect)
        {
            self.finish_command(Ok(()), out);
        }
        if self.link.as_ref().is_some_and(Link::inspects) {
            self.drop_link(Loss::Broken, "everything was said", out);
        }
        self.touch_all();
    }

    fn report(&mut self, look: Option<&Look>, peer_silent: Option<String>) -> Inspection {
        let mine = self.make_state();
        let theirs = look.and_then(|look| look.state.as_deref());
        let volumes = (0..self.volumes.len()).map(|v| self.report_volume(v, &mine, look));
        Inspection {
            peer_silent,
            peer_primary: theirs.map(|theirs| theirs.primary),
            volumes: volumes.collect(),
        }
    }

    fn report_volume(&self, v: usize, mine: &State, look: Option<&Look>) -> InspectedVolume {
        let vol = &self.volumes[v];
        let resumable = look.is_some_and(|look| look.resumable.get(v) == Some(&true));
        let me = side(self.config.node, mine, v, resumable);
        let here = vol.meta.as_ref().map(|meta| copy(&me, Marks::of(&meta.bitmap)));
        let mut report = InspectedVolume {
            id: vol.id,
            here,
            there: None,
            overlap: Marks::default(),
            union_blocks: vol.dirty_blocks(),
            decision: None,
            settlement: None,
        };
        let Some(look) = look else { return report };
        let (Some(theirs), Some(marks)) = (&look.state, look.marks.get(v)) else { return report };
        let peer = side(self.config.peer(), theirs, v, resumable);
        let there = Marks::of(marks);
        if let Some(meta) = &vol.meta {
            report.overlap = Marks::of_both(&meta.bitmap, marks);
        }
        report.union_blocks = vol.dirty_blocks() + there.blocks - report.overlap.blocks;
        let has_disk = theirs.volumes[v].disk_bytes > 0;
        report.there = has_disk.then(|| copy(&peer, there));
        let decision = decide(&me, &peer, Protocol::C);
        if let Verdict::SplitBrain { automatic } = decision.verdict {
            let policies = &self.config.options.after_sb;
            report.settlement = Some(settle(&me, &peer, automatic, policies));
        }
        report.decision = Some(decision);
        report
    }
}

/// Where this node does not know the size of a volume, marks of the peer beyond this (1 TiB, 32 MiB
/// of bitmap) are not looked at: memory is not taken on the word of a peer.
const UNKNOWN_BYTES_MAX: u64 = 1 << 40;

fn copy(side: &Side, marks: Marks) -> InspectedCopy {
    InspectedCopy {
        disk: side.disk,
        primary: side.primary,
        crashed_primary: side.crashed_primary,
        full_sync: side.full_sync,
        generations: side.generations.clone(),
        marks,
    }
}
