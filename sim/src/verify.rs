//! Verifies that an operator orders while everything goes on, and what must be true of them: without
//! damage there is no difference, and what is through has looked at every block.

use crate::marks::Mark;
use crate::node::{Order, VOLUMES};
use crate::plan::Class;
use crate::world::{Event, World};
use replicator::wire::Message;
use replicator::{Command, Event as EngineEvent, Refusal, VerifyReport};
use std::collections::{BTreeMap, BTreeSet};
use types::{BLOCK_BYTES, Prng, ReplicationState, SECTOR_BYTES, Span, blocks_of};

const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;

/// What is known of the verifies under way, by node and volume.
#[derive(Debug, Default)]
pub(crate) struct Verifies(BTreeMap<(usize, usize), Verifying>);

#[derive(Debug)]
struct Verifying {
    /// As the node that drives it has named it.
    id: Option<u64>,
    /// How many blocks it is to compare.
    wanted: u64,
    /// What the other node has answered for.
    answered: BTreeSet<u64>,
}

impl Verifies {
    /// A node is gone, and what it verified with it.
    pub(crate) fn gone(&mut self, node: usize) {
        self.0.retain(|(at, _), _| *at != node);
    }
}

impl World {
    /// The operator orders a verify, or ends one; and comes again.
    pub(crate) fn verify_by_order(&mut self, fault: usize, node: usize, volume: usize, seed: u64) {
        let rng = &mut Prng::new(seed ^ self.now.0);
        let again = self.now + Span::millis(rng.between(1, 400));
        self.schedule(again, Event::Fault(fault));
        let ends = self.nodes[node].orders.values().any(|(order, _)| *order == Order::Stop);
        let Some(status) = self.status(node).filter(|_| !ends) else { return };
        if self.nodes[node].is_paused(self.now) {
            return;
        }
        let status = &status.volumes[volume];
        if status.verify.is_some() {
            if rng.chance(1, 5) {
                let command = Command::CancelVerify { volume: VOLUMES[volume] };
                self.order(node, Order::Other, command);
            }
            return;
        }
        let size = blocks_of(status.size_bytes);
        let place = *rng.pick(&self.plan.places[volume]) / BLOCK_BYTES;
        let first = place.saturating_sub(rng.below(70));
        let whole = size < 30_000 && rng.chance(1, 8);
        let (first, end) =
            if whole { (0, size) } else { (first, size.min(first + rng.between(1, 150))) };
        let calm = self.is_calm() && status.replication == ReplicationState::Established;
        let stop = (!whole).then_some(end * PER_BLOCK);
        let command = Command::Verify { volume: VOLUMES[volume], start: first * PER_BLOCK, stop };
        let order = Order::Verify { volume, blocks: end.saturating_sub(first), calm };
        self.order(node, order, command);
    }

    /// An order to verify is answered: before the first message of it is.
    pub(crate) fn verify_ordered(
        &mut self,
        node: usize,
        (volume, wanted, calm): (usize, u64, bool),
        result: Result<(), Refusal>,
    ) {
        match result {
            Ok(()) => {
                let verifying = Verifying { id: None, wanted, answered: BTreeSet::new() };
                self.verifies.0.insert((node, volume), verifying);
            }
            Err(refusal) if calm || refusal.text.is_empty() => {
                let text = format!("node {node} does not verify: {}", refusal.text);
                self.fail("answers", text);
            }
            Err(_) => self.marks.hit(Mark::VerifyRefused),
        }
    }

    /// A message comes in.
    pub(crate) fn verify_heard(&mut self, node: usize, message: &Message) {
        let Message::VerifyReply { volume, id, range, digests: Some(_) } = message else { return };
        let at = (node, usize::from(volume.0));
        let Some(verifying) = self.verifies.0.get_mut(&at) else { return };
        if verifying.id == Some(*id) {
            let blocks = range.blocks();
            verifying.answered.extend(blocks.start..blocks.end);
        }
    }

    /// A message goes out.
    pub(crate) fn verify_said(&mut self, node: usize, message: &Message) {
        match message {
            Message::VerifyRequest { volume, id, locked, .. } => {
                if *locked {
                    self.marks.hit(Mark::VerifyAgain);
                }
                let at = (node, usize::from(volume.0));
                if let Some(verifying) = self.verifies.0.get_mut(&at) {
                    verifying.id = Some(*id);
                }
            }
            Message::VerifyOutOfSync { blocks, .. } if self.class() != Class::Scripted => {
                let text = format!("node {node} finds differences in (block, count) {blocks:?}");
                self.fail("verify", text);
            }
            _ => {}
        }
    }

    pub(crate) fn verify_event(&mut self, node: usize, event: &EngineEvent) {
        match event {
            EngineEvent::Conflict { volume, .. } => {
                let at = usize::from(volume.0);
                if self.verifies.0.keys().any(|(_, volume)| *volume == at) {
                    self.marks.hit(Mark::VerifyConflict);
                }
            }
            EngineEvent::Replication { old, new: ReplicationState::VerifyS, .. }
                if *old == ReplicationState::Established =>
            {
                // Of the join before: it goes on in its session.
                let at = (node, event.volume().map_or(0, |volume| usize::from(volume.0)));
                if self.verifies.0.contains_key(&at) {
                    self.marks.hit(Mark::VerifyResumed);
                }
            }
            EngineEvent::Verified { volume, report } if report.requester => {
                let ended = self.verifies.0.remove(&(node, usize::from(volume.0)));
                self.check_verified(node, ended.as_ref(), report);
            }
            _ => {}
        }
    }

    fn check_verified(&mut self, node: usize, ended: Option<&Verifying>, report: &VerifyReport) {
        self.marks.hit(if report.complete { Mark::VerifyDone } else { Mark::VerifyInterrupted });
        let Some(Verifying { wanted, answered, .. }) = ended else { return };
        // Without text nothing was unreadable.
        if !report.complete || !report.text.is_empty() {
            return;
        }
        let looked = answered.len() as u64;
        if report.compared_blocks != *wanted || looked != *wanted {
            let text = format!(
                "node {node} says that it has compared {} blocks; it was to compare {wanted}, and \
                 the other has answered for {looked}",
                report.compared_blocks
            );
            self.fail("verify", text);
        }
    }
}
