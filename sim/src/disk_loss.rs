//! Disks that fail under a running engine, or are detached by order, and come back.
//!
//! The engine must let such a disk go and work on through the peer, whose disk stays good. After a
//! while an operator gives the disk back: its metadata is loaded and recovered as at a start, and
//! the running engine is told to attach it. Sometimes it has lost its cache meanwhile, and
//! sometimes it still fails.

use crate::disk::DiskFaults;
use crate::marks::Mark;
use crate::node::{Asker, Order, VOLUMES};
use crate::plan::Class;
use crate::world::{Phase, World};
use metadata::{Batch, Recovered};
use replicator::{Command, Refusal, RefusalKind};
use std::collections::VecDeque;
use types::{DiskState, Role, Span, Time};

/// A disk on its way out of service and back.
#[derive(Debug)]
pub(crate) struct Loss {
    /// For how long it is away.
    back: Span,
    /// How many operations had failed when it began.
    failed: u64,
    /// How far it is.
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The engine has it; if that is still so at that time, it is well again.
    Ailing(Time),
    /// The engine has let it go, until then.
    Gone(Time),
    /// The plan of its recovered metadata is made durable.
    Recovering { todo: VecDeque<Batch>, recovered: Box<Recovered> },
    /// The engine is to take it.
    Attaching,
}

impl World {
    /// A disk begins to fail.
    pub(crate) fn lose_disk(&mut self, node: usize, volume: usize, faults: DiskFaults, back: Span) {
        let it = &mut self.nodes[node];
        it.disks[volume].faults = faults;
        let failed = it.disks[volume].failed;
        // Long enough for the load to meet it.
        let stage = Stage::Ailing(self.now + Span::secs(3));
        it.losses[volume] = Some(Loss { back, failed, stage });
    }

    /// The engine says that it does not use a disk any longer.
    pub(crate) fn disk_let_go(&mut self, node: usize, volume: usize) {
        if !self.class().loses_disks() {
            return;
        }
        let it = &self.nodes[node];
        if it.disk_ops.keys().any(|(of, _)| *of == volume) {
            let text = format!("node {node} has let go of volume {volume}, and still uses it");
            return self.fail("disk order", text);
        }
        if self.class() == Class::Scripted {
            return;
        }
        let Some(Loss { back, failed, .. }) = it.losses[volume] else {
            let text = format!("node {node} has let go of volume {volume} without a reason");
            return self.fail("disk order", text);
        };
        let sound = it.disks[volume].failed == failed;
        self.marks.hit(if sound { Mark::DiskDetached } else { Mark::DiskFailed });
        if it.role == Role::Primary {
            self.marks.hit(Mark::PrimaryDiskless);
        }
        if sound {
            self.check_detached(node, volume);
        }
        let stage = Stage::Gone(self.now + back);
        self.nodes[node].losses[volume] = Some(Loss { back, failed, stage });
    }

    /// A disk that was detached in order must not look as if its node had crashed.
    fn check_detached(&mut self, node: usize, volume: usize) {
        match self.load(node, volume) {
            Err(text) => self.fail("metadata", text),
            Ok(found) if found.crashed || found.marked_blocks > 0 => {
                let text = format!(
                    "volume {volume} of node {node} was detached in order, and to attach it marks \
                     {} blocks as after a crash",
                    found.marked_blocks
                );
                self.fail("metadata", text);
            }
            Ok(_) => {}
        }
    }

    /// The operator looks after lost disks.
    pub(crate) fn tend_disks(&mut self, node: usize) {
        for volume in 0..VOLUMES.len() {
            let has_disk = self.has_disk(node, volume);
            let it = &mut self.nodes[node];
            let detaching = it.orders.values().any(|(order, _)| *order == Order::Detach(volume));
            let over = self.phase != Phase::Chaos;
            match &it.losses[volume] {
                Some(Loss { stage: Stage::Ailing(until), .. })
                    if (over || *until <= self.now) && has_disk && !detaching =>
                {
                    it.disks[volume].faults = DiskFaults::default();
                    it.losses[volume] = None;
                }
                Some(Loss { stage: Stage::Gone(until), .. }) if over || *until <= self.now => {
                    self.reattach(node, volume);
                }
                _ => {}
            }
        }
    }

    fn has_disk(&self, node: usize, volume: usize) -> bool {
        let engine = self.nodes[node].engine();
        engine.is_some_and(|engine| engine.out_of_sync(VOLUMES[volume]).is_some())
    }

    fn reattach(&mut self, node: usize, volume: usize) {
        let disk = &mut self.nodes[node].disks[volume];
        if disk.faults.any() && self.rng.chance(1, 4) {
            self.marks.hit(Mark::DiskBackBad);
        } else {
            disk.faults = DiskFaults::default();
        }
        let cycled = self.rng.chance(1, 2);
        self.give_back_after(node, volume, cycled);
    }

    /// The disk of a volume is well again.
    pub(crate) fn heal_disk(&mut self, node: usize, volume: usize) {
        let disk = &mut self.nodes[node].disks[volume];
        disk.faults = DiskFaults::default();
        disk.bad.clear();
    }

    /// A script gives a disk back.
    pub(crate) fn give_back(&mut self, node: usize, volume: usize) {
        let stage = Stage::Gone(self.now);
        self.nodes[node].losses[volume] = Some(Loss { back: Span(0), failed: 0, stage });
        self.give_back_after(node, volume, false);
    }

    fn give_back_after(&mut self, node: usize, volume: usize, cycled: bool) {
        self.trace.line(self.now, "world", || {
            format!("node {node} gets the disk of volume {volume} back, cache lost: {cycled}")
        });
        if cycled {
            let (lost, touched) = self.nodes[node].disks[volume].power_lost();
            if lost > 0 {
                self.marks.hit(Mark::SectorsLost);
            }
            self.coverage_touch(volume, touched);
            self.disk_changed(node, volume);
        }
        // As at a start: what an attempt before this one wrote and could not make durable is not
        // taken for durable.
        self.nodes[node].disks[volume].flush_now();
        match self.load(node, volume) {
            Ok(found) => {
                self.nodes[node].ends[volume] = found.ends().0;
                let todo = found.plan.clone().into();
                let recovered = Box::new(found);
                if let Some(loss) = &mut self.nodes[node].losses[volume] {
                    loss.stage = Stage::Recovering { todo, recovered };
                }
                self.reattach_step(node, volume, true);
            }
            Err(text) => self.fail("metadata", text),
        }
    }

    /// The next batch of the recovery of a lost disk; after the last one the engine gets it.
    pub(crate) fn reattach_step(&mut self, node: usize, volume: usize, well: bool) {
        let it = &mut self.nodes[node];
        let Some(loss) = &mut it.losses[volume] else { return };
        if !well {
            loss.stage = Stage::Gone(self.now + loss.back);
            return;
        }
        let Stage::Recovering { todo, .. } = &mut loss.stage else { return };
        if let Some(batch) = todo.pop_front() {
            match it.disks[volume].start_batch(&batch) {
                Ok((ticket, latency, touched)) => {
                    self.coverage_touch(volume, touched);
                    self.in_flight(node, volume, ticket, latency, Asker::Reattach);
                }
                Err(text) => self.fail("disk order", format!("attach at node {node}: {text}")),
            }
            return self.disk_changed(node, volume);
        }
        let stage = std::mem::replace(&mut loss.stage, Stage::Attaching);
        let Stage::Recovering { recovered, .. } = stage else { unreachable!("seen above") };
        it.ends[volume] = vec![recovered.ends().1];
        let granule = it.disks[volume].granule();
        let al_updates = self.plan.al_updates;
        let attach = Command::Attach { volume: VOLUMES[volume], recovered, granule, al_updates };
        self.order(node, Order::Reattach(volume), attach);
    }

    pub(crate) fn reattached(&mut self, node: usize, volume: usize, result: Result<(), Refusal>) {
        let it = &mut self.nodes[node];
        let bad = it.disks[volume].faults.any();
        let Some(loss) = &mut it.losses[volume] else { return };
        let until = Stage::Ailing(self.now + Span::secs(3));
        match result {
            Ok(()) => {
                self.marks.hit(Mark::DiskBack);
                if bad {
                    loss.stage = until;
                } else {
                    it.losses[volume] = None;
                }
            }
            Err(refusal) if it.disks[volume].failed == 0 || refusal.kind != RefusalKind::Failed => {
                let text = format!("node {node} did not attach {volume}: {}", refusal.text);
                self.fail("answers", text);
            }
            // It has failed again; what is in flight may have to end first.
            Err(_) if matches!(loss.stage, Stage::Attaching) => loss.stage = until,
            Err(_) => {}
        }
    }

    pub(crate) fn detached(&mut self, node: usize, volume: usize, result: Result<(), Refusal>) {
        let Err(refusal) = result else { return };
        let Some(status) = self.status(node) else { return };
        let peer = status.volumes[volume].peer_disk;
        if refusal.text.is_empty() || (status.established && peer == DiskState::UpToDate) {
            let text = format!("node {node} did not detach {volume}: {}", refusal.text);
            self.fail("answers", text);
        }
    }

    /// A disk that no engine has may read differently now.
    pub(crate) fn disk_changed(&mut self, node: usize, volume: usize) {
        if self.class().loses_disks() && self.nodes[node].offline[volume].is_some() {
            self.nodes[node].offline[volume] = None;
            self.disks_have_owners(node);
        }
    }

    /// The marks of a disk are with the engine that has it, or else as a recovery would find them.
    pub(crate) fn disks_have_owners(&mut self, node: usize) {
        if !self.class().loses_disks() {
            return;
        }
        for volume in 0..VOLUMES.len() {
            if self.has_disk(node, volume) {
                self.nodes[node].offline[volume] = None;
            } else if self.nodes[node].offline[volume].is_none() {
                match self.load(node, volume) {
                    Ok(found) => self.nodes[node].offline[volume] = Some(found.metadata.bitmap),
                    Err(text) => return self.fail("metadata", text),
                }
            }
        }
    }
}
