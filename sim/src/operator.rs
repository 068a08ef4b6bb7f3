//! Trouble: the faults of the plan, orders and their answers, and the daemon's own wishes.

use crate::marks::Mark;
use crate::node::{Doom, NODE_NAMES, Order, Process, VOLUMES};
use crate::plan::{Class, Death, Fault, other_options};
use crate::world::{Event, POLL, Phase, World};
use replicator::{Command, CommandId, Fencing, Reconfigure, Refusal, RefusalKind, Status};
use types::{ConnectionState, DiskState, NodeId, Role, Span};

/// A fault that may not happen yet is tried again after so long.
pub(crate) const AGAIN: Span = Span::millis(40);
/// No order takes longer, whatever happens meanwhile: an orderly end drains for so long.
pub(crate) const ORDER_MAX: Span = Span::secs(31);

impl World {
    pub(crate) fn status(&self, node: usize) -> Option<Status> {
        self.nodes[node].engine().map(replicator::Engine::status)
    }

    /// Whether both nodes are connected and in sync.
    pub(crate) fn is_calm(&self) -> bool {
        (0..2).all(|node| {
            !self.nodes[node].is_paused(self.now)
                && self.status(node).is_some_and(|s| s.established && all_up_to_date(&s))
        }) && !self.net.is_partitioned(self.now)
    }

    /// Whether both nodes know that the other's copy is good.
    pub(crate) fn both_know(&self) -> bool {
        (0..2).all(|node| {
            self.status(node).is_some_and(|status| {
                status.volumes.iter().all(|volume| volume.peer_disk == DiskState::UpToDate)
            })
        })
    }

    /// Whether a node may die: whether the other has all that it has, and will stay.
    pub(crate) fn may_die(&self, node: usize) -> bool {
        let other = 1 - node;
        let Some(status) = self.status(other) else { return false };
        let keeps = !self.nodes[other].behind && self.nodes[other].doomed.is_none();
        let good = all_up_to_date(&status) && keeps;
        let in_step = |mine: Status| mine.established && status.established;
        let alive = !matches!(self.nodes[node].process, Process::Down);
        good && alive && (self.nodes[node].behind || self.status(node).is_some_and(in_step))
    }

    pub(crate) fn fault(&mut self, index: usize) {
        if self.phase != Phase::Chaos {
            return;
        }
        let fault = self.plan.faults[index].1;
        if !self.fits(fault) {
            return self.schedule(self.now + AGAIN, Event::Fault(index));
        }
        self.trace.line(self.now, "world", || format!("fault {fault:?}"));
        if let Fault::Verify(node, volume, seed) = fault {
            return self.verify_by_order(index, usize::from(node.0), volume, seed);
        }
        self.inflict(fault);
    }

    /// Whether a fault may happen now, so that what the class promises can be kept.
    fn fits(&self, fault: Fault) -> bool {
        let class = self.class();
        let whole = self.nodes.iter().all(|node| node.losses.iter().all(Option::is_none));
        let one_at_a_time =
            matches!(class, Class::OneDies | Class::FullSync | Class::Orders | Class::Fencing)
                || class == Class::Grow;
        match fault {
            Fault::PauseSync(..) => true,
            Fault::Invalidate { .. } => self.may_invalidate(),
            Fault::Reset | Fault::Reconfigure(..) => true,
            Fault::Enlarge(node, volume, _) => self.may_enlarge(usize::from(node.0), volume),
            Fault::Resize(node, _) => {
                let node = usize::from(node.0);
                self.nodes[node].engine().is_some() && self.nodes[node].orders.is_empty()
            }
            Fault::Verify(..) => true,
            // The long ones are what these classes are about.
            Fault::Partition(_) | Fault::Pause(..) if class == Class::Solo => true,
            Fault::Partition(_) if class == Class::SplitBrain => true,
            Fault::Silence(_)
            | Fault::Stall(_)
            | Fault::Partition(_)
            | Fault::Unplug(_)
            | Fault::Pause(..) => self.linked(),
            Fault::Die(node, ..) if one_at_a_time => self.may_die(usize::from(node.0)),
            Fault::Die(..) => true,
            Fault::DieBoth(..) => true,
            Fault::DiskFails(..) | Fault::Detach(..) => {
                whole && self.is_calm() && self.both_know() && self.no_orders()
            }
            Fault::Failover => self.heir().is_some(),
            Fault::TakeOver(_) => self.parted_at.is_some(),
            Fault::Disconnect(..) if class == Class::Solo => true,
            Fault::PromoteBoth => {
                let primaries = self.nodes.iter().filter(|node| node.role == Role::Primary);
                primaries.count() == 1 && self.is_calm() && self.no_orders()
            }
            Fault::Restart(..) | Fault::SwapRoles | Fault::Disconnect(..) => {
                self.is_calm() && self.no_orders()
            }
            Fault::DemoteBusy(node) => {
                let at = usize::from(node.0);
                let busy = self.clients.iter().any(|client| client.node == at && client.open);
                !self.plan.two_primaries && !self.nodes[at].wants_primary || busy
            }
        }
    }

    /// Whether all orders are answered.
    fn no_orders(&self) -> bool {
        self.nodes.iter().all(|node| node.orders.is_empty())
    }

    /// Whether both engines have a connection that works.
    fn linked(&self) -> bool {
        (0..2).all(|node| {
            !self.nodes[node].is_paused(self.now)
                && self.connection(node) == Some(ConnectionState::Connected)
        }) && !self.net.is_partitioned(self.now)
    }

    fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Reset => {
                self.marks.hit(Mark::Reset);
                self.reset_all(self.plan.short());
            }
            Fault::Silence(directions) => {
                let both = directions == [true, true];
                self.marks.hit(if both { Mark::Silent } else { Mark::HalfOpen });
                self.silence(directions);
            }
            Fault::Stall(span) => {
                self.marks.hit(Mark::Stalled);
                self.stall(span);
            }
            Fault::Partition(span) => {
                self.marks.hit(Mark::Partition);
                self.parted_at = Some(self.stamp());
                self.partition(span);
            }
            Fault::Unplug(span) => {
                self.marks.hit(Mark::Unplugged);
                self.reset_all(Span(0));
                self.partition(span);
            }
            Fault::Pause(node, span) => self.pause(usize::from(node.0), span),
            Fault::Die(node, death, effects, down) => {
                self.doom(usize::from(node.0), death, effects, down);
            }
            Fault::DieBoth(death, gap) => self.doom_both(death, gap),
            Fault::DiskFails(node, volume, faults, back) => {
                self.lose_disk(usize::from(node.0), volume, faults, back);
            }
            Fault::Detach(node, volume, faults, back) => {
                let node = usize::from(node.0);
                self.lose_disk(node, volume, faults, back);
                let command = Command::Detach { volume: VOLUMES[volume] };
                self.order(node, Order::Detach(volume), command);
            }
            order => self.inflict_order(order),
        }
    }

    /// What an operator orders.
    fn inflict_order(&mut self, fault: Fault) {
        match fault {
            Fault::Reconfigure(node, seed) => self.reconfigure(usize::from(node.0), seed),
            Fault::PauseSync(node, volume, span) => {
                self.pause_resync(usize::from(node.0), volume, span);
            }
            Fault::Invalidate { node, volume, remote, marked } => {
                self.invalidate(usize::from(node.0), volume, remote, marked);
            }
            Fault::Enlarge(node, volume, extra) => {
                self.enlarge(usize::from(node.0), volume, extra);
            }
            Fault::Resize(node, volume) => self.order_resize(usize::from(node.0), volume),
            Fault::Verify(..) => unreachable!("it comes again, and is not inflicted once"),
            Fault::Failover => self.failover(),
            Fault::TakeOver(node) => self.take_over(usize::from(node.0)),
            Fault::Restart(node, down) => self.stop(usize::from(node.0), down),
            Fault::SwapRoles => self.swap_roles(),
            Fault::DemoteBusy(node) => {
                let node = usize::from(node.0);
                if self.nodes[node].role == Role::Primary {
                    self.order(node, Order::Demote, Command::Demote);
                }
            }
            Fault::PromoteBoth => {
                let primary = usize::from(self.nodes[1].role == Role::Primary);
                self.order(1 - primary, Order::Promote(false), Command::Promote { force: false });
            }
            Fault::Disconnect(node, span) => {
                self.marks.hit(Mark::Disconnected);
                let node = usize::from(node.0);
                self.nodes[node].disconnected_until = Some(self.now + span);
                self.order(node, Order::Disconnect, Command::Disconnect);
            }
            other => unreachable!("{other:?} is no order"),
        }
    }

    /// Other options for a running node; or, now and then, such as cannot be taken now.
    fn reconfigure(&mut self, node: usize, seed: u64) {
        // Whoever is told to end takes no other orders.
        let ends = self.nodes[node].orders.values().any(|(order, _)| *order == Order::Stop);
        if self.nodes[node].engine().is_none() || ends {
            return;
        }
        let mut options = other_options(&self.plan.options, seed);
        let both = self.status(node).is_some_and(|status| {
            status.role == Role::Primary && status.peer_role == Role::Primary
        });
        let is_frozen = self
            .status(node)
            .is_some_and(|status| status.volumes.iter().any(|volume| volume.suspended.fencing));
        let tries = seed.is_multiple_of(2) && !self.nodes[node].is_paused(self.now);
        let forbids = match (tries, both, is_frozen) {
            (true, true, _) => Some(Mark::OptionsRefused),
            (true, false, true) => Some(Mark::NotThawed),
            _ => None,
        };
        match forbids {
            Some(Mark::NotThawed) => options.fencing = Fencing::DontCare,
            Some(_) => options.allow_two_primaries = false,
            None => {}
        }
        let [node_name, peer_name] = [node, 1 - node].map(|it| NODE_NAMES[it].to_owned());
        let change = Box::new(Reconfigure { node_name, peer_name, options });
        self.order(node, Order::Reconfigure(forbids), Command::Reconfigure(change));
    }

    pub(crate) fn pause(&mut self, node: usize, span: Span) {
        if self.nodes[node].engine().is_some() && !self.nodes[node].is_paused(self.now) {
            self.marks.hit(Mark::Paused);
            self.nodes[node].paused_until = self.now + span;
            self.schedule(self.now + span, Event::Resume(node));
        }
    }

    pub(crate) fn resume(&mut self, node: usize) {
        if self.nodes[node].is_paused(self.now) {
            return;
        }
        self.trace.line(self.now, "world", || format!("node {node} goes on"));
        for input in std::mem::take(&mut self.nodes[node].waiting) {
            if self.failure.is_none() {
                self.input(node, input);
            }
        }
        self.set_timer(node);
    }

    pub(crate) fn doom(&mut self, node: usize, death: Death, effects: u64, down: Span) {
        let it = &mut self.nodes[node];
        if matches!(it.process, Process::Down) || self.phase != Phase::Chaos {
            return;
        }
        if effects == 0 {
            let death = self.fitting_death(node, death);
            self.die(node, death, down);
        } else {
            it.doomed = Some(Doom { effects, death, down });
        }
    }

    fn doom_both(&mut self, death: Death, gap: Span) {
        let first = self.rng.below(2) as usize;
        let downs: [Span; 2] = std::array::from_fn(|_| Span::millis(self.rng.between(50, 4000)));
        let effects = self.rng.below(20);
        // Half of the time the first is still down when the second dies.
        let overlap = if self.rng.chance(1, 2) { gap } else { Span(0) };
        if self.dies_at_once(death) {
            // What the Primary had answered before the other died is not to be looked at apart.
            self.doom(first, death, 0, downs[0]);
            return self.doom(1 - first, death, 0, downs[1]);
        }
        self.doom(first, death, effects, downs[0] + overlap);
        let event = Event::Doom { node: 1 - first, death, down: downs[1] };
        self.schedule(self.now + gap, event);
    }

    /// The node that can take over from a dead Primary.
    fn heir(&self) -> Option<usize> {
        (0..2).find(|&node| {
            let other = &self.nodes[1 - node];
            let dead = matches!(other.process, Process::Down) && other.wants_primary;
            dead && !other.died_ahead
                && !self.plan.two_primaries
                && self.status(node).is_some_and(|status| all_up_to_date(&status))
        })
    }

    fn failover(&mut self) {
        let Some(heir) = self.heir() else { return };
        self.marks.hit(Mark::Failover);
        self.nodes[1 - heir].wants_primary = false;
        self.nodes[heir].wants_primary = true;
        self.nodes[heir].alone_after = self.now;
        self.takes_over = Some(heir);
    }

    fn stop(&mut self, node: usize, down: Span) {
        if self.rng.chance(1, 2) {
            self.clients_leave(node);
        }
        // Where the answer finds how long it is to stay down.
        self.nodes[node].doomed = None;
        self.nodes[node].promote_after = self.now + down;
        self.order(node, Order::Stop, Command::Stop);
    }

    /// The machine of a daemon that has ended in order is switched off: nothing is lost by it.
    fn switch_off(&mut self, node: usize) {
        for volume in 0..VOLUMES.len() {
            let (_, touched) = self.nodes[node].disks[volume].power_lost();
            self.coverage_touch(volume, touched);
        }
    }

    fn swap_roles(&mut self) {
        let Some(node) = (0..2).find(|&node| self.nodes[node].role == Role::Primary) else {
            return;
        };
        self.nodes[node].wants_primary = false;
        self.clients_leave(node);
        self.order(node, Order::Demote, Command::Demote);
    }

    pub(crate) fn order_done(
        &mut self,
        node: usize,
        id: CommandId,
        order: Order,
        result: Result<(), Refusal>,
    ) {
        if self.class() == Class::Scripted {
            return self.script_answered(node, id, order, result);
        }
        match (order, result) {
            (Order::Promote(force), Ok(())) => {
                if force {
                    self.defined = true;
                }
                self.nodes[node].role = Role::Primary;
                self.note_takeover(node);
                let life = self.nodes[node].life;
                self.schedule(self.now, Event::Open { node, life });
            }
            (Order::Promote(_), Err(refusal)) => {
                if self.nodes[1 - node].role == Role::Primary && !self.plan.two_primaries {
                    self.marks.hit(Mark::SecondPrimaryRefused);
                }
                if refusal.text.is_empty() {
                    self.fail("answers", format!("node {node} refused an order without a reason"));
                }
                self.nodes[node].promote_after = self.now + Span::millis(200);
            }
            (Order::Demote, Ok(())) => self.demoted(node),
            (Order::Demote, Err(refusal)) => {
                if refusal.kind == RefusalKind::State {
                    self.marks.hit(Mark::DemoteRefused);
                }
            }
            (Order::Stop, result) => {
                if let Err(refusal) = result {
                    let text = format!("node {node} did not stop in order: {}", refusal.text);
                    return self.fail("answers", text);
                }
                if !self.nodes[node].disk_ops.is_empty() {
                    let text = format!("node {node} says that it has stopped, and still writes");
                    return self.fail("answers", text);
                }
                self.marks.hit(Mark::Stopped);
                self.hang_up(node);
                let until = self.nodes[node].promote_after;
                self.nodes[node].stopped = true;
                if self.rng.chance(1, 2) {
                    self.switch_off(node);
                }
                self.check_stopped(node);
                self.gone(node, until.since(self.now));
            }
            (Order::Reattach(volume), result) => self.reattached(node, volume, result),
            (Order::Detach(volume), result) => self.detached(node, volume, result),
            (Order::Resize { volume, .. }, result) => self.resize_done(node, volume, &result),
            (Order::Attach | Order::Connect | Order::Disconnect, Err(refusal)) => {
                let text = format!("node {node} refused {order:?}: {}", refusal.text);
                self.fail("answers", text);
            }
            (Order::Invalidate(remote), result) => self.invalidated(node, remote, result),
            (Order::Reconfigure(forbids), result) => self.reconfigured(node, forbids, result),
            (Order::Verify { volume, blocks, calm }, result) => {
                self.verify_ordered(node, (volume, blocks, calm), result);
            }
            (Order::Attach | Order::Connect | Order::Disconnect | Order::Other, Ok(())) => {}
            (Order::Other, Err(_)) => {}
        }
    }

    /// `forbids`: what was asked for must have been refused, and this is what that shows.
    fn reconfigured(&mut self, node: usize, forbids: Option<Mark>, result: Result<(), Refusal>) {
        match (forbids, result) {
            (None, Ok(())) => self.marks.hit(Mark::OptionsChanged),
            (Some(mark), Err(_)) => self.marks.hit(mark),
            (Some(_), Ok(())) => {
                self.fail("answers", format!("node {node} took options that it may not"));
            }
            (None, Err(refusal)) => {
                self.fail("answers", format!("node {node} refused options: {}", refusal.text));
            }
        }
    }

    fn demoted(&mut self, node: usize) {
        if self.clients.iter().any(|client| client.node == node && client.open) {
            let text = format!("node {node} was demoted while clients had it open");
            return self.fail("answers", text);
        }
        self.nodes[node].role = Role::Secondary;
        if !self.nodes[node].wants_primary && !self.plan.two_primaries {
            self.marks.hit(Mark::RolesSwapped);
            self.nodes[1 - node].wants_primary = true;
        }
    }

    /// The daemon looks after its intended role, the operator after the link.
    pub(crate) fn poll(&mut self, node: usize) {
        self.schedule(self.now + POLL, Event::Poll(node));
        if self.nodes[node].is_paused(self.now) || self.nodes[node].engine().is_none() {
            return;
        }
        self.tend_disks(node);
        self.resume_resyncs(node);
        if self.nodes[node].behind && self.is_calm() && self.no_orders() {
            self.nodes[node].behind = false;
        }
        let it = &self.nodes[node];
        let late = it.orders.values().find(|(_, since)| self.now.since(*since) > ORDER_MAX);
        if let Some((order, _)) = late {
            let text = format!("node {node} does not answer {order:?}");
            return self.fail("liveness", text);
        }
        if it.orders.values().any(|(order, _)| *order != Order::Attach) {
            return;
        }
        if it.disconnected_until.is_some_and(|until| until <= self.now) {
            self.nodes[node].disconnected_until = None;
            return self.order(node, Order::Connect, Command::Connect { discard_my_data: false });
        }
        if it.wants_primary && it.role != Role::Primary && it.promote_after <= self.now {
            self.want_primary(node);
        }
    }

    fn want_primary(&mut self, node: usize) {
        let Some(status) = self.status(node) else { return };
        if !self.defined {
            // Fresh disks: the operator forces one of them, once they have met.
            let first = self.plan.first_primary == NodeId(node as u8);
            if first && status.connection == ConnectionState::Connected {
                self.order(node, Order::Promote(true), Command::Promote { force: true });
            }
        } else if status.established || self.now >= self.nodes[node].alone_after {
            self.order(node, Order::Promote(false), Command::Promote { force: false });
        }
    }
}

pub(crate) fn all_up_to_date(status: &Status) -> bool {
    status.volumes.iter().all(|volume| volume.disk == DiskState::UpToDate)
}
