//! Protocols A and B: what a world must know of writes that are answered before the peer has them.
//!
//! When the peer of a dead Primary takes over, it has what it had received: with A a suffix of the
//! writes that were answered, in the order of their numbers, may be missing, with B and C none. What
//! is missing never was, from then on; everything else must be there as ever.

use crate::client::{Asked, Request};
use crate::content::bytes_of_tag;
use crate::history::{BlockId, ZERO};
use crate::marks::Mark;
use crate::node::{Process, VOLUMES};
use crate::plan::{Class, Death};
use crate::world::{Phase, World};
use replicator::ClientOp;
use replicator::wire::Message;
use types::{BLOCK_BYTES, ByteRange, Protocol, ReplicationState, Role};

impl World {
    /// Whether writes are answered before the peer has written them.
    pub(crate) fn is_early(&self) -> bool {
        self.plan.options.protocol != Protocol::C
    }

    /// A node sends a message: whose write it is is remembered.
    pub(crate) fn note_sent(&mut self, node: usize, message: &Message) {
        if let Message::Ack { volume, .. } = message
            && let Some((session, received)) =
                self.nodes[node].engine().and_then(|engine| engine.session(*volume))
        {
            // It remembers that only until it dies; the world does after that, too.
            self.received.insert((node, usize::from(volume.0), session), received);
        }
        let (Message::Write { stamp, range, .. } | Message::Zero { stamp, range, .. }) = message
        else {
            return;
        };
        if self.plan.two_primaries {
            return;
        }
        let Some(engine) = self.nodes[node].engine() else { return };
        let session = engine.session(stamp.volume).map_or(0, |(session, _)| session);
        let Some(request) = engine.request_of(stamp.volume, stamp.seq) else { return };
        let at = usize::try_from(request.0).expect("request ids are indices");
        self.sent.insert((node, usize::from(stamp.volume.0), session, stamp.seq), (at, *range));
        self.requests[at].sent = Some((session, stamp.seq));
    }

    /// A client has the answer to a write.
    pub(crate) fn note_answered(&mut self, at: usize) {
        let request = &self.requests[at];
        let Some((session, seq)) = request.sent.filter(|_| self.is_early()) else { return };
        let (node, volume) = (request.node, VOLUMES[request.volume]);
        let open = |engine: &replicator::Engine| {
            let whose = engine.request_of(volume, seq).map(|request| request.0);
            engine.session(volume).is_some_and(|(now, _)| now == session)
                && whose == Some(at as u64)
        };
        if !self.nodes[node].engine().is_some_and(open) {
            return;
        }
        let peer = self.nodes[1 - node].engine().and_then(|engine| engine.session(volume));
        let said = self.received.get(&(1 - node, request.volume, session)).copied();
        let received = peer.is_some_and(|(now, received)| now == session && received >= seq)
            || said.is_some_and(|received| received >= seq);
        self.marks.hit(if received { Mark::AnsweredReceived } else { Mark::AnsweredQueued });
        if !received && self.plan.options.protocol == Protocol::B && peer.is_some() {
            let text = format!(
                "node {node} has answered request {at} with protocol B, and the peer has not \
                 received it"
            );
            self.fail("answers", text);
        }
    }

    pub(crate) fn note_congestion(
        &mut self,
        node: usize,
        volume: usize,
        old: ReplicationState,
        new: ReplicationState,
    ) {
        // A link that is lost meanwhile tells the peer nothing.
        match new {
            ReplicationState::Ahead => self.nodes[node].ahead[volume] = true,
            ReplicationState::Off => {}
            _ => self.nodes[node].ahead[volume] = false,
        }
        if new == ReplicationState::Ahead {
            self.marks.hit(Mark::PulledAhead);
        }
        if old == ReplicationState::SyncSource && new == ReplicationState::Established {
            let ahead = self.marks.count(Mark::PulledAhead) > 0;
            if ahead {
                self.marks.hit(Mark::CaughtUp);
            }
        }
    }

    /// A node has become Primary: if it takes over, what it lacks of the other's writes is lost.
    pub(crate) fn note_takeover(&mut self, node: usize) {
        let peer = 1 - node;
        let dead =
            self.takes_over == Some(node) && matches!(self.nodes[peer].process, Process::Down);
        let unseen = self.class() == Class::SplitBrain && !self.plan.two_primaries;
        if !dead && !unseen || node == usize::from(self.plan.first_primary.0) && unseen {
            return;
        }
        for (volume, id) in VOLUMES.into_iter().enumerate() {
            let here = self.nodes[node].engine().and_then(|engine| engine.session(id));
            let Some((session, received)) = here else { continue };
            let missing = (peer, volume, session, received + 1)..=(peer, volume, session, u64::MAX);
            let lost: Vec<_> = self.sent.range(missing).map(|(_, piece)| *piece).collect();
            for (at, range) in lost {
                self.requests[at].lost.push(range);
                if self.requests[at].ret.is_none() {
                    continue;
                }
                self.marks.hit(Mark::LostInFailover);
                // A Primary that lives on answers it alone in the end.
                if dead && self.plan.options.protocol != Protocol::A {
                    let text = format!(
                        "request {at} was answered with protocol {}, and node {node}, which takes \
                         over, never received it",
                        self.plan.options.protocol
                    );
                    self.fail("answers", text);
                }
            }
        }
    }

    /// Whether an answered write of that node was not at the peer when that took over.
    pub(crate) fn answers_lost(&self, node: usize, volume: usize) -> bool {
        self.requests.iter().any(|request| {
            let here = (request.node, request.volume) == (node, volume);
            here && !request.lost.is_empty() && request.ret.is_some()
        })
    }

    /// Whether what a read saw in a block may have been a write that is lost.
    pub(crate) fn saw_lost(&self, read: &Request, block: BlockId, seen: u64) -> bool {
        let here = |request: &&Request| {
            (request.node, request.volume) == (read.node, usize::from(block.volume))
                && request.lacks(block.number)
        };
        let is_it = |request: &Request| match request.asked {
            Asked::Write(ZERO) => seen == ZERO && read.ret.is_none_or(|ret| request.invoke < ret),
            Asked::Write(tag) => seen == tag,
            _ => false,
        };
        self.requests.iter().filter(here).any(is_it)
    }

    /// The operator of a node takes the other for dead.
    pub(crate) fn take_over(&mut self, node: usize) {
        self.marks.hit(Mark::TakenOver);
        self.nodes[node].wants_primary = true;
        self.nodes[node].alone_after = self.now;
    }

    /// Whether a dead node is not to come back yet: with A and B it would be right if the node that
    /// took over had not written anything. Its operator sees to it that it has.
    pub(crate) fn waits_for_takeover(&mut self, node: usize) -> bool {
        let heir = 1 - node;
        if self.takes_over != Some(heir) || !self.is_early() {
            return false;
        }
        let Some(status) = self.status(heir) else { return false };
        if self.nodes[heir].role != Role::Primary {
            return self.nodes[heir].wants_primary;
        }
        let mut waits = false;
        for (volume, it) in status.volumes.iter().enumerate() {
            let own = it.generations.as_ref().is_none_or(|all| all.bitmap.id.is_set());
            if !own {
                waits = true;
                self.write_once(heir, volume);
            }
        }
        if !waits {
            self.takes_over = None;
        }
        waits
    }

    fn write_once(&mut self, node: usize, volume: usize) {
        let waits = |request: &Request| {
            !request.over
                && (request.node, request.volume) == (node, volume)
                && matches!(request.asked, Asked::Write(_))
        };
        if self.requests.iter().any(waits) {
            return;
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let range = ByteRange::new(self.plan.places[volume][0], BLOCK_BYTES);
        let client = self.a_client(node, volume);
        let data = bytes_of_tag(tag, range.len);
        let op = ClientOp::Write { range, data, fua: false };
        self.request(client, op, Asked::Write(tag), range, false);
    }

    /// A Primary that answers early and loses its cache loses what it had answered and nobody had
    /// flushed, as a single disk would: it is looked at where both lose power.
    pub(crate) fn death_by_protocol(&mut self, node: usize, death: Death) -> Death {
        let it = &mut self.nodes[node];
        let ahead = std::mem::take(&mut it.ahead).contains(&true);
        // One that dies again before the two were in sync has not told it either.
        it.died_ahead = ahead || it.behind && it.died_ahead;
        let spared = self.plan.options.protocol != Protocol::C
            && self.class() != Class::BothPower
            && self.class() != Class::Scripted
            && self.nodes[node].wants_primary;
        if spared { Death::Kill } else { death }
    }

    /// Whether both nodes die at the same moment.
    pub(crate) fn dies_at_once(&self, death: Death) -> bool {
        self.is_early() && death == Death::Power && self.phase == Phase::Chaos
    }
}
