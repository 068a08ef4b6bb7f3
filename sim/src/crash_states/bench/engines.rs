//! The engines of a bench, and what they want done.

use super::{Asker, Bench, End, Happening, UNREACHABLE};
use crate::crash_states::ledger::Entry;
use crate::crash_states::platter::Op;
use crate::crash_states::{NODES, RESOURCE, VOLUME};
use replicator::{
    Command, DeviceSizes, DiskOp, Effect, Engine, EngineConfig, Input, IoError, LinkEpoch, Options,
    RequestId,
};
use types::{DiskState, NodeId, SECTOR_BYTES, Span};

impl Bench {
    pub(super) fn recovery_step(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some((todo, _)) = &mut it.recovering else { return };
        if let Some(batch) = todo.pop_front() {
            let op = it.platter.start_batch(&batch);
            return self.in_flight(node, op, Asker::Recovery, self.pace.flush);
        }
        let (_, recovered) = it.recovering.take().expect("just seen");
        let config = EngineConfig {
            resource: RESOURCE.into(),
            node: NodeId(node as u8),
            node_name: NODES[node].into(),
            peer_name: NODES[1 - node].into(),
            volumes: vec![VOLUME],
            options: Options {
                resync_request: self.resync_request,
                resync_window: self.resync_request,
                ..Options::default()
            },
        };
        let seed = u64::from(it.life) * 2 + node as u64 + 1;
        it.engine = Some(Box::new(Engine::new(config, seed, self.now)));
        let (volume, granule) = (VOLUME, SECTOR_BYTES);
        self.order(node, Command::Attach { volume, recovered, granule, al_updates: true });
        if self.nodes[node].seeks_peer {
            self.order(node, Command::Connect { discard_my_data: false });
        }
    }

    pub(super) fn disk_done(&mut self, node: usize, op: Op) {
        let it = &mut self.nodes[node];
        let asker = it.ops.remove(&op).expect("only what was started ends");
        let read = it.platter.end(op);
        match asker {
            Asker::Data(id) => self.input(node, Input::DiskDone { id, result: Ok(read) }),
            Asker::Meta(id) => self.input(node, Input::MetaDone { id, result: Ok(()) }),
            Asker::Recovery => self.recovery_step(node),
        }
    }

    fn in_flight(&mut self, node: usize, op: Op, asker: Asker, span: Span) {
        let it = &mut self.nodes[node];
        it.ops.insert(op, asker);
        let life = it.life;
        self.note(|| format!("node {node}: {op:?} for {asker:?}"));
        self.schedule(span, Happening::Disk { node, life, op });
    }

    pub(super) fn act(&mut self, node: usize, input: Input) {
        if !self.stopped() {
            self.input(node, input);
        }
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let it = &mut self.nodes[node];
        let Some(engine) = &mut it.engine else { return };
        it.inputs += 1;
        let mut effects = Vec::new();
        engine.step(self.now, input, &mut effects);
        for effect in effects {
            self.apply(node, effect);
        }
    }

    fn apply(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Disk { id, op, .. } => {
                self.note(|| format!("node {node}: disk {op:.60?}"));
                let pace = self.pace;
                let flush = matches!(op, DiskOp::Flush);
                let started = self.nodes[node].platter.start(&op);
                let span = if flush { pace.flush } else { pace.data };
                self.in_flight(node, started, Asker::Data(id), span);
            }
            Effect::Meta { id, batch, .. } => {
                let places = batch.writes.iter().map(|write| write.offset / SECTOR_BYTES);
                let places: Vec<u64> = places.collect();
                self.note(|| format!("node {node}: metadata at sectors {places:?}"));
                let op = self.nodes[node].platter.start_batch(&batch);
                self.in_flight(node, op, Asker::Meta(id), self.pace.flush);
            }
            Effect::MeasureDisk { volume } => {
                let bytes = self.grown.unwrap_or(self.device_bytes);
                let sizes = Ok(DeviceSizes { data_bytes: bytes, meta_bytes: bytes });
                self.input(node, Input::DiskMeasured { volume, sizes });
            }
            Effect::Connect => self.dial(node),
            Effect::Send { epoch, message } => {
                if let Some(conn) = self.find(node, epoch) {
                    let (to, message) = (1 - node, Box::new(message));
                    self.schedule(self.pace.message, Happening::Deliver { conn, to, message });
                }
            }
            Effect::CloseLink { epoch } => {
                if let Some(conn) = self.find(node, epoch) {
                    self.conns[conn][node].open = false;
                    let other = Happening::LinkDown { conn, node: 1 - node };
                    self.schedule(self.pace.message, other);
                }
            }
            Effect::Complete { id, result } => self.complete(node, id, result),
            Effect::CommandDone { id, result } => {
                self.note(|| format!("node {node}: order {} {result:?}", id.0));
                self.commands.insert(id, Some(result));
            }
            // None is configured.
            Effect::Handler { id, .. } => {
                self.input(node, Input::HandlerDone { id, exit: Some(0) });
            }
            Effect::Inspected(_) | Effect::Detached { .. } => {}
            Effect::Event(event) => self.event(node, &event),
        }
    }

    fn complete(&mut self, node: usize, id: RequestId, result: Result<bytes::Bytes, IoError>) {
        self.note(|| format!("node {node}: answer {} ok={}", id.0, result.is_ok()));
        let (at, entry) = self.requests[&id];
        if at != node {
            return self.fail(format!("node {node} answers request {} of the other", id.0));
        }
        match (entry, result) {
            (Entry::Read, result) => {
                self.read.insert(id, result);
            }
            (entry, Ok(_)) => {
                let nodes = self.taking_part(node);
                self.ledger.answered(entry, nodes);
            }
            (_, Err(error)) => self.fail(format!("node {node} fails request {}: {error:?}", id.0)),
        }
    }

    /// Whose disks a write of that node goes to now.
    fn taking_part(&self, node: usize) -> [bool; 2] {
        let Some(engine) = self.engine(node) else { return [false; 2] };
        let status = engine.status();
        let volume = &status.volumes[0];
        let takes = |disk| disk >= DiskState::Inconsistent && disk <= DiskState::UpToDate;
        let mut nodes = [false; 2];
        nodes[node] = takes(volume.disk);
        nodes[1 - node] = status.established && takes(volume.peer_disk);
        nodes
    }

    fn dial(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let other = &self.nodes[1 - node];
        if !self.wire || other.engine.is_none() {
            return self.schedule(UNREACHABLE, Happening::ConnectFailed { node, life });
        }
        let end = |life| End { life, epoch: LinkEpoch(0), open: false };
        let mut ends = [end(life), end(life)];
        ends[1 - node].life = other.life;
        let conn = self.conns.len();
        self.conns.push(ends);
        for at in [node, 1 - node] {
            let up = Happening::LinkUp { conn, node: at, initiated: at == node };
            self.schedule(self.pace.message, up);
        }
    }

    /// The open connection that has this number at that node.
    fn find(&self, node: usize, epoch: LinkEpoch) -> Option<usize> {
        (0..self.conns.len())
            .find(|&conn| self.is_open(conn, node) && self.conns[conn][node].epoch == epoch)
    }
}
