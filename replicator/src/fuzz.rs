//! The body of the fuzz target for the handshake: two engines, and a link on which anything may
//! happen to what they say.
//!
//! The bytes are a list of operations. Messages arrive as they were sent, changed in a byte, again,
//! or made up; links come, go, and come from strangers; disks answer early, late or with an error.
//! Both engines must bear all of it: no panic, a bounded number of effects for each input, and
//! nothing told to whom has not proven the shared secret.

use crate::wire::{Message, forged};
use crate::{
    ClientId, ClientOp, Command, CommandId, DeviceSizes, DiskError, DiskOp, DiskOpId, Effect,
    Engine, EngineConfig, HandlerId, Input, LinkDownCause, LinkEpoch, MetaOpId, Options, RequestId,
    Resize, Secret,
};
use bytes::Bytes;
use metadata::{Cause, CreateParams, GenerationId, GenerationRecord, Layout, Metadata, Recovered};
use std::collections::{BTreeMap, VecDeque};
use types::{BLOCK_BYTES, BlockRange, ByteRange, NodeId, Span, StatusMap, Time, VolumeId};

/// Two extents and a bit.
const DATA: u64 = 9 << 20;
const VOLUME: VolumeId = VolumeId(0);
/// No input makes an engine want more than this at once: a window of resync requests, or the writes
/// of a few requests of clients.
const EFFECTS_MAX: usize = 4096;
const OPERATIONS_MAX: usize = 400;

/// Whatever is said to an engine, it goes on.
///
/// # Panics
/// If it does not, wants too much, or tells a stranger what only its peer may know.
pub fn fuzz_handshake(bytes: &[u8]) {
    let mut bytes = Reader(bytes);
    let mut world = World::new(bytes.next());
    for _ in 0..OPERATIONS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        world.operation(&mut bytes);
    }
    world.rest();
}

/// The bytes that are left; zeros when there are none.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
}

struct Node {
    engine: Engine,
    dialling: bool,
    /// With what each is answered if it ends well.
    disk_ops: BTreeMap<DiskOpId, Bytes>,
    meta_ops: Vec<MetaOpId>,
    /// Disks whose devices are to be looked at.
    measured: Vec<VolumeId>,
    handlers: Vec<HandlerId>,
    clients: u64,
}

/// A connection. A stranger's has one end only.
struct Link {
    ends: [bool; 2],
    /// What is on its way to each node.
    queues: [VecDeque<Message>; 2],
    /// Whether each node has got a proof of the secret that was not tampered with.
    proven: [bool; 2],
}

struct World {
    now: Time,
    secret: bool,
    nodes: [Node; 2],
    links: BTreeMap<LinkEpoch, Link>,
    last: Option<Message>,
    next: u64,
}

impl World {
    /// Bit 0: with a secret. Bit 1: two Primaries. Bits 2 to 4 and 5 to 7: the disks.
    fn new(kind: u8) -> Self {
        let secret = kind & 1 != 0;
        let nodes = [0, 1].map(|node| {
            let options = Options {
                shared_secret: secret.then(|| Secret::new(b"secret")),
                allow_two_primaries: kind & 2 != 0,
                ..Options::default()
            };
            let config = EngineConfig {
                resource: "r0".to_owned(),
                node: NodeId(node),
                node_name: "here".to_owned(),
                peer_name: "there".to_owned(),
                volumes: vec![VOLUME],
                options,
            };
            let engine = Engine::new(config, 7 + u64::from(node), Time(0));
            let (disk_ops, meta_ops) = (BTreeMap::new(), Vec::new());
            let (measured, handlers) = (Vec::new(), Vec::new());
            Node { engine, dialling: false, disk_ops, meta_ops, measured, handlers, clients: 0 }
        });
        let links = BTreeMap::new();
        let mut world = Self { now: Time(0), secret, nodes, links, last: None, next: 1 };
        for node in 0..2 {
            let disk = kind >> (2 + 3 * node) & 7;
            if disk > 0 {
                let recovered = Box::new(recovered(NodeId(node as u8), disk));
                let command =
                    Command::Attach { volume: VOLUME, recovered, granule: 512, al_updates: true };
                world.command(node, command);
            }
            world.command(node, Command::Connect { discard_my_data: false });
        }
        world.end_disk_work(0);
        world.end_disk_work(1);
        world
    }

    fn operation(&mut self, bytes: &mut Reader<'_>) {
        let operation = bytes.next();
        let node = usize::from(operation & 1);
        match operation >> 1 & 15 {
            0..=3 => self.deliver(node, None),
            4 => {
                let change = (bytes.next(), bytes.next(), bytes.next());
                self.deliver(node, Some(change));
            }
            5 => {
                let header: Vec<u8> = (0..12).map(|_| bytes.next()).collect();
                let payload: Vec<u8> = (0..bytes.next() % 64).map(|_| bytes.next()).collect();
                if let Some(message) = made_up(&header, &payload) {
                    self.say(node, message);
                }
            }
            6 => {
                if let Some(message) = self.last.clone() {
                    self.say(node, message);
                }
            }
            7 => self.end_disk_work(node),
            8 => self.end_one(node, bytes.next()),
            9 => self.link_up(node, true),
            10 => self.link_up(node, false),
            11 => self.link_down(node),
            12 => self.pass(Span::millis(u64::from(bytes.next()) * 40)),
            13 => self.order(node, bytes.next()),
            14 => self.request(node, bytes.next(), bytes.next()),
            _ => self.rest(),
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut effects = Vec::new();
        self.nodes[node].engine.step(self.now, input, &mut effects);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects at once", effects.len());
        for effect in effects {
            self.effect(node, effect);
        }
    }

    fn effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Disk { id, op, .. } => {
                let answer = match op {
                    DiskOp::Read(range) => vec![0; range.len as usize],
                    DiskOp::Map(range) => StatusMap::of(range.len, StatusMap::ZERO).encode(),
                    DiskOp::Write { .. } | DiskOp::Zero { .. } | DiskOp::Flush => Vec::new(),
                };
                self.nodes[node].disk_ops.insert(id, answer.into());
            }
            Effect::Meta { id, .. } => self.nodes[node].meta_ops.push(id),
            Effect::MeasureDisk { volume } => self.nodes[node].measured.push(volume),
            Effect::Connect => self.nodes[node].dialling = true,
            Effect::Send { epoch, message } => {
                let Some(link) = self.links.get_mut(&epoch) else { return };
                let shown = matches!(
                    message,
                    Message::Hello(_)
                        | Message::Auth(_)
                        | Message::Refuse { .. }
                        | Message::Bye
                        | Message::Ping
                        | Message::Pong
                );
                assert!(
                    shown || link.proven[node] || !self.secret,
                    "{} for a stranger",
                    message.name()
                );
                link.queues[1 - node].push_back(message);
            }
            Effect::CloseLink { epoch } => {
                if let Some(link) = self.links.get_mut(&epoch) {
                    link.ends[node] = false;
                }
            }
            Effect::Complete { .. }
            | Effect::CommandDone { .. }
            | Effect::Detached { .. }
            | Effect::Inspected(_)
            | Effect::Event(_) => {}
            Effect::Handler { id, .. } => self.nodes[node].handlers.push(id),
        }
    }

    /// The newest link with an end at that node.
    fn newest(&self, node: usize) -> Option<LinkEpoch> {
        self.links.iter().rev().find(|(_, link)| link.ends[node]).map(|(&epoch, _)| epoch)
    }

    /// The next message on its way to that node, perhaps changed in a byte; or the end of the link.
    fn deliver(&mut self, node: usize, change: Option<(u8, u8, u8)>) {
        let Some(epoch) = self.newest(node) else { return };
        let link = self.links.get_mut(&epoch).expect("just found");
        let Some(message) = link.queues[node].pop_front() else {
            if !link.ends[1 - node] {
                link.ends[node] = false;
                let cause = LinkDownCause::Closed;
                self.step(node, Input::LinkDown { epoch, cause });
            }
            return;
        };
        self.last = Some(message.clone());
        let arrives = match change {
            None => Some(message.clone()),
            Some(change) => changed(&message, change),
        };
        let Some(arriving) = arrives else { return };
        // A byte may be changed to what it was.
        link.proven[node] |= matches!(message, Message::Auth(_)) && arriving == message;
        self.step(node, Input::Message { epoch, message: arriving });
    }

    /// Somebody says that to that node.
    fn say(&mut self, node: usize, message: Message) {
        let Some(epoch) = self.newest(node) else { return };
        // It may be the very proof that is on its way.
        let link = self.links.get_mut(&epoch).expect("just found");
        link.proven[node] |= matches!(message, Message::Auth(_));
        self.step(node, Input::Message { epoch, message });
    }

    fn link_up(&mut self, node: usize, to_peer: bool) {
        let epoch = LinkEpoch(self.next);
        self.next += 1;
        let mut ends = [true, true];
        ends[1 - node] = to_peer;
        let queues = [VecDeque::new(), VecDeque::new()];
        self.links.insert(epoch, Link { ends, queues, proven: [false, false] });
        self.links.retain(|_, link| link.ends != [false, false]);
        let initiated = to_peer && std::mem::take(&mut self.nodes[node].dialling);
        self.step(node, Input::LinkUp { epoch, initiated });
        if to_peer {
            self.step(1 - node, Input::LinkUp { epoch, initiated: false });
        }
    }

    fn link_down(&mut self, node: usize) {
        let Some(epoch) = self.newest(node) else { return };
        self.links.get_mut(&epoch).expect("just found").ends[node] = false;
        self.step(node, Input::LinkDown { epoch, cause: LinkDownCause::Closed });
    }

    fn end_disk_work(&mut self, node: usize) {
        for _ in 0..50 {
            let Node { disk_ops, meta_ops, measured, .. } = &mut self.nodes[node];
            let (disk_ops, meta_ops) = (std::mem::take(disk_ops), std::mem::take(meta_ops));
            let measured = std::mem::take(measured);
            if disk_ops.is_empty() && meta_ops.is_empty() && measured.is_empty() {
                return;
            }
            for volume in measured {
                // Larger than they were.
                let sizes = Ok(DeviceSizes { data_bytes: 2 * DATA, meta_bytes: 1 << 20 });
                self.step(node, Input::DiskMeasured { volume, sizes });
            }
            for (id, answer) in disk_ops {
                self.step(node, Input::DiskDone { id, result: Ok(answer) });
            }
            for id in meta_ops {
                self.step(node, Input::MetaDone { id, result: Ok(()) });
            }
        }
    }

    /// One operation ends, or fails.
    fn end_one(&mut self, node: usize, which: u8) {
        let fails = which & 0x80 != 0;
        let failure = || DiskError::Io("broken".to_owned());
        let state = &mut self.nodes[node];
        if which & 0x40 == 0 && !state.meta_ops.is_empty() {
            let id = state.meta_ops.remove(usize::from(which & 0x3f) % state.meta_ops.len());
            let result = if fails { Err(failure()) } else { Ok(()) };
            self.step(node, Input::MetaDone { id, result });
        } else if let Some((id, answer)) = state.disk_ops.pop_first() {
            let result = if fails { Err(failure()) } else { Ok(answer) };
            self.step(node, Input::DiskDone { id, result });
        }
    }

    fn pass(&mut self, span: Span) {
        self.now += span;
        for node in 0..2 {
            if self.nodes[node].engine.next_deadline().is_some_and(|at| at <= self.now) {
                self.step(node, Input::Timer);
            }
        }
    }

    fn command(&mut self, node: usize, command: Command) {
        let id = CommandId(self.next);
        self.next += 1;
        self.step(node, Input::Command { id, command });
    }

    fn order(&mut self, node: usize, which: u8) {
        let command = match which % 8 {
            0 | 1 => Command::Connect { discard_my_data: false },
            2 => Command::Disconnect,
            3 => Command::Promote { force: false },
            4 => Command::Promote { force: true },
            5 => Command::Demote,
            6 => match which >> 4 {
                0 => Command::Connect { discard_my_data: true },
                1 => Command::Inspect,
                2 => Command::Outdate,
                3 => Command::SuspendIo,
                4 => Command::ResumeIo,
                5..8 => {
                    let Some(id) = self.nodes[node].handlers.pop() else { return };
                    let exit = Some(i32::from(which >> 5));
                    return self.step(node, Input::HandlerDone { id, exit });
                }
                8..12 => {
                    let (assume_clean, assume_peer_has_space) = (which & 16 != 0, which & 32 != 0);
                    let (volume, size) = (VOLUME, None);
                    Command::Resize(Resize { volume, size, assume_clean, assume_peer_has_space })
                }
                _ => Command::Detach { volume: VOLUME },
            },
            _ if std::mem::take(&mut self.nodes[node].dialling) => {
                let refused = which & 0x80 != 0;
                return self.step(node, Input::ConnectFailed { refused });
            }
            _ => return,
        };
        self.command(node, command);
    }

    fn request(&mut self, node: usize, what: u8, place: u8) {
        let size = self.nodes[node].engine.status().volumes[0].size_bytes;
        let range = ByteRange::new(u64::from(place) * 37 * 512, (1 + u64::from(what >> 4)) * 512);
        if range.end() > size {
            return;
        }
        let client = ClientId(node as u64);
        if self.nodes[node].clients == 0 {
            self.nodes[node].clients = 1;
            self.step(node, Input::ClientOpened { client, volume: VOLUME });
        }
        let fua = what & 8 != 0;
        let op = match what & 7 {
            0 => {
                self.nodes[node].clients = 0;
                return self.step(node, Input::ClientClosed { client });
            }
            1..=3 => ClientOp::Write { range, data: vec![1; range.len as usize].into(), fua },
            4 => ClientOp::Zero { range, unmap: true, fua },
            6 if fua => ClientOp::Allocation(range),
            5 | 6 => ClientOp::Read(range),
            _ if fua => ClientOp::OutOfSync(range),
            _ => ClientOp::Flush,
        };
        let id = RequestId(self.next);
        self.next += 1;
        self.step(node, Input::Request { id, client, volume: VOLUME, op });
    }

    /// Everything on its way arrives, and all disk work ends, as far as that goes.
    fn rest(&mut self) {
        for _ in 0..100 {
            let mut idle = true;
            for node in 0..2 {
                self.end_disk_work(node);
                for _ in 0..50 {
                    let epoch = self.newest(node);
                    let waits = |epoch: LinkEpoch| !self.links[&epoch].queues[node].is_empty();
                    if !epoch.is_some_and(waits) {
                        break;
                    }
                    idle = false;
                    self.deliver(node, None);
                }
            }
            if idle {
                return;
            }
        }
    }
}

/// Disks of all kinds: new, good, ahead alone, marked, crashed, Inconsistent.
fn recovered(node: NodeId, kind: u8) -> Recovered {
    let layout = Layout::external(DATA, 1 << 20, 2).expect("there is room");
    let (mut metadata, _) = Metadata::create(CreateParams {
        layout,
        resource: "r0".to_owned(),
        volume: VOLUME,
        node: Some(node),
        disk_incarnation: 100 + u64::from(node.0),
        al_extents: 67,
        now: Time(0),
    });
    let superblock = &mut metadata.superblock;
    if kind > 1 {
        let common = GenerationId(0x1000);
        superblock.generations.current =
            GenerationRecord::new(common, Cause::Forced, NodeId(0), Time(0));
        superblock.flags.consistent = kind != 6;
        superblock.flags.was_up_to_date = kind != 6 && kind != 7;
        superblock.agreed_bytes = layout.data_bytes();
    }
    if kind == 3 || kind == 4 {
        let id = GenerationId(0x2000 + 0x100 * u64::from(node.0));
        superblock.generations.go_solo(id, Cause::PeerLost, node, Time(1));
    }
    superblock.flags.crashed_primary = kind == 5;
    if kind >= 4 {
        metadata.bitmap.set(BlockRange::new(3, 40));
        metadata.bitmap.set(BlockRange::new(DATA / BLOCK_BYTES - 1, DATA / BLOCK_BYTES));
    }
    Recovered::whole(metadata)
}

/// The message with one byte of header or payload changed, if that is still one.
fn changed(message: &Message, (low, high, value): (u8, u8, u8)) -> Option<Message> {
    let encoded = message.encode();
    let (mut header, mut payload) = (encoded.header, encoded.payload.to_vec());
    // What is before are magic, checksums and length.
    let own = header.len() - 16;
    let at = usize::from(u16::from_le_bytes([low, high])) % (own + payload.len());
    match at.checked_sub(own) {
        None => header[16 + at] = value,
        Some(at) => payload[at] = value,
    }
    forged(header, &payload)
}

/// Kind, volume, flags and the five numbers, from few bytes.
fn made_up(bytes: &[u8], payload: &[u8]) -> Option<Message> {
    let mut header = [0; 64];
    header[16] = bytes[0] % 64;
    header[18] = u8::from(bytes[1] > 250);
    header[20] = bytes[1] % 8;
    for (field, pair) in bytes[2..12].chunks_exact(2).enumerate() {
        // Small numbers, multiples of a sector, and very large ones.
        let number = match pair[1] >> 6 {
            0 | 1 => u64::from(pair[0]),
            2 => u64::from(pair[0]) * 512 + (u64::from(pair[1] & 0x3f) << 17),
            _ => u64::MAX - u64::from(pair[0]),
        };
        header[24 + 8 * field..][..8].copy_from_slice(&number.to_le_bytes());
    }
    forged(header, payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn the_fuzz_corpus_is_borne() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/handshake");
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            fuzz_handshake(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "the corpus is empty");
    }

    /// Left alone, the two meet: so what the fuzzer does, it does to a handshake that works.
    #[test]
    fn two_engines_that_are_left_alone_meet() {
        for secret in [0, 1] {
            let mut world = World::new(secret | 2 << 2 | 2 << 5);
            world.link_up(0, true);
            world.rest();
            assert!(world.nodes.iter().all(|node| node.engine.status().established));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn anything_is_borne(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            fuzz_handshake(&bytes);
        }
    }
}
