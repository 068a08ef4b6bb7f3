//! Clients that hold memory which others wait for, and do nothing with it: one that stops in the middle
//! of a WRITE, and one that does not take its answers. They may be asleep, or their network is gone. As
//! long as nobody is in want they are left alone.

use super::{Client, Clients};
use nbd_server::ConnectionError;
use replicator::{ClientId, Input};
use std::collections::VecDeque;
use std::io;
use types::{Span, Time};

/// How long a client may stand still with memory that others wait for; it is closed after that, within
/// as long again.
const PATIENCE: Span = Span::secs(5);
/// Who moves less than this in that time stands still: one slow client must not keep everybody else
/// waiting for the memory that a long request of its own takes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What a client had done when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    at: Time,
    received: u64,
    sent: u64,
    /// The payload that was being received then, if there was one, by how many requests were before it.
    payload: Option<u64>,
    /// Where in the stream the last answer ended.
    pushed: u64,
    /// Whether it was not read from at some time since, for want of room or because enough of it is in
    /// flight: what it did not send then is not its fault.
    held_back: bool,
}

impl Watch {
    pub(super) const fn begin(now: Time) -> Self {
        Self { at: now, received: 0, sent: 0, payload: None, pushed: 0, held_back: false }
    }

    pub(super) const fn hold_back(&mut self) {
        self.held_back = true;
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
        holders.map(|client| client.watch.at + PATIENCE).min()
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
            if client.holds_memory() && now.since(client.watch.at) >= PATIENCE {
                let seen = client.look(now);
                if client.is_in_the_way(seen, is_wanted) {
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

    /// Whether what it holds is of what others wait for, and was so at the look before, and it does
    /// next to nothing about it.
    fn is_in_the_way(&self, before: Watch, wanted: Wanted) -> bool {
        let now = self.watch;
        let receives = now.payload.is_some()
            && now.payload == before.payload
            && now.received - before.received < PROGRESS_BYTES
            && !before.held_back;
        let takes = now.sent < before.pushed && now.sent - before.sent < PROGRESS_BYTES;
        let of_answers = || self.unsent.iter().any(|(_, shares)| shares.answer.is_some());
        wanted.payloads && receives
            || wanted.answers && takes && of_answers()
            || wanted.requests && takes
    }

    /// Takes a new look; gives the one before.
    fn look(&mut self, now: Time) -> Watch {
        let new = Watch {
            received: self.reader.received_bytes(),
            sent: self.writer.written_bytes(),
            payload: self.reader.is_receiving().then_some(self.requests),
            pushed: self.writer.pushed_bytes(),
            ..Watch::begin(now)
        };
        std::mem::replace(&mut self.watch, new)
    }
}
