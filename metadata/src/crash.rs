//! A disk that loses power: every state that it may be in afterwards.
//!
//! Nothing is assumed of a disk but what a flush promises. Until a flush after it has ended, each
//! sector of a write is on the disk or not, alone and in any order: so after a loss of power each
//! sector has **any of the versions** that it had since the last flush. That covers subsets,
//! orders and tearing at once, and it is exact: no state is left out and none comes twice.
//!
//! For tests and the simulator: small disks, held in memory.

use crate::plan::Batch;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use types::{ByteRange, SECTOR_BYTES};

/// The most states looked at for one loss of power: 12 sectors with three versions each, or 20
/// with two.
pub const MAX_STATES: u64 = 1 << 20;

const SECTOR: usize = SECTOR_BYTES as usize;

/// What a disk was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whole sectors, from a byte offset that is a multiple of 512.
    Write(u64, Bytes),
    /// Everything before it is durable when the next step begins.
    Flush,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Points at which power was lost: before the first step, and after each.
    pub cuts: u64,
    /// States of the disk, over all of these points.
    pub states: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.states += other.states;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cut points, {} states", self.cuts, self.states)
    }
}

/// A disk with a volatile cache.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(crate) durable: Vec<u8>,
    /// By sector, what was written to it since: the number of the write, and the bytes.
    cached: BTreeMap<usize, Vec<(u64, Bytes)>>,
    writes: u64,
}

impl Disk {
    /// A disk of zeros.
    pub fn new(bytes: u64) -> Self {
        Self::of(vec![0; bytes as usize])
    }

    /// A disk with these bytes, durable. A tail that is no whole sector is never written.
    pub const fn of(durable: Vec<u8>) -> Self {
        Self { durable, cached: BTreeMap::new(), writes: 0 }
    }

    /// Its size in bytes.
    pub const fn len(&self) -> u64 {
        self.durable.len() as u64
    }

    /// Whether it has no bytes at all.
    pub const fn is_empty(&self) -> bool {
        self.durable.is_empty()
    }

    /// All bytes, as a reader gets them while power is there.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (&sector, versions) in &self.cached {
            let (_, newest) = versions.last().expect("a cached sector has a version");
            bytes[sector * SECTOR..][..SECTOR].copy_from_slice(newest);
        }
        bytes
    }

    /// The bytes of a range, as [`Disk::bytes`].
    pub fn read(&self, range: ByteRange) -> Vec<u8> {
        let range = range.offset as usize..range.end() as usize;
        if self.cached.is_empty() {
            self.durable[range].to_vec()
        } else {
            self.bytes()[range].to_vec()
        }
    }

    /// Takes a write, and gives it a number for [`Disk::flush_of`].
    ///
    /// # Panics
    /// If it is not of whole sectors within the disk.
    pub fn write(&mut self, offset: u64, data: &Bytes) -> u64 {
        assert!(offset.is_multiple_of(SECTOR_BYTES), "a write at byte {offset}");
        assert!(data.len().is_multiple_of(SECTOR), "a write of {} bytes", data.len());
        assert!(offset + data.len() as u64 <= self.len(), "a write past the end of the disk");
        self.writes += 1;
        for at in (0..data.len()).step_by(SECTOR) {
            let sector = (offset as usize + at) / SECTOR;
            let version = (self.writes, data.slice(at..at + SECTOR));
            self.cached.entry(sector).or_default().push(version);
        }
        self.writes
    }

    /// A flush has ended that covers every write so far.
    pub fn flush(&mut self) {
        self.flush_of(|_| true);
    }

    /// A flush has ended that covers the writes of these numbers, and so what they overwrote.
    pub fn flush_of(&mut self, covered: impl Fn(u64) -> bool) {
        let durable = &mut self.durable;
        self.cached.retain(|&sector, versions| {
            if let Some(newest) = versions.iter().rposition(|&(number, _)| covered(number)) {
                durable[sector * SECTOR..][..SECTOR].copy_from_slice(&versions[newest].1);
                versions.drain(..=newest);
            }
            !versions.is_empty()
        });
    }

    /// Does a step.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Write(offset, data) => {
                self.write(*offset, data);
            }
            Step::Flush => self.flush(),
        }
    }

    /// All of the batch, and a flush.
    pub fn apply(&mut self, batch: &Batch) {
        steps(std::slice::from_ref(batch)).iter().for_each(|step| self.step(step));
    }

    /// Calls `look` with the disk after each way in which power may be lost before the flush of
    /// the batch.
    #[cfg(test)]
    pub(crate) fn each_crash(&self, batch: &Batch, mut look: impl FnMut(Self)) {
        let mut disk = self.clone();
        batch.writes.iter().for_each(|write| {
            disk.write(write.offset, &write.data);
        });
        disk.each_state(|state| look(Self::of(state.to_vec())));
    }

    /// Calls `look` with every state that the disk may be in if power is lost now, and says how
    /// many there are.
    ///
    /// # Panics
    /// If there are more than [`MAX_STATES`].
    pub fn each_state(&self, mut look: impl FnMut(&[u8])) -> u64 {
        let sectors: Vec<(usize, Vec<&[u8]>)> =
            self.cached.iter().map(|(&sector, _)| (sector, self.versions(sector))).collect();
        let states = sectors.iter().try_fold(1u64, |n, (_, v)| n.checked_mul(v.len() as u64));
        let states = states.filter(|&states| states <= MAX_STATES).unwrap_or_else(|| {
            panic!("too many states to look at all of them: {} unflushed sectors", sectors.len())
        });
        let mut state = self.durable.clone();
        let mut chosen = vec![0; sectors.len()];
        loop {
            look(&state);
            // As an odometer counts: the first sector that has a next version gets it, and those
            // before it start over.
            let next = (0..sectors.len()).find(|&i| chosen[i] + 1 < sectors[i].1.len());
            let last = next.unwrap_or(sectors.len());
            chosen[..last].fill(0);
            if let Some(i) = next {
                chosen[i] += 1;
            }
            for ((sector, versions), &version) in sectors.iter().zip(&chosen).take(last + 1) {
                state[sector * SECTOR..][..SECTOR].copy_from_slice(versions[version]);
            }
            if next.is_none() {
                return states;
            }
        }
    }

    /// What may be in a sector: what is durable, and what is not, each once.
    fn versions(&self, sector: usize) -> Vec<&[u8]> {
        let mut versions = vec![&self.durable[sector * SECTOR..][..SECTOR]];
        for (_, bytes) in self.cached.get(&sector).into_iter().flatten() {
            if !versions.contains(&&bytes[..]) {
                versions.push(bytes);
            }
        }
        versions
    }
}

/// The steps that carry out batches, each durable before the next.
pub fn steps(batches: &[Batch]) -> Vec<Step> {
    let mut steps = Vec::new();
    for batch in batches {
        let write = |write: &crate::plan::MetaWrite| Step::Write(write.offset, write.data.clone());
        steps.extend(batch.writes.iter().map(write));
        steps.push(Step::Flush);
    }
    steps
}

/// Calls `look` with every state that the disk may be in if power is lost before the first step or
/// after any; with the number of steps done. (Within a write is what is there after it; within a
/// flush is what is there before it.)
///
/// # Panics
/// As [`Disk::each_state`].
pub fn each_crash(before: &[u8], steps: &[Step], mut look: impl FnMut(usize, &[u8])) -> Figures {
    let mut disk = Disk::of(before.to_vec());
    let mut figures = Figures { cuts: 1, states: disk.each_state(|state| look(0, state)) };
    for (i, step) in steps.iter().enumerate() {
        disk.step(step);
        figures.cuts += 1;
        figures.states += disk.each_state(|state| look(i + 1, state));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sectors(values: &[u8]) -> Bytes {
        values.iter().flat_map(|&value| [value; SECTOR]).collect()
    }

    /// The first byte of each sector of each state.
    fn seen(disk: &Disk) -> BTreeSet<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let states = disk.each_state(|state| {
            assert!(state.chunks(SECTOR).all(|sector| sector.iter().all(|b| *b == sector[0])));
            assert!(seen.insert(state.iter().step_by(SECTOR).copied().collect()), "twice");
        });
        assert_eq!(states, seen.len() as u64);
        seen
    }

    #[test]
    fn each_sector_has_any_version_since_the_flush() {
        let mut disk = Disk::new(3 * SECTOR_BYTES);
        assert_eq!(seen(&disk), BTreeSet::from([vec![0, 0, 0]]));
        disk.write(0, &sectors(&[1, 1]));
        disk.write(512, &sectors(&[2, 0]));
        disk.write(512, &sectors(&[1]));
        let expected = [0, 1].into_iter().flat_map(|a| [0, 1, 2].map(|b| vec![a, b, 0]));
        assert_eq!(seen(&disk), expected.collect());
        assert_eq!(disk.bytes()[..1024], sectors(&[1, 1]));
        disk.flush();
        assert_eq!(seen(&disk), BTreeSet::from([vec![1, 1, 0]]));
    }

    #[test]
    fn a_flush_covers_what_it_says() {
        let mut disk = Disk::new(2 * SECTOR_BYTES);
        let first = disk.write(0, &sectors(&[1, 1]));
        disk.write(512, &sectors(&[2]));
        disk.flush_of(|number| number == first);
        assert_eq!(seen(&disk), BTreeSet::from([vec![1, 1], vec![1, 2]]));
    }

    #[test]
    fn power_may_go_before_and_after_every_step() {
        let steps = [
            Step::Write(0, sectors(&[1])),
            Step::Flush,
            Step::Write(0, sectors(&[2, 2])),
            Step::Flush,
        ];
        let mut seen = vec![BTreeSet::new(); 5];
        let figures = each_crash(&[0; 1024], &steps, |cut, state| {
            seen[cut].insert((state[0], state[512]));
        });
        assert_eq!(figures, Figures { cuts: 5, states: 1 + 2 + 1 + 4 + 1 });
        assert_eq!(seen[1], BTreeSet::from([(0, 0), (1, 0)]));
        assert_eq!(seen[3], BTreeSet::from([(1, 0), (2, 0), (1, 2), (2, 2)]));
        assert_eq!(seen[4], BTreeSet::from([(2, 2)]));
    }

    #[test]
    #[should_panic(expected = "too many states to look at all of them: 21 unflushed sectors")]
    fn what_cannot_be_looked_at_whole_is_not_looked_at() {
        let mut disk = Disk::new(21 * SECTOR_BYTES);
        disk.write(0, &sectors(&[1; 21]));
        disk.each_state(|_| {});
    }
}
