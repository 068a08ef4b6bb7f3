//! A load that knows what it wrote: unique values, and a history for the linearizability checker.
//!
//! Each write is a block of 4 KiB filled with a number that is written only once. A history keeps
//! the first and the last sector of each block as registers, so that a write torn by a crash, or
//! two writes that mixed, cannot hide; the sectors between must at least be whole.

use crate::clock;
use crate::nbd_client::{Address, Client, ClientError, Operation};
use anyhow::Context;
use bytes::Bytes;
use sim::history::{BlockId, History, Kind, Op};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use types::{BLOCK_BYTES, Prng, SECTOR_BYTES};

/// The longest that one request, or a connection to a restarting node, may take.
const PATIENCE: Duration = Duration::from_secs(60);
const SECTORS: u64 = BLOCK_BYTES / SECTOR_BYTES;
/// The sectors of a block that are registers.
const REGISTERS: [u64; 2] = [0, SECTORS - 1];
/// Values of one client of one load are below this.
const VALUES: u64 = 1 << 32;

/// What clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Numbers of the blocks that are used.
    pub blocks: Vec<u64>,
    /// Requests in flight at each node.
    pub depth: usize,
    /// Chooses everything else. Loads on one disk need different seeds, below 2^24.
    pub seed: u64,
    /// Whether a client that loses its connection comes back. Else it is an error.
    pub reconnect: bool,
}

impl Plan {
    /// `count` blocks in each of `extents` activity-log extents from the start of the disk.
    pub fn scattered(extents: u64, count: u64, seed: u64) -> Self {
        let per_extent = types::EXTENT_BYTES / BLOCK_BYTES;
        let blocks = (0..extents)
            .flat_map(|extent| (0..count).map(move |at| extent * per_extent + at * 7))
            .collect();
        Self { blocks, depth: 16, seed, reconnect: false }
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

#[derive(Debug, Default)]
struct Outcome {
    ops: Vec<Op>,
    errors: Vec<String>,
    reconnects: u64,
}

/// What came of a load.
#[derive(Debug)]
pub struct Loaded {
    /// Everything that was done, and the last state as read through each node.
    pub history: History,
    /// What clients were told that was no success.
    pub errors: Vec<String>,
    /// How often a client came back.
    pub reconnects: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// What each register holds at the end.
    pub last: BTreeMap<BlockId, u64>,
}

impl Load {
    /// A client at each of these nodes.
    ///
    /// # Errors
    /// If no runtime can be made.
    pub fn start(addresses: &[Address], plan: Plan) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = clock::now();
        let mut workers = Vec::new();
        for (node, address) in addresses.iter().enumerate() {
            let node = node as u8;
            let done = Arc::new(AtomicU64::new(0));
            let mut drive = Drive {
                plan: plan.clone(),
                node,
                prng: Prng::new(plan.seed * 256 + u64::from(node)),
                base: (plan.seed * 256 + u64::from(node) + 1) * VALUES,
                written: 0,
                stop: Arc::clone(&stop),
                start,
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
            workers.push(Worker { node, address: address.clone(), done, thread });
        }
        Ok(Self { plan, stop, start, workers })
    }

    /// How many requests that node has answered so far.
    pub fn answered(&self, node: usize) -> u64 {
        self.workers[node].done.load(Ordering::Relaxed)
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

    /// Ends the load, and reads every block through every node.
    ///
    /// # Errors
    /// If a block cannot be read.
    pub fn finish(self) -> anyhow::Result<Loaded> {
        self.stop.store(true, Ordering::Relaxed);
        let mut loaded = Loaded {
            history: History::new(),
            errors: Vec::new(),
            reconnects: 0,
            answered: 0,
            last: BTreeMap::new(),
        };
        let mut readers = Vec::new();
        for worker in self.workers {
            let outcome = worker.thread.join().ok().context("a load's thread has panicked")?;
            loaded.answered += worker.done.load(Ordering::Relaxed);
            loaded.reconnects += outcome.reconnects;
            loaded.errors.extend(outcome.errors);
            outcome.ops.into_iter().for_each(|op| loaded.history.push(op));
            readers.push((worker.node, worker.address));
        }
        for (node, address) in readers {
            let read = runtime()?.block_on(read_all(&address, &self.plan.blocks));
            let read = read.with_context(|| format!("reading through node {node} at the end"))?;
            // All of them were asked for after everything else had ended.
            let now = self.start.elapsed().as_nanos() as u64;
            for (block, value) in read {
                loaded.last.insert(block, value);
                let kind = Kind::Read(value);
                let process = 1000 + u64::from(node);
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
        anyhow::ensure!(self.errors.is_empty(), "clients were told:\n{}", self.errors.join("\n"));
        let initial = |block: BlockId| before.get(&block).copied().unwrap_or(sim::history::ZERO);
        sim::linear::check_from(&self.history, initial)
            .map_err(|violation| anyhow::anyhow!("{violation}"))
    }
}

struct Pending {
    block: u64,
    /// The value that is written; nothing for a read.
    write: Option<u64>,
    invoke: u64,
}

/// One client, through all its connections.
struct Drive {
    plan: Plan,
    node: u8,
    prng: Prng,
    base: u64,
    written: u64,
    stop: Arc<AtomicBool>,
    start: Instant,
    done: Arc<AtomicU64>,
    /// What is in flight, by cookie; nothing of a block for a flush.
    pending: BTreeMap<u64, Option<Pending>>,
    outcome: Outcome,
}

impl Drive {
    async fn live(&mut self, address: &Address) {
        loop {
            let connected = tokio::time::timeout(PATIENCE, self.connect(address)).await;
            let mut client = match connected {
                Ok(Some(client)) => client,
                Ok(None) => return,
                Err(_) => return self.complain("no connection within a minute".to_owned()),
            };
            match self.pump(&mut client).await {
                Ok(()) => {
                    if let Err(error) = client.disconnect().await {
                        self.complain(format!("going away: {error}"));
                    }
                    return;
                }
                Err(error) if error.is_connection_lost() && self.plan.reconnect => {
                    self.forget();
                    self.outcome.reconnects += 1;
                }
                Err(error) => {
                    self.forget();
                    return self.complain(format!("{error:?}"));
                }
            }
        }
    }

    fn complain(&mut self, text: String) {
        let now = self.now();
        self.outcome.errors.push(format!("node {} at {now} ns: {text}", self.node));
    }

    /// A connection; nothing if it is not wanted any more.
    async fn connect(&mut self, address: &Address) -> Option<Client> {
        const PAUSE: Duration = Duration::from_millis(10);
        while !self.stop.load(Ordering::Relaxed) {
            match Client::connect(address, "r0").await {
                Ok(client) => return Some(client),
                Err(_) if self.plan.reconnect => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    self.complain(format!("connecting: {error:?}"));
                    return None;
                }
            }
        }
        None
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Keeps the depth until it is told to stop, and then waits for what is in flight.
    async fn pump(&mut self, client: &mut Client) -> Result<(), ClientError> {
        loop {
            while !self.stop.load(Ordering::Relaxed) && self.pending.len() < self.plan.depth {
                self.ask(client);
            }
            if self.pending.is_empty() {
                return Ok(());
            }
            let Ok(reply) = tokio::time::timeout(PATIENCE, client.reply()).await else {
                return Err(ClientError::Protocol("no answer within a minute".to_owned()));
            };
            let reply = reply?;
            let pending = self.pending.remove(&reply.cookie).expect("the client checks cookies");
            match reply.result {
                Ok(data) => self.answered(pending, &data),
                Err(errno) => {
                    self.complain(format!("request answered with error {errno}"));
                    pending.into_iter().for_each(|pending| self.unknown(&pending));
                }
            }
        }
    }

    fn ask(&mut self, client: &mut Client) {
        if self.prng.chance(1, 64) {
            self.pending.insert(client.submit(Operation::Flush), None);
            return;
        }
        let block = *self.prng.pick(&self.plan.blocks);
        let offset = block * BLOCK_BYTES;
        let (operation, write) = match self.prng.chance(1, 3) {
            true => (Operation::read(offset, BLOCK_BYTES as u32), None),
            false => {
                self.written += 1;
                assert!(self.written < VALUES, "values are unique");
                let value = self.base + self.written;
                let fua = self.prng.chance(1, 16);
                (Operation::Write { offset, data: filled(value), fua }, Some(value))
            }
        };
        let invoke = self.now();
        self.pending.insert(client.submit(operation), Some(Pending { block, write, invoke }));
    }

    fn answered(&mut self, pending: Option<Pending>, data: &[u8]) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let Some(pending) = pending else { return };
        let ret = Some(self.now());
        match pending.write {
            Some(value) => self.push(&pending, [Kind::Write(value); 2], ret),
            None => match registers(data) {
                Ok(values) => self.push(&pending, values.map(Kind::Read), ret),
                Err(error) => self.complain(format!("block {}: {error:#}", pending.block)),
            },
        }
    }

    fn unknown(&mut self, pending: &Pending) {
        if let Some(value) = pending.write {
            self.push(pending, [Kind::Write(value); 2], None);
        }
    }

    /// The connection is gone: whether what was in flight was done is not known.
    fn forget(&mut self) {
        for pending in std::mem::take(&mut self.pending).into_values().flatten() {
            self.unknown(&pending);
        }
    }

    fn push(&mut self, pending: &Pending, kinds: [Kind; 2], ret: Option<u64>) {
        for (sector, kind) in REGISTERS.into_iter().zip(kinds) {
            let block = BlockId { volume: 0, number: pending.block * SECTORS + sector };
            let (process, node) = (u64::from(self.node), self.node);
            self.outcome.ops.push(Op { process, node, block, kind, invoke: pending.invoke, ret });
        }
    }
}

/// A block full of a number.
fn filled(value: u64) -> Bytes {
    value.to_le_bytes().repeat(BLOCK_BYTES as usize / 8).into()
}

/// The values of a block's registers. Every sector must be full of one number.
fn registers(block: &[u8]) -> anyhow::Result<[u64; 2]> {
    let mut values = Vec::new();
    for (at, sector) in block.chunks_exact(SECTOR_BYTES as usize).enumerate() {
        let (first, rest) = sector.split_at(8);
        anyhow::ensure!(rest.chunks_exact(8).all(|word| word == first), "sector {at} is torn");
        values.push(u64::from_le_bytes(first.try_into().expect("eight bytes")));
    }
    anyhow::ensure!(values.len() as u64 == SECTORS, "{} sectors", values.len());
    Ok(REGISTERS.map(|at| values[at as usize]))
}

async fn read_all(address: &Address, blocks: &[u64]) -> anyhow::Result<Vec<(BlockId, u64)>> {
    let mut client = Client::connect(address, "r0").await?;
    let mut read = Vec::new();
    for &block in blocks {
        let asked = client.read(block * BLOCK_BYTES, BLOCK_BYTES as u32);
        let data = tokio::time::timeout(PATIENCE, asked).await.context("no answer")??;
        let values = registers(&data).with_context(|| format!("block {block}"))?;
        for (sector, value) in REGISTERS.into_iter().zip(values) {
            read.push((BlockId { volume: 0, number: block * SECTORS + sector }, value));
        }
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
                client.submit(Operation::write(block * BLOCK_BYTES, filled((seed << 32) + block)));
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
    fn registers_are_the_first_and_the_last_sector() {
        let mut block = filled(5).to_vec();
        assert_eq!(registers(&block).unwrap(), [5, 5]);
        block[3584..].copy_from_slice(&filled(6)[3584..]);
        assert_eq!(registers(&block).unwrap(), [5, 6]);
        block[1000] = 1;
        assert!(registers(&block).unwrap_err().to_string().contains("sector 1 is torn"));
        assert!(registers(&block[..512]).is_err());
    }

    #[test]
    fn blocks_of_a_plan_lie_in_as_many_extents() {
        let plan = Plan::scattered(3, 4, 1);
        assert_eq!(plan.blocks.len(), 12);
        assert_eq!(plan.blocks.last(), Some(&(2 * 1024 + 21)));
    }

    #[test]
    fn a_lost_write_and_an_error_are_found() {
        let block = BlockId { volume: 0, number: 0 };
        let op = |kind, invoke| Op { process: 0, node: 0, block, kind, invoke, ret: Some(invoke) };
        let mut loaded = Loaded {
            history: [op(Kind::Write(1), 1), op(Kind::Read(0), 2)].into_iter().collect(),
            errors: Vec::new(),
            reconnects: 0,
            answered: 2,
            last: BTreeMap::new(),
        };
        assert!(loaded.check(&BTreeMap::new()).is_err());
        loaded.history = [op(Kind::Read(7), 1)].into_iter().collect();
        assert!(loaded.check(&BTreeMap::new()).is_err());
        let before = BTreeMap::from([(block, 7)]);
        loaded.check(&before).unwrap();
        loaded.errors.push("no".to_owned());
        assert!(loaded.check(&before).is_err());
    }
}
