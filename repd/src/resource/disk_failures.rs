//! Tests: what comes of metadata that cannot be written, with the engine on devices that fail.

use super::disks::Disks;
use super::engine_config::engine_config;
use crate::testing::resource;
use metadata::{AL_BLOCKS_DEFAULT, CreateParams, Layout, Metadata, Recovered};
use replicator::{
    ClientId, ClientOp, Command, CommandId, Effect, Engine, Event, Input, IoError, RequestId,
};
use std::collections::VecDeque;
use storage::fault::{Fault, Plan, Rule};
use storage::{Device, OpKind};
use types::{ByteRange, DiskState, Time, VolumeId};

const VOLUME: VolumeId = VolumeId(0);
const DATA_BYTES: u64 = 16 << 20;
const META_BYTES: u64 = 64 << 10;
const EIO: i32 = 5;

/// One node without a peer, its metadata on another device than its data.
struct Node {
    engine: Engine,
    disks: Disks,
    inputs: VecDeque<Input>,
    events: Vec<Event>,
    answers: Vec<Result<(), IoError>>,
    is_closed: bool,
    orders: u64,
}

impl Node {
    /// Primary, UpToDate. The plans are those of the data's and the metadata's device.
    async fn primary(plans: &[Plan; 2]) -> Self {
        let resource = resource("r0");
        let (me, peer) = resource.host("alpha").unwrap();
        let mut node = Self {
            engine: Engine::new(engine_config(&resource, me, peer), 7, Time(1)),
            disks: Disks::default(),
            inputs: VecDeque::new(),
            events: Vec::new(),
            answers: Vec::new(),
            is_closed: false,
            orders: 0,
        };
        let [data, meta] = [(DATA_BYTES, &plans[0]), (META_BYTES, &plans[1])]
            .map(|(bytes, plan)| Device::memory(bytes).with_faults(plan));
        node.disks.insert(VOLUME, data, Some(meta));
        let recovered = Box::new(Recovered {
            metadata: fresh(),
            marked_blocks: 0,
            bad_pages: 0,
            damaged_slot: None,
            log_lost: false,
            crashed: false,
            found_sequence: 1,
            moved_from: None,
            plan: Vec::new(),
        });
        node.order(Command::Attach { volume: VOLUME, recovered, granule: 1, al_updates: true })
            .await;
        node.order(Command::Promote { force: true }).await;
        assert_eq!(node.disk(), DiskState::UpToDate, "{:?}", node.events);
        node.inputs.push_back(Input::ClientOpened { client: ClientId(1), volume: VOLUME });
        node
    }

    async fn order(&mut self, command: Command) {
        self.orders += 1;
        self.inputs.push_back(Input::Command { id: CommandId(self.orders), command });
        self.settle().await;
    }

    async fn ask(&mut self, op: ClientOp) {
        self.orders += 1;
        let (id, client) = (RequestId(self.orders), ClientId(1));
        self.inputs.push_back(Input::Request { id, client, volume: VOLUME, op });
        self.settle().await;
    }

    fn disk(&self) -> DiskState {
        self.engine.status().volumes[0].disk
    }

    /// Until nothing is in flight any more.
    async fn settle(&mut self) {
        let mut effects = Vec::new();
        loop {
            while let Some(input) = self.inputs.pop_front() {
                self.engine.step(Time(2), input, &mut effects);
                for effect in effects.drain(..) {
                    self.execute(effect);
                }
            }
            if !self.disks.is_busy() {
                self.disks.take_done(&mut self.inputs);
                return;
            }
            self.disks.wait().await;
            self.disks.take_done(&mut self.inputs);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Disk { volume, id, op } => {
                self.disks.submit(volume, id, op, &mut self.inputs);
            }
            Effect::Meta { volume, id, batch } => {
                self.disks.write_meta(volume, id, batch, &mut self.inputs);
            }
            Effect::Complete { result, .. } => self.answers.push(result.map(drop)),
            Effect::Detached { volume } => {
                self.disks.close(volume);
                self.is_closed = true;
            }
            Effect::Event(event) => self.events.push(event),
            Effect::Handler { id, .. } => {
                self.inputs.push_back(Input::HandlerDone { id, exit: Some(0) });
            }
            Effect::MeasureDisk { volume } => {
                let sizes = self.disks.measure(volume);
                self.inputs.push_back(Input::DiskMeasured { volume, sizes });
            }
            Effect::Inspected(_)
            | Effect::Connect
            | Effect::Send { .. }
            | Effect::CloseLink { .. }
            | Effect::CommandDone { .. } => {}
        }
    }
}

fn fresh() -> Metadata {
    let params = CreateParams {
        layout: Layout::external(DATA_BYTES, META_BYTES, AL_BLOCKS_DEFAULT).unwrap(),
        resource: "r0".into(),
        volume: VOLUME,
        node: None,
        disk_incarnation: 7,
        al_extents: 67,
        now: Time(1),
    };
    Metadata::create(params).0
}

fn write() -> ClientOp {
    let range = ByteRange::new(8192, 4096);
    ClientOp::Write { range, data: vec![7; 4096].into(), fua: false }
}

#[tokio::test]
async fn with_both_devices_well_a_write_is_answered_after_its_metadata() {
    let plans = [Plan::new(), Plan::new()];
    let mut node = Node::primary(&plans).await;
    node.ask(write()).await;
    assert_eq!(node.answers, [Ok(())]);
    assert!(node.engine.status().volumes[0].counters.al_writes > 0);
    assert!(!node.is_closed);
}

#[tokio::test]
async fn io4_metadata_that_cannot_be_written_detach_the_disk_whatever_the_policy() {
    for kind in [OpKind::Write, OpKind::Flush] {
        let plans = [Plan::new(), Plan::new()];
        let mut node = Node::primary(&plans).await;
        plans[1].add(Rule::new(Fault::Error(EIO)).on(kind));
        node.ask(write()).await;
        let failed = |event: &Event| matches!(event, Event::DiskFailed { .. });
        assert!(node.events.iter().any(failed), "{kind:?}: {:?}", node.events);
        assert_eq!(node.disk(), DiskState::Diskless, "{kind:?}");
        assert_eq!(node.answers, [Err(IoError::Io)], "nobody has what was written");
        assert!(node.is_closed && node.disks.is_empty(), "both devices are let go");
        assert_eq!(plans[0].hits(), 0);
    }
}
