//! Connections in a world: dialling, carrying messages, breaking.

use crate::marks::Mark;
use crate::net::{ConnId, End};
use crate::node::Process;
use crate::plan::Death;
use crate::world::{Event, World};
use bytes::Bytes;
use replicator::wire::{Header, Message, decode};
use replicator::{Input, LinkDownCause, LinkEpoch};
use types::{ConnectionState, Span, Time};

impl World {
    pub(crate) fn dial(&mut self, node: usize) {
        let other = 1 - node;
        let life = self.nodes[node].life;
        let soon = self.now + self.delay();
        let silent = self.net.is_partitioned(self.now) || !self.nodes[other].powered;
        if silent {
            let at = self.now + Span::millis(self.rng.between(50, 300));
            return self.schedule(at, Event::ConnectFailed { node, life, refused: false });
        }
        if !matches!(self.nodes[other].process, Process::Running(_)) {
            self.marks.hit(Mark::Refused);
            return self.schedule(soon, Event::ConnectFailed { node, life, refused: true });
        }
        let both = self.net.open().len();
        if both > 0 && self.connection(other) != Some(ConnectionState::Connected) {
            self.marks.hit(Mark::BothDialled);
        }
        let end = |life| End { life, epoch: LinkEpoch(0), open: true };
        let mut ends = [end(life), end(life)];
        ends[other].life = self.nodes[other].life;
        let mut up_at = [soon, soon];
        for at in &mut up_at {
            let delay = self.delay();
            *at = self.net.earliest(soon, delay);
        }
        let conn = self.net.connect(ends, up_at);
        for at in [node, other] {
            self.schedule(up_at[at], Event::LinkUp { conn, node: at, initiated: at == node });
        }
    }

    pub(crate) fn connection(&self, node: usize) -> Option<ConnectionState> {
        self.nodes[node].engine().map(|engine| engine.status().connection)
    }

    pub(crate) fn connect_failed(&mut self, node: usize, life: u32, refused: bool) {
        if self.nodes[node].life == life {
            self.input(node, Input::ConnectFailed { refused });
        }
    }

    pub(crate) fn link_up(&mut self, conn: ConnId, node: usize, initiated: bool) {
        let it = &mut self.nodes[node];
        let (life, alive) = (it.life, it.engine().is_some());
        let Some(this) = self.net.get(conn) else { return };
        if this.ends[node].life != life || !alive {
            // Nobody is there any more: the other end hears of it.
            return self.close_end(conn, node);
        }
        it.last_epoch += 1;
        let epoch = LinkEpoch(it.last_epoch);
        this.ends[node].epoch = epoch;
        self.input(node, Input::LinkUp { epoch, initiated });
    }

    pub(crate) fn link_down(&mut self, conn: ConnId, node: usize) {
        let life = self.nodes[node].life;
        let Some(this) = self.net.get(conn) else { return };
        let end = &mut this.ends[node];
        if !end.open || end.life != life {
            return;
        }
        end.open = false;
        let epoch = end.epoch;
        self.net.forget_dead();
        self.input(node, Input::LinkDown { epoch, cause: LinkDownCause::Closed });
    }

    pub(crate) fn send(&mut self, node: usize, epoch: LinkEpoch, message: &Message) {
        self.message_marks(message);
        let delay = self.delay();
        let earliest = self.net.earliest(self.now, delay);
        let life = self.nodes[node].life;
        let Some((conn, this)) = self.net.find(node, life, epoch) else { return };
        if this.streams[node].silent {
            return;
        }
        let at = this.arrival(node, earliest);
        this.streams[node].queue.push_back(message.encode());
        self.schedule(at, Event::Deliver { conn, from: node });
    }

    pub(crate) fn deliver(&mut self, conn: ConnId, from: usize) {
        let stalled_until = self.net.stalled_until;
        if self.now < stalled_until {
            return self.schedule(stalled_until, Event::Deliver { conn, from });
        }
        let to = 1 - from;
        let life = self.nodes[to].life;
        let Some(this) = self.net.get(conn) else { return };
        let stream = &mut this.streams[from];
        let Some(encoded) = stream.queue.pop_front() else { return };
        if let Some(left) = &mut stream.cut {
            if *left == 0 {
                return;
            }
            *left -= 1;
        }
        let end = this.ends[to];
        if !end.open || end.life != life {
            return;
        }
        match parse(&encoded.header, encoded.payload) {
            Ok(message) => self.input(to, Input::Message { epoch: end.epoch, message }),
            Err(text) => {
                self.fail("wire", format!("node {from} sent what does not decode: {text}"))
            }
        }
    }

    /// The engine of a node closes a connection: what it has sent still arrives.
    pub(crate) fn close_link(&mut self, node: usize, epoch: LinkEpoch) {
        let life = self.nodes[node].life;
        if let Some((conn, _)) = self.net.find(node, life, epoch) {
            self.close_end(conn, node);
        }
    }

    /// Whatever still comes in at this end goes nowhere; the other end hears of it, if it can.
    fn close_end(&mut self, conn: ConnId, node: usize) {
        let delay = self.delay();
        let earliest = self.net.earliest(self.now, delay);
        let Some(this) = self.net.get(conn) else { return };
        this.ends[node].open = false;
        if this.streams[node].silent {
            return;
        }
        let at = this.arrival(node, earliest);
        self.schedule(at, Event::LinkDown { conn, node: 1 - node });
    }

    /// Loses a random tail of what a node has sent by a connection, and all that it sends later.
    pub(crate) fn cut_stream(&mut self, conn: ConnId, from: usize) {
        let Some(this) = self.net.get(conn) else { return };
        let keep = self.rng.between(0, this.streams[from].queue.len() as u64) as usize;
        this.cut(from, keep);
    }

    /// A node has died: its connections end, loudly or in silence.
    pub(crate) fn cut_off(&mut self, node: usize, death: Death) {
        for conn in self.net.open() {
            let Some(this) = self.net.get(conn) else { continue };
            if !this.ends[node].open {
                continue;
            }
            if death == Death::Kill {
                self.close_end(conn, node);
            } else if let Some(this) = self.net.get(conn) {
                this.ends[node].open = false;
            }
            self.cut_stream(conn, node);
        }
        self.net.forget_dead();
    }

    /// A node has ended in order: what it sent still arrives.
    pub(crate) fn hang_up(&mut self, node: usize) {
        for conn in self.net.open() {
            if self.net.get(conn).is_some_and(|this| this.ends[node].open) {
                self.close_end(conn, node);
            }
        }
    }

    /// All connections are reset; each end hears of it at once, or up to so much later.
    pub(crate) fn reset_all(&mut self, latest: Span) {
        for conn in self.net.open() {
            for from in 0..2 {
                self.cut_stream(conn, from);
            }
            for node in 0..2 {
                let late = if self.rng.chance(1, 4) { self.rng.below(latest.0.max(1)) } else { 0 };
                let earliest = self.now + self.delay() + Span(late);
                let Some(this) = self.net.get(conn) else { continue };
                let at = this.arrival(1 - node, earliest);
                self.schedule(at, Event::LinkDown { conn, node });
            }
        }
    }

    /// What these nodes send by the connections of now does not arrive, and nobody is told.
    pub(crate) fn silence(&mut self, directions: [bool; 2]) {
        for conn in self.net.open() {
            for (from, _) in directions.into_iter().enumerate().filter(|(_, silent)| *silent) {
                self.cut_stream(conn, from);
            }
        }
    }

    /// Nothing arrives, and no connection can be made, for so long.
    pub(crate) fn partition(&mut self, span: Span) {
        self.silence([true, true]);
        self.net.partitioned_until = self.now + span;
    }

    /// Everything is late.
    pub(crate) fn stall(&mut self, span: Span) {
        self.net.stalled_until = self.now + span;
    }

    /// The network is well again.
    pub(crate) fn heal_net(&mut self) {
        self.net.partitioned_until = Time(0);
        self.net.stalled_until = self.net.stalled_until.min(self.now);
    }

    fn message_marks(&mut self, message: &Message) {
        use replicator::wire::{AckKind, Content};
        match message {
            Message::Ack { kind: AckKind::Superseded, .. } => self.marks.hit(Mark::Superseded),
            Message::ResyncData { content: Content::Same, .. } => self.marks.hit(Mark::SameAlready),
            _ => {}
        }
    }
}

fn parse(header: &[u8; replicator::wire::HEADER_BYTES], payload: Bytes) -> Result<Message, String> {
    let header = Header::parse(header).map_err(|error| error.to_string())?;
    if header.payload_len() != payload.len() {
        return Err(format!(
            "{} bytes of payload, {} announced",
            payload.len(),
            header.payload_len()
        ));
    }
    decode(&header, payload).map_err(|error| error.to_string())
}
