//! The network between the two nodes: connections that delay, break and fall silent.
//!
//! A connection is two streams of messages, each in order. Each message is carried as the bytes of
//! the real protocol. A stream can lose its tail at any message, can stall, or can fall silent for
//! good while the other goes on.

use replicator::LinkEpoch;
use replicator::wire::Encoded;
use std::collections::{BTreeMap, VecDeque};
use types::{Span, Time};

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub u64);

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The life of the node that has it.
    pub(crate) life: u32,
    /// Its number there.
    pub(crate) epoch: LinkEpoch,
    /// Whether what comes in by it still reaches that node's engine.
    pub(crate) open: bool,
}

/// What one node has sent and the other has not received.
#[derive(Debug)]
pub(crate) struct Stream {
    /// In order. Each has an event that will deliver it.
    pub(crate) queue: VecDeque<Encoded>,
    /// When the last of them arrives, and not before when anything later can.
    pub(crate) last: Time,
    /// Nothing sent from now on arrives.
    pub(crate) silent: bool,
    /// How many more arrive before the rest is lost.
    pub(crate) cut: Option<usize>,
}

/// A connection. Index 0 is node 0's side.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The two ends.
    pub(crate) ends: [End; 2],
    /// What each node sends.
    pub(crate) streams: [Stream; 2],
}

/// All connections, and what befalls them.
#[derive(Debug, Default)]
pub(crate) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    next: u64,
    /// Until then there is no link at all.
    pub(crate) partitioned_until: Time,
    /// Until then nothing that is sent arrives; it arrives afterwards.
    pub(crate) stalled_until: Time,
}

impl Conn {
    /// The end of a node with that epoch number, if it is open.
    pub(crate) fn is_open_end(&self, node: usize, life: u32, epoch: LinkEpoch) -> bool {
        let end = &self.ends[node];
        end.open && end.life == life && end.epoch == epoch
    }

    /// From now on nothing that this node sends arrives, except `keep` messages on their way.
    pub(crate) fn cut(&mut self, from: usize, keep: usize) {
        let stream = &mut self.streams[from];
        stream.cut = Some(stream.cut.map_or(keep, |old| old.min(keep)));
        stream.silent = true;
    }

    /// A time at which something new sent by this node may arrive.
    pub(crate) fn arrival(&mut self, from: usize, earliest: Time) -> Time {
        let stream = &mut self.streams[from];
        stream.last = stream.last.max(earliest);
        stream.last
    }
}

impl Net {
    /// A new connection; nothing arrives on either side before the given times.
    pub(crate) fn connect(&mut self, ends: [End; 2], up_at: [Time; 2]) -> ConnId {
        let stream = |last| Stream { queue: VecDeque::new(), last, silent: false, cut: None };
        let streams = [stream(up_at[1]), stream(up_at[0])];
        self.next += 1;
        let id = ConnId(self.next);
        self.conns.insert(id, Conn { ends, streams });
        id
    }

    /// A connection that is not yet forgotten.
    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    /// The open connection that has this number at that node.
    pub(crate) fn find(
        &mut self,
        node: usize,
        life: u32,
        epoch: LinkEpoch,
    ) -> Option<(ConnId, &mut Conn)> {
        let mut all = self.conns.iter_mut();
        all.find(|(_, conn)| conn.is_open_end(node, life, epoch)).map(|(id, conn)| (*id, conn))
    }

    /// Connections with an open end.
    pub(crate) fn open(&self) -> Vec<ConnId> {
        let open = |conn: &Conn| conn.ends.iter().any(|end| end.open);
        self.conns.iter().filter(|(_, conn)| open(conn)).map(|(id, _)| *id).collect()
    }

    /// Whether a connection that a node has open was made with a life of the other that is over.
    pub(crate) fn leads_to_another_life(&self, node: usize, life: u32) -> bool {
        self.conns.values().any(|conn| conn.ends[node].open && conn.ends[1 - node].life != life)
    }

    /// How many messages are on their way.
    pub(crate) fn queued(&self) -> usize {
        self.conns.values().flat_map(|conn| &conn.streams).map(|stream| stream.queue.len()).sum()
    }

    /// Forgets connections that nobody has open and by which nothing is under way.
    pub(crate) fn forget_dead(&mut self) {
        self.conns.retain(|_, conn| {
            let busy = conn.streams.iter().any(|stream| !stream.queue.is_empty());
            busy || conn.ends.iter().any(|end| end.open)
        });
    }

    /// Whether there is no link at all at that time.
    pub(crate) fn is_partitioned(&self, now: Time) -> bool {
        now < self.partitioned_until
    }

    /// When a message that is sent now can arrive at the earliest.
    pub(crate) fn earliest(&self, now: Time, delay: Span) -> Time {
        (now + delay).max(self.stalled_until)
    }
}
