//! What clients were promised, and whether a disk keeps it.

use super::platter::Image;
use crate::content::Content;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a node has of a write that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Has {
    /// Nothing that anybody was promised.
    Nothing,
    /// The write, perhaps in a cache.
    Cached,
    /// The write, after any loss of power.
    Durable,
}

/// A client's write.
#[derive(Clone, Debug)]
struct Write {
    sectors: Range<u64>,
    tag: u64,
    asked: u64,
    answered: Option<u64>,
    fua: bool,
    /// What each node has of it.
    on: [Has; 2],
    /// When somebody was told that it is durable.
    flushed: Option<u64>,
}

/// A client's request, by its place in the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// A write.
    Write(usize),
    /// A flush that was asked for then.
    Flush(u64),
    /// Anything that promises nothing.
    Read,
}

/// All promises.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// The data before the first write.
    pub(super) before: Image,
    writes: Vec<Write>,
    /// Counts questions and answers.
    clock: u64,
}

impl Ledger {
    /// A number that is another one whenever something was asked, promised or lost since.
    pub(super) const fn version(&self) -> u64 {
        self.clock
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A client writes. Gives the number to write there.
    pub(super) fn ask_write(&mut self, sectors: Range<u64>, fua: bool) -> (Entry, u64) {
        let (tag, asked) = (self.writes.len() as u64 + 1, self.tick());
        let on = [Has::Nothing; 2];
        self.writes.push(Write { sectors, tag, asked, answered: None, fua, on, flushed: None });
        (Entry::Write(self.writes.len() - 1), tag)
    }

    /// A client flushes.
    pub(super) fn ask_flush(&mut self) -> Entry {
        Entry::Flush(self.tick())
    }

    /// A request is answered; `nodes` says whose disks took part in it.
    pub(super) fn answered(&mut self, entry: Entry, nodes: [bool; 2]) {
        let now = self.tick();
        match entry {
            Entry::Write(at) => {
                let write = &mut self.writes[at];
                write.answered = Some(now);
                write.flushed = write.fua.then_some(now);
                let kept = if write.fua { Has::Durable } else { Has::Cached };
                for (on, _) in write.on.iter_mut().zip(nodes).filter(|(_, took_part)| *took_part) {
                    *on = kept;
                }
            }
            Entry::Flush(asked) => {
                let covered = |write: &&mut Write| write.answered.is_some_and(|at| at < asked);
                for write in self.writes.iter_mut().filter(covered) {
                    write.flushed.get_or_insert(now);
                    let on = write.on.iter_mut().zip(nodes);
                    let cached = on.filter(|(on, here)| *here && **on == Has::Cached);
                    cached.for_each(|(on, _)| *on = Has::Durable);
                }
            }
            Entry::Read => {}
        }
    }

    /// A resync to this node is done: it has, durably, what the other one has.
    pub(super) fn resynced(&mut self, node: usize) {
        self.tick();
        for write in self.writes.iter_mut().filter(|write| write.answered.is_some()) {
            if write.on[node] == Has::Nothing && write.on[1 - node] != Has::Nothing {
                write.on[node] = Has::Durable;
            }
        }
    }

    /// What only the cache of this node had is no longer promised.
    pub(super) fn lose_cache(&mut self, node: usize) {
        self.tick();
        for write in self.writes.iter_mut().filter(|write| write.on[node] == Has::Cached) {
            write.on[node] = Has::Nothing;
        }
    }

    /// Nothing is promised by this node any more: the other one counts.
    pub(super) fn overruled(&mut self, node: usize) {
        self.tick();
        self.writes.iter_mut().for_each(|write| write.on[node] = Has::Nothing);
    }

    /// Checks data that is given out as good by a node that has nobody to ask.
    ///
    /// # Errors
    /// If it lacks what is durable there, or is no state that ever was: it holds a write, and
    /// not one that was durable before that one was asked for.
    pub(super) fn check_alone(&self, node: usize, data: &Image) -> Result<(), String> {
        self.check(data, |write| write.on[node] == Has::Durable)
    }

    /// Checks data that both nodes have in the end: what was answered is there, as far as a node
    /// that has it kept its cache, and is durable anyhow.
    ///
    /// # Errors
    /// If something else is there.
    pub(super) fn check_both(&self, data: &Image) -> Result<(), String> {
        self.check(data, |write| write.on.iter().any(|on| *on != Has::Nothing))
    }

    fn check(&self, data: &Image, promised: impl Fn(&Write) -> bool) -> Result<(), String> {
        let tag = |sector| data.get(&sector).map_or(Some(0), Content::tag);
        let shows = |write: &&Write| {
            let mut there = write.sectors.clone();
            there.any(|sector| tag(sector) == Some(write.tag))
        };
        let newest = self.writes.iter().rev().find(shows).map_or(0, |write| write.asked);
        let must = |write: &&Write| {
            promised(write) || write.flushed.is_some_and(|flushed| flushed < newest)
        };
        let written = self.writes.iter().flat_map(|write| write.sectors.clone());
        let used: BTreeSet<u64> =
            written.chain(data.keys().copied()).chain(self.before.keys().copied()).collect();
        for sector in used {
            let here = |write: &&Write| write.sectors.contains(&sector);
            let last = self.writes.iter().rev().filter(here).find(must);
            let began = last.map_or(0, |write| write.asked);
            let later = |write: &&Write| write.answered.is_none_or(|at| at >= began);
            let mut allowed: Vec<u64> =
                self.writes.iter().filter(here).filter(later).map(|write| write.tag).collect();
            if last.is_none() {
                allowed.push(self.before.get(&sector).and_then(Content::tag).unwrap_or_default());
            }
            let found = tag(sector);
            if !found.is_some_and(|found| allowed.contains(&found)) {
                let found = found.map_or_else(|| "no data".into(), |found| found.to_string());
                return Err(format!("sector {sector} holds {found}, and {allowed:?} may be there"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(tags: [u64; 2]) -> Image {
        let tags = (0..).zip(tags).filter(|(_, tag)| *tag != 0);
        tags.map(|(sector, tag)| (sector, Content::Tag(tag))).collect()
    }

    #[test]
    fn what_is_durable_must_be_there_and_what_is_answered_where_it_was() {
        let mut ledger = Ledger::default();
        let (first, _) = ledger.ask_write(0..1, false);
        assert!([[0, 0], [1, 0]].iter().all(|tags| ledger.check_both(&data(*tags)).is_ok()));
        ledger.answered(first, [true, true]);
        ledger.check_alone(0, &data([0, 0])).unwrap();
        ledger.check_both(&data([0, 0])).unwrap_err();
        ledger.check_both(&data([1, 0])).unwrap();
        ledger.check_both(&data([1, 7])).unwrap_err();
        ledger.lose_cache(0);
        ledger.check_both(&data([0, 0])).unwrap_err();
        ledger.lose_cache(1);
        ledger.check_both(&data([0, 0])).unwrap();
    }

    #[test]
    fn a_mixture_is_no_state_that_ever_was() {
        let mut ledger = Ledger::default();
        let (first, _) = ledger.ask_write(0..1, false);
        ledger.answered(first, [true, false]);
        let flush = ledger.ask_flush();
        ledger.answered(flush, [true, false]);
        ledger.ask_write(1..2, false);
        ledger.check_alone(0, &data([0, 0])).unwrap_err();
        ledger.check_alone(1, &data([0, 0])).unwrap();
        ledger.check_alone(1, &data([0, 2])).unwrap_err();
        ledger.check_alone(1, &data([1, 2])).unwrap();
        ledger.resynced(1);
        ledger.check_alone(1, &data([0, 0])).unwrap_err();
    }
}
