//! Loads, and what was measured of them.

use crate::client::{Client, Command};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use types::{BLOCK_BYTES, Prng};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Write, Self::Read];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// How long each request took.
#[derive(Debug)]
pub(crate) struct Measured {
    sorted: Vec<Duration>,
    time: Duration,
}

impl Measured {
    pub(crate) fn new(mut each: Vec<Duration>, time: Duration) -> Self {
        each.sort_unstable();
        Self { sorted: each, time }
    }

    /// Several measurements of the same, as one.
    pub(crate) fn together(parts: &[Self]) -> Self {
        let each = parts.iter().flat_map(|part| part.sorted.iter().copied()).collect();
        Self::new(each, parts.iter().map(|part| part.time).sum())
    }

    /// How many requests were measured.
    pub(crate) const fn count(&self) -> usize {
        self.sorted.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.time.as_secs_f64()
    }

    pub(crate) fn mean(&self) -> Duration {
        let count = u32::try_from(self.sorted.len()).unwrap_or(u32::MAX).max(1);
        self.sorted.iter().sum::<Duration>() / count
    }

    /// What so many percent of the requests did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.sorted.len() * percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(at).copied().unwrap_or_default()
    }
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Requests over NBD.
#[derive(Debug)]
pub(crate) struct Load {
    client: Client,
    blocks: u64,
    places: Prng,
}

impl Load {
    /// A connection to a volume of so many bytes.
    pub(crate) fn connect(socket: &Path, bytes: u64) -> anyhow::Result<Self> {
        let client = Client::connect(socket, "r0")?;
        Ok(Self { client, blocks: bytes / BLOCK_BYTES, places: Prng::new(1) })
    }

    /// Keeps so many requests in flight for so long.
    pub(crate) fn run(
        &mut self,
        kind: Kind,
        depth: usize,
        time: Duration,
    ) -> anyhow::Result<Measured> {
        let mut block = vec![0x5A; BLOCK_BYTES as usize];
        let mut sent = vec![now(); depth];
        let mut took = Vec::new();
        let begun = now();
        for slot in 0..depth {
            self.ask(kind, slot as u64, &block)?;
        }
        let mut open = depth;
        while open > 0 {
            let into = (kind == Kind::Read).then_some(&mut block[..]);
            let slot = self.client.reply(into)? as usize;
            let at = now();
            took.push(at.duration_since(sent[slot]));
            open -= 1;
            if at.duration_since(begun) < time {
                sent[slot] = at;
                self.ask(kind, slot as u64, &block)?;
                open += 1;
            }
        }
        Ok(Measured::new(took, begun.elapsed()))
    }

    fn ask(&mut self, kind: Kind, slot: u64, block: &[u8]) -> std::io::Result<()> {
        let offset = self.places.below(self.blocks) * BLOCK_BYTES;
        let (command, data) = match kind {
            Kind::Write => (Command::Write, block),
            Kind::Read => (Command::Read, &[][..]),
        };
        self.client.send(command, slot, offset, BLOCK_BYTES as u32, data)
    }
}

/// The same on a file, one request at a time, by plain calls: what is underneath.
#[derive(Debug)]
pub(crate) struct Direct {
    file: File,
    blocks: u64,
    memory: Vec<u8>,
}

impl Direct {
    /// A file of so many bytes, all of them written once.
    pub(crate) fn new(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        std::fs::write(path, vec![0x5A; usize::try_from(bytes)?])?;
        let open = |flags| File::options().read(true).write(true).custom_flags(flags).open(path);
        // tmpfs knows no O_DIRECT.
        let file = open(OFlags::DIRECT.bits().cast_signed()).or_else(|_| open(0))?;
        file.sync_all()?;
        let memory = vec![0x5A; 2 * BLOCK_BYTES as usize];
        Ok(Self { file, blocks: bytes / BLOCK_BYTES, memory })
    }

    /// One request after the other for so long.
    pub(crate) fn run(&mut self, kind: Kind, time: Duration) -> anyhow::Result<Measured> {
        let mut places = Prng::new(1);
        let mut took = Vec::new();
        let from = self.memory.as_ptr().align_offset(BLOCK_BYTES as usize);
        let block = &mut self.memory[from..from + BLOCK_BYTES as usize];
        let begun = now();
        let mut last = begun;
        while last.duration_since(begun) < time {
            let offset = places.below(self.blocks) * BLOCK_BYTES;
            match kind {
                Kind::Write => self.file.write_all_at(block, offset)?,
                Kind::Read => self.file.read_exact_at(block, offset)?,
            }
            let at = now();
            took.push(at.duration_since(last));
            last = at;
        }
        Ok(Measured::new(took, begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let each = (1..=200).rev().map(Duration::from_millis).collect();
        let measured = Measured::new(each, Duration::from_secs(2));
        assert_eq!(measured.percentile(99), Duration::from_millis(198));
        assert_eq!(measured.percentile(100), Duration::from_millis(200));
        assert_eq!(measured.mean(), Duration::from_micros(100_500));
        assert!((measured.per_second() - 100.0).abs() < 1e-9);
        let nothing = Measured::new(Vec::new(), Duration::from_secs(1));
        assert_eq!((nothing.mean(), nothing.percentile(99)), Default::default());
    }
}
