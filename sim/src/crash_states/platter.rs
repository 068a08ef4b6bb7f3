//! A disk that remembers every content of each sector since its last completed flush.
//!
//! Whatever is written takes effect when it starts; until a flush that began after its end has
//! ended, each of its sectors may, at a loss of power, keep any content that it had since the one
//! that is durable, whatever the other sectors keep. That is all subsets, all orders and all
//! tearings at once. A batch of metadata, and a write with FUA, makes only its own sectors durable.

use crate::content::{Content, bytes_of, map_of, sectors_of};
use crate::disk::sectors;
use bytes::Bytes;
use metadata::Batch;
use replicator::DiskOp;
use std::collections::BTreeMap;
use types::{ByteRange, StatusMap};

/// No state has more sectors of doubtful content: 2 to the power of it is what one can try.
pub(super) const DOUBTFUL_MAX: usize = 12;

/// The contents of a whole disk; sectors that are not here are zero.
pub(super) type Image = BTreeMap<u64, Content>;

/// Names an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Op(pub(super) u64);

#[derive(Clone, Debug)]
enum Work {
    Read(ByteRange),
    Map(ByteRange),
    /// These sectors have their new content; durable at the end, or only ended.
    Write {
        sectors: Vec<u64>,
        durable: bool,
    },
    /// Makes durable what had ended by then.
    Flush {
        ended: u64,
    },
}

/// A content that a sector got after the one that is durable.
#[derive(Clone, Debug)]
struct Version {
    op: Op,
    /// When its operation ended, counted in operations; `None` while it is in flight.
    ended: Option<u64>,
    content: Content,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    durable: Image,
    /// Never empty for a sector that is here.
    later: BTreeMap<u64, Vec<Version>>,
    in_flight: BTreeMap<Op, Work>,
    next: u64,
    ended: u64,
}

impl Platter {
    /// A disk with that content, all of it durable.
    pub(super) fn of(image: Image) -> Self {
        Self { durable: image, ..Self::default() }
    }

    /// Writes a batch, durably and at once: for what was there before anything began.
    pub(super) fn preset(&mut self, batch: &Batch) {
        let op = self.start_batch(batch);
        self.end(op);
    }

    /// Starts an operation of the engine.
    pub(super) fn start(&mut self, op: &DiskOp) -> Op {
        match op {
            DiskOp::Read(range) => self.launch(Work::Read(*range)),
            DiskOp::Map(range) => self.launch(Work::Map(*range)),
            DiskOp::Write { range, data, fua } => {
                self.write(sectors(*range).zip(sectors_of(data)).collect(), *fua)
            }
            DiskOp::Zero { range, fua, .. } => {
                // What is zero and nothing else need not be made so.
                let used = |sector: &u64| {
                    self.durable.contains_key(sector) || self.later.contains_key(sector)
                };
                let used = sectors(*range).filter(used);
                self.write(used.map(|sector| (sector, Content::Zero)).collect(), *fua)
            }
            DiskOp::Flush => self.launch(Work::Flush { ended: self.ended }),
        }
    }

    /// Starts a batch of metadata.
    pub(super) fn start_batch(&mut self, batch: &Batch) -> Op {
        let range = |offset, data: &Bytes| sectors(ByteRange::new(offset, data.len() as u64));
        let all = batch.writes.iter();
        let all = all.flat_map(|write| {
            range(write.offset, &write.data).zip(sectors_of(&write.data)).collect::<Vec<_>>()
        });
        self.write(all.collect(), true)
    }

    /// Ends an operation. Gives what a read has read.
    pub(super) fn end(&mut self, op: Op) -> Bytes {
        self.ended += 1;
        match self.in_flight.remove(&op).expect("only what is in flight ends") {
            Work::Read(range) => return self.read(range),
            Work::Map(range) => return map_of(&self.read(range), StatusMap::ZERO).encode().into(),
            Work::Write { sectors, durable } => {
                for sector in sectors {
                    self.sector_ended(op, sector, durable);
                }
            }
            Work::Flush { ended } => {
                for sector in self.later.keys().copied().collect::<Vec<_>>() {
                    let covered = |version: &Version| version.ended.is_some_and(|at| at <= ended);
                    let last = self.later[&sector].iter().rposition(covered);
                    last.into_iter().for_each(|at| self.settle(sector, at));
                }
            }
        }
        Bytes::new()
    }

    /// What a range reads as now.
    pub(super) fn read(&self, range: ByteRange) -> Bytes {
        let contents: Vec<Content> = sectors(range).map(|sector| self.content(sector)).collect();
        bytes_of(contents.iter())
    }

    /// What a sector reads as now.
    pub(super) fn content(&self, sector: u64) -> Content {
        let later = self.later.get(&sector).and_then(|later| later.last());
        let durable = || self.durable.get(&sector).cloned().unwrap_or_default();
        later.map_or_else(durable, |version| version.content.clone())
    }

    /// The sectors that hold, or held, anything.
    pub(super) fn used(&self) -> impl Iterator<Item = u64> {
        self.durable.keys().chain(self.later.keys()).copied()
    }

    /// What it holds if all that can be lost is lost.
    pub(super) const fn durable_image(&self) -> &Image {
        &self.durable
    }

    /// What it holds if nothing is lost.
    pub(super) fn newest_image(&self) -> Image {
        let mut image = self.durable.clone();
        for &sector in self.later.keys() {
            put(&mut image, sector, self.content(sector));
        }
        image
    }

    /// The different images that a loss of power can leave.
    ///
    /// # Panics
    /// If more than [`DOUBTFUL_MAX`] sectors may keep more than one content.
    pub(super) fn images(&self) -> Vec<Image> {
        let mut images = vec![self.durable.clone()];
        let mut doubtful = 0;
        for (&sector, later) in &self.later {
            let mut contents = vec![self.durable.get(&sector).cloned().unwrap_or_default()];
            for version in later {
                if !contents.contains(&version.content) {
                    contents.push(version.content.clone());
                }
            }
            doubtful += usize::from(contents.len() > 1);
            assert!(doubtful <= DOUBTFUL_MAX, "the script leaves too many sectors unflushed");
            let with = |image: &Image, content: &Content| {
                let mut image = image.clone();
                put(&mut image, sector, content.clone());
                image
            };
            let more = contents[1..].iter();
            let more = more.flat_map(|content| images.iter().map(move |one| with(one, content)));
            let more: Vec<Image> = more.collect();
            images.extend(more);
        }
        images
    }

    fn write(&mut self, contents: Vec<(u64, Content)>, durable: bool) -> Op {
        let sectors = contents.iter().map(|(sector, _)| *sector).collect();
        let op = self.launch(Work::Write { sectors, durable });
        for (sector, content) in contents {
            let later = self.later.entry(sector).or_default();
            let ordered = later.iter().all(|version| version.ended.is_some());
            assert!(ordered, "two writes of sector {sector} are in flight at once");
            later.push(Version { op, ended: None, content });
        }
        op
    }

    fn launch(&mut self, work: Work) -> Op {
        self.next += 1;
        self.in_flight.insert(Op(self.next), work);
        Op(self.next)
    }

    fn sector_ended(&mut self, op: Op, sector: u64, durable: bool) {
        let Some(later) = self.later.get_mut(&sector) else { return };
        let Some(at) = later.iter().position(|version| version.op == op) else { return };
        later[at].ended = Some(self.ended);
        if durable {
            self.settle(sector, at);
        }
    }

    /// The version number `at` of a sector is durable, and those before it are no more.
    fn settle(&mut self, sector: u64, at: usize) {
        let later = self.later.get_mut(&sector).expect("the caller has found it");
        let last = later.drain(..=at).next_back().expect("the range is not empty");
        if later.is_empty() {
            self.later.remove(&sector);
        }
        put(&mut self.durable, sector, last.content);
    }
}

fn put(image: &mut Image, sector: u64, content: Content) {
    if content == Content::Zero {
        image.remove(&sector);
    } else {
        image.insert(sector, content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::bytes_of_tag;

    fn write(platter: &mut Platter, sector: u64, count: u64, tag: u64) -> Op {
        let range = ByteRange::new(sector * 512, count * 512);
        let data = bytes_of_tag(tag, range.len);
        platter.start(&DiskOp::Write { range, data, fua: false })
    }

    fn tags(platter: &Platter) -> Vec<[u64; 2]> {
        let tag = |image: &Image, at| image.get(&at).and_then(Content::tag).unwrap_or_default();
        let images = platter.images();
        let mut found: Vec<_> = images.iter().map(|one| [0, 1].map(|at| tag(one, at))).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn every_sector_keeps_any_of_its_contents() {
        let mut platter = Platter::default();
        let first = write(&mut platter, 0, 2, 1);
        assert_eq!(tags(&platter), [[0, 0], [0, 1], [1, 0], [1, 1]]);
        platter.end(first);
        write(&mut platter, 1, 1, 2);
        assert_eq!(tags(&platter), [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
    }

    #[test]
    fn a_flush_covers_what_had_ended_when_it_began() {
        let mut platter = Platter::default();
        let first = write(&mut platter, 0, 1, 1);
        platter.end(first);
        let late = write(&mut platter, 1, 1, 2);
        let flush = platter.start(&DiskOp::Flush);
        platter.end(late);
        assert_eq!(platter.images().len(), 4);
        platter.end(flush);
        assert_eq!(tags(&platter), [[1, 0], [1, 2]]);
        assert_eq!(platter.durable_image().len(), 1);
        assert_eq!(platter.newest_image().len(), 2);
    }

    #[test]
    fn a_batch_makes_itself_durable_and_nothing_else() {
        let mut platter = Platter::default();
        let data = write(&mut platter, 0, 2, 1);
        platter.end(data);
        platter.preset(&Batch::one(4096, vec![7; 4096]));
        assert_eq!(tags(&platter).len(), 4);
        assert!(platter.images().iter().all(|image| image.contains_key(&15)));
    }
}
