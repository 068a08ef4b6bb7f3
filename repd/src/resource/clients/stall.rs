//! Clients that hold memory which others wait for, and do nothing with it: one that stops in the middle
//! of a WRITE, and one that does not take its answers. They may be asleep, or their network is gone. As
//! long as nobody is in want they are left alone.

use super::{Client, Clients};
use nbd_server::ConnectionError;
use replicator::{ClientId, Input};
use std::collections::VecDeque;
use std::io;
use types::{Span, Time};

/// How often clients that hold memory are looked at.
const LOOK_EVERY: Span = Span::secs(1);
/// A client that is found where it was so many times, with memory that others wait for, is closed. Looks
/// are counted and not seconds: when this daemon has stood still itself, only one look has gone by.
const PATIENCE: u32 = 5;
/// Who has moved less than this between two looks is found where it was: one slow client must not keep
/// everybody else waiting for the memory that a long request of its own takes.
const PROGRESS_BYTES: u64 = 200 << 10;

/// What a client had done when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    at: Time,
    received: u64,
    sent: u64,
    /// The payload that was being received, if there was one, by how many requests were before it.
    payload: Option<u64>,
    /// Where in the stream the last answer ended.
    pushed: u64,
    /// Whether it was not read from at some time since, for want of room or because enough of it is in
    /// flight: what it did not send then is not its fault.
    held_back: bool,
    /// Looks in a row that have found it in the same payload, though it was read from all the time.
    silent: u32,
    /// Looks in a row that have found it with answers that were there at the look before.
    deaf: u32,
}

impl Watch {
    pub(super) const fn begin(now: Time) -> Self {
        Self {
            at: now,
            received: 0,
            sent: 0,
            payload: None,
            pushed: 0,
            held_back: false,
            silent: 0,
            deaf: 0,
        }
    }

    pub(super) const fn hold_back(&mut self) {
        self.held_back = true;
    }

    /// The next look, which finds it as in `new`.
    fn look(&mut self, new: Self) {
        let in_same_payload = new.payload.is_some() && new.payload == self.payload;
        let sends = new.received - self.received >= PROGRESS_BYTES || self.held_back;
        let has_taken_all = new.sent >= self.pushed;
        let takes = has_taken_all || new.sent - self.sent >= PROGRESS_BYTES;
        let silent = if in_same_payload && !sends { self.silent + 1 } else { 0 };
        let deaf = if takes { 0 } else { self.deaf + 1 };
        *self = Self { silent, deaf, ..new };
    }
}

/// Of which budgets somebody waits for a part.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    payloads: bool,
    answers: bool,
    requests: bool,
}

impl Clients {
    /// When to look for clients that stand still; never while none holds memory.
    pub(crate) fn next_look(&self) -> Option<Time> {
        let holders = self.clients.values().filter(|client| client.holds_memory());
        holders.map(|client| client.watch.at + LOOK_EVERY).min()
    }

    /// Looks for them, and closes those that are in the way.
    pub(crate) fn look(&mut self, now: Time, inputs: &mut VecDeque<Input>) {
        let is_wanted = Wanted {
            payloads: self.payloads.budget.is_contended(),
            answers: self.answers.is_contended(),
            requests: self.request_budget.is_contended(),
        };
        let mut over = Vec::new();
        for (id, client) in &mut self.clients {
            if client.holds_memory() && now.since(client.watch.at) >= LOOK_EVERY {
                client.look(now);
                if client.is_in_the_way(is_wanted) {
                    over.push(*id);
                }
            }
        }
        let error = |id: ClientId| {
            let why = "it stands still, and others wait for the memory that it holds";
            (id, Some(ConnectionError::Io(io::Error::other(why))))
        };
        self.close_all(over.into_iter().map(error).collect(), inputs);
    }
}

impl Client {
    fn holds_memory(&self) -> bool {
        self.reader.is_receiving() || !self.unsent.is_empty()
    }

    fn look(&mut self, now: Time) {
        let new = Watch {
            received: self.reader.received_bytes(),
            sent: self.writer.written_bytes(),
            payload: self.reader.is_receiving().then_some(self.requests),
            pushed: self.writer.pushed_bytes(),
            ..Watch::begin(now)
        };
        self.watch.look(new);
    }

    /// Whether it stands still with what others wait for.
    fn is_in_the_way(&self, wanted: Wanted) -> bool {
        let of_answers = || self.unsent.iter().any(|unsent| unsent.shares.answer.is_some());
        let is_silent = self.watch.silent >= PATIENCE;
        let is_deaf = self.watch.deaf >= PATIENCE;
        is_silent && wanted.payloads && self.reader.is_receiving()
            || is_deaf && wanted.answers && of_answers()
            || is_deaf && wanted.requests && !self.unsent.is_empty()
    }
}
