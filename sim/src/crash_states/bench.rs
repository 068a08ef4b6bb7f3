//! Two engines, two disks and a link, without chance: everything takes its fixed time.
//!
//! A bench is told by a script what to do. Once it records, it counts what happens, and it can
//! be stopped after so many happenings: that is the instant of a loss of power. Run again, it
//! comes to the same instant.

mod engines;
mod time;
mod watch;

use super::ledger::{Entry, Ledger};
use super::platter::{Image, Op, Platter};
use super::{RESOURCE, VOLUME};
use crate::content::{bytes_of_tag, sectors_of};
use metadata::{Batch, Expected, Layout, Placement, Recovered};
use replicator::wire::Message;
use replicator::{
    ClientId, ClientOp, Command, CommandId, DiskOpId, Engine, Input, IoError, LinkEpoch, MetaOpId,
    Refusal, RequestId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use types::{ByteRange, DiskState, NodeId, SECTOR_BYTES, Span, Time};

/// No script takes more steps: it would be one that never comes to rest.
const STEPS_MAX: u64 = 200_000;
/// A machine that does not answer: so long it takes to notice.
const UNREACHABLE: Span = Span::millis(200);

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A message.
    pub(super) message: Span,
    /// A read or a write of data.
    pub(super) data: Span,
    /// A flush, or a batch of metadata.
    pub(super) flush: Span,
}

/// Whose answer an operation of a disk is.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Data(DiskOpId),
    Meta(MetaOpId),
    Recovery,
}

#[derive(Debug)]
enum Happening {
    Disk { node: usize, life: u32, op: Op },
    Deliver { conn: usize, to: usize, message: Box<Message> },
    LinkUp { conn: usize, node: usize, initiated: bool },
    LinkDown { conn: usize, node: usize },
    ConnectFailed { node: usize, life: u32 },
}

#[derive(Debug)]
struct End {
    life: u32,
    epoch: LinkEpoch,
    open: bool,
}

/// A node.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) engine: Option<Box<Engine>>,
    pub(super) platter: Platter,
    life: u32,
    epoch: u64,
    ops: BTreeMap<Op, Asker>,
    /// What a recovery has still to write.
    recovering: Option<(VecDeque<Batch>, Box<Recovered>)>,
    /// Whether it seeks the peer as soon as it has its disk.
    seeks_peer: bool,
    /// How many inputs its engine had.
    inputs: u64,
}

/// The bench.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) now: Time,
    pub(super) nodes: [Node; 2],
    /// Whether a connection can be made.
    pub(super) wire: bool,
    pub(super) ledger: Ledger,
    /// What an oracle has found.
    pub(super) wrong: Option<String>,
    /// Differences must be marked or covered from now on.
    pub(super) defined: bool,
    /// No node may be refused by the other from now on.
    pub(super) must_agree: bool,
    /// What happened, if that is wanted.
    pub(super) trace: Option<Vec<String>>,
    /// What a resync copies at once: little, where it is looked at.
    pub(super) resync_request: u64,
    layout: Layout,
    device_bytes: u64,
    /// The devices are that large by now.
    pub(super) grown: Option<u64>,
    pace: Pace,
    queue: BTreeMap<(Time, u64), Happening>,
    order: u64,
    steps: u64,
    conns: Vec<[End; 2]>,
    requests: BTreeMap<RequestId, (usize, Entry)>,
    read: BTreeMap<RequestId, Result<bytes::Bytes, IoError>>,
    commands: BTreeMap<CommandId, Option<Result<(), Refusal>>>,
    /// Happenings since it records.
    recorded: Option<u64>,
    stop_after: u64,
}

impl Bench {
    /// Two nodes that are off, with these disks of `device_bytes`.
    pub(super) fn new(images: [Image; 2], layout: Layout, device_bytes: u64, pace: Pace) -> Self {
        let nodes = images.map(|image| Node { platter: Platter::of(image), ..Node::default() });
        Self {
            now: Time(1_700_000_000_000_000_000),
            nodes,
            wire: true,
            ledger: Ledger::default(),
            wrong: None,
            defined: false,
            must_agree: false,
            trace: None,
            resync_request: types::BLOCK_BYTES,
            layout,
            device_bytes,
            grown: None,
            pace,
            queue: BTreeMap::new(),
            order: 0,
            steps: 0,
            conns: Vec::new(),
            requests: BTreeMap::new(),
            read: BTreeMap::new(),
            commands: BTreeMap::new(),
            recorded: None,
            stop_after: u64::MAX,
        }
    }

    /// From now on what happens is counted; after so much of it everything stands still.
    pub(super) fn record(&mut self) {
        self.note(|| "the operation begins".into());
        self.recorded = Some(0);
    }

    pub(super) fn stop_after(&mut self, happenings: u64) {
        self.stop_after = happenings;
    }

    /// How much has happened since it records.
    pub(super) fn happened(&self) -> u64 {
        self.recorded.unwrap_or_default()
    }

    /// Everything stands still: the script has no effect any more.
    pub(super) fn stopped(&self) -> bool {
        self.wrong.is_some() || self.recorded.is_some_and(|count| count >= self.stop_after)
    }

    /// The script is over, or has been stopped; time goes on for what comes after it.
    pub(super) fn go_on(&mut self) {
        self.recorded = None;
    }

    pub(super) fn engine(&self, node: usize) -> Option<&Engine> {
        self.nodes[node].engine.as_deref()
    }

    /// The state of a node's disk, by its engine.
    pub(super) fn disk(&self, node: usize) -> DiskState {
        self.engine(node).map_or(DiskState::Diskless, |engine| engine.status().volumes[0].disk)
    }

    /// How much a node's engine has been told: the same number is the same state.
    pub(super) const fn inputs(&self, node: usize) -> u64 {
        self.nodes[node].inputs
    }

    /// Whether messages from that node are under way.
    pub(super) fn has_sent(&self, node: usize) -> bool {
        let sent = |one: &Happening| matches!(one, Happening::Deliver { to, .. } if *to != node);
        self.queue.values().any(sent)
    }

    /// A node starts: recovers its metadata, attaches the disk and, maybe, seeks its peer.
    pub(super) fn start(&mut self, node: usize, seeks_peer: bool) {
        if self.stopped() {
            return;
        }
        self.note(|| format!("node {node} starts"));
        let expected =
            Expected { resource: RESOURCE.into(), volume: VOLUME, node: Some(NodeId(node as u8)) };
        let it = &mut self.nodes[node];
        let mut read = |range| Ok::<_, Infallible>(it.platter.read(range).to_vec());
        let (bytes, was) = (self.grown.unwrap_or(self.device_bytes), [self.device_bytes]);
        match metadata::load_grown(&mut read, bytes, Placement::Internal, Some(expected), &was) {
            Ok(found) => {
                it.life += 1;
                it.seeks_peer = seeks_peer;
                it.recovering = Some((found.plan.clone().into(), Box::new(found)));
                self.recovery_step(node);
            }
            Err(error) => self.fail(format!("node {node} cannot be attached: {error}")),
        }
    }

    /// Gives an order.
    pub(super) fn order(&mut self, node: usize, command: Command) -> CommandId {
        let id = CommandId(self.commands.len() as u64 + 1);
        if !self.stopped() {
            self.note(|| format!("node {node}: order {command:.40?}"));
            self.commands.insert(id, None);
            self.input(node, Input::Command { id, command });
        }
        id
    }

    /// Gives an order and waits until it is carried out.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn obey(&mut self, node: usize, command: Command) -> Result<(), Refusal> {
        let id = self.order(node, command);
        self.run_until("an order is carried out", |bench| {
            bench.commands.get(&id).is_none_or(Option::is_some)
        });
        self.commands.get_mut(&id).and_then(Option::take).unwrap_or(Ok(()))
    }

    /// A client of a node opens the device, and closes it.
    pub(super) fn open(&mut self, node: usize, open: bool) {
        let client = ClientId(node as u64 + 1);
        match open {
            true => self.act(node, Input::ClientOpened { client, volume: VOLUME }),
            false => self.act(node, Input::ClientClosed { client }),
        }
    }

    /// A client of a node writes sectors.
    pub(super) fn write(&mut self, node: usize, sectors: std::ops::Range<u64>, fua: bool) {
        if self.stopped() {
            return;
        }
        let range = ByteRange::between(sectors.start * SECTOR_BYTES, sectors.end * SECTOR_BYTES);
        let (entry, tag) = self.ledger.ask_write(sectors, fua);
        let data = bytes_of_tag(tag, range.len);
        self.request(node, ClientOp::Write { range, data, fua }, entry);
    }

    /// A client of a node flushes.
    pub(super) fn flush(&mut self, node: usize) {
        if !self.stopped() {
            let entry = self.ledger.ask_flush();
            self.request(node, ClientOp::Flush, entry);
        }
    }

    /// A client of a node reads every block that holds anything. `None` if that fails.
    pub(super) fn read_used(&mut self, node: usize) -> Option<Image> {
        let per_block = types::BLOCK_BYTES / SECTOR_BYTES;
        let blocks = self.data(node).into_keys().map(|sector| sector / per_block);
        let mut data = Image::new();
        for block in blocks.collect::<BTreeSet<u64>>() {
            let id = RequestId(self.requests.len() as u64 + 1);
            let range = types::BlockRange::new(block, block + 1).bytes();
            self.request(node, ClientOp::Read(range), Entry::Read);
            self.run_until("a read is answered", |bench| bench.read.contains_key(&id));
            let bytes = self.read.remove(&id)?.ok()?;
            data.extend((block * per_block..).zip(sectors_of(&bytes)));
        }
        Some(data)
    }

    /// The data on a node's disk, as it would be read.
    pub(super) fn data(&self, node: usize) -> Image {
        let mut image = self.nodes[node].platter.newest_image();
        image.split_off(&(self.layout.data_bytes() / SECTOR_BYTES));
        image
    }

    fn request(&mut self, node: usize, op: ClientOp, entry: Entry) {
        let id = RequestId(self.requests.len() as u64 + 1);
        self.note(|| format!("node {node}: request {} {op:.60?}", id.0));
        self.requests.insert(id, (node, entry));
        let client = ClientId(node as u64 + 1);
        self.input(node, Input::Request { id, client, volume: VOLUME, op });
    }

    /// The link breaks, with all that is under way on it, and cannot be made again.
    pub(super) fn cut_wire(&mut self) {
        if self.stopped() {
            return;
        }
        self.note(|| "the link breaks".into());
        self.wire = false;
        self.queue.retain(|_, one| !matches!(one, Happening::Deliver { .. }));
        for conn in 0..self.conns.len() {
            for node in 0..2 {
                self.schedule(Span(0), Happening::LinkDown { conn, node });
            }
        }
    }

    /// The power of a node goes; its disk is left with that content. What it has sent arrives,
    /// or is lost.
    pub(super) fn cut_power(&mut self, node: usize, image: Image, sent_arrives: bool) {
        self.note(|| format!("the power of node {node} goes, sent_arrives={sent_arrives}"));
        if !sent_arrives {
            let sent =
                |one: &Happening| matches!(one, Happening::Deliver { to, .. } if *to != node);
            self.queue.retain(|_, one| !sent(one));
        }
        let it = &mut self.nodes[node];
        let (life, epoch) = (it.life + 1, it.epoch);
        *it = Node { platter: Platter::of(image), life, epoch, ..Node::default() };
        for conn in 0..self.conns.len() {
            self.conns[conn][node].open = false;
            let message = self.pace.message;
            self.schedule(message, Happening::LinkDown { conn, node: 1 - node });
        }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        let at = self.now.0 % 1_000_000_000_000 / 1000;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:10} {}", text()));
        }
    }
}
