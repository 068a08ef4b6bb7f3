//! One resource, on a thread of its own.
//!
//! The thread runs a current-thread runtime with everything of the resource in it: the engine, its
//! disks, the link to the peer, and the NBD connections. A request is read, ordered, written to
//! the disk and to the link, and answered without crossing to another thread. The main thread
//! talks to it by [`Message`]s, and sees it through a [`Glance`] that it publishes.

mod clients;
#[cfg(test)]
mod disk_failures;
mod disks;
mod engine_config;
mod handlers;
mod idle;
mod link;
mod links;
mod open;
mod orders;
mod pump;
mod report;
mod status;

pub(crate) use clients::{CLIENTS_MAX, Gone, NewClient};
#[cfg(test)]
pub(crate) use engine_config::engine_config;
pub(crate) use orders::Order;
pub(crate) use status::Glance;
#[cfg(test)]
pub(crate) use status::VolumeGlance;

use crate::budget::{Budgets, Payloads};
use crate::ends::Ends;
use crate::handler::Handlers;
use control::{Failure, ResourceStatus, SplitBrainReport, VolumeVerify, exit};
use orders::Orders;
use pump::Pump;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use types::Span;

/// How long a question to a resource's thread may stay unanswered: its turns are short, so a
/// longer silence is a disk that blocks it.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a look at the peer may take: to connect, to greet, and whatever else is being tried first.
const INSPECT_PATIENCE: Duration = Duration::from_secs(60);
/// Messages that may wait for a resource's thread.
const MESSAGES: usize = 64;

/// What the main thread tells the thread of a resource.
pub(crate) enum Message {
    /// Do this; the answer comes when it is done.
    Order(Order, oneshot::Sender<Result<(), Failure>>),
    /// What do both nodes have?
    Inspect(oneshot::Sender<Result<SplitBrainReport, Failure>>),
    /// What are you like?
    Status(oneshot::Sender<ResourceStatus>),
    /// What have verifies found?
    Verified(oneshot::Sender<Vec<VolumeVerify>>),
    /// Serve this client.
    Client(NewClient),
}

/// The main thread's end of a resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    name: String,
    messages: mpsc::Sender<Message>,
    glance: watch::Receiver<Glance>,
    ended: watch::Receiver<Ended>,
}

/// How the thread of a resource has ended, if it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It runs.
    No,
    /// As it was told.
    InOrder,
    /// It panicked, saying this.
    Panicked(String),
}

impl Resource {
    /// Starts the thread: it listens for the peer, with no disk and not connecting.
    ///
    /// # Errors
    /// If it cannot listen on its address, or its configuration is not for this node.
    pub(crate) async fn start(
        resource: config::Resource,
        node: &str,
        budgets: Budgets,
        handlers: Handlers,
        ends: Ends,
        busy_poll: Span,
    ) -> Result<Self, Failure> {
        let name = resource.name.clone();
        let Some((me, peer)) = resource.host(node) else {
            let [one, other] = &resource.hosts;
            return Err(Failure::new(
                exit::CONFIG,
                format!(
                    "{name}: this node is «{node}», and the resource is defined on «{}» and «{}»; \
                     start the daemon with --node, or correct the configuration",
                    one.name, other.name
                ),
            ));
        };
        let (me, peer) = (me.clone(), peer.clone());
        let (messages, inbox) = mpsc::channel(MESSAGES);
        let (glance_out, glance) = watch::channel(Glance::unknown());
        let (ended_out, ended) = watch::channel(Ended::No);
        let (started, start) = oneshot::channel();
        let Budgets { payloads, answers, requests, pool } = budgets;
        let payloads = Payloads { pool, budget: payloads };
        let setup = pump::Setup {
            resource,
            me,
            peer,
            payloads,
            answers,
            requests,
            handlers,
            ends,
            busy_poll,
            inbox,
            glance: glance_out,
        };
        let thread_name = format!("repd-{name}");
        let run = move || {
            let run = std::panic::AssertUnwindSafe(|| run(setup, started));
            let (orders, ended) = match std::panic::catch_unwind(run) {
                Ok(orders) => (orders, Ended::InOrder),
                Err(panic) => (None, Ended::Panicked(panic_text(&*panic))),
            };
            ended_out.send_replace(ended);
            if let Some(orders) = orders {
                orders.end();
            }
        };
        std::thread::Builder::new()
            .name(thread_name)
            .spawn(run)
            .map_err(|error| Failure::failed(format!("{name}: no thread: {error}")))?;
        match start.await {
            Ok(Ok(())) => Ok(Self { name, messages, glance, ended }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                let mut ended = ended;
                let ended = ended.wait_for(|ended| *ended != Ended::No).await.map(|e| e.clone());
                Err(Failure::failed(format!("{name}: its thread has failed at once: {ended:?}")))
            }
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow() != Ended::No
    }

    /// Gives an order and waits until it is done.
    pub(crate) async fn order(&self, order: Order) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        let sent = self.messages.send(Message::Order(order, reply)).await;
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => {
                self.ended().await;
                Err(self.gone())
            }
        }
    }

    /// What it and its peer have.
    pub(crate) async fn inspect(&self) -> Result<SplitBrainReport, Failure> {
        let ask = async {
            let (reply, answer) = oneshot::channel();
            let sent = self.messages.send(Message::Inspect(reply)).await;
            sent.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(INSPECT_PATIENCE, ask).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(self.gone()),
            Err(_) => Err(Failure::failed(format!(
                "{}: not answered within {} seconds: another order is under way, see its log",
                self.name,
                INSPECT_PATIENCE.as_secs()
            ))),
        }
    }

    /// What it is like now.
    pub(crate) async fn status(&self) -> Result<ResourceStatus, Failure> {
        self.ask(Message::Status).await
    }

    /// What verifies have found, by volume.
    pub(crate) async fn verified(&self) -> Result<Vec<VolumeVerify>, Failure> {
        self.ask(Message::Verified).await
    }

    /// Asks for what its thread can answer at once.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Failure> {
        let ask = async {
            let (reply, answer) = oneshot::channel();
            let sent = self.messages.send(question(reply)).await;
            sent.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(STATUS_PATIENCE, ask).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.gone()),
            Err(_) => Err(Failure::failed(format!(
                "{}: its thread has not answered for {} seconds; a disk may hang, see the \
                 kernel's log",
                self.name,
                STATUS_PATIENCE.as_secs()
            ))),
        }
    }

    /// Hands a client over.
    pub(crate) async fn serve(&self, client: NewClient) -> Result<(), Failure> {
        self.messages.send(Message::Client(client)).await.map_err(|_| self.gone())
    }

    /// What it looked like when something last changed.
    pub(crate) fn glance(&self) -> watch::Ref<'_, Glance> {
        self.glance.borrow()
    }

    /// To wait for a change of [`Resource::glance`].
    pub(crate) fn watch(&self) -> watch::Receiver<Glance> {
        self.glance.clone()
    }

    /// Returns when its thread has ended.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(|ended| *ended != Ended::No).await {
            Ok(ended) => ended.clone(),
            Err(_) => Ended::Panicked("its thread vanished".into()),
        }
    }

    /// The failure of whatever is asked of a resource whose thread has ended.
    pub(crate) fn gone(&self) -> Failure {
        let name = &self.name;
        match &*self.ended.borrow() {
            Ended::Panicked(text) => Failure::failed(format!(
                "{name}: its thread has failed: {text}; its disks are as after a crash; \
                 restart the daemon to bring it back, and report this as a bug"
            )),
            Ended::No | Ended::InOrder => {
                Failure::new(exit::USAGE, format!("{name}: it is not up; «repadm up {name}»"))
            }
        }
    }
}

/// The whole life of the thread, but for the last answers.
fn run(setup: pump::Setup, started: oneshot::Sender<Result<(), Failure>>) -> Option<Orders> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(Failure::failed(format!("no runtime: {error}"))));
            return None;
        }
    };
    let name = setup.resource.name.clone();
    let span = tracing::info_span!("", resource = name, node = setup.me.name);
    let _entered = span.enter();
    runtime.block_on(async move {
        match Pump::new(setup) {
            Ok(pump) => {
                let _ = started.send(Ok(()));
                Some(pump.run().await)
            }
            Err(failure) => {
                let _ = started.send(Err(failure));
                None
            }
        }
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}
