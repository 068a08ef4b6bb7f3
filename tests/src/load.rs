//! A load that knows what it wrote: unique values, and a history for the linearizability checker.
//!
//! Each write fills registers ([`registers`]) with a number that is written only once.

mod drive;
pub mod registers;

use crate::clock;
use crate::nbd_client::{Address, Client, Operation};
use anyhow::Context;
use drive::{Drive, Outcome};
use sim::history::{BlockId, History, Kind, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use types::{BLOCK_BYTES, Prng, SECTOR_BYTES};

/// The longest that one request, or a connection to a restarting node, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Registers of a block.
const PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES * registers::PER_SECTOR;
/// Values of one client of one load are below this.
const VALUES: u64 = 1 << 32;
/// Clients of one load are fewer than this.
const CLIENTS: u64 = 256;

/// What clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The areas that are used, as numbers of blocks.
    pub areas: Vec<Range<u64>>,
    /// What is asked for.
    pub mix: Mix,
    /// Clients at each node.
    pub clients: usize,
    /// Requests in flight of each client.
    pub depth: usize,
    /// The shortest time between two requests of a client.
    pub pace: Duration,
    /// Chooses everything else. Loads on one disk need different seeds, below 2^24.
    pub seed: u64,
    /// Whether a client that loses its connection comes back. Else it is an error.
    pub reconnect: bool,
}

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Writes of whole blocks, and nothing else.
    Writes,
    /// Reads and writes of whole blocks, some with FUA, and flushes.
    Blocks,
    /// Reads, writes, trims and writes of zeros of any size and alignment, some with FUA, and
    /// flushes. A quarter of the areas gets half of the requests.
    Everything,
}

impl Plan {
    /// `count` blocks in each of `extents` activity-log extents from the start of the disk.
    pub fn scattered(extents: u64, count: u64, seed: u64) -> Self {
        let per_extent = types::EXTENT_BYTES / BLOCK_BYTES;
        let block = |extent, at| extent * per_extent + at * 7;
        let areas = (0..extents)
            .flat_map(|extent| (0..count).map(move |at| block(extent, at)..block(extent, at) + 1))
            .collect();
        let pace = Duration::ZERO;
        Self { areas, mix: Mix::Blocks, clients: 1, depth: 16, pace, seed, reconnect: false }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    stop: Arc<AtomicBool>,
    start: Instant,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    node: u8,
    address: Address,
    done: Arc<AtomicU64>,
    thread: thread::JoinHandle<Outcome>,
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Everything that was done, and the last state as read through the nodes.
    pub history: History,
    /// What clients saw that must not be.
    pub errors: Vec<String>,
    /// Requests that were answered with an error.
    pub refused: Vec<String>,
    /// How often a client came back.
    pub reconnects: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// What each register holds at the end.
    pub last: BTreeMap<BlockId, u64>,
    /// The longest time without an answer, of the clients of each node.
    pub pauses: BTreeMap<u8, Duration>,
}

impl Load {
    /// Clients at each of these nodes.
    ///
    /// # Errors
    /// If no runtime can be made.
    pub fn start(addresses: &[Address], plan: Plan) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = clock::now();
        let mut workers = Vec::new();
        let clients = addresses.iter().enumerate().flat_map(|at| vec![at; plan.clients]);
        for (index, (node, address)) in clients.enumerate() {
            let client = plan.seed * CLIENTS + index as u64;
            assert!((index as u64) < CLIENTS && plan.seed < 1 << 24, "values are unique");
            let done = Arc::new(AtomicU64::new(0));
            let mut drive = Drive {
                plan: plan.clone(),
                node: node as u8,
                process: index as u64,
                prng: Prng::new(client),
                base: (client + 1) * VALUES,
                written: 0,
                stop: Arc::clone(&stop),
                start,
                answered_at: start,
                done: Arc::clone(&done),
                pending: BTreeMap::new(),
                outcome: Outcome::default(),
            };
            let runtime = runtime()?;
            let to = address.clone();
            let thread = thread::spawn(move || {
                runtime.block_on(drive.live(&to));
                drive.outcome
            });
            workers.push(Worker { node: node as u8, address: address.clone(), done, thread });
        }
        Ok(Self { plan, stop, start, workers })
    }

    /// How long it has been at work.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// How many requests that node has answered so far.
    pub fn answered(&self, node: usize) -> u64 {
        let workers = self.workers.iter().filter(|worker| usize::from(worker.node) == node);
        workers.map(|worker| worker.done.load(Ordering::Relaxed)).sum()
    }

    /// Waits until that node has answered so many requests more.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_answered(&self, node: usize, more: u64) -> anyhow::Result<()> {
        let goal = self.answered(node) + more;
        let look = || Ok((self.answered(node) >= goal).then_some(()));
        clock::until(&format!("{more} answers of node {node}"), PATIENCE, look).map(drop)
    }

    /// Ends the load, and reads everything through every node.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn finish(self) -> anyhow::Result<Loaded> {
        self.finish_through(|_| true)
    }

    /// Ends the load, and reads everything through each of the nodes that are chosen.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn finish_through(self, is_read: impl Fn(u8) -> bool) -> anyhow::Result<Loaded> {
        self.stop.store(true, Ordering::Relaxed);
        let mut loaded = Loaded::default();
        let mut readers = BTreeMap::new();
        for worker in self.workers {
            let outcome = worker.thread.join().ok().context("a load's thread has panicked")?;
            loaded.answered += worker.done.load(Ordering::Relaxed);
            loaded.reconnects += outcome.reconnects;
            loaded.errors.extend(outcome.errors);
            loaded.refused.extend(outcome.refused);
            outcome.ops.into_iter().for_each(|op| loaded.history.push(op));
            let pause = loaded.pauses.entry(worker.node).or_default();
            *pause = outcome.pause.max(*pause);
            readers.insert(worker.node, worker.address);
        }
        readers.retain(|&node, _| is_read(node));
        for (node, address) in readers {
            let read = runtime()?.block_on(read_all(&address, &self.plan.areas));
            let read = read.with_context(|| format!("reading through node {node} at the end"))?;
            // All of them were asked for after everything else had ended.
            let now = self.start.elapsed().as_nanos() as u64;
            for (block, value) in read {
                loaded.last.insert(block, value);
                let kind = Kind::Read(value);
                let process = CLIENTS + u64::from(node);
                loaded.history.push(Op { process, node, block, kind, invoke: now, ret: Some(now) });
            }
        }
        Ok(loaded)
    }
}

impl Loaded {
    /// Fails if a client was told of an error, or if what the clients saw is not what one disk
    /// could have shown; `before` is what the registers held at the beginning, zero if not told.
    ///
    /// # Errors
    /// With the operations involved.
    pub fn check(&self, before: &BTreeMap<BlockId, u64>) -> anyhow::Result<()> {
        const SHOWN: usize = 5;
        let shown = &self.refused[..self.refused.len().min(SHOWN)];
        let (count, shown) = (self.refused.len(), shown.join("\n"));
        anyhow::ensure!(count == 0, "clients were told {count} errors:\n{shown}");
        self.check_history(before)
    }

    /// How long each write took that was answered, node by node. Writes of zeros are left out.
    pub fn write_times(&self) -> BTreeMap<u8, Vec<Duration>> {
        // A write is in the history once for each of its registers.
        let mut seen = BTreeSet::new();
        let mut times: BTreeMap<u8, Vec<Duration>> = BTreeMap::new();
        for op in self.history.ops() {
            let Kind::Write(value) = op.kind else { continue };
            let Some(ret) = op.ret else { continue };
            if value != sim::history::ZERO && seen.insert(value) {
                times.entry(op.node).or_default().push(Duration::from_nanos(ret - op.invoke));
            }
        }
        times
    }

    /// The longest that a request took, from its beginning or the end of the outage that kept it
    /// waiting to its answer. The outages are told as times since the beginning of the load.
    pub fn slowest_beside(&self, outages: &[Range<Duration>]) -> Duration {
        let took = |op: &Op| {
            let (invoke, ret) = (op.invoke, op.ret?);
            let ends = outages.iter().map(|outage| outage.end.as_nanos() as u64);
            let resumed = ends.filter(|&end| invoke < end && end < ret).max();
            Some(Duration::from_nanos(ret - resumed.unwrap_or(invoke)))
        };
        self.history.ops().iter().filter_map(took).max().unwrap_or_default()
    }

    /// As [`check`](Self::check), where a request may have been answered with an error.
    ///
    /// # Errors
    /// With the operations involved.
    pub fn check_history(&self, before: &BTreeMap<BlockId, u64>) -> anyhow::Result<()> {
        anyhow::ensure!(self.errors.is_empty(), "clients have seen:\n{}", self.errors.join("\n"));
        let initial = |block: BlockId| before.get(&block).copied().unwrap_or(sim::history::ZERO);
        sim::linear::check_from(&self.history, initial)
            .map_err(|violation| anyhow::anyhow!("{violation}"))
    }
}

async fn read_all(address: &Address, areas: &[Range<u64>]) -> anyhow::Result<Vec<(BlockId, u64)>> {
    let mut client = Client::connect(address, "r0").await?;
    let mut read = Vec::new();
    for area in areas {
        let range = area.start * PER_BLOCK..area.end * PER_BLOCK;
        let (offset, len) = registers::bytes(&range);
        let asked = client.read(offset, len);
        let data = tokio::time::timeout(PATIENCE, asked).await.context("no answer")??;
        let values = registers::values(&range, &data)?;
        read.extend(range.map(registers::name).zip(values));
    }
    client.disconnect().await?;
    Ok(read)
}

/// Writes each of these blocks once, in an order that jumps about, at depth 32; then flushes.
///
/// # Errors
/// If a write is refused or unanswered.
pub fn scatter(address: &Address, blocks: u64, stride: u64, seed: u64) -> anyhow::Result<()> {
    const DEPTH: usize = 32;
    // A multiplier without a common factor visits every block once.
    const JUMP: u64 = 7919;
    anyhow::ensure!(!blocks.is_multiple_of(JUMP), "{blocks} blocks would not all be visited");
    runtime()?.block_on(async {
        let mut client = Client::connect(address, "r0").await?;
        let mut next = 0;
        loop {
            while next < blocks && client.in_flight().len() < DEPTH {
                let block = next * JUMP % blocks * stride;
                let range = block * PER_BLOCK..(block + 1) * PER_BLOCK;
                let data = registers::filled(&range, (seed << 32) + block);
                client.submit(Operation::write(block * BLOCK_BYTES, data));
                next += 1;
            }
            if client.in_flight().is_empty() {
                break;
            }
            let reply = tokio::time::timeout(PATIENCE, client.reply()).await;
            let reply = reply.context("a write was not answered")??;
            anyhow::ensure!(reply.result.is_ok(), "a write was refused: {:?}", reply.result);
        }
        client.flush().await?;
        client.disconnect().await?;
        Ok(())
    })
}

/// A runtime for clients in a thread of their own.
///
/// # Errors
/// If the system refuses.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_plan_lie_in_as_many_extents() {
        let plan = Plan::scattered(3, 4, 1);
        assert_eq!(plan.areas.len(), 12);
        assert_eq!(plan.areas.last(), Some(&(2 * 1024 + 21..2 * 1024 + 22)));
    }

    #[test]
    fn a_lost_write_and_an_error_are_found() {
        let block = BlockId { volume: 0, number: 0 };
        let op = |kind, invoke| Op { process: 0, node: 0, block, kind, invoke, ret: Some(invoke) };
        let mut loaded = Loaded {
            history: [op(Kind::Write(1), 1), op(Kind::Read(0), 2)].into_iter().collect(),
            ..Loaded::default()
        };
        assert!(loaded.check(&BTreeMap::new()).is_err());
        loaded.history = [op(Kind::Read(7), 1)].into_iter().collect();
        assert!(loaded.check(&BTreeMap::new()).is_err());
        let before = BTreeMap::from([(block, 7)]);
        loaded.check(&before).unwrap();
        loaded.refused.push("no".to_owned());
        loaded.check_history(&before).unwrap();
        assert!(loaded.check(&before).is_err());
        loaded.errors.push("no".to_owned());
        assert!(loaded.check_history(&before).is_err());
    }
}
