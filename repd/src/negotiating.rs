//! The clients of a listener that negotiate: bounded in number, and not by turning away who comes.
//!
//! A negotiation takes milliseconds. When there are too many of them the oldest are such as will
//! never end, so the oldest makes room for the newest; but not one that waits because of this
//! daemon, as clients do while a resource is brought back.

use crate::clock::Clock;
use crate::log_limit::LogLimit;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::task::{AbortHandle, JoinSet};

/// How many clients negotiate at once on one listener. Each has a socket, and memory that the
/// negotiation bounds.
pub(crate) const NEGOTIATING_MAX: usize = 1024;

/// Whether a client waits because of this daemon, for now.
pub(crate) type Held = Rc<Cell<bool>>;

/// See the module's page. Dropping it drops every client in it.
pub(crate) struct Negotiating {
    max: usize,
    clock: Clock,
    tasks: JoinSet<()>,
    /// Oldest first.
    guests: VecDeque<Guest>,
    dropped: LogLimit,
}

struct Guest {
    peer: String,
    held: Held,
    task: AbortHandle,
}

impl Negotiating {
    pub(crate) fn new(max: usize, clock: Clock) -> Self {
        let (tasks, guests) = (JoinSet::new(), VecDeque::new());
        Self { max, clock, tasks, guests, dropped: LogLimit::default() }
    }

    /// Negotiates with one more client.
    pub(crate) fn admit<F>(&mut self, peer: &str, negotiate: impl FnOnce(Held) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.forget_finished();
        if self.guests.len() >= self.max {
            let oldest = self.guests.iter().position(|guest| !guest.held.get());
            let Some(gone) = oldest.and_then(|at| self.guests.remove(at)) else {
                if let Some(withheld) = self.dropped.admit(self.clock.now()) {
                    let held = self.guests.len();
                    tracing::warn!(
                        client = peer,
                        withheld,
                        "closed: {held} clients wait for resources that are brought back"
                    );
                }
                return;
            };
            gone.task.abort();
            if let Some(withheld) = self.dropped.admit(self.clock.now()) {
                tracing::warn!(
                    client = gone.peer,
                    withheld,
                    "closed for a newer one: of {} NBD clients that negotiate it took longest",
                    self.max
                );
            }
        }
        let held = Held::default();
        let task = self.tasks.spawn_local(negotiate(held.clone()));
        self.guests.push_back(Guest { peer: peer.to_owned(), held, task });
    }

    fn forget_finished(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && !error.is_cancelled()
            {
                tracing::error!("a negotiation failed: {error}");
            }
        }
        self.guests.retain(|guest| !guest.task.is_finished());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::pending;
    use tokio::task::{LocalSet, yield_now};

    /// Leaves its name when it is dropped.
    struct Mark(&'static str, Rc<RefCell<Vec<&'static str>>>);

    impl Drop for Mark {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }

    #[tokio::test]
    async fn the_oldest_that_is_not_held_makes_room() {
        let run = async {
            let gone = Rc::new(RefCell::new(Vec::new()));
            let mut negotiating = Negotiating::new(2, Clock::start());
            let mut admit = |name, is_held| {
                let mark = Mark(name, gone.clone());
                negotiating.admit(name, |held| async move {
                    held.set(is_held);
                    let _mark = mark;
                    pending().await
                });
            };
            admit("held", true);
            admit("first", false);
            yield_now().await;
            admit("second", false);
            yield_now().await;
            assert_eq!(*gone.borrow(), ["first"]);
            admit("held too", true);
            yield_now().await;
            assert_eq!(*gone.borrow(), ["first", "second"]);
            admit("one too many", false);
            yield_now().await;
            assert_eq!(*gone.borrow(), ["first", "second", "one too many"]);
            drop(negotiating);
            yield_now().await;
            assert_eq!(gone.borrow().len(), 5);
        };
        LocalSet::new().run_until(run).await;
    }

    #[tokio::test]
    async fn who_has_finished_takes_no_room() {
        let run = async {
            let mut negotiating = Negotiating::new(1, Clock::start());
            let served = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let served = served.clone();
                negotiating.admit("brief", |_| async move { served.set(served.get() + 1) });
                yield_now().await;
            }
            assert_eq!(served.get(), 3);
        };
        LocalSet::new().run_until(run).await;
    }
}
