//! Two engines, connected and both Primary, over disks and a link that take no time: what is left is
//! what the engine costs. Messages are encoded and decoded, with their checksums, as on a real link.

use bytes::Bytes;
use metadata::{AL_BLOCKS_DEFAULT, AL_EXTENTS_DEFAULT, CreateParams, Layout, Metadata, Recovered};
use replicator::wire::{self, HEADER_BYTES, Header};
use replicator::{
    ClientId, ClientOp, Command, CommandId, DiskOp, Effect, Effects, Engine, EngineConfig, Input,
    LinkDownCause, LinkEpoch, Options, RequestId,
};
use std::collections::VecDeque;
use types::{ByteRange, DiskState, NodeId, Role, Span, Time, VolumeId};

/// What a request is about.
const BLOCK: u64 = 4096;
/// 1 GiB less the metadata, all of which the activity log can have hot.
const DEVICE_BYTES: u64 = 1 << 30;
const BLOCKS: u64 = 200_000;
const VOLUME: VolumeId = VolumeId(0);
const CLIENT: ClientId = ClientId(1);
/// What setting up may take, in inputs.
const PATIENCE: usize = 100_000;

/// See the module's page.
pub(crate) struct Pair {
    engines: [Engine; 2],
    now: Time,
    inputs: VecDeque<(usize, Input)>,
    effects: Effects,
    data: Bytes,
    completed: u64,
    requests: u64,
    epoch: u64,
    is_linked: bool,
}

impl Pair {
    /// Both nodes are Primary and have every extent hot.
    pub(crate) fn new() -> Self {
        let now = Time(1_700_000_000_000_000_000);
        let engine = |node: u8| Engine::new(config(node), u64::from(node) + 1, now);
        let mut pair = Self {
            engines: [engine(0), engine(1)],
            now,
            inputs: VecDeque::new(),
            effects: Effects::new(),
            data: Bytes::from(vec![0xA5; BLOCK as usize]),
            completed: 0,
            requests: 0,
            epoch: 0,
            is_linked: false,
        };
        for node in 0..2 {
            let recovered = Box::new(Recovered::whole(created(node)));
            let attach =
                Command::Attach { volume: VOLUME, recovered, granule: 512, al_updates: true };
            pair.order(node, attach);
        }
        pair.run();
        for node in 0..2 {
            pair.order(node, Command::Connect { discard_my_data: false });
        }
        pair.until(|pair| pair.disks_are(DiskState::Inconsistent));
        pair.order(0, Command::NewCurrentUuid { volume: VOLUME, clear_bitmap: true });
        pair.until(|pair| pair.disks_are(DiskState::UpToDate));
        for node in 0..2 {
            pair.order(node, Command::Promote { force: false });
            pair.until(|pair| pair.engines[node].status().role == Role::Primary);
            pair.inputs.push_back((node, Input::ClientOpened { client: CLIENT, volume: VOLUME }));
        }
        // Every extent is hot afterwards.
        for extent in 0..BLOCKS / 1024 {
            pair.write_at(0, extent * 1024);
            pair.write_at(1, extent * 1024 + 1);
            pair.run();
        }
        pair
    }

    /// So many writes at a node, so many of them in flight at once.
    pub(crate) fn write(&mut self, node: usize, count: u64, depth: u64) {
        self.requests(count, depth, |pair, block| pair.write_at(node, block));
    }

    /// So many reads.
    pub(crate) fn read(&mut self, node: usize, count: u64, depth: u64) {
        self.requests(count, depth, |pair, block| {
            pair.request(node, ClientOp::Read(ByteRange::new(block * BLOCK, BLOCK)));
        });
    }

    /// So many writes on each node, all over the same few blocks.
    pub(crate) fn conflict(&mut self, count: u64, depth: u64) {
        self.requests(count, depth, |pair, block| {
            pair.write_at(0, block % 8);
            pair.write_at(1, block % 8);
        });
    }

    fn requests(&mut self, count: u64, depth: u64, one: impl Fn(&mut Self, u64)) {
        let before = self.requests - self.completed;
        assert_eq!(before, 0, "nothing is in flight");
        for first in (0..count).step_by(depth as usize) {
            for number in first..(first + depth).min(count) {
                // Anywhere, and never the same twice in a row.
                one(self, (number * 7919 + 13) % BLOCKS);
            }
            self.run();
            // A thousand turns a millisecond: timers come as they would.
            self.now += Span::micros(depth * 10);
        }
        assert_eq!(self.requests, self.completed, "every request was answered");
    }

    fn write_at(&mut self, node: usize, block: u64) {
        let (range, data) = (ByteRange::new(block * BLOCK, BLOCK), self.data.clone());
        self.request(node, ClientOp::Write { range, data, fua: false });
    }

    fn request(&mut self, node: usize, op: ClientOp) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.inputs.push_back((node, Input::Request { id, client: CLIENT, volume: VOLUME, op }));
    }

    fn order(&mut self, node: usize, command: Command) {
        let id = CommandId(0);
        self.inputs.push_back((node, Input::Command { id, command }));
    }

    /// Both, as both nodes see them.
    fn disks_are(&self, state: DiskState) -> bool {
        self.engines.iter().all(|engine| {
            let volume = &engine.status().volumes[0];
            (volume.disk, volume.peer_disk) == (state, state)
        })
    }

    /// Goes on, from timer to timer, until something is so.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            self.run();
            if is_so(self) {
                return;
            }
            let due = self.engines.iter().filter_map(Engine::next_deadline).min();
            self.now = self.now.max(due.expect("something is to come"));
            self.inputs.extend([(0, Input::Timer), (1, Input::Timer)]);
        }
        panic!("the engines do not get that far: {:?}", self.engines[0].status());
    }

    /// Goes on until nothing is left to be done.
    fn run(&mut self) {
        while let Some((node, input)) = self.inputs.pop_front() {
            let mut effects = std::mem::take(&mut self.effects);
            self.engines[node].step(self.now, input, &mut effects);
            for effect in effects.drain(..) {
                self.apply(node, effect);
            }
            self.effects = effects;
        }
    }

    fn apply(&mut self, node: usize, effect: Effect) {
        let input = match effect {
            Effect::Disk { id, op, .. } => {
                let bytes =
                    if matches!(op, DiskOp::Read(_)) { self.data.clone() } else { Bytes::new() };
                Input::DiskDone { id, result: Ok(bytes) }
            }
            Effect::Meta { id, .. } => Input::MetaDone { id, result: Ok(()) },
            Effect::Connect => return self.dial(node),
            Effect::CloseLink { epoch } => return self.close(node, epoch),
            Effect::Send { epoch, message } => {
                let encoded = message.encode();
                let header: &[u8; HEADER_BYTES] = &encoded.header;
                let header = Header::parse(header).expect("it was just made");
                let message = wire::decode(&header, encoded.payload).expect("it was just made");
                return self.inputs.push_back((1 - node, Input::Message { epoch, message }));
            }
            Effect::Complete { result, .. } => {
                result.expect("nothing fails here");
                self.completed += 1;
                return;
            }
            Effect::CommandDone { result, .. } => return result.expect("nothing is in the way"),
            _ => return,
        };
        self.inputs.push_back((node, input));
    }

    /// The first to dial connects both.
    fn dial(&mut self, node: usize) {
        if self.is_linked {
            self.inputs.push_back((node, Input::ConnectFailed { refused: false }));
            return;
        }
        self.is_linked = true;
        self.epoch += 1;
        let link = |initiated| Input::LinkUp { epoch: LinkEpoch(self.epoch), initiated };
        self.inputs.extend([(node, link(true)), (1 - node, link(false))]);
    }

    fn close(&mut self, node: usize, epoch: LinkEpoch) {
        if self.is_linked && epoch == LinkEpoch(self.epoch) {
            self.is_linked = false;
            let cause = LinkDownCause::Closed;
            self.inputs.push_back((1 - node, Input::LinkDown { epoch, cause }));
        }
    }
}

fn config(node: u8) -> EngineConfig {
    let names = ["alpha", "beta"];
    EngineConfig {
        resource: "bench".into(),
        node: NodeId(node),
        node_name: names[usize::from(node)].into(),
        peer_name: names[usize::from(1 - node)].into(),
        volumes: vec![VOLUME],
        options: Options { allow_two_primaries: true, ..Options::default() },
    }
}

fn created(node: usize) -> Metadata {
    let layout = Layout::internal(DEVICE_BYTES, AL_BLOCKS_DEFAULT).expect("there is room");
    let params = CreateParams {
        layout,
        resource: "bench".into(),
        volume: VOLUME,
        node: Some(NodeId(node as u8)),
        disk_incarnation: node as u64 + 1,
        al_extents: AL_EXTENTS_DEFAULT,
        now: Time(1_700_000_000_000_000_000),
    };
    Metadata::create(params).0
}
