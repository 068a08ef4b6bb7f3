//! The same load on several NBD servers in one run.
//!
//! The servers take turns in short slices, and another one begins each round: what disturbs the
//! machine disturbs all of them. One thread is the client of each connection, by the same code for
//! each server. Every byte that is read is one that was written, or the run fails.

use crate::client::Command;
use crate::contents::Contents;
use crate::lanes::{Lanes, Places, Work};
use crate::load::Measured;
use crate::nodes::metadata_bytes;
use crate::peers::{self, Peer};
use crate::servers::Server;
use crate::table::{Row, Table};
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::time::Duration;

/// How many requests are in flight when the question is what a server can do at most.
const DEEP: usize = 32;

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The size of each disk in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=65536))]
    size: u64,
    /// Where the disks are made: a directory on the file system to be measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How long one slice takes, in milliseconds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    slice_ms: u64,
    /// How many slices each server gets of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    slices: u32,
    /// How many connections: several numbers mean one measurement with each.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16",
        value_parser = clap::value_parser!(u16).range(1..=32))]
    connections: Vec<u16>,
    /// What is asked for; all of them unless told.
    #[arg(long, value_delimiter = ',')]
    pattern: Vec<Pattern>,
    /// Leaves out the two daemons that replicate.
    #[arg(long)]
    no_pair: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pattern {
    /// Reads of 4 KiB at random places.
    RandomRead4k,
    /// Writes of 4 KiB at random places.
    RandomWrite4k,
    /// The same, each durable when it is answered: where page cache and O_DIRECT promise the same.
    RandomFua4k,
    /// Reads of 128 KiB, one after the other.
    Read128k,
    /// Writes of 128 KiB, one after the other.
    Write128k,
    /// Reads of 1 MiB, one after the other.
    Read1m,
    /// Writes of 1 MiB, one after the other.
    Write1m,
}

impl Pattern {
    /// What it is called in the table.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RandomRead4k => "random read 4k",
            Self::RandomWrite4k => "random write 4k",
            Self::RandomFua4k => "random write 4k, FUA",
            Self::Read128k => "sequential read 128k",
            Self::Write128k => "sequential write 128k",
            Self::Read1m => "sequential read 1M",
            Self::Write1m => "sequential write 1M",
        }
    }

    /// The length of each request.
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::RandomRead4k | Self::RandomWrite4k | Self::RandomFua4k => 4 << 10,
            Self::Read128k | Self::Write128k => 128 << 10,
            Self::Read1m | Self::Write1m => 1 << 20,
        }
    }

    const fn work(self, depth: usize, time: Duration) -> Work {
        let command = match self {
            Self::RandomRead4k | Self::Read128k | Self::Read1m => Command::Read,
            Self::RandomWrite4k | Self::Write128k | Self::Write1m => Command::Write,
            Self::RandomFua4k => Command::WriteFua,
        };
        let places = match self {
            Self::RandomRead4k | Self::RandomWrite4k | Self::RandomFua4k => Places::Random(time),
            Self::Read128k | Self::Write128k | Self::Read1m | Self::Write1m => {
                Places::Sequential(time)
            }
        };
        Work { command, len: self.len(), places, depth }
    }
}

/// A server, and what was written to it.
#[derive(Debug)]
struct Measuree {
    server: Server,
    contents: Contents,
}

impl Measuree {
    fn lanes(&self, count: usize) -> anyhow::Result<Lanes> {
        Lanes::connect(&self.server.socket, self.server.export, count, self.contents.bytes())
            .with_context(|| format!("connecting to {}", self.server.name))
    }

    /// Writes, or reads and checks, every byte.
    fn all(&mut self, command: Command) -> anyhow::Result<()> {
        let work = Work { command, len: 1 << 20, places: Places::Once, depth: 4 };
        let mut lanes = self.lanes(1)?;
        let measured = lanes.run(work, &mut self.contents)?;
        let expected = self.contents.bytes() / work.len as u64;
        ensure!(measured.count() as u64 == expected, "not everything was answered");
        lanes.flush()?;
        Ok(())
    }
}

/// Measures, and prints the table.
pub(crate) fn measure(args: &Args) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("repd-bench-").tempdir_in(&args.dir)?;
    // At the end of each of repd's disks there are metadata: no server gets that part.
    let bytes = (args.size << 20) - metadata_bytes(args.size << 20);
    println!("servers, each with {} MiB on a file in {}:", bytes >> 20, args.dir.display());
    let mut servers = vec![Server::alone(dir.path(), args.size << 20)?];
    if !args.no_pair {
        servers.push(Server::pair(dir.path(), args.size << 20)?);
    }
    let mut missing = Vec::new();
    for peer in [Peer::Nbdkit, Peer::Qemu] {
        match peers::start(peer, dir.path(), bytes) {
            Ok(server) => servers.push(server),
            Err(reason) => missing.push(reason),
        }
    }
    for server in &servers {
        println!("  {:<12} {}", server.name, server.about);
    }
    for reason in missing {
        println!("  left out: {reason:#}");
    }
    println!(
        "{} slices of {} ms for each server, in turn; Unix sockets, one client thread.\n\
         Writes are flushed after each slice, outside the measurement: fdatasync by all of them.",
        args.slices, args.slice_ms
    );
    let mut all = Vec::new();
    for server in servers {
        let mut measuree = Measuree { server, contents: Contents::new(bytes) };
        // Written, not sparse: else the first writes would measure the file system's allocation.
        measuree.contents.next_round();
        measuree.all(Command::Write).with_context(|| measuree.server.name)?;
        all.push(measuree);
    }
    let names = all.iter().map(|measuree| measuree.server.name).collect();
    let mut table = Table::new(names);
    for pattern in patterns(&args.pattern) {
        for (connections, depth) in shapes(&args.connections) {
            let rows = cell(args, &mut all, pattern, connections, depth)?;
            table.cell(pattern, connections, depth, rows);
        }
    }
    table.summary();
    for mut measuree in all {
        let name = measuree.server.name;
        measuree.all(Command::Read).context(name)?;
        measuree.server.end().context(name)?;
    }
    let pair = if args.no_pair { "" } else { "; the pair's disks are the same" };
    println!("every byte that was read is what was written{pair}");
    Ok(())
}

/// One pattern with so many connections, on every server.
fn cell(
    args: &Args,
    all: &mut [Measuree],
    pattern: Pattern,
    connections: usize,
    depth: usize,
) -> anyhow::Result<Vec<Row>> {
    let work = pattern.work(depth, Duration::from_millis(args.slice_ms));
    let mut lanes = Vec::new();
    for measuree in &mut *all {
        lanes.push(measuree.lanes(connections)?);
    }
    let (mut parts, mut used, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
    parts.resize_with(all.len(), Vec::<Measured>::new);
    used.resize(all.len(), Duration::ZERO);
    flushes.resize(all.len(), Duration::ZERO);
    for slice in 0..args.slices as usize {
        for turn in 0..all.len() {
            let at = (slice + turn) % all.len();
            let Measuree { server, contents } = &mut all[at];
            contents.next_round();
            let before = server.processor_time();
            let measured = lanes[at].run(work, contents).context(server.name)?;
            used[at] += server.processor_time().saturating_sub(before);
            parts[at].push(measured);
            if work.command != Command::Read {
                flushes[at] += lanes[at].flush().context(server.name)? / args.slices;
            }
        }
    }
    let rows = parts.into_iter().zip(used).zip(flushes);
    Ok(rows.map(|((parts, used), flush)| Row::new(&parts, used, flush)).collect())
}

fn patterns(wanted: &[Pattern]) -> Vec<Pattern> {
    match wanted {
        [] => <Pattern as clap::ValueEnum>::value_variants().to_vec(),
        wanted => wanted.to_vec(),
    }
}

/// Connections, and requests in flight on all of them: one for each connection, and many.
fn shapes(connections: &[u16]) -> Vec<(usize, usize)> {
    let mut shapes = Vec::new();
    for count in connections.iter().map(|count| usize::from(*count)) {
        shapes.extend([(count, count), (count, DEEP)]);
    }
    shapes.dedup();
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_connections_is_measured_idle_and_busy_once() {
        assert_eq!(shapes(&[1, 32]), [(1, 1), (1, 32), (32, 32)]);
    }
}
