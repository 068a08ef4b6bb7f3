//! What is asked of each server: the jobs of `bench compare`.

use clap::ValueEnum;
use std::fmt;

/// Where the disks of all servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Medium {
    /// In memory: what is measured is programs.
    Tmpfs,
    /// Files that are read and written past the page cache.
    Direct,
}

impl Medium {
    pub(crate) const ALL: [Self; 2] = [Self::Tmpfs, Self::Direct];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Direct => "direct",
        }
    }
}

/// What the requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Write,
    Read,
    /// Seven reads to three writes.
    Both,
    /// A flush after each write.
    WriteFlush,
}

/// One kind of load, as fio makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) does: Does,
    pub(crate) kib: u64,
    /// Requests in flight on each connection.
    pub(crate) depth: u32,
    pub(crate) connections: u32,
}

impl Job {
    /// On one connection.
    pub(crate) const fn one(does: Does, kib: u64, depth: u32) -> Self {
        Self { does, kib, depth, connections: 1 }
    }

    /// All of them, in the order of the tables.
    pub(crate) fn all() -> Vec<Self> {
        let mut jobs = Vec::new();
        for does in [Does::Write, Does::Read, Does::Both] {
            jobs.extend([1, 4, 32, 128].map(|depth| Self::one(does, 4, depth)));
        }
        jobs.extend([Does::Write, Does::Read].map(|does| Self::one(does, 1024, 8)));
        let four = |does| Self { does, kib: 4, depth: 8, connections: 4 };
        jobs.extend([Does::Write, Does::Read].map(four));
        jobs.push(Self::one(Does::WriteFlush, 4, 1));
        jobs
    }

    /// The few that the bars are about.
    pub(crate) fn few() -> Vec<Self> {
        let mut jobs = Vec::new();
        for does in [Does::Write, Does::Read] {
            jobs.extend([1, 32].map(|depth| Self::one(does, 4, depth)));
        }
        jobs.push(Self::one(Does::Write, 1024, 8));
        jobs
    }

    /// The words for fio that make it this job.
    pub(crate) fn words(&self) -> Vec<String> {
        let rw = match (self.does, self.kib) {
            (Does::Write | Does::WriteFlush, 4) => "randwrite",
            (Does::Read, 4) => "randread",
            (Does::Both, _) => "randrw",
            (Does::Write | Does::WriteFlush, _) => "write",
            (Does::Read, _) => "read",
        };
        let mut words = vec![
            format!("--rw={rw}"),
            format!("--bs={}k", self.kib),
            format!("--iodepth={}", self.depth),
            format!("--numjobs={}", self.connections),
        ];
        match self.does {
            Does::Both => words.push("--rwmixread=70".into()),
            Does::WriteFlush => words.push("--fsync=1".into()),
            Does::Write | Does::Read => {}
        }
        words
    }

    /// Small requests are counted, large ones weighed.
    pub(crate) const fn is_weighed(&self) -> bool {
        self.kib >= 64
    }

    /// A name without spaces, for the command line and for JSON.
    pub(crate) fn key(&self) -> String {
        let does = match self.does {
            Does::Write => "write",
            Does::Read => "read",
            Does::Both => "mixed",
            Does::WriteFlush => "write-flush",
        };
        let size = if self.kib >= 1024 {
            format!("{}m", self.kib >> 10)
        } else {
            format!("{}k", self.kib)
        };
        let connections =
            if self.connections == 1 { String::new() } else { format!("-{}c", self.connections) };
        format!("{does}-{size}-d{}{connections}", self.depth)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = match self.does {
            Does::Write => "write",
            Does::Read => "read",
            Does::Both => "70 % read, 30 % write",
            Does::WriteFlush => "write and flush",
        };
        let places = if self.is_weighed() { "in sequence" } else { "at random" };
        let size = if self.kib >= 1024 {
            format!("{} MiB", self.kib >> 10)
        } else {
            format!("{} KiB", self.kib)
        };
        write!(f, "{does} {size} {places}, depth {}", self.depth)?;
        match self.connections {
            1 => Ok(()),
            many => write!(f, " on each of {many} connections"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_has_a_key_of_its_own_and_the_few_are_among_them() {
        let keys: std::collections::BTreeSet<_> = Job::all().iter().map(Job::key).collect();
        assert_eq!(keys.len(), Job::all().len());
        assert!(Job::few().iter().all(|job| keys.contains(&job.key())));
        assert!(keys.contains("write-4k-d1") && keys.contains("read-4k-d8-4c"));
    }
}
