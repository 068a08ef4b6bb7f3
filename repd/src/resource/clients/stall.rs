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

/// What a client had done when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    at: Time,
    received: u64,
    sent: u64,
    /// Whether it was not read from at some time since, for want of room or because enough of it is in
    /// flight: what it did not send then is not its fault.
    held_back: bool,
    /// Looks in a row that have found it where it was.
    still: u32,
    /// The same, of those before which it was read from all the time.
    silent: u32,
}

impl Watch {
    pub(super) const fn begin(now: Time) -> Self {
        Self { at: now, received: 0, sent: 0, held_back: false, still: 0, silent: 0 }
    }

    pub(super) const fn hold_back(&mut self) {
        self.held_back = true;
    }

    /// The next look.
    fn look(&mut self, now: Time, received: u64, sent: u64) {
        let has_moved = (received, sent) != (self.received, self.sent);
        let still = if has_moved { 0 } else { self.still + 1 };
        let silent = if has_moved || self.held_back { 0 } else { self.silent + 1 };
        *self = Self { at: now, received, sent, held_back: false, still, silent };
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
                client.watch.look(
                    now,
                    client.reader.received_bytes(),
                    client.writer.written_bytes(),
                );
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

    /// Whether it stands still with what others wait for.
    fn is_in_the_way(&self, wanted: Wanted) -> bool {
        let of_answers = || self.unsent.iter().any(|(_, shares)| shares.answer.is_some());
        let is_silent = self.watch.silent >= PATIENCE;
        let is_still = self.watch.still >= PATIENCE;
        is_silent && wanted.payloads && self.reader.is_receiving()
            || is_still && wanted.answers && of_answers()
            || is_still && wanted.requests && !self.unsent.is_empty()
    }
}
