//! The load of a world: clients come, ask, wait and go.

use crate::client::{Asked, Client, Request, draw, think};
use crate::marks::Mark;
use crate::node::VOLUMES;
use crate::plan::Class;
use crate::world::{Event, Phase, World};
use replicator::{ClientId, ClientOp, Input, RequestId};
use types::{EXTENT_BYTES, Role, Span};

impl World {
    /// Clients come to a node that has become Primary.
    pub(crate) fn open_clients(&mut self, node: usize, life: u32) {
        let there = |client: &Client| client.open && client.node == node && client.life == life;
        if self.nodes[node].life != life
            || self.nodes[node].role != Role::Primary
            || self.clients.iter().any(there)
        {
            return;
        }
        for volume in 0..VOLUMES.len() {
            for _ in 0..self.plan.loops {
                let at = self.new_client(node, volume);
                let pause = think(&mut self.rng, &self.plan);
                self.schedule(self.now + pause, Event::Client(at));
            }
        }
    }

    fn new_client(&mut self, node: usize, volume: usize) -> usize {
        let at = self.clients.len();
        let life = self.nodes[node].life;
        let id = at as u64 + 1;
        self.clients.push(Client { id, node, life, volume, open: true, waiting_for: None });
        self.input(node, Input::ClientOpened { client: ClientId(id), volume: VOLUMES[volume] });
        at
    }

    /// A client asks for the next thing.
    pub(crate) fn ask(&mut self, client: usize) {
        let enough = self.requests.len() as u64 >= self.plan.requests;
        let it = &self.clients[client];
        let idle = self.plan.idle_when_parted
            && self.class() == Class::SplitBrain
            && (self.plan.two_primaries || it.node == usize::from(self.plan.first_primary.0))
            && self.parted_at.is_some();
        if !it.open || it.waiting_for.is_some() || enough || idle || self.phase != Phase::Chaos {
            return;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let places = self.places(it.node, it.volume);
        let (op, asked, range, fua) = draw(&mut self.rng, &places, tag);
        self.request_marks(client, &op, range);
        self.request(client, op, asked, range, fua);
    }

    /// A client that has a volume of a node open.
    pub(crate) fn a_client(&mut self, node: usize, volume: usize) -> usize {
        let life = self.nodes[node].life;
        let mut clients = self.clients.iter();
        let free = clients.position(|client| {
            client.open
                && client.waiting_for.is_none()
                && (client.node, client.life, client.volume) == (node, life, volume)
        });
        free.unwrap_or_else(|| self.new_client(node, volume))
    }

    pub(crate) fn request(
        &mut self,
        client: usize,
        op: ClientOp,
        asked: Asked,
        range: types::ByteRange,
        fua: bool,
    ) {
        let invoke = self.stamp();
        let at = self.requests.len();
        let it = &mut self.clients[client];
        it.waiting_for = Some(at);
        let (node, volume, id) = (it.node, it.volume, it.id);
        self.requests.push(Request {
            node,
            client: id,
            volume,
            asked,
            range,
            fua,
            invoke,
            ret: None,
            over: false,
            incomplete: false,
            seen: Vec::new(),
            sent: None,
            lost: Vec::new(),
        });
        let input = Input::Request {
            id: RequestId(at as u64),
            client: ClientId(id),
            volume: VOLUMES[volume],
            op,
        };
        self.input(node, input);
    }

    fn request_marks(&mut self, client: usize, op: &ClientOp, range: types::ByteRange) {
        let (node, volume) = (self.clients[client].node, self.clients[client].volume);
        let writes = match op {
            ClientOp::Write { .. } => true,
            ClientOp::Zero { unmap, .. } => {
                if *unmap {
                    self.marks.hit(Mark::Unmap);
                }
                true
            }
            ClientOp::Read(_)
            | ClientOp::Flush
            | ClientOp::Allocation(_)
            | ClientOp::OutOfSync(_) => false,
        };
        if !writes {
            return;
        }
        if !range.len.is_multiple_of(4096) {
            self.marks.hit(Mark::PartialBlock);
        }
        if range.offset / EXTENT_BYTES != (range.end() - 1) / EXTENT_BYTES {
            self.marks.hit(Mark::CrossExtent);
        }
        if matches!(op, ClientOp::Write { fua: true, .. } | ClientOp::Zero { fua: true, .. }) {
            self.marks.hit(Mark::Fua);
        }
        if self.rng.chance(1, 8) && self.in_resync(node) {
            self.marks.hit(Mark::WriteInResync);
        }
        let (capacity, extents) = &mut self.nodes[node].extents[volume];
        extents.insert(range.offset / EXTENT_BYTES);
        if extents.len() as u64 > u64::from(*capacity) {
            self.marks.hit(Mark::ColdExtent);
        }
    }

    /// A client has its answer, and thinks about the next thing.
    pub(crate) fn client_goes_on(&mut self, request: usize, answered: bool) {
        let id = self.requests[request].client as usize - 1;
        self.clients[id].waiting_for = None;
        let mut pause = think(&mut self.rng, &self.plan);
        if !answered {
            pause = pause + Span::millis(self.rng.between(20, 300));
        }
        self.schedule(self.now + pause, Event::Client(id));
    }

    /// Whether the client that made a request still has its connection.
    pub(crate) fn clients_open(&self, request: usize) -> bool {
        self.clients[self.requests[request].client as usize - 1].open
    }

    /// The clients of a node go, in order or not; what they asked for may happen or not.
    pub(crate) fn clients_leave(&mut self, node: usize) {
        for id in self.clients_vanish(node) {
            self.input(node, Input::ClientClosed { client: ClientId(id) });
        }
    }

    /// The clients of a node are no more. Gives those that were there.
    pub(crate) fn clients_vanish(&mut self, node: usize) -> Vec<u64> {
        let mut gone = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.node == node && client.open) {
            client.open = false;
            gone.push(client.id);
            if let Some(request) = client.waiting_for.take() {
                self.requests[request].over = true;
            }
        }
        gone
    }

    /// A flush of every volume by a new client of every Primary.
    pub(crate) fn last_flushes(&mut self) {
        for node in 0..2 {
            if self.nodes[node].role != Role::Primary {
                continue;
            }
            for volume in 0..VOLUMES.len() {
                // A copy that is known to be behind serves nothing, until somebody decides.
                let status = self.status(node);
                let behind = |status: &replicator::Status| {
                    status.volumes[volume].disk == types::DiskState::Outdated
                };
                if self.is_parted_for_good() && status.as_ref().is_some_and(behind) {
                    continue;
                }
                let client = self.new_client(node, volume);
                let nothing = types::ByteRange::new(0, 0);
                self.request(client, ClientOp::Flush, Asked::Flush, nothing, false);
            }
        }
    }
}
