//! Oracle: a block that differs between the disks is covered, at every instant.
//!
//! Covered means that some node would resynchronise it if the two met anew: a running engine has
//! it marked, or would mark it if the peer were lost now; or the metadata that a dead node would
//! recover has it marked.

use crate::disk::Touched;
use crate::node::VOLUMES;
use crate::world::World;
use std::collections::BTreeSet;
use types::{BLOCK_BYTES, SECTOR_BYTES};

const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;
/// With more differing sectors than this, only what was touched is looked at after every event,
/// and all of it after some.
const FEW: usize = 96;
const SOMETIMES: u64 = 16;

/// Where the two disks of each volume differ.
#[derive(Debug)]
pub(crate) struct Coverage {
    differ: Vec<BTreeSet<u64>>,
    touched: Vec<(usize, u64)>,
    /// What a script has damaged: no engine can know of it.
    planted: BTreeSet<(usize, u64)>,
    events: u64,
}

impl Coverage {
    pub(crate) fn new(volumes: usize) -> Self {
        Self {
            differ: vec![BTreeSet::new(); volumes],
            touched: Vec::new(),
            planted: BTreeSet::new(),
            events: 0,
        }
    }

    /// From now on that block may differ unknown to everybody.
    pub(crate) fn plant(&mut self, volume: usize, block: u64) {
        self.planted.insert((volume, block));
    }

    /// The sectors in which the disks of a volume differ.
    pub(crate) fn differing(&self, volume: usize) -> &BTreeSet<u64> {
        &self.differ[volume]
    }
}

impl World {
    /// The content of these sectors may have changed on one of the disks.
    pub(crate) fn coverage_touch(
        &mut self,
        volume: usize,
        touched: impl IntoIterator<Item = Touched>,
    ) {
        let end = self.sizes[volume] / SECTOR_BYTES;
        let [one, other] = [0, 1].map(|node: usize| &self.nodes[node].disks[volume]);
        let differ = &mut self.coverage.differ[volume];
        for range in touched {
            for sector in range.start..range.end.min(end) {
                if one.same(other, sector) {
                    differ.remove(&sector);
                } else {
                    differ.insert(sector);
                    let block = sector / PER_BLOCK;
                    if self.coverage.touched.last() != Some(&(volume, block)) {
                        self.coverage.touched.push((volume, block));
                    }
                }
            }
        }
    }

    pub(crate) fn check_always(&mut self) {
        self.coverage.events += 1;
        let touched = std::mem::take(&mut self.coverage.touched);
        if !self.defined || self.failure.is_some() {
            return;
        }
        let sometimes = self.coverage.events.is_multiple_of(SOMETIMES);
        for volume in 0..VOLUMES.len() {
            let differ = &self.coverage.differ[volume];
            let bare = if differ.len() <= FEW || sometimes {
                let mut blocks: Vec<u64> = differ.iter().map(|sector| sector / PER_BLOCK).collect();
                blocks.dedup();
                blocks.into_iter().find(|&block| !self.is_covered(volume, block))
            } else {
                let here = touched.iter().filter(|(at, _)| *at == volume).map(|(_, block)| *block);
                let still = |block: &u64| {
                    let sectors = block * PER_BLOCK..(block + 1) * PER_BLOCK;
                    differ.range(sectors).next().is_some()
                };
                here.filter(still).find(|&block| !self.is_covered(volume, block))
            };
            if let Some(block) = bare {
                let text = self.describe_difference(volume, block);
                return self.fail("coverage", text);
            }
        }
    }

    fn is_covered(&self, volume: usize, block: u64) -> bool {
        if self.coverage.planted.contains(&(volume, block)) {
            return true;
        }
        let id = VOLUMES[volume];
        self.nodes.iter().any(|node| match node.engine() {
            Some(engine) if engine.out_of_sync(id).is_some() => engine.covers(id, block),
            // Without its disk it still knows what it has under way.
            Some(engine) if self.class().loses_disks() && engine.covers(id, block) => true,
            _ => (node.offline[volume].as_ref())
                .is_some_and(|marks| block < marks.blocks() && marks.get(block)),
        })
    }

    fn describe_difference(&self, volume: usize, block: u64) -> String {
        let tags = |node: usize| -> Vec<String> {
            let sectors = block * PER_BLOCK..(block + 1) * PER_BLOCK;
            let disk = &self.nodes[node].disks[volume];
            sectors
                .map(|s| disk.content(s).tag().map_or_else(|| "?".into(), |t| t.to_string()))
                .collect()
        };
        format!(
            "volume {volume} block {block} (byte {}) differs and no node has it marked:\n    \
             node 0: {}\n    node 1: {}",
            block * BLOCK_BYTES,
            tags(0).join(" "),
            tags(1).join(" ")
        )
    }
}
