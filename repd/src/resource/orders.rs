//! Orders of the operator on their way through the engine.

use super::disks::Disks;
use super::open::{self, Opened};
use control::{ClientStatus, Failure, SplitBrainReport, exit};
use replicator::{Command, CommandId, Input, Inspection, Refusal, RefusalKind};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use storage::BufferPool;
use tokio::sync::oneshot;
use types::{NodeId, VolumeId};

/// What the thread of a resource can be ordered.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Open the disk of a volume and take it into service. Nothing to do if it has one.
    Attach(Box<config::Volume>),
    /// Let the disk of a volume go. Nothing to do if there is none.
    Detach(VolumeId),
    /// Seek the peer; give up what was written here alone, if so.
    Connect { discard_my_data: bool },
    /// Take the local copies for Outdated.
    Outdate,
    /// Let I/O stand still.
    SuspendIo,
    /// Let it go on.
    ResumeIo,
    /// Leave the peer.
    Disconnect,
    /// Become Primary.
    Primary { force: bool },
    /// Become Secondary; drop the clients if forced.
    Secondary { force: bool },
    /// End the resource. With clients: refused, unless they are to be dropped.
    Down { force: bool },
    /// End the resource, clients or not: what they have in flight is answered first.
    Stop,
}

/// Who wants to know what both nodes have.
pub(crate) type Inspected = oneshot::Sender<Result<SplitBrainReport, Failure>>;

pub(crate) type Reply = oneshot::Sender<Result<(), Failure>>;

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Failure>>>>;

/// Orders that are not yet done.
#[derive(Default)]
pub(crate) struct Orders {
    last_id: u64,
    /// At the engine.
    given: BTreeMap<CommandId, Given>,
    /// Disks that are being opened, to be attached.
    opening: BTreeMap<VolumeId, (Opening, Reply)>,
    /// Done, to be answered when no disk is being closed any more.
    held: Vec<(Reply, Result<(), Failure>)>,
    /// To be answered when the thread ends.
    stop: Option<Reply>,
    /// What the engine has just found of both nodes.
    inspection: Option<Box<Inspection>>,
}

struct Given {
    what: What,
    reply: Reply,
}

/// What must be done when the engine has answered.
enum What {
    /// Somebody wants to know what both nodes have.
    Inspect(Inspected),
    /// Close the disk again if it was refused.
    Attach(VolumeId),
    /// Answer when the disk is closed.
    Detach,
    /// Nobody new is served meanwhile.
    Demote,
    /// End the thread.
    Stop,
    Other,
}

/// What follows from an engine's answer.
#[derive(Debug)]
pub(crate) enum Follow {
    Nothing,
    /// Tell somebody what was found.
    Report(Inspected, Box<Inspection>),
    /// Close this disk.
    Close(VolumeId),
    /// The engine has stopped.
    Stopped,
}

impl Orders {
    /// Passes a command to the engine.
    fn give(&mut self, command: Command, what: What, reply: Reply, inputs: &mut VecDeque<Input>) {
        self.last_id += 1;
        let id = CommandId(self.last_id);
        self.given.insert(id, Given { what, reply });
        inputs.push_back(Input::Command { id, command });
    }

    /// Passes an order on that needs nothing but the engine.
    pub(crate) fn pass(&mut self, order: &Order, reply: Reply, inputs: &mut VecDeque<Input>) {
        let (command, what) = match order {
            Order::Detach(volume) => (Command::Detach { volume: *volume }, What::Detach),
            Order::Connect { discard_my_data } => {
                (Command::Connect { discard_my_data: *discard_my_data }, What::Other)
            }
            Order::Outdate => (Command::Outdate, What::Other),
            Order::SuspendIo => (Command::SuspendIo, What::Other),
            Order::ResumeIo => (Command::ResumeIo, What::Other),
            Order::Disconnect => (Command::Disconnect, What::Other),
            Order::Primary { force } => (Command::Promote { force: *force }, What::Other),
            Order::Secondary { .. } => (Command::Demote, What::Demote),
            Order::Down { .. } | Order::Stop => (Command::Stop, What::Stop),
            Order::Attach(_) => unreachable!("a disk is opened first"),
        };
        self.give(command, what, reply, inputs);
    }

    /// Passes on that somebody wants to know what both nodes have.
    pub(crate) fn inspect(&mut self, answer: Inspected, inputs: &mut VecDeque<Input>) {
        // Answered with what is found, not with a yes or no.
        let (reply, _) = oneshot::channel();
        self.give(Command::Inspect, What::Inspect(answer), reply, inputs);
    }

    /// What the engine has found; its answer to the command comes next.
    pub(crate) fn inspected(&mut self, inspection: Box<Inspection>) {
        self.inspection = Some(inspection);
    }

    /// Begins to open a disk, to attach it then.
    pub(crate) fn open(
        &mut self,
        resource: &str,
        node: NodeId,
        volume: &config::Volume,
        pool: &BufferPool,
        reply: Reply,
    ) {
        if self.opening.contains_key(&volume.id) {
            let text = format!("{resource}/{}: it is being attached already", volume.id);
            let _ = reply.send(Err(Failure::new(exit::STATE, text)));
            return;
        }
        let open = open::open(resource.to_owned(), node, volume.clone(), pool.clone());
        self.opening.insert(volume.id, (Box::pin(open), reply));
    }

    /// Goes on with the disks that are being opened, and answers what was held.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        disks: &mut Disks,
        inputs: &mut VecDeque<Input>,
    ) {
        if !disks.is_closing() {
            for (reply, result) in self.held.drain(..) {
                let _ = reply.send(result);
            }
        }
        let mut done = Vec::new();
        for (&volume, (opening, _)) in &mut self.opening {
            if let Poll::Ready(outcome) = opening.as_mut().poll(cx) {
                done.push((volume, outcome));
            }
        }
        for (volume, outcome) in done {
            let (_, reply) = self.opening.remove(&volume).expect("it was just there");
            match outcome {
                Ok(Opened { data, meta, recovered }) => {
                    let granule = data.granule();
                    disks.insert(volume, data, meta);
                    let command = Command::Attach { volume, recovered, granule };
                    self.give(command, What::Attach(volume), reply, inputs);
                }
                Err(failure) => {
                    let _ = reply.send(Err(failure));
                }
            }
        }
    }

    /// Whether a disk of that volume is on its way to the engine.
    pub(crate) fn is_opening(&self, volume: VolumeId) -> bool {
        self.opening.contains_key(&volume)
    }

    /// Whether the engine is on its way to Secondary: it ends first what is in flight.
    pub(crate) fn is_demoting(&self) -> bool {
        self.given.values().any(|given| matches!(given.what, What::Demote))
    }

    /// The engine has answered.
    pub(crate) fn done(&mut self, id: CommandId, result: Result<(), Refusal>) -> Follow {
        let Given { what, reply } = self.given.remove(&id).expect("only what was given is done");
        let result = result.map_err(failure);
        let failed = result.is_err();
        match what {
            What::Attach(volume) if failed => {
                self.held.push((reply, result));
                return Follow::Close(volume);
            }
            What::Detach => self.held.push((reply, result)),
            What::Stop if !failed => {
                self.stop = Some(reply);
                return Follow::Stopped;
            }
            What::Inspect(answer) => match (result, self.inspection.take()) {
                (Ok(()), Some(inspection)) => return Follow::Report(answer, inspection),
                (Err(failure), _) => drop(answer.send(Err(failure))),
                (Ok(()), None) => drop(answer.send(Err(Failure::failed("nothing was found")))),
            },
            What::Attach(_) | What::Demote | What::Stop | What::Other => {
                let _ = reply.send(result);
            }
        }
        Follow::Nothing
    }

    /// The thread ends: whoever still waits is told.
    pub(crate) fn end(self) {
        if let Some(reply) = self.stop {
            let _ = reply.send(Ok(()));
        }
        for (reply, result) in self.held {
            let _ = reply.send(result);
        }
        let given = self.given.into_values().map(|given| given.reply);
        for reply in given.chain(self.opening.into_values().map(|(_, reply)| reply)) {
            let _ = reply.send(Err(Failure::new(exit::STATE, "the resource was taken down")));
        }
    }
}

/// A refusal of the engine with the exit code of its kind.
fn failure(refusal: Refusal) -> Failure {
    let exit = match refusal.kind {
        RefusalKind::State => exit::STATE,
        RefusalKind::Lower => exit::LOWER,
        RefusalKind::NoData => exit::NO_DATA,
        RefusalKind::SplitBrain => exit::SPLIT_BRAIN,
        RefusalKind::Disk => exit::CONFIG,
        RefusalKind::Failed => exit::FAILED,
    };
    Failure::new(exit, refusal.text)
}

/// The refusal of an order that clients are in the way of; nothing if there are none.
pub(crate) fn held_by(resource: &str, command: &str, holders: &[ClientStatus]) -> Option<Failure> {
    const SHOWN: usize = 8;
    if holders.is_empty() {
        return None;
    }
    let mut names: Vec<String> = holders
        .iter()
        .take(SHOWN)
        .map(|holder| format!("{} by {}", holder.export, holder.peer))
        .collect();
    if holders.len() > SHOWN {
        names.push(format!("{} more", holders.len() - SHOWN));
    }
    let text = format!(
        "{resource}: its device is in use: {}; disconnect there first, or drop the clients with \
         «repadm {command} --force {resource}»",
        names.join(", ")
    );
    Some(Failure::new(exit::STATE, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_the_holders_up_to_a_bound() {
        assert_eq!(held_by("r0", "secondary", &[]), None);
        let holder = |n: usize| ClientStatus {
            peer: format!("pid {n}"),
            export: "r0/0".into(),
            since: 0,
            in_flight: 0,
            requests: 0,
        };
        let one = held_by("r0", "secondary", &[holder(7)]).unwrap();
        assert_eq!(one.exit, exit::STATE);
        assert!(one.text.contains("r0/0 by pid 7"), "{one}");
        assert!(one.text.contains("repadm secondary --force r0"), "{one}");
        let many: Vec<_> = (0..100).map(holder).collect();
        let many = held_by("r0", "down", &many).unwrap();
        assert!(many.text.contains("92 more") && many.text.len() < 500, "{many}");
    }

    #[test]
    fn a_detach_is_answered_when_the_disk_is_closed() {
        let (mut orders, mut inputs) = (Orders::default(), VecDeque::new());
        let (reply, mut answer) = oneshot::channel();
        orders.pass(&Order::Detach(VolumeId(0)), reply, &mut inputs);
        let Some(Input::Command { id, .. }) = inputs.pop_front() else { panic!("no command") };
        assert!(matches!(orders.done(id, Ok(())), Follow::Nothing));
        assert!(answer.try_recv().is_err(), "the disk may still be open");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        orders.poll(&mut cx, &mut Disks::default(), &mut inputs);
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
    }

    #[test]
    fn a_demotion_is_under_way_until_the_engine_has_answered() {
        let (mut orders, mut inputs) = (Orders::default(), VecDeque::new());
        let (reply, _answer) = oneshot::channel();
        assert!(!orders.is_demoting());
        orders.pass(&Order::Secondary { force: true }, reply, &mut inputs);
        let Some(Input::Command { id, .. }) = inputs.pop_front() else { panic!("no command") };
        assert!(orders.is_demoting());
        assert!(matches!(orders.done(id, Ok(())), Follow::Nothing));
        assert!(!orders.is_demoting());
    }

    #[test]
    fn whoever_waits_at_the_end_is_answered() {
        let (mut orders, mut inputs) = (Orders::default(), VecDeque::new());
        let (reply, mut answer) = oneshot::channel();
        orders.pass(&Order::Connect { discard_my_data: false }, reply, &mut inputs);
        let (stop, mut stopped) = oneshot::channel();
        orders.pass(&Order::Stop, stop, &mut inputs);
        assert!(matches!(orders.done(CommandId(2), Ok(())), Follow::Stopped));
        assert!(stopped.try_recv().is_err());
        orders.end();
        assert_eq!(stopped.try_recv().unwrap(), Ok(()));
        assert_eq!(answer.try_recv().unwrap().unwrap_err().exit, exit::STATE);
    }
}
