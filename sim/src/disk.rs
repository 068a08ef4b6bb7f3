//! A disk that is as unkind as a disk may be.
//!
//! Sectors of 512 bytes. What was written and not flushed is *pending*: it is read back, survives
//! the death of a process, and at a loss of power each pending sector keeps any one of its
//! contents since the last flush, whatever the other sectors keep. Operations in flight end in any
//! order and take effect, sector by sector, anywhere between their start and their end; at a death
//! any part of them may have happened. A flush covers the writes that had *ended* when it began.
//!
//! A batch of metadata makes only itself durable, although it shares the device with the data:
//! external metadata would give no more. A disk whose granule is 4096 writes a smaller piece by
//! reading around it, at the start, and writing the whole granule back, at the end.

use crate::content::{Content, SECTOR, bytes_of, bytes_of_zeros, map_of, sectors_of};
use bytes::Bytes;
use metadata::{Batch, Layout};
use replicator::{DiskError, DiskOp};
use std::collections::{BTreeMap, BTreeSet};
use types::{ByteRange, Prng, SECTOR_BYTES, Span, StatusMap};

#[cfg(test)]
mod tests;

/// How a disk fails, in thousandths of its operations; all zero unless a scenario says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Reads that fail.
    pub(crate) read: u64,
    /// Writes that fail, having been carried out or not.
    pub(crate) write: u64,
    /// Flushes that fail, and drop what they should have made durable.
    pub(crate) flush: u64,
    /// Batches of metadata that fail, having been written or not.
    pub(crate) meta: u64,
    /// Operations that take a minute.
    pub(crate) stuck: u64,
    /// Writes for which there is no room.
    pub(crate) full: u64,
}

impl DiskFaults {
    /// Some kinds of operations fail, always or sometimes.
    pub(crate) fn draw(rng: &mut Prng) -> Self {
        let often = *rng.pick(&[1000, 1000, 300, 50]);
        let kind = rng.below(5);
        let of = |kinds: &[u64]| if kinds.contains(&kind) { often } else { 0 };
        let (write, flush, meta) = (of(&[0, 1]), of(&[0, 2]), of(&[0, 1, 3]));
        let read = if kind == 4 || rng.chance(1, 4) { often } else { 0 };
        Self { read, write, flush, meta, stuck: 0, full: 0 }
    }

    /// Whether anything fails.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Names an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub u64);

/// A range of sectors, `start..end`, whose visible content may have changed.
pub(crate) type Touched = std::ops::Range<u64>;

#[derive(Clone, Debug)]
enum Work {
    /// Reads, or looks what is zero; with what it saw at its start, if that is what it will say.
    Read { range: ByteRange, early: Option<Bytes>, map: bool },
    /// Writes sectors; those that are in `early` have their effect already.
    Write { sectors: Vec<(u64, Content)>, early: Vec<bool>, fua: bool, meta: bool },
    /// Zeros many sectors.
    Wipe { range: Touched, fua: bool },
    /// Makes durable what had ended by then.
    Flush { ended: u64 },
}

/// A content that a sector got after what is durable.
#[derive(Clone, Debug)]
struct Pending {
    ticket: u64,
    /// When its operation ended, counted in operations; `None` while it is in flight.
    ended: Option<u64>,
    content: Content,
}

#[derive(Clone, Debug, Default)]
struct Unflushed {
    durable: Content,
    /// In the order in which they took effect; never empty.
    later: Vec<Pending>,
}

/// A disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    device_bytes: u64,
    granule: u64,
    /// How slow it is: latencies are multiplied by it.
    pub(crate) slowness: u64,
    /// How it fails.
    pub(crate) faults: DiskFaults,
    /// Sectors that cannot be read until they are written anew.
    pub(crate) bad: Vec<Touched>,
    /// How many operations have failed.
    pub(crate) failed: u64,
    /// What is read: the latest content of each sector that is not zero.
    cache: BTreeMap<u64, Content>,
    unflushed: BTreeMap<u64, Unflushed>,
    in_flight: BTreeMap<u64, Work>,
    next: u64,
    ended: u64,
    rng: Prng,
}

impl Disk {
    /// A disk full of zeros.
    pub(crate) const fn new(device_bytes: u64, granule: u64, slowness: u64, rng: Prng) -> Self {
        Self {
            device_bytes,
            granule,
            slowness,
            faults: DiskFaults { read: 0, write: 0, flush: 0, meta: 0, stuck: 0, full: 0 },
            bad: Vec::new(),
            failed: 0,
            cache: BTreeMap::new(),
            unflushed: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next: 1,
            ended: 0,
            rng,
        }
    }

    /// Its size in bytes.
    pub(crate) const fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// It is larger from now on, and what is new is zeros.
    pub(crate) fn grow(&mut self, bytes: u64) {
        assert!(bytes >= self.device_bytes, "disks here do not shrink");
        self.device_bytes = bytes;
    }

    /// The sectors of a range that are not zeros.
    pub(crate) fn used(&self, range: Touched) -> impl Iterator<Item = u64> {
        self.cache.range(range).map(|(&sector, _)| sector)
    }

    /// The smallest unit that it writes without reading around it.
    pub(crate) const fn granule(&self) -> u64 {
        self.granule
    }

    /// What a sector reads as.
    pub(crate) fn content(&self, sector: u64) -> Content {
        self.cache.get(&sector).cloned().unwrap_or_default()
    }

    /// Whether a sector reads the same on another disk.
    pub(crate) fn same(&self, other: &Self, sector: u64) -> bool {
        self.cache.get(&sector) == other.cache.get(&sector)
    }

    /// What a sector is if the power goes now and all that can be lost is lost.
    pub(crate) fn durable(&self, sector: u64) -> Content {
        match self.unflushed.get(&sector) {
            Some(unflushed) => unflushed.durable.clone(),
            None => self.content(sector),
        }
    }

    /// The sectors of a range that have unflushed content.
    pub(crate) fn unflushed(&self, range: Touched) -> impl Iterator<Item = u64> {
        self.unflushed.range(range).map(|(&sector, _)| sector)
    }

    /// What a range reads as now. It is a whole number of sectors.
    pub(crate) fn read_now(&self, range: ByteRange) -> Bytes {
        let sectors = sectors(range);
        if self.cache.range(sectors.clone()).next().is_none() {
            return bytes_of_zeros(range.len);
        }
        let mut contents = vec![Content::Zero; (sectors.end - sectors.start) as usize];
        for (&sector, content) in self.cache.range(sectors.clone()) {
            contents[(sector - sectors.start) as usize] = content.clone();
        }
        bytes_of(contents.iter())
    }

    /// Writes a batch, durably and at once: for what was there before the world began.
    pub(crate) fn preset(&mut self, batch: &Batch) {
        for (sector, content) in batch_sectors(batch) {
            self.set_cache(sector, content);
        }
    }

    /// Damages it: what is there becomes this, durably, and nobody is told.
    pub(crate) fn flip(&mut self, range: ByteRange, data: &Bytes) {
        for (sector, content) in sectors(range).zip(sectors_of(data)) {
            self.unflushed.remove(&sector);
            self.set_cache(sector, content);
        }
    }

    /// Starts an operation of the engine; it is to be ended after the given time.
    ///
    /// # Errors
    /// If it is not to be in flight together with another one: a disk orders nothing.
    pub(crate) fn start(&mut self, op: &DiskOp) -> Result<(Ticket, Span, Vec<Touched>), String> {
        let work = match op {
            DiskOp::Read(range) | DiskOp::Map(range) => {
                let early = self.rng.chance(1, 2).then(|| self.read_now(*range));
                Work::Read { range: *range, early, map: matches!(op, DiskOp::Map(_)) }
            }
            DiskOp::Write { range, data, fua } => {
                assert_eq!(range.len, data.len() as u64, "a write's length is that of its data");
                self.refuse_overlap(*range)?;
                let first = sectors(*range).start;
                let sectors = (first..).zip(sectors_of(data)).collect();
                self.widened(*range, sectors, *fua)
            }
            DiskOp::Zero { range, fua, .. } if range.len > 64 * SECTOR_BYTES => {
                self.refuse_overlap(*range)?;
                let whole = range.widen(self.granule);
                if whole == *range {
                    Work::Wipe { range: sectors(*range), fua: *fua }
                } else {
                    let zeros = sectors(*range).map(|sector| (sector, Content::Zero)).collect();
                    self.widened(*range, zeros, *fua)
                }
            }
            DiskOp::Zero { range, fua, .. } => {
                self.refuse_overlap(*range)?;
                let zeros = sectors(*range).map(|sector| (sector, Content::Zero)).collect();
                self.widened(*range, zeros, *fua)
            }
            DiskOp::Flush => Work::Flush { ended: self.ended },
        };
        let latency = self.latency(&work);
        let (ticket, touched) = self.launch(work);
        Ok((ticket, latency, touched))
    }

    /// A flush that takes no time, as a start or an attach does before it reads the metadata.
    pub(crate) fn flush_now(&mut self) {
        self.make_durable(self.ended);
    }

    /// Starts a batch of metadata.
    ///
    /// # Errors
    /// If it is not to be in flight together with another one.
    pub(crate) fn start_batch(
        &mut self,
        batch: &Batch,
    ) -> Result<(Ticket, Span, Vec<Touched>), String> {
        for write in &batch.writes {
            self.refuse_overlap(ByteRange::new(write.offset, write.data.len() as u64))?;
        }
        let sectors: Vec<_> = batch_sectors(batch).collect();
        let early = vec![false; sectors.len()];
        let work = Work::Write { sectors, early, fua: true, meta: true };
        let latency = self.latency(&Work::Flush { ended: 0 });
        let (ticket, touched) = self.launch(work);
        Ok((ticket, latency, touched))
    }

    /// Ends an operation.
    pub(crate) fn end(&mut self, ticket: Ticket) -> (Result<Bytes, DiskError>, Vec<Touched>) {
        let work = self.in_flight.remove(&ticket.0).expect("only what is in flight ends");
        let (kind, faults) = match &work {
            Work::Read { .. } => ("read", self.faults.read),
            Work::Write { meta: true, .. } => ("metadata", self.faults.meta),
            Work::Write { .. } | Work::Wipe { .. } => ("write", self.faults.write),
            Work::Flush { .. } => ("flush", self.faults.flush),
        };
        let bad = match &work {
            // Where the data is, is known without reading it.
            Work::Read { range, map, .. } => !map && self.is_bad(*range),
            Work::Write { .. } | Work::Wipe { .. } | Work::Flush { .. } => false,
        };
        let full = match &work {
            Work::Write { meta: false, .. } if self.faults.full > 0 => {
                self.rng.chance(self.faults.full, 1000)
            }
            _ => false,
        };
        let failed = bad || full || faults > 0 && self.rng.chance(faults, 1000);
        // A map that fails costs no disk.
        self.failed += u64::from(failed && !matches!(work, Work::Read { map: true, .. }));
        let (bytes, touched) = self.finish(ticket.0, work, failed);
        let result = match failed {
            true if full => Err(DiskError::NoSpace),
            true => Err(DiskError::Io(format!("simulated {kind} error"))),
            false => Ok(bytes),
        };
        (result, touched)
    }

    fn is_bad(&self, range: ByteRange) -> bool {
        let wanted = sectors(range);
        self.bad.iter().any(|bad| bad.start < wanted.end && wanted.start < bad.end)
    }

    /// The process that used it has died: what was in flight happened, or not, or in part.
    pub(crate) fn process_died(&mut self) -> Vec<Touched> {
        let mut touched = Vec::new();
        for (ticket, work) in std::mem::take(&mut self.in_flight) {
            let sectors = self.unfinished(work);
            let mode = self.rng.below(3);
            for (sector, content) in sectors {
                if mode == 0 || (mode == 1 && self.rng.chance(1, 2)) {
                    continue;
                }
                self.apply(ticket, sector, content);
                touched.push(sector..sector + 1);
            }
        }
        // From now on all of it counts as ended: the next flush finds it in the system's cache.
        self.ended += 1;
        let ended = self.ended;
        for later in self.unflushed.values_mut().flat_map(|unflushed| &mut unflushed.later) {
            later.ended.get_or_insert(ended);
        }
        touched
    }

    /// The power has gone. Gives the number of sectors that did not keep their latest content.
    pub(crate) fn power_lost(&mut self) -> (u64, Vec<Touched>) {
        let mut touched = self.process_died();
        let mode = self.rng.below(4);
        let mut lost = 0;
        for (sector, unflushed) in std::mem::take(&mut self.unflushed) {
            let survivors = unflushed.later.len() as u64;
            let kept = match mode {
                0 => 0,
                1 => survivors,
                _ => self.rng.between(0, survivors),
            };
            lost += u64::from(kept < survivors);
            let content = match kept {
                0 => unflushed.durable,
                n => unflushed.later[n as usize - 1].content.clone(),
            };
            self.set_cache(sector, content);
            touched.push(sector..sector + 1);
        }
        (lost, touched)
    }

    /// Whether any write is in flight.
    pub(crate) fn writes_in_flight(&self) -> usize {
        self.in_flight
            .values()
            .filter(|work| matches!(work, Work::Write { .. } | Work::Wipe { .. }))
            .count()
    }

    fn latency(&mut self, work: &Work) -> Span {
        if self.faults.stuck > 0 && self.rng.chance(self.faults.stuck, 1000) {
            return Span::secs(60);
        }
        let micros = match work {
            Work::Read { .. } => self.rng.between(20, 400),
            Work::Write { .. } | Work::Wipe { .. } => self.rng.between(20, 600),
            Work::Flush { .. } => self.rng.between(100, 3000),
        };
        let rare = if self.rng.chance(1, 50) { self.rng.between(2, 40) } else { 1 };
        Span::micros(micros).times(self.slowness * rare)
    }

    /// A write of those sectors, with what the disk reads around them.
    fn widened(&self, range: ByteRange, sectors_: Vec<(u64, Content)>, fua: bool) -> Work {
        let whole = sectors(range.widen(self.granule));
        let inner = sectors(range);
        let around = |part: Touched| part.map(|sector| (sector, self.content(sector)));
        let mut all: Vec<_> = around(whole.start..inner.start).collect();
        all.extend(sectors_);
        all.extend(around(inner.end..whole.end));
        let early = vec![false; all.len()];
        Work::Write { sectors: all, early, fua, meta: false }
    }

    /// Puts work in flight; some of it takes effect at once.
    fn launch(&mut self, mut work: Work) -> (Ticket, Vec<Touched>) {
        let ticket = self.next;
        self.next += 1;
        let mut touched = Vec::new();
        if let Work::Write { sectors, early, .. } = &mut work {
            let mode = self.rng.below(4);
            for ((sector, content), early) in sectors.iter().zip(early) {
                *early = mode == 0 || (mode == 1 && self.rng.chance(1, 2));
                if *early {
                    self.apply(ticket, *sector, content.clone());
                    touched.push(*sector..*sector + 1);
                }
            }
        }
        self.in_flight.insert(ticket, work);
        (Ticket(ticket), touched)
    }

    fn finish(&mut self, ticket: u64, work: Work, failed: bool) -> (Bytes, Vec<Touched>) {
        match work {
            Work::Read { range, early, map } => {
                let late = self.read_now(range);
                let bytes = match early {
                    None => late,
                    Some(early) if early == late || self.rng.chance(1, 2) => early,
                    Some(early) => self.mixed(&early, &late),
                };
                let bytes = if map { self.map(&bytes) } else { bytes };
                (bytes, Vec::new())
            }
            Work::Flush { ended } => {
                let dropped = if failed { self.drop_unflushed() } else { Vec::new() };
                self.make_durable(ended);
                (Bytes::new(), dropped)
            }
            work @ (Work::Write { .. } | Work::Wipe { .. }) => {
                let (Work::Write { fua, .. } | Work::Wipe { fua, .. }) = work else {
                    unreachable!("matched above")
                };
                let all: Vec<u64> = match &work {
                    Work::Write { sectors, .. } => sectors.iter().map(|(s, _)| *s).collect(),
                    _ => Vec::new(),
                };
                let rest = self.unfinished(work);
                let mut touched = Vec::new();
                self.ended += 1;
                let wiped: Vec<u64> = rest.iter().map(|(sector, _)| *sector).collect();
                let mode = if failed { self.rng.below(3) } else { 2 };
                for (sector, content) in rest {
                    if mode == 0 || (mode == 1 && self.rng.chance(1, 2)) {
                        continue;
                    }
                    self.apply(ticket, sector, content);
                    touched.push(sector..sector + 1);
                }
                for sector in all.into_iter().chain(wiped) {
                    self.sector_ended(ticket, sector, fua && !failed);
                }
                (Bytes::new(), touched)
            }
        }
    }

    /// Which of these sectors are zeros, for some of them at least, and whether they have space.
    fn map(&mut self, bytes: &Bytes) -> Bytes {
        let hole = if self.rng.chance(1, 2) { StatusMap::HOLE } else { 0 };
        let map = map_of(bytes, hole | StatusMap::ZERO);
        match map.runs() {
            [first, _, ..] if self.rng.chance(1, 8) => StatusMap::of(first.len, first.flags),
            _ => map,
        }
        .encode()
        .into()
    }

    /// What of a write has not taken effect yet.
    fn unfinished(&self, work: Work) -> Vec<(u64, Content)> {
        match work {
            Work::Write { sectors, early, .. } => {
                let late = sectors.into_iter().zip(early).filter(|(_, early)| !early);
                late.map(|(sector, _)| sector).collect()
            }
            Work::Wipe { range, .. } => {
                // What reads as zero and was never flushed as such has to be made durable too.
                let used = self.cache.range(range.clone()).map(|(&sector, _)| sector);
                let open = self.unflushed.range(range).map(|(&sector, _)| sector);
                let all: BTreeSet<u64> = used.chain(open).collect();
                all.into_iter().map(|sector| (sector, Content::Zero)).collect()
            }
            Work::Read { .. } | Work::Flush { .. } => Vec::new(),
        }
    }

    fn sector_ended(&mut self, ticket: u64, sector: u64, durable: bool) {
        let Some(unflushed) = self.unflushed.get_mut(&sector) else { return };
        let Some(at) = unflushed.later.iter().position(|later| later.ticket == ticket) else {
            return;
        };
        unflushed.later[at].ended = Some(self.ended);
        if durable {
            settle(&mut self.unflushed, sector, at);
        }
    }

    fn make_durable(&mut self, ended: u64) {
        let settled: Vec<(u64, usize)> = self
            .unflushed
            .iter()
            .filter_map(|(&sector, unflushed)| {
                let covered = |later: &Pending| later.ended.is_some_and(|at| at <= ended);
                Some((sector, unflushed.later.iter().rposition(covered)?))
            })
            .collect();
        for (sector, at) in settled {
            settle(&mut self.unflushed, sector, at);
        }
    }

    fn drop_unflushed(&mut self) -> Vec<Touched> {
        let dropped = std::mem::take(&mut self.unflushed);
        let touched = dropped.keys().map(|&sector| sector..sector + 1).collect();
        for (sector, unflushed) in dropped {
            self.set_cache(sector, unflushed.durable);
        }
        touched
    }

    fn apply(&mut self, ticket: u64, sector: u64, content: Content) {
        let durable = self.content(sector);
        let unflushed = self
            .unflushed
            .entry(sector)
            .or_insert_with(|| Unflushed { durable, later: Vec::new() });
        unflushed.later.push(Pending { ticket, ended: None, content: content.clone() });
        self.set_cache(sector, content);
    }

    fn set_cache(&mut self, sector: u64, content: Content) {
        if !self.bad.is_empty() {
            self.bad = std::mem::take(&mut self.bad)
                .into_iter()
                .flat_map(|bad| {
                    [bad.start..sector.min(bad.end), bad.start.max(sector + 1)..bad.end]
                })
                .filter(|bad| !bad.is_empty())
                .collect();
        }
        if content == Content::Zero {
            self.cache.remove(&sector);
        } else {
            self.cache.insert(sector, content);
        }
    }

    fn mixed(&mut self, early: &Bytes, late: &Bytes) -> Bytes {
        let mut out = early.to_vec();
        for (out, late) in out.chunks_exact_mut(SECTOR).zip(late.chunks_exact(SECTOR)) {
            if self.rng.chance(1, 2) {
                out.copy_from_slice(late);
            }
        }
        Bytes::from(out)
    }

    fn refuse_overlap(&self, range: ByteRange) -> Result<(), String> {
        let wanted = sectors(range.widen(self.granule));
        let hit = |other: &Touched| other.start < wanted.end && wanted.start < other.end;
        for work in self.in_flight.values() {
            let clash = match work {
                Work::Write { sectors, .. } => {
                    sectors.iter().any(|(sector, _)| wanted.contains(sector))
                }
                Work::Wipe { range, .. } => hit(range),
                Work::Read { .. } | Work::Flush { .. } => false,
            };
            if clash {
                return Err(format!("two writes of {range} are in flight on one disk at once"));
            }
        }
        Ok(())
    }
}

/// The content number `at` of a sector, and all before it, are durable.
fn settle(unflushed: &mut BTreeMap<u64, Unflushed>, sector: u64, at: usize) {
    let entry = unflushed.get_mut(&sector).expect("the caller has found it");
    let last = entry.later.drain(..=at).next_back().expect("the range is not empty");
    entry.durable = last.content;
    if entry.later.is_empty() {
        unflushed.remove(&sector);
    }
}

fn batch_sectors(batch: &Batch) -> impl Iterator<Item = (u64, Content)> + '_ {
    batch
        .writes
        .iter()
        .flat_map(|write| (write.offset / SECTOR_BYTES..).zip(sectors_of(&write.data)))
}

/// The sectors of a range, which is a whole number of them.
pub(crate) fn sectors(range: ByteRange) -> Touched {
    assert!(
        range.offset.is_multiple_of(SECTOR_BYTES) && range.len.is_multiple_of(SECTOR_BYTES),
        "{range} is not a range of whole sectors"
    );
    range.offset / SECTOR_BYTES..range.end() / SECTOR_BYTES
}

/// The layout of internal metadata on a disk of that size.
pub(crate) fn layout(device_bytes: u64) -> Layout {
    Layout::internal(device_bytes, metadata::AL_BLOCKS_DEFAULT).expect("simulated disks are large")
}
