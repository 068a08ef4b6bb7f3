//! Worlds told step by step: for scenarios that have a name, and nothing random in their course.
//!
//! The machines, disks, links and oracles are those of every world; the faults, the orders and the
//! requests are the script's. Every step that waits has a limit, and a step that does not come to
//! its end panics with what was found and what happened last.

use crate::client::Asked;
use crate::content::bytes_of_tag;
use crate::disk::{Disk, layout};
use crate::node::{NODE_NAMES, Order, Process, VOLUMES};
use crate::oracle::View;
use crate::plan::{Class, Death, Plan};
use crate::world::{Event, World};
use metadata::Rule;
use replicator::{
    ClientOp, Command, CommandId, Event as EngineEvent, Handler, Inspection, Options, Reconfigure,
    Refusal, RefusalKind, Resize, Status, VerifyReport,
};
use types::{
    BLOCK_BYTES, BlockRange, ByteRange, ConnectionState, DiskState, Ledger, Role, SECTOR_BYTES,
    Span,
};

mod late_mark;
mod lost_source;
mod resync;

pub use late_mark::{MOMENTS, late_mark};
pub use lost_source::{FAR, source_went_on_alone};

/// Longer than any scenario.
const FOR_EVER: Span = Span::secs(10_000_000);
/// No step of a script takes longer.
const PATIENCE: Span = Span::secs(120);
const MIB: u64 = 1 << 20;

/// Two nodes and one who tells them what to do. Everything is about the first volume, unless a
/// method says otherwise.
#[derive(Debug)]
pub struct Script {
    world: World,
}

/// A disk as it was.
#[derive(Clone, Debug)]
pub struct Image(Disk);

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Asking(usize);

/// A request was answered with an error, or its node is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl Script {
    /// Two nodes with equal disks of 16 MiB and a common generation, not started.
    pub fn new(two_primaries: bool) -> Self {
        Self::of(two_primaries, true, |_| {})
    }

    /// Two nodes with fresh metadata, not started.
    pub fn fresh() -> Self {
        Self::of(false, false, |_| {})
    }

    /// As [`Self::new`] or [`Self::fresh`], with other options.
    pub fn of(two_primaries: bool, in_sync: bool, change: impl FnOnce(&mut Options)) -> Self {
        let mut plan = Plan::new(1, Some(Class::Resets));
        let mut options = Options {
            allow_two_primaries: two_primaries,
            timeout: Span::secs(6),
            resync_request: 2 * BLOCK_BYTES,
            resync_window: 8 * BLOCK_BYTES,
            ..Options::default()
        };
        change(&mut options);
        plan.class = Class::Scripted;
        plan.two_primaries = two_primaries;
        plan.device_bytes = [16 * MIB, 8 * MIB];
        plan.granules = [512, 512];
        plan.slowness = [1, 1];
        plan.places = [vec![0], vec![0]];
        plan.al_extents = 4;
        plan.options = options;
        plan.al_updates = true;
        plan.requests = 0;
        plan.loops = 0;
        plan.delay_micros = 100;
        plan.faults.clear();
        plan.begins_in_sync = in_sync;
        Self { world: World::prepared(1, plan, true) }
    }

    /// Two nodes that are connected and both Primary.
    ///
    /// # Panics
    /// If a promotion is refused.
    pub fn two_primaries() -> Self {
        let mut script = Self::new(true);
        script.start_both();
        for node in 0..2 {
            script.promote(node).expect("nothing is in the way of it");
        }
        script
    }

    /// Disks that are attached from now on keep no activity log.
    pub fn without_log(&mut self) {
        self.world.plan.al_updates = false;
    }

    /// Starts both nodes and waits until they are connected.
    pub fn start_both(&mut self) {
        self.start(0);
        self.start(1);
        self.connected();
    }

    /// Starts a node; gives nothing to wait for.
    pub fn start(&mut self, node: usize) {
        self.world.schedule(self.world.now, Event::Start(node));
        self.until("a node runs", |script| {
            matches!(script.world.nodes[node].process, Process::Running(_))
                && script.world.nodes[node].orders.is_empty()
        });
    }

    /// A node dies by SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.world.die(node, Death::Kill, FOR_EVER);
        self.well();
    }

    /// The process of a node stands still for so long.
    pub fn pause(&mut self, node: usize, span: Span) {
        self.world.pause(node, span);
    }

    /// A node loses its power.
    pub fn cut_power(&mut self, node: usize) {
        self.world.die(node, Death::Power, FOR_EVER);
        self.well();
    }

    /// A node ends in order.
    pub fn stop(&mut self, node: usize) {
        self.world.clients_leave(node);
        self.order(node, Order::Stop, Command::Stop).expect("a stop is never refused");
    }

    /// A node is to become Primary; it is asked again while its peer is, or seems to be.
    ///
    /// # Errors
    /// If it refuses.
    pub fn promote(&mut self, node: usize) -> Result<(), Refusal> {
        let end = self.world.now + PATIENCE;
        loop {
            let command = Command::Promote { force: false };
            match self.order(node, Order::Promote(false), command) {
                Err(refusal) if refusal.kind == RefusalKind::State && self.world.now < end => {
                    self.pass(Span::millis(10));
                }
                result => return result,
            }
        }
    }

    /// A node is to become Primary, and is asked once.
    ///
    /// # Errors
    /// If it refuses.
    pub fn order_promotion(&mut self, node: usize, force: bool) -> Result<(), Refusal> {
        self.order(node, Order::Promote(force), Command::Promote { force })
    }

    /// A node is to become Primary by force.
    ///
    /// # Errors
    /// If it refuses.
    pub fn force(&mut self, node: usize) -> Result<(), Refusal> {
        self.order(node, Order::Promote(true), Command::Promote { force: true })
    }

    /// The clients of a node go, and it becomes Secondary.
    pub fn demote(&mut self, node: usize) {
        self.world.clients_leave(node);
        self.order(node, Order::Demote, Command::Demote).expect("nobody has it open");
    }

    /// The clients of a node close the device.
    pub fn clients_leave(&mut self, node: usize) {
        self.world.clients_leave(node);
    }

    /// A node leaves its peer by order.
    pub fn disconnect(&mut self, node: usize) {
        self.order(node, Order::Disconnect, Command::Disconnect).expect("it may always leave");
    }

    /// A node seeks its peer again.
    pub fn connect(&mut self, node: usize) {
        self.order(node, Order::Connect, Command::Connect { discard_my_data: false })
            .expect("it may always seek");
    }

    /// A node seeks its peer again, and gives up what it wrote alone.
    ///
    /// # Errors
    /// If it refuses.
    pub fn connect_and_discard(&mut self, node: usize) -> Result<(), Refusal> {
        self.order(node, Order::Connect, Command::Connect { discard_my_data: true })
    }

    /// `outdate`.
    ///
    /// # Errors
    /// If it refuses.
    pub fn outdate(&mut self, node: usize) -> Result<(), Refusal> {
        self.order(node, Order::Other, Command::Outdate)
    }

    /// `suspend-io`.
    pub fn suspend_io(&mut self, node: usize) {
        self.order(node, Order::Other, Command::SuspendIo).expect("it is never refused");
    }

    /// Other options for a running node, from those that it was made with.
    ///
    /// # Errors
    /// If it refuses.
    pub fn reconfigure(
        &mut self,
        node: usize,
        change: impl FnOnce(&mut Options),
    ) -> Result<(), Refusal> {
        let mut options = self.world.plan.options.clone();
        change(&mut options);
        let [node_name, peer_name] = [node, 1 - node].map(|it| NODE_NAMES[it].to_owned());
        let wanted = Box::new(Reconfigure { node_name, peer_name, options });
        self.order(node, Order::Other, Command::Reconfigure(wanted))
    }

    /// `verify` of these blocks.
    ///
    /// # Errors
    /// If it refuses.
    pub fn verify(&mut self, node: usize, blocks: std::ops::Range<u64>) -> Result<(), Refusal> {
        let per_block = BLOCK_BYTES / SECTOR_BYTES;
        let (start, stop) = (blocks.start * per_block, Some(blocks.end * per_block));
        self.order(node, Order::Other, Command::Verify { volume: VOLUMES[0], start, stop })
    }

    /// `verify` of the whole volume, up to its end.
    ///
    /// # Panics
    /// If it refuses, or does not end.
    pub fn verify_all(&mut self, node: usize) -> VerifyReport {
        let command = Command::Verify { volume: VOLUMES[0], start: 0, stop: None };
        self.order(node, Order::Other, command).expect("nothing is in the way of it");
        self.verified(node)
    }

    /// Waits until a verify has ended, and tells how.
    pub fn verified(&mut self, node: usize) -> VerifyReport {
        self.until("a verify ends", |script| script.status(node).volumes[0].verify.is_none());
        self.status(node).volumes[0].verify_report.clone().expect("one has ended")
    }

    /// `verify --cancel`.
    pub fn cancel_verify(&mut self, node: usize) {
        let command = Command::CancelVerify { volume: VOLUMES[0] };
        self.order(node, Order::Other, command).expect("it is never refused");
    }

    /// A block of a disk becomes this number behind everybody's back.
    pub fn flip(&mut self, node: usize, block: u64, tag: u64) {
        let range = BlockRange::new(block, block + 1).bytes();
        let data = bytes_of_tag(tag, range.len);
        self.world.nodes[node].disks[0].flip(range, &data);
        self.world.coverage.plant(0, block);
        self.world.coverage_touch(0, [crate::disk::sectors(range)]);
    }

    /// The blocks that a node has marked.
    pub fn marked(&self, node: usize) -> Vec<u64> {
        let engine = self.world.nodes[node].engine().expect("the node runs");
        let marks = engine.out_of_sync(VOLUMES[0]).expect("it has a disk");
        (0..self.blocks()).filter(|&block| marks.get(block)).collect()
    }

    /// `resume-io`.
    pub fn resume_io(&mut self, node: usize) {
        self.order(node, Order::Other, Command::ResumeIo).expect("it is never refused");
    }

    /// A node looks at what both have.
    pub fn inspect(&mut self, node: usize) -> Inspection {
        self.order(node, Order::Other, Command::Inspect).expect("it is never refused");
        self.world.inspections.pop().expect("what was found comes before the answer")
    }

    /// From now on a handler of a node ends so, after so long.
    pub fn handler_ends(&mut self, node: usize, handler: Handler, exit: Option<i32>, after: Span) {
        self.world.handlers.insert((node, handler), (exit, after));
    }

    /// The handlers that a node has run, in order, but for the everyday `disconnected`.
    pub fn handlers_run(&self, node: usize) -> Vec<Handler> {
        let run = self.world.handlers_run.iter().filter(|(at, _)| *at == node);
        run.map(|(_, handler)| *handler).filter(|it| *it != Handler::Disconnected).collect()
    }

    /// A node lets its disk go.
    ///
    /// # Errors
    /// If it refuses.
    pub fn detach(&mut self, node: usize) -> Result<(), Refusal> {
        let id = self.ask_detach(node);
        self.answer(id)
    }

    /// The same, without waiting.
    pub fn ask_detach(&mut self, node: usize) -> CommandId {
        let id = CommandId(self.world.next_command);
        self.world.order(node, Order::Detach(0), Command::Detach { volume: VOLUMES[0] });
        id
    }

    /// A node gets its disk back, which is well again.
    ///
    /// # Errors
    /// If it refuses.
    pub fn attach(&mut self, node: usize) -> Result<(), Refusal> {
        self.world.heal_disk(node, 0);
        let id = CommandId(self.world.next_command);
        self.world.give_back(node, 0);
        self.answer(id)
    }

    fn order(&mut self, node: usize, order: Order, command: Command) -> Result<(), Refusal> {
        let id = CommandId(self.world.next_command);
        self.world.order(node, order, command);
        self.answer(id)
    }

    /// Waits for the answer to an order.
    ///
    /// # Errors
    /// If it was refused.
    ///
    /// # Panics
    /// If it is not answered.
    pub fn answer(&mut self, id: CommandId) -> Result<(), Refusal> {
        self.until("an order is answered", |script| script.world.answers.contains_key(&id));
        self.world.answers.remove(&id).expect("just seen")
    }

    /// There is no link any more, and nobody is told.
    pub fn part(&mut self) {
        self.world.partition(FOR_EVER);
    }

    /// All connections are reset; new ones can be made at once.
    pub fn reset(&mut self) {
        self.world.reset_all(Span(0));
    }

    /// Messages take up to so long from now on.
    pub fn slow_link(&mut self, delay: Span) {
        self.world.plan.delay_micros = delay.0 / 1000;
    }

    /// The network is well again.
    pub fn heal(&mut self) {
        self.world.heal_net();
    }

    /// Reads of these blocks fail at a node, until they are written anew.
    pub fn bad_blocks(&mut self, node: usize, blocks: std::ops::Range<u64>) {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        self.world.nodes[node].disks[0].bad.push(crate::disk::sectors(range));
    }

    /// Reads and maps of data fail at a node.
    pub fn reads_fail(&mut self, node: usize) {
        self.world.nodes[node].disks[0].faults.read = 1000;
    }

    /// Writes and flushes of data fail at a node.
    pub fn writes_fail(&mut self, node: usize) {
        let faults = &mut self.world.nodes[node].disks[0].faults;
        (faults.write, faults.flush) = (1000, 1000);
    }

    /// Flushes of data fail at a node, and drop what they should have made durable.
    pub fn flushes_fail(&mut self, node: usize) {
        self.world.nodes[node].disks[0].faults.flush = 1000;
    }

    /// Batches of metadata fail at a node.
    pub fn metadata_fails(&mut self, node: usize) {
        self.world.nodes[node].disks[0].faults.meta = 1000;
    }

    /// Every operation of data at a node that begins now takes a minute.
    pub fn is_stuck(&mut self, node: usize) {
        self.world.nodes[node].disks[0].faults.stuck = 1000;
    }

    /// The disk of a node is full: no write finds room.
    pub fn is_full(&mut self, node: usize) {
        self.world.nodes[node].disks[0].faults.full = 1000;
    }

    /// The disk of a node is well again.
    pub fn heal_disk(&mut self, node: usize) {
        self.world.heal_disk(node, 0);
    }

    /// The disk of a node is larger from now on.
    pub fn enlarge(&mut self, node: usize, extra: u64) {
        self.world.enlarge(node, 0, extra);
    }

    /// `resize`.
    ///
    /// # Errors
    /// If it refuses.
    pub fn resize(&mut self, node: usize, change: impl FnOnce(&mut Resize)) -> Result<(), Refusal> {
        let id = self.ask_resize_of(node, change);
        self.answer(id)
    }

    /// As [`Self::resize`], without waiting.
    pub fn ask_resize_of(&mut self, node: usize, change: impl FnOnce(&mut Resize)) -> CommandId {
        let id = CommandId(self.world.next_command);
        let volume = VOLUMES[0];
        let mut order =
            Resize { volume, size: None, assume_clean: false, assume_peer_has_space: false };
        change(&mut order);
        let assumed = order.assume_peer_has_space;
        self.world.order(node, Order::Resize { volume: 0, assumed }, Command::Resize(order));
        id
    }

    /// As [`Self::resize`] as far as it goes, without waiting.
    pub fn ask_resize(&mut self, node: usize) -> CommandId {
        let id = CommandId(self.world.next_command);
        self.world.order_resize(node, 0);
        id
    }

    /// The same with a disk that was never used there.
    pub fn enlarge_clean(&mut self, node: usize, extra: u64) {
        self.world.enlarge_clean(node, 0, extra);
    }

    /// Waits until a node was refused for a reason with those words.
    pub fn refusal(&mut self, words: &str) -> String {
        let said = |script: &Self| {
            script.world.events.iter().find_map(|(_, event)| match event {
                EngineEvent::Refused { text } if text.contains(words) => Some(text.clone()),
                _ => None,
            })
        };
        self.until("a node was refused", |script| said(script).is_some());
        said(self).expect("just seen")
    }

    /// The state of the disk of a node.
    pub fn disk(&self, node: usize) -> DiskState {
        self.status(node).volumes[0].disk
    }

    /// The size of the volume by the engine of a node.
    pub fn size(&self, node: usize) -> u64 {
        self.world.status(node).map_or(0, |status| status.volumes[0].size_bytes)
    }

    /// The disk of a node as it is.
    pub fn image(&self, node: usize) -> Image {
        Image(self.world.nodes[node].disks[0].clone())
    }

    /// Puts a disk in the place of that of a node that does not run, behind replication's back.
    pub fn put_image(&mut self, node: usize, image: &Image) {
        self.world.replace_disk(node, 0, image.0.clone());
    }

    /// `create-md` on the disk of a node that does not run.
    pub fn create_metadata(&mut self, node: usize) {
        self.world.recreate(node, 0);
    }

    /// Why a disk cannot be attached, if so.
    pub fn unusable(&self, node: usize) -> Option<String> {
        self.world.load(node, 0).err()
    }

    /// Writes a number to a block.
    ///
    /// # Errors
    /// If it is answered so.
    pub fn write(&mut self, node: usize, block: u64, tag: u64) -> Result<(), Failed> {
        let asking = self.ask_write(node, block, tag);
        self.wait(asking).map(drop)
    }

    /// As [`Self::write`], without waiting.
    pub fn ask_write(&mut self, node: usize, block: u64, tag: u64) -> Asking {
        self.ask_write_blocks(node, block..block + 1, tag)
    }

    /// Writes a number to each of these blocks with one request, without waiting.
    pub fn ask_write_blocks(
        &mut self,
        node: usize,
        blocks: std::ops::Range<u64>,
        tag: u64,
    ) -> Asking {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        let data = bytes_of_tag(tag, range.len);
        self.ask(node, ClientOp::Write { range, data, fua: false }, Asked::Write(tag), range)
    }

    /// Reads the number in a block.
    ///
    /// # Errors
    /// If it is answered so.
    pub fn read(&mut self, node: usize, block: u64) -> Result<u64, Failed> {
        let asking = self.ask_read(node, block..block + 1);
        self.wait(asking).map(|seen| seen[0])
    }

    /// Reads these blocks with one request, without waiting.
    pub fn ask_read(&mut self, node: usize, blocks: std::ops::Range<u64>) -> Asking {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        self.ask(node, ClientOp::Read(range), Asked::Read, range)
    }

    /// Asks which sectors of these blocks are zeros, without waiting.
    pub fn ask_map(&mut self, node: usize, blocks: std::ops::Range<u64>) -> Asking {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        self.ask(node, ClientOp::Allocation(range), Asked::Allocation, range)
    }

    /// What a map was answered: block by block as far as it goes, whether all of it is zeros.
    ///
    /// # Errors
    /// If it is answered so.
    pub fn wait_map(&mut self, asking: Asking) -> Result<Vec<bool>, Failed> {
        self.wait(asking)?;
        let seen = &self.world.requests[asking.0].seen;
        let blocks = seen.chunks((BLOCK_BYTES / SECTOR_BYTES) as usize);
        Ok(blocks.map(|block| block.iter().all(Option::is_some)).collect())
    }

    /// Makes zeros of these blocks with one request, without waiting.
    pub fn ask_trim(&mut self, node: usize, blocks: std::ops::Range<u64>) -> Asking {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        let op = ClientOp::Zero { range, unmap: true, fua: false };
        self.ask(node, op, Asked::Write(0), range)
    }

    /// How many of these blocks are answered to be out-of-sync, at once.
    ///
    /// # Errors
    /// If it is answered with an error, or not at once.
    pub fn out_of_sync(
        &mut self,
        node: usize,
        blocks: std::ops::Range<u64>,
    ) -> Result<u64, Failed> {
        let range = BlockRange::new(blocks.start, blocks.end).bytes();
        let asking = self.ask(node, ClientOp::OutOfSync(range), Asked::OutOfSync, range);
        let request = &self.world.requests[asking.0];
        request.ret.ok_or(Failed)?;
        Ok(request.seen.iter().flatten().count() as u64 / (BLOCK_BYTES / SECTOR_BYTES))
    }

    /// Makes durable what was answered.
    ///
    /// # Errors
    /// If it is answered so.
    pub fn flush(&mut self, node: usize) -> Result<(), Failed> {
        let asking = self.ask_flush(node);
        self.wait(asking).map(drop)
    }

    /// As [`Self::flush`], without waiting.
    pub fn ask_flush(&mut self, node: usize) -> Asking {
        self.ask(node, ClientOp::Flush, Asked::Flush, ByteRange::new(0, 0))
    }

    /// How many messages of a kind a node has sent.
    pub fn messages_sent(&self, node: usize, kind: &str) -> usize {
        let sent = format!(" n{node}        -> ");
        let lines = self.world.trace().text().lines().filter(|line| line.contains(&sent));
        lines.filter(|line| line.split_whitespace().nth(4) == Some(kind)).count()
    }

    fn ask(&mut self, node: usize, op: ClientOp, asked: Asked, range: ByteRange) -> Asking {
        let client = self.world.a_client(node, 0);
        let at = self.world.requests.len();
        self.world.request(client, op, asked, range, false);
        Asking(at)
    }

    /// Whether a request has been answered, or never will be.
    pub fn is_over(&self, asking: Asking) -> bool {
        self.world.requests[asking.0].over
    }

    /// What a request was answered: what a read saw.
    ///
    /// # Errors
    /// If it is answered so.
    pub fn wait(&mut self, asking: Asking) -> Result<Vec<u64>, Failed> {
        self.until("a request is answered", |script| script.is_over(asking));
        let request = &self.world.requests[asking.0];
        request.ret.map(|_| request.seen.iter().copied().flatten().collect()).ok_or(Failed)
    }

    /// Lets the time pass.
    pub fn pass(&mut self, span: Span) {
        let end = self.world.now + span;
        while self.world.advance(end) {
            self.well();
        }
        self.world.now = end;
    }

    /// One event more, if there is one before patience ends.
    pub fn one_event(&mut self) {
        let end = self.world.now + PATIENCE;
        self.world.advance(end);
        self.well();
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it is not so within two minutes, or an oracle objects.
    pub fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = self.world.now + PATIENCE;
        while !so(self) {
            assert!(self.world.advance(end), "{what}: not within {PATIENCE}\n{}", self.last());
            self.well();
        }
    }

    /// Waits until both nodes are connected, their verdict taken.
    pub fn connected(&mut self) {
        self.until("both are connected", |script| (0..2).all(|node| script.is_connected(node)));
    }

    /// Whether a node has a peer and a verdict.
    pub fn is_connected(&self, node: usize) -> bool {
        self.world.status(node).is_some_and(|status| status.established)
    }

    /// Waits until both are in sync and connected, and their disks equal.
    pub fn in_sync(&mut self) {
        self.until("both are in sync", |script| script.is_in_sync());
        self.world.defined = true;
        self.world.check_equal();
        self.well();
    }

    /// Whether both are connected and in sync, with nothing marked.
    pub fn is_in_sync(&self) -> bool {
        let clean = |status: Status| {
            status.volumes.iter().all(|v| v.out_of_sync_blocks == 0 && v.counters.pending == 0)
        };
        let nodes = 0..2;
        self.world.is_calm()
            && nodes.into_iter().all(|node| self.world.status(node).is_some_and(clean))
    }

    /// Waits until a node stands alone, refused by its peer or refusing it.
    pub fn stands_alone(&mut self, node: usize) {
        self.until("a node stands alone", |script| {
            script.world.connection(node) == Some(ConnectionState::StandAlone)
        });
    }

    /// Where the time of a node's requests went.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn ledger(&self, node: usize) -> Ledger {
        let engine = self.world.nodes[node].engine().expect("the node runs");
        engine.ledger(VOLUMES[0]).expect("a volume of every world").clone()
    }

    /// What a node says of itself.
    ///
    /// # Panics
    /// If it does not run.
    pub fn status(&self, node: usize) -> Status {
        self.world.status(node).expect("the node runs")
    }

    /// Bytes of the last resync, as a node counts them.
    pub fn resync_bytes(&self, node: usize) -> u64 {
        self.status(node).volumes[0].resync_bytes
    }

    /// The rule of the last verdict of a node on the first volume.
    pub fn rule(&self, node: usize) -> Option<Rule> {
        self.world.last_rule[node][0]
    }

    /// The rules of all verdicts so far.
    pub fn rules(&self) -> Vec<Rule> {
        let reached = |rule: &Rule| self.world.marks.rule(*rule) > 0;
        Rule::ALL.iter().copied().filter(reached).collect()
    }

    /// Everything that the engines of a node have told, in order.
    pub fn events(&self, node: usize) -> Vec<&EngineEvent> {
        self.world.events.iter().filter(|(at, _)| *at == node).map(|(_, event)| event).collect()
    }

    /// Every answered write is where it must be, and every read saw what it could see.
    pub fn linearizable(&mut self) {
        self.world.check_view(&View::whole());
        self.well();
    }

    /// The number in a block of a disk, whatever its engine thinks of it.
    pub fn on_disk(&self, node: usize, block: u64) -> u64 {
        let sector = block * BLOCK_BYTES / SECTOR_BYTES;
        self.world.nodes[node].disks[0].content(sector).tag().unwrap_or(u64::MAX)
    }

    /// How many blocks of data the volume has.
    pub fn blocks(&self) -> u64 {
        layout(self.world.plan.device_bytes[0]).data_bytes() / BLOCK_BYTES
    }

    fn well(&self) {
        if let Some(failure) = self.world.failure() {
            panic!("{failure}\n{}", self.last());
        }
    }

    fn last(&self) -> String {
        let lines: Vec<&str> = self.world.trace().text().lines().collect();
        let cut = |line: &&str| line.chars().take(200).collect::<String>();
        lines[lines.len().saturating_sub(60)..].iter().map(cut).collect::<Vec<_>>().join("\n")
    }
}

impl World {
    /// An order of a script is answered: it is told, and what follows is noted.
    pub(crate) fn script_answered(
        &mut self,
        node: usize,
        id: CommandId,
        order: Order,
        result: Result<(), Refusal>,
    ) {
        if result.is_ok() {
            match order {
                Order::Promote(force) => {
                    self.defined |= force;
                    self.nodes[node].role = Role::Primary;
                }
                Order::Demote => self.nodes[node].role = Role::Secondary,
                Order::Stop => {
                    self.hang_up(node);
                    self.nodes[node].stopped = true;
                    self.check_stopped(node);
                    self.gone(node, FOR_EVER);
                }
                Order::Reattach(volume) => self.nodes[node].losses[volume] = None,
                Order::Attach
                | Order::Detach(_)
                | Order::Connect
                | Order::Disconnect
                | Order::Reconfigure(_)
                | Order::Invalidate(_)
                | Order::Resize { .. }
                | Order::Verify { .. }
                | Order::Other => {}
            }
        }
        self.answers.insert(id, result);
    }

    /// A disk of a node that does not run becomes another one.
    fn replace_disk(&mut self, node: usize, volume: usize, disk: Disk) {
        assert!(matches!(self.nodes[node].process, Process::Down), "node {node} runs");
        // Nothing is known any more about what differs, until the two are in sync again.
        self.defined = false;
        let all = 0..disk.device_bytes() / SECTOR_BYTES;
        self.nodes[node].disks[volume] = disk;
        self.coverage_touch(volume, [all]);
        self.nodes[node].offline[volume] =
            self.load(node, volume).ok().map(|found| found.metadata.bitmap);
    }

    fn recreate(&mut self, node: usize, volume: usize) {
        self.defined = false;
        self.create_metadata(node, volume, None);
        self.nodes[node].offline[volume] =
            self.load(node, volume).ok().map(|found| found.metadata.bitmap);
    }
}
