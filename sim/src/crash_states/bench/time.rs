//! The clock of a bench: one thing happens after another.

use super::{Bench, Happening, STEPS_MAX};
use replicator::{Input, LinkDownCause, LinkEpoch};
use types::{Span, Time};

impl Bench {
    /// Lets things happen for so long.
    pub(in crate::crash_states) fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        while !self.stopped() && self.step(end) {}
        if !self.stopped() {
            self.now = end;
        }
    }

    /// Lets things happen until nothing but time would go on.
    pub(in crate::crash_states) fn settle(&mut self) {
        while !self.stopped() && !self.is_quiet() {
            self.step(Time(u64::MAX));
        }
    }

    /// Whether nothing is under way and no engine wants to be asked now.
    pub(in crate::crash_states) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.deadline().is_none_or(|(at, _)| at > self.now)
    }

    /// Lets things happen until that is so; it is wrong if it takes two minutes.
    pub(in crate::crash_states) fn run_until(
        &mut self,
        what: &str,
        reached: impl Fn(&Self) -> bool,
    ) {
        let end = self.now + Span::secs(120);
        while !self.stopped() && !reached(self) {
            if !self.step(end) {
                let states = [0, 1].map(|node| self.describe(node));
                self.fail(format!("never: {what}\n    {}\n    {}", states[0], states[1]));
            }
        }
    }

    /// The next thing happens, if there is one until then.
    fn step(&mut self, end: Time) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.fail("steps without end".into());
            return false;
        }
        let queued = self.queue.first_key_value().map(|(&(at, _), _)| at);
        let due = self.deadline();
        match (queued, due) {
            (at, Some((due, node))) if at.is_none_or(|at| due < at) && due <= end => {
                self.now = due;
                self.input(node, Input::Timer);
            }
            (Some(at), _) if at <= end => {
                self.now = at;
                let (_, next) = self.queue.pop_first().expect("just seen");
                self.happen(next);
            }
            _ => return false,
        }
        if let Some(count) = &mut self.recorded {
            *count += 1;
        }
        self.check_covered();
        true
    }

    /// When an engine wants to be asked, and which; not before now.
    fn deadline(&self) -> Option<(Time, usize)> {
        let of =
            |node: usize| self.engine(node)?.next_deadline().map(|at| (at.max(self.now), node));
        [0, 1].into_iter().filter_map(of).min()
    }

    pub(super) fn schedule(&mut self, after: Span, what: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), what);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Disk { node, life, op } if self.nodes[node].life == life => {
                self.disk_done(node, op);
            }
            Happening::Deliver { conn, to, message } if self.is_open(conn, to) => {
                let epoch = self.conns[conn][to].epoch;
                self.note(|| format!("node {to} <- {message:.70?}"));
                self.input(to, Input::Message { epoch, message: *message });
            }
            Happening::LinkUp { conn, node, initiated } => self.link_up(conn, node, initiated),
            Happening::LinkDown { conn, node } if self.is_open(conn, node) => {
                let end = &mut self.conns[conn][node];
                end.open = false;
                let (epoch, cause) = (end.epoch, LinkDownCause::Closed);
                self.input(node, Input::LinkDown { epoch, cause });
            }
            Happening::ConnectFailed { node, life } if self.nodes[node].life == life => {
                self.input(node, Input::ConnectFailed { refused: false });
            }
            _ => {}
        }
    }

    pub(super) fn is_open(&self, conn: usize, node: usize) -> bool {
        let end = &self.conns[conn][node];
        end.open && end.life == self.nodes[node].life
    }

    fn link_up(&mut self, conn: usize, node: usize, initiated: bool) {
        let it = &mut self.nodes[node];
        let end = &mut self.conns[conn][node];
        if end.life != it.life || it.engine.is_none() || !self.wire {
            let (message, node) = (self.pace.message, 1 - node);
            return self.schedule(message, Happening::LinkDown { conn, node });
        }
        it.epoch += 1;
        (end.epoch, end.open) = (LinkEpoch(it.epoch), true);
        let epoch = end.epoch;
        self.input(node, Input::LinkUp { epoch, initiated });
    }
}
