//! Which part of a world's requests makes a history that must be linearizable.

use crate::client::{Asked, Request};
use crate::disk::sectors;
use crate::history::{BlockId, History, Kind, Op, ZERO};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// The number of the process that reads a disk at the end, plus the node.
const READS_DISK: u64 = 1_000_000;

/// A part of the history. Its blocks are the sectors of the volumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    volume: Option<usize>,
    kind: ViewKind,
}

#[derive(Clone, Copy, Debug)]
enum ViewKind {
    /// Everything, and what both disks hold in the end.
    Whole,
    /// Until both nodes had lost power: what was not answered by then has an unknown end.
    Before(u64),
    /// From then on. Writes that were open at that time may have their effect now.
    After(u64),
    /// What a node knows of: of the other's requests, those that were sent before the two were
    /// parted; in the end, its own disk.
    OfNode(usize, u64),
}

impl View {
    pub(crate) const fn whole() -> Self {
        Self { volume: None, kind: ViewKind::Whole }
    }

    pub(crate) const fn before(era: u64) -> Self {
        Self { volume: None, kind: ViewKind::Before(era) }
    }

    pub(crate) const fn after(era: u64) -> Self {
        Self { volume: None, kind: ViewKind::After(era) }
    }

    pub(crate) const fn of_node(node: usize, parted: u64) -> Self {
        Self { volume: None, kind: ViewKind::OfNode(node, parted) }
    }

    pub(crate) const fn of_volume(self, volume: usize) -> Self {
        Self { volume: Some(volume), ..self }
    }

    /// For the beginning of a sentence.
    pub(crate) fn name(&self) -> String {
        match self.kind {
            ViewKind::Whole => String::new(),
            ViewKind::Before(_) => "before both lost power: ".into(),
            ViewKind::After(_) => "after both lost power: ".into(),
            ViewKind::OfNode(node, _) => format!("as node {node} sees it: "),
        }
    }

    /// When a request began and returned in this view; `None` if it is no part of it.
    fn times(&self, request: &Request) -> Option<(u64, Option<u64>)> {
        let (invoke, ret) = (request.invoke, request.ret);
        match self.kind {
            ViewKind::Whole => Some((invoke, ret)),
            ViewKind::Before(era) => (invoke < era).then(|| (invoke, ret.filter(|ret| *ret < era))),
            ViewKind::After(era) => {
                // A read that was open at that time may have seen what was lost. What an incomplete
                // copy answers while its source is dead is lost with the source's cache.
                let incomplete = request.incomplete;
                let read = matches!(request.asked, Asked::Read | Asked::Allocation);
                let counts = !read || (invoke >= era && !incomplete);
                let open = counts && ret.is_none_or(|ret| ret >= era);
                // Having been open at that time, it may have had its effect before.
                let sure = invoke >= era && !incomplete;
                open.then(|| (invoke.max(era), ret.filter(|_| sure)))
            }
            ViewKind::OfNode(node, _) if request.node == node => Some((invoke, ret)),
            ViewKind::OfNode(_, parted) => {
                (invoke < parted).then(|| (invoke, ret.filter(|ret| *ret < parted)))
            }
        }
    }

    /// Whether what the peer of that node did not have when it took over never was, here: not for a
    /// node that goes on in its own way.
    const fn lacks_lost(&self, request: &Request) -> bool {
        !matches!(self.kind, ViewKind::OfNode(node, _) if node == request.node)
    }

    /// Whose disks are read in the end.
    const fn disks(&self) -> &'static [usize] {
        match self.kind {
            ViewKind::Whole | ViewKind::After(_) => &[0, 1],
            ViewKind::Before(_) => &[],
            ViewKind::OfNode(0, _) => &[0],
            ViewKind::OfNode(..) => &[1],
        }
    }
}

/// The history of a view.
///
/// # Errors
/// If a disk holds what no client writes.
pub(crate) fn history(world: &World, view: &View) -> Result<History, String> {
    let mut history = History::new();
    let mut blocks = BTreeSet::new();
    for request in &world.requests {
        if view.volume.is_some_and(|volume| volume != request.volume)
            || matches!(request.asked, Asked::Flush | Asked::OutOfSync)
        {
            continue;
        }
        // A sector counts even if the request does not: its final content must be explained.
        let ids = sectors(request.range).map(|number| block(request.volume, number));
        blocks.extend(ids.clone());
        let Some((invoke, ret)) = view.times(request) else { continue };
        for (i, block) in ids.enumerate() {
            let kind = match request.asked {
                Asked::Write(_) if view.lacks_lost(request) && request.lacks(block.number) => {
                    continue;
                }
                Asked::Write(tag) => Kind::Write(tag),
                Asked::Read | Asked::Allocation => match request.seen.get(i) {
                    Some(&Some(seen)) => {
                        if view.lacks_lost(request) && world.saw_lost(request, block, seen) {
                            continue;
                        }
                        Kind::Read(seen)
                    }
                    Some(None) | None => continue,
                },
                Asked::Flush | Asked::OutOfSync => continue,
            };
            let (process, node) = (request.client, request.node as u8);
            history.push(Op { process, node, block, kind, invoke, ret });
        }
    }
    for &node in view.disks() {
        for &block in &blocks {
            let content = world.nodes[node].disks[usize::from(block.volume)].content(block.number);
            let Some(tag) = content.tag() else {
                return Err(format!("sector {block} of node {node} holds what nobody wrote"));
            };
            history.push(Op {
                process: READS_DISK + node as u64,
                node: node as u8,
                block,
                kind: Kind::Read(tag),
                invoke: u64::MAX - 1,
                ret: Some(u64::MAX),
            });
        }
    }
    Ok(history)
}

const fn block(volume: usize, number: u64) -> BlockId {
    BlockId { volume: volume as u16, number }
}

/// What each block was found to hold after both nodes had lost power.
///
/// # Errors
/// If that is older than something that was flushed, or answered with FUA.
pub(crate) fn survivors(
    world: &World,
    era: u64,
    after: &History,
) -> Result<BTreeMap<BlockId, u64>, String> {
    let mut written: BTreeMap<BlockId, BTreeSet<u64>> = BTreeMap::new();
    for op in after.ops().iter().filter(|op| matches!(op.kind, Kind::Write(_))) {
        written.entry(op.block).or_default().insert(op.value());
    }
    let mut found: BTreeMap<BlockId, u64> = BTreeMap::new();
    for op in after.ops().iter().filter(|op| matches!(op.kind, Kind::Read(_))) {
        let new = written.get(&op.block).is_some_and(|values| values.contains(&op.value()));
        if !new {
            // The first one counts; another one is for the checker to find. Zeros may come from
            // a zeroing, so any other value is the better witness.
            let first = found.entry(op.block).or_insert_with(|| op.value());
            if *first == ZERO {
                *first = op.value();
            }
        }
    }
    for (&block, &value) in &found {
        check_survivor(world, era, block, value)?;
    }
    Ok(found)
}

fn check_survivor(world: &World, era: u64, block: BlockId, value: u64) -> Result<(), String> {
    let here = |request: &&Request| {
        request.volume == usize::from(block.volume)
            && request.invoke < era
            && !request.range.is_empty()
            && sectors(request.range).contains(&block.number)
    };
    let writes: Vec<(&Request, u64)> = world
        .requests
        .iter()
        .filter(here)
        .filter_map(|request| match request.asked {
            Asked::Write(tag) => Some((request, tag)),
            Asked::Read | Asked::Flush | Asked::Allocation | Asked::OutOfSync => None,
        })
        .collect();
    let durable = |request: &Request| {
        let Some(ret) = request.ret.filter(|ret| *ret < era) else { return false };
        let flushed = |flush: &Request| {
            flush.asked == Asked::Flush
                && flush.volume == request.volume
                && flush.invoke > ret
                && flush.ret.is_some_and(|at| at < era)
        };
        request.fua || world.requests.iter().any(flushed)
    };
    // Each may be what survived unless something durable was asked for after it was answered.
    let ends = writes.iter().filter(|(_, tag)| *tag == value).map(|(request, _)| request.ret);
    let ends = ends.chain((value == ZERO).then_some(Some(0)));
    let mut replaced_by = None;
    for end in ends {
        let newer = writes.iter().find(|(other, tag)| {
            *tag != value && end.is_some_and(|end| end < other.invoke) && durable(other)
        });
        match newer {
            None => return Ok(()),
            Some((request, tag)) => replaced_by = Some((request.ret, *tag)),
        }
    }
    match replaced_by {
        Some((ret, tag)) => Err(format!(
            "sector {block} holds {value} after both lost power, but {tag}, answered at {}, was \
             written later and flushed",
            ret.unwrap_or_default()
        )),
        None => Err(format!("sector {block} holds {value} after both lost power: never written")),
    }
}
