//! Oracles at the end, when all has come to rest.

use crate::linear;
use crate::marks::Mark;
use crate::node::VOLUMES;
use crate::oracle::views::{View, history, survivors};
use crate::plan::Class;
use crate::world::World;
use types::SECTOR_BYTES;

impl World {
    /// All is at rest; `first` is the first of the last flushes.
    pub(crate) fn check_end(&mut self, first: usize) {
        let parted = self.is_parted_for_good();
        if !parted {
            self.check_equal();
        }
        self.check_flushed(first);
        if self.failure.is_some() {
            return;
        }
        match self.class() {
            Class::SplitBrain => self.check_parted(parted),
            Class::BothPower => match self.power_era {
                Some(era) => self.check_eras(era),
                None => self.check_view(&View::whole()),
            },
            _ => self.check_view(&View::whole()),
        }
    }

    pub(crate) fn check_equal(&mut self) {
        for volume in 0..VOLUMES.len() {
            let differ = self.coverage.differing(volume);
            if let Some(&sector) = differ.first() {
                let [one, other] = [0, 1]
                    .map(|at: usize| format!("{:?}", self.nodes[at].disks[volume].content(sector)));
                let text = format!(
                    "both disks of volume {volume} are UpToDate and differ in {} sectors, first in \
                     sector {sector} (byte {}): {one} and {other}",
                    differ.len(),
                    sector * SECTOR_BYTES
                );
                return self.fail("convergence", text);
            }
        }
    }

    /// The last flush of a volume was answered, and nothing was written since.
    fn check_flushed(&mut self, first: usize) {
        let parted = self.is_parted_for_good();
        for at in first..self.requests.len() {
            let request = &self.requests[at];
            let (node, volume) = (request.node, request.volume);
            if request.ret.is_none() {
                return self.fail("answers", format!("the last flush of node {node} failed"));
            }
            for disk in [node, 1 - node] {
                // With A and B a flush is about the disk of the node that answers it.
                if disk != node && (parted || self.is_early()) {
                    continue;
                }
                let end = self.sizes[volume];
                let it = &self.nodes[disk].disks[volume];
                let open = |sector: &u64| it.durable(*sector) != it.content(*sector);
                let lost = it.unflushed(0..end / SECTOR_BYTES).find(open);
                if let Some(sector) = lost {
                    let text = format!(
                        "node {node} has answered a flush of volume {volume}, and sector {sector} \
                         of node {disk} is not durable: {:?} would become {:?}",
                        it.content(sector),
                        it.durable(sector)
                    );
                    return self.fail("durability", text);
                }
            }
        }
    }

    pub(crate) fn check_view(&mut self, view: &View) {
        let history = match history(self, view) {
            Ok(history) => history,
            Err(text) => return self.fail("convergence", text),
        };
        if let Err(violation) = linear::check(&history) {
            self.fail("linearizability", format!("{}{violation}", view.name()));
        }
    }

    /// Both lost power: before it all is linearizable; what was flushed survives it; after it all
    /// is linearizable again, from whatever survived.
    fn check_eras(&mut self, era: u64) {
        self.check_view(&View::before(era));
        let after = match history(self, &View::after(era)) {
            Ok(history) => history,
            Err(text) => return self.fail("convergence", text),
        };
        match survivors(self, era, &after) {
            Err(text) => self.fail("durability", text),
            Ok(initial) => {
                let begins = |block| initial.get(&block).copied().unwrap_or_default();
                if let Err(violation) = linear::check_from(&after, begins) {
                    let text = format!("after both lost power: {violation}");
                    self.fail("linearizability", text);
                }
            }
        }
    }

    /// A long partition of two Primaries: each node's own view is that of a register, and two that
    /// both wrote alone have both found it out.
    fn check_parted(&mut self, parted: bool) {
        let Some(at) = self.parted_at else { return self.check_view(&View::whole()) };
        for volume in 0..VOLUMES.len() {
            let owes = |node| self.answers_lost(node, volume);
            let solo = [0, 1].map(|node: usize| self.went_solo[node][volume] || owes(node));
            if solo == [true, true] && !(parted && self.split == [true, true]) {
                let text = format!(
                    "both nodes wrote alone to volume {volume}; split brain found by node 0: {}, \
                     by node 1: {}; stand alone: {parted}",
                    self.split[0], self.split[1]
                );
                return self.fail("split brain", text);
            }
            if solo == [false, false] && !parted {
                self.marks.hit(Mark::NoDivergence);
                self.check_view(&View::whole().of_volume(volume));
            }
            for node in 0..2 {
                if parted || (solo[node] && !solo[1 - node]) {
                    self.check_view(&View::of_node(node, at).of_volume(volume));
                }
            }
        }
    }
}
