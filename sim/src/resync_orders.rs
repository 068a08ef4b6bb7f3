//! Orders about resyncs: paused and resumed at any moment, and copies given up.

use crate::marks::Mark;
use crate::node::{Order, Process, VOLUMES};
use crate::plan::{Class, Death, Fault, Plan};
use crate::world::{Phase, World};
use replicator::{Command, Pace, PauseCause, ReadBalancing, Refusal, VolumeOptions};
use types::{NodeId, Prng, Role, Span};

const MIB: u64 = 1 << 20;

/// How fast resyncs go in a world.
pub(crate) fn draw_paces(rng: &mut Prng, plan: &mut Plan) {
    for (volume, bytes) in VOLUMES.into_iter().zip(plan.device_bytes) {
        let mut pace = Pace::DEFAULT;
        // A full resync ends well before the world is over.
        let least = 2 + bytes / MIB / 40;
        match rng.below(6) {
            0 => {
                pace.plan_ahead = Span::ZERO;
                pace.rate = rng.between(2, 40).max(least) * MIB;
            }
            1 => pace.max_rate = rng.between(2, 40).max(least) * MIB,
            2 => pace.fill_target = (rng.between(1, 64) << 14).max(least << 17),
            3 => pace.min_rate = if rng.chance(1, 2) { 0 } else { rng.between(1, 20) * MIB },
            4 => {
                pace.plan_ahead = Span::millis(100 * rng.between(1, 30));
                pace.delay_target = Span::millis(100 * rng.between(1, 20));
            }
            _ => {}
        }
        let read_balancing = draw_balancing(rng);
        let of = VolumeOptions { pace, read_balancing, ..VolumeOptions::default() };
        plan.options.volumes.insert(volume, of);
    }
}

/// Mostly the default.
fn draw_balancing(rng: &mut Prng) -> ReadBalancing {
    match rng.below(12) {
        0 => ReadBalancing::PreferRemote,
        1 => ReadBalancing::RoundRobin,
        2 => ReadBalancing::LeastPending,
        3 => ReadBalancing::WhenCongestedRemote,
        4 => ReadBalancing::Striping(32 << 10),
        _ => ReadBalancing::PreferLocal,
    }
}

/// What an operator does about resyncs.
pub(crate) fn draw_orders(rng: &mut Prng, plan: &Plan) -> Vec<(Span, Fault)> {
    let mut faults = Vec::new();
    let node = |rng: &mut Prng| NodeId(rng.below(2) as u8);
    let when = |rng: &mut Prng| Span(rng.below(plan.chaos.0 * 9 / 10));
    if plan.class != Class::Scripted && rng.chance(1, 3) {
        for _ in 0..rng.between(1, 5) {
            let long = Span::millis(rng.between(1, 3000));
            let fault = Fault::PauseSync(node(rng), rng.below(2) as usize, long);
            faults.push((when(rng), fault));
        }
    }
    let loses = matches!(
        plan.class,
        Class::OneDies | Class::Orders | Class::DiskFails | Class::BothKilled | Class::FullSync
    );
    if loses && rng.chance(1, 4) {
        for _ in 0..rng.between(1, 3) {
            let (remote, marked) = (rng.chance(1, 2), rng.chance(1, 4));
            let volume = rng.below(2) as usize;
            faults.push((when(rng), Fault::Invalidate { node: node(rng), volume, remote, marked }));
        }
    }
    faults
}

impl World {
    /// Whether a copy may be given up: whether the other is good, and will stay so.
    pub(crate) fn may_invalidate(&self) -> bool {
        let sound = |node: usize| {
            let it = &self.nodes[node];
            let whole = it.losses.iter().all(Option::is_none);
            it.doomed.is_none() && whole && !it.behind && it.orders.is_empty()
        };
        self.is_calm() && self.both_know() && sound(0) && sound(1)
    }

    pub(crate) fn invalidate(&mut self, node: usize, volume: usize, remote: bool, marked: bool) {
        let (volume, keep_marks) = (VOLUMES[volume], marked);
        let loser = if remote { 1 - node } else { node };
        // From now on only the other is to be relied on.
        self.nodes[loser].behind = true;
        let command = match remote {
            true => Command::InvalidateRemote { volume, keep_marks },
            false => Command::Invalidate { volume, keep_marks },
        };
        self.order(node, Order::Invalidate(remote), command);
    }

    pub(crate) fn invalidated(&mut self, node: usize, remote: bool, result: Result<(), Refusal>) {
        let primary = self.nodes[node].role == Role::Primary;
        let alone = primary && self.nodes[1 - node].role != Role::Primary;
        let given_up_here = result.is_ok() && !remote && alone;
        let rng = &mut Prng::new(self.now.0 ^ node as u64);
        if given_up_here && self.phase == Phase::Chaos && rng.chance(2, 3) {
            // What was answered so far is on a disk, and not in a cache, of the one that is relied on.
            // A node that is killed while its peer has lost its cache would be two failures at once.
            let death = if self.class() == Class::BothKilled { Death::Kill } else { Death::Power };
            self.die(1 - node, death, Span::millis(rng.between(10, 4000)));
            self.given_up = true;
            self.marks.hit(Mark::DeathAfterInvalidate);
        }
        self.marks.hit(match (result, remote) {
            (Ok(()), true) => Mark::InvalidatedRemote,
            (Ok(()), false) if primary => Mark::PrimaryInvalidated,
            (Ok(()), false) => Mark::Invalidated,
            (Err(_), _) => Mark::InvalidateRefused,
        });
    }

    pub(crate) fn pause_resync(&mut self, node: usize, volume: usize, span: Span) {
        if !matches!(self.nodes[node].process, Process::Running(_)) || self.is_ending(node) {
            return;
        }
        if self.in_resync(node) {
            self.marks.hit(Mark::SyncPaused);
        }
        self.nodes[node].sync_paused[volume] = Some(self.now + span);
        self.order_pause(node, volume, true);
    }

    /// Whether a node is told to end: it takes no other orders.
    fn is_ending(&self, node: usize) -> bool {
        self.nodes[node].orders.values().any(|(order, _)| *order == Order::Stop)
    }

    fn order_pause(&mut self, node: usize, volume: usize, on: bool) {
        let cause = if volume == 0 { PauseCause::User } else { PauseCause::Dependency };
        let command = Command::PauseSync { volume: VOLUMES[volume], cause, on };
        self.order(node, Order::Other, command);
    }

    /// What was paused goes on after a while.
    pub(crate) fn resume_resyncs(&mut self, node: usize) {
        let (now, over) = (self.now, self.phase != Phase::Chaos);
        for volume in 0..VOLUMES.len() {
            let paused = self.nodes[node].sync_paused[volume];
            if paused.is_some_and(|until| over || until <= now) && !self.is_ending(node) {
                self.nodes[node].sync_paused[volume] = None;
                self.order_pause(node, volume, false);
            }
        }
    }
}
