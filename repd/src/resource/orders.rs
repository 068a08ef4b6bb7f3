//! Orders of the operator on their way through the engine.

use super::disks::Disks;
use super::links::LinkChange;
use super::open::{self, Opened};
use crate::ends::Ends;
use control::{ClientStatus, Failure, SplitBrainReport, VolumeOrder, exit};
use metadata::{Cause, Generations};
use replicator::{
    Command, CommandId, Input, Inspection, PauseCause, Reconfigure, Refusal, RefusalKind, Resize,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// Take this configuration, as the node of that name.
    Reconfigure(Box<config::Resource>, String),
    /// Seek the peer; give up what was written here alone, if so.
    Connect { discard_my_data: bool },
    /// Grow a volume.
    Resize(Resize),
    /// Take the local copies for Outdated.
    Outdate,
    /// Compare the copies of a volume, of these sectors.
    Verify { volume: VolumeId, start: u64, stop: Option<u64> },
    /// End that.
    CancelVerify(VolumeId),
    /// Let I/O stand still.
    SuspendIo,
    /// Let it go on.
    ResumeIo,
    /// Something about one volume.
    Volume(VolumeId, VolumeOrder),
    /// Others come first, or do not any more: the resync of a volume.
    Yield(VolumeId, bool),
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

/// What of a new configuration is not the engine's.
#[derive(Debug)]
pub(crate) struct NewSetup {
    pub(crate) resource: config::Resource,
    pub(crate) me: config::Host,
    pub(crate) peer: config::Host,
    pub(crate) link: LinkChange,
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
    /// Volumes whose disks say that this node had gone on alone before they were attached.
    alone: BTreeSet<VolumeId>,
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
    /// Take the rest of the new configuration, too.
    Reconfigure(Box<NewSetup>),
    /// Nobody new is served meanwhile.
    Demote,
    /// End the thread.
    Stop,
    Other,
}

/// The engine's command for an order about a volume.
const fn of_volume(volume: VolumeId, order: VolumeOrder) -> Command {
    let cause = PauseCause::User;
    match order {
        VolumeOrder::PauseSync => Command::PauseSync { volume, cause, on: true },
        VolumeOrder::ResumeSync => Command::PauseSync { volume, cause, on: false },
        VolumeOrder::Invalidate { keep_marks } => Command::Invalidate { volume, keep_marks },
        VolumeOrder::InvalidateRemote { keep_marks } => {
            Command::InvalidateRemote { volume, keep_marks }
        }
        VolumeOrder::NewCurrentUuid { clear_bitmap } => {
            Command::NewCurrentUuid { volume, clear_bitmap }
        }
    }
}

/// What follows from an engine's answer.
#[derive(Debug)]
pub(crate) enum Follow {
    Nothing,
    /// Tell somebody what was found.
    Report(Inspected, Box<Inspection>),
    /// Take the rest of the new configuration, and answer then.
    Reconfigure(Box<NewSetup>, Reply),
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
            Order::Resize(order) => (Command::Resize(*order), What::Other),
            Order::Outdate => (Command::Outdate, What::Other),
            Order::Verify { volume, start, stop } => {
                let (volume, start, stop) = (*volume, *start, *stop);
                (Command::Verify { volume, start, stop }, What::Other)
            }
            Order::CancelVerify(volume) => (Command::CancelVerify { volume: *volume }, What::Other),
            Order::SuspendIo => (Command::SuspendIo, What::Other),
            Order::ResumeIo => (Command::ResumeIo, What::Other),
            &Order::Volume(volume, order) => (of_volume(volume, order), What::Other),
            &Order::Yield(volume, on) => {
                let cause = PauseCause::Dependency;
                (Command::PauseSync { volume, cause, on }, What::Other)
            }
            Order::Disconnect => (Command::Disconnect, What::Other),
            Order::Primary { force } => (Command::Promote { force: *force }, What::Other),
            Order::Secondary { .. } => (Command::Demote, What::Demote),
            Order::Down { .. } | Order::Stop => (Command::Stop, What::Stop),
            Order::Attach(_) | Order::Reconfigure(..) => {
                unreachable!("these need more than the engine")
            }
        };
        self.give(command, what, reply, inputs);
    }

    /// Passes on a new configuration.
    pub(crate) fn reconfigure(
        &mut self,
        change: Reconfigure,
        rest: NewSetup,
        reply: Reply,
        inputs: &mut VecDeque<Input>,
    ) {
        let command = Command::Reconfigure(Box::new(change));
        self.give(command, What::Reconfigure(Box::new(rest)), reply, inputs);
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
        (pool, ends): (&BufferPool, &Ends),
        reply: Reply,
    ) {
        if self.opening.contains_key(&volume.id) {
            let text = format!("{resource}/{}: it is being attached already", volume.id);
            let _ = reply.send(Err(Failure::new(exit::STATE, text)));
            return;
        }
        let (pool, ends) = (pool.clone(), ends.clone());
        let open = open::open(resource.to_owned(), node, volume.clone(), pool, ends);
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
                Ok(Opened { data, meta, recovered, al_updates }) => {
                    let granule = data.granule();
                    match went_on_alone(&recovered.metadata.superblock.generations) {
                        true => self.alone.insert(volume),
                        false => self.alone.remove(&volume),
                    };
                    disks.insert(volume, data, meta);
                    let command = Command::Attach { volume, recovered, granule, al_updates };
                    self.give(command, What::Attach(volume), reply, inputs);
                }
                Err(failure) => {
                    let _ = reply.send(Err(failure));
                }
            }
        }
    }

    /// Whether this node had gone on alone, without its peer since, when its disks were attached.
    pub(crate) fn was_alone(&self) -> bool {
        !self.alone.is_empty()
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
            What::Reconfigure(rest) if !failed => return Follow::Reconfigure(rest, reply),
            What::Stop if !failed => {
                self.stop = Some(reply);
                return Follow::Stopped;
            }
            What::Inspect(answer) => match (result, self.inspection.take()) {
                (Ok(()), Some(inspection)) => return Follow::Report(answer, inspection),
                (Err(failure), _) => drop(answer.send(Err(failure))),
                (Ok(()), None) => drop(answer.send(Err(Failure::failed("nothing was found")))),
            },
            What::Attach(_) | What::Reconfigure(_) | What::Demote | What::Stop | What::Other => {
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

/// Whether this node began a generation without the peer, which has not caught up since. That is
/// what is durable of having been alone: who was, and wrote nothing, is as good as connected.
fn went_on_alone(generations: &Generations) -> bool {
    let current = &generations.current;
    generations.bitmap.id.is_set()
        && (matches!(current.cause, Cause::PeerLost | Cause::PromotedAlone)
            || current.first_solo.is_some())
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
    fn who_went_on_alone_and_was_not_met_since_was_alone() {
        let (node, now) = (NodeId(0), types::Time(1));
        let id = |n: u64| metadata::GenerationId::from_random(n << 8);
        let mut generations = Generations::just_created(node, now);
        assert!(!went_on_alone(&generations), "fresh");
        generations.go_solo(id(2), Cause::PeerLost, node, now);
        assert!(went_on_alone(&generations));
        generations.settled_with_peer();
        assert!(!went_on_alone(&generations), "the peer has caught up");
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
