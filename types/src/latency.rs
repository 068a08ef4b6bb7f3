//! Where the time of requests goes: for each stage a histogram.

use crate::Span;
use serde::{Deserialize, Serialize};

/// Buckets for each power of two: what a histogram says is at most a quarter too much.
const PARTS: u64 = 4;
/// The longest time that has a bucket of its own, about 67 s; all beyond it is in the last one.
const MOST_MICROS: u64 = (1 << 26) - 1;

/// A part of the way of a request, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A write from when it came to its answer.
    Write,
    /// A read from when it came to its answer.
    Read,
    /// A flush from when it came to its answer.
    Flush,
    /// A write from when it came until it is begun: behind a resync of its place, a limit, or I/O that
    /// stands still. Not of one that waits for the log.
    Queue,
    /// The same of a write whose extent the activity log did not hold.
    Log,
    /// From there until the disk here has it.
    Disk,
    /// From there until the link has taken all of it.
    Send,
    /// From there until the peer has said that it has it; the sending is part of it.
    Peer,
    /// From the later of the two until it may be answered.
    Finish,
    /// An answer, of whatever request, until the client's socket has taken it.
    Reply,
}

impl Stage {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 10] = [
        Self::Write,
        Self::Read,
        Self::Flush,
        Self::Queue,
        Self::Log,
        Self::Disk,
        Self::Send,
        Self::Peer,
        Self::Finish,
        Self::Reply,
    ];

    /// Its name in status output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Flush => "flush",
            Self::Queue => "queue",
            Self::Log => "log",
            Self::Disk => "disk",
            Self::Send => "send",
            Self::Peer => "peer",
            Self::Finish => "finish",
            Self::Reply => "reply",
        }
    }
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Histogram {
    /// As many as were needed so far.
    buckets: Vec<u64>,
    sum_micros: u64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn record(&mut self, took: Span) {
        let micros = took.0 / 1000;
        let bucket = bucket_of(micros);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Counts what another has counted.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (here, there) in self.buckets.iter_mut().zip(&other.buckets) {
            *here += there;
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// What was counted since `earlier`, the same histogram as it was.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().chain(std::iter::repeat(&0));
        let buckets = self.buckets.iter().zip(before).map(|(now, then)| now.saturating_sub(*then));
        Self {
            buckets: buckets.collect(),
            sum_micros: self.sum_micros.saturating_sub(earlier.sum_micros),
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean, in microseconds; nothing of none.
    pub fn mean_micros(&self) -> Option<u64> {
        self.sum_micros.checked_div(self.count())
    }

    /// What so many percent of them did not exceed, in microseconds: the upper end of the bucket in which
    /// that is. Nothing of none.
    pub fn percentile_micros(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(last_of)
    }
}

/// The first buckets hold one microsecond each, the others a quarter of a power of two.
const fn bucket_of(micros: u64) -> usize {
    let micros = if micros > MOST_MICROS { MOST_MICROS } else { micros };
    if micros < PARTS {
        return micros as usize;
    }
    let power = micros.ilog2() as u64;
    ((power - 1) * PARTS + (micros >> (power - 2)) % PARTS) as usize
}

/// The longest time that is in a bucket.
const fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let power = bucket / PARTS + 1;
    ((PARTS + bucket % PARTS + 1) << (power - 2)) - 1
}

/// The histograms of all stages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger(Box<[Histogram; Stage::ALL.len()]>);

impl Ledger {
    /// Counts a stage of a request that took so long.
    pub fn record(&mut self, stage: Stage, took: Span) {
        self.0[stage as usize].record(took);
    }

    /// Of one stage.
    pub fn of(&self, stage: Stage) -> &Histogram {
        &self.0[stage as usize]
    }

    /// Counts what was counted of a stage elsewhere.
    pub fn add(&mut self, stage: Stage, other: &Histogram) {
        self.0[stage as usize].add(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_one_bucket_and_at_most_a_quarter_below_its_end() {
        let mut last = 0;
        for micros in (0..5000).chain((5..26).flat_map(|power| [(1 << power) - 1, 1 << power])) {
            let bucket = bucket_of(micros);
            let end = last_of(bucket);
            assert!(end >= micros && end * 4 <= micros * 5 + 3, "{micros} in {bucket}, to {end}");
            assert!(bucket == 0 || last_of(bucket - 1) < micros, "{micros} in {bucket}");
            last = last.max(bucket);
        }
        assert_eq!(bucket_of(u64::MAX), bucket_of(MOST_MICROS));
        assert_eq!(last_of(bucket_of(MOST_MICROS)), MOST_MICROS);
        assert!(last < 100);
    }

    #[test]
    fn percentiles_and_what_came_since() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.percentile_micros(99)), (0, None));
        for micros in 1..=100 {
            histogram.record(Span::micros(micros));
        }
        assert_eq!(histogram.percentile_micros(1), Some(1));
        assert_eq!(histogram.percentile_micros(50), Some(55));
        assert_eq!(histogram.mean_micros(), Some(50));
        let before = histogram.clone();
        histogram.record(Span::secs(3600));
        let since = histogram.since(&before);
        assert_eq!((since.count(), since.percentile_micros(50)), (1, Some(MOST_MICROS)));
        let mut both = before;
        both.add(&since);
        assert_eq!(both, histogram);
    }

    #[test]
    fn stages_are_in_the_order_of_their_numbers() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at, "{}", stage.as_str());
        }
        let mut ledger = Ledger::default();
        ledger.record(Stage::Reply, Span::micros(7));
        assert_eq!(ledger.of(Stage::Reply).count(), 1);
        assert_eq!(ledger.of(Stage::Finish).count(), 0);
    }
}
