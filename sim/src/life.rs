//! Life and death of a node's daemon: creation of disks, start and recovery, death, orderly end.

use crate::content::bytes_of_tag;
use crate::disk::{layout, sectors};
use crate::marks::Mark;
use crate::node::{Asker, Doom, NODE_NAMES, Order, Process, RESOURCE, VOLUMES};
use crate::operator::AGAIN;
use crate::plan::{Class, Death};
use crate::world::{Event, Phase, World};
use metadata::{
    Batch, Cause, CreateParams, Expected, GenerationId, GenerationRecord, Metadata, Placement,
    Recovered,
};
use replicator::{Command, CommandId, Engine, EngineConfig, Input};
use std::convert::Infallible;
use types::{BLOCK_BYTES, ByteRange, NodeId, Role, Span, Time};

/// How long a started daemon waits for the peer before its node becomes Primary alone.
const WAIT_FOR_PEER: Span = Span::secs(60);

impl World {
    /// `create-md` on all disks; with a common generation, if the world begins in sync.
    pub(crate) fn create_disks(&mut self) {
        for volume in 0..VOLUMES.len() {
            let common = GenerationId(self.rng.next_u64() | 0x1000);
            for node in 0..2 {
                self.create_metadata(node, volume, self.plan.begins_in_sync.then_some(common));
                if !self.plan.begins_in_sync && node != usize::from(self.plan.first_primary.0) {
                    self.litter(node, volume);
                }
            }
        }
        if self.plan.granules[0] != self.plan.granules[1] {
            self.marks.hit(Mark::TornUnit);
        }
    }

    /// `create-md` on a disk; with a generation that the peer has too, if they begin in sync.
    pub(crate) fn create_metadata(
        &mut self,
        node: usize,
        volume: usize,
        common: Option<GenerationId>,
    ) {
        let layout = layout(self.plan.device_bytes[volume]);
        let (mut metadata, batches) = Metadata::create(CreateParams {
            layout,
            resource: RESOURCE.into(),
            volume: VOLUMES[volume],
            node: Some(NodeId(node as u8)),
            disk_incarnation: self.rng.next_u64() | 1,
            al_extents: self.plan.al_extents,
            now: Time(0) + self.nodes[node].clock,
        });
        let disk = &mut self.nodes[node].disks[volume];
        batches.iter().for_each(|batch| disk.preset(batch));
        if let Some(common) = common {
            let superblock = &mut metadata.superblock;
            superblock.generations.current =
                GenerationRecord::new(common, Cause::Forced, NodeId(0), Time(0));
            superblock.newest_exposed = common;
            superblock.agreed_bytes = layout.data_bytes();
            superblock.flags.consistent = true;
            superblock.flags.was_up_to_date = true;
            disk.preset(&metadata.save_superblock());
        }
    }

    /// What a used disk may hold; nobody must ever read it.
    fn litter(&mut self, node: usize, volume: usize) {
        for place in self.plan.places[volume].clone() {
            let garbage = bytes_of_tag(u64::MAX - place, BLOCK_BYTES);
            let disk = &mut self.nodes[node].disks[volume];
            disk.preset(&Batch::one(place, garbage.to_vec()));
            let sectors = sectors(ByteRange::new(place, BLOCK_BYTES));
            self.coverage_touch(volume, [sectors]);
        }
    }

    /// What a start finds on a disk.
    pub(crate) fn load(&self, node: usize, volume: usize) -> Result<Recovered, String> {
        let disk = &self.nodes[node].disks[volume];
        let expected = Expected {
            resource: RESOURCE.into(),
            volume: VOLUMES[volume],
            node: Some(NodeId(node as u8)),
        };
        let mut read = |range| Ok::<_, Infallible>(disk.read_now(range).to_vec());
        let was = &self.nodes[node].ends[volume];
        let bytes = disk.device_bytes();
        metadata::load_grown(&mut read, bytes, Placement::Internal, Some(expected), was)
            .map_err(|error| format!("node {node} volume {volume} cannot be attached: {error}"))
    }

    pub(crate) fn start(&mut self, node: usize) {
        if !matches!(self.nodes[node].process, Process::Down) {
            return;
        }
        if self.waits_for_takeover(node) {
            return self.schedule(self.now + AGAIN, Event::Start(node));
        }
        self.trace.line(self.now, "world", || format!("node {node} starts"));
        let mut recovered = Vec::new();
        for volume in 0..VOLUMES.len() {
            self.nodes[node].disks[volume].flush_now();
            match self.load(node, volume) {
                Ok(found) => recovered.push(found),
                Err(text) => return self.fail("metadata", text),
            }
        }
        if recovered.iter().any(|found| found.moved_from.is_some()) {
            self.marks.hit(Mark::MovedAtStart);
        }
        if recovered.iter().any(|found| found.marked_blocks > 0) {
            self.marks.hit(Mark::CrashMarked);
        }
        for (volume, found) in recovered.iter().enumerate() {
            self.nodes[node].ends[volume] = found.ends().0;
        }
        let plans = recovered.iter().map(|found| found.plan.clone()).enumerate();
        let todo = plans.flat_map(|(volume, plan)| plan.into_iter().map(move |b| (volume, b)));
        let todo = todo.collect();
        let it = &mut self.nodes[node];
        it.life += 1;
        it.powered = true;
        it.process = Process::Recovering { todo, recovered };
        self.doom_at_start(node);
        self.recovery_step(node);
    }

    /// Some starts end before they have come far.
    fn doom_at_start(&mut self, node: usize) {
        let dies = match self.class() {
            Class::OneDies | Class::FullSync | Class::Grow => self.may_die(node),
            Class::BothPower | Class::BothKilled | Class::Solo => true,
            Class::Resets
            | Class::SplitBrain
            | Class::Orders
            | Class::DiskFails
            | Class::Fencing
            | Class::Scripted => false,
        };
        let again = self.nodes[node].behind && self.phase == Phase::Chaos;
        if dies && again && self.rng.chance(1, 6) {
            let effects = self.rng.below(30);
            let effects = if self.rng.chance(1, 3) { effects * 10 } else { effects };
            let power = matches!(self.class(), Class::OneDies | Class::FullSync | Class::Grow);
            let death = if power && self.rng.chance(1, 2) { Death::Power } else { Death::Kill };
            let down = Span::millis(self.rng.between(1, 300));
            self.nodes[node].doomed = Some(Doom { effects, death, down });
        }
    }

    /// Some nodes die just as they begin to answer alone: only what is durable by then counts.
    pub(crate) fn doom_as_it_goes_solo(&mut self, node: usize) {
        let dies = match self.class() {
            Class::BothKilled => true,
            // Its peer has not lost its cache: that would be two failures at once.
            Class::Solo => !self.plan.faults.iter().any(|(_, fault)| fault.cuts_power()),
            _ => false,
        };
        let quiet = self.phase == Phase::Chaos && self.nodes[node].doomed.is_none();
        if dies && quiet && self.rng.chance(1, 4) {
            let (effects, down) = (self.rng.below(8), Span::millis(self.rng.between(1, 2000)));
            self.nodes[node].doomed = Some(Doom { effects, death: Death::Kill, down });
        }
    }

    /// The next batch of the recovery; after the last one the engine is made.
    pub(crate) fn recovery_step(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Process::Recovering { todo, recovered } = &mut it.process else { return };
        if let Some(doom) = &mut it.doomed {
            if doom.effects < 3 {
                let (death, down) = (doom.death, doom.down);
                let death = self.fitting_death(node, death);
                self.marks.hit(Mark::DeathInRecovery);
                return self.die(node, death, down);
            }
            doom.effects -= 3;
        }
        match todo.pop_front() {
            Some((volume, batch)) => match it.disks[volume].start_batch(&batch) {
                Ok((ticket, latency, touched)) => {
                    self.coverage_touch(volume, touched);
                    self.in_flight(node, volume, ticket, latency, Asker::Recovery);
                }
                Err(text) => self.fail("disk order", format!("recovery of node {node}: {text}")),
            },
            None => {
                let recovered = std::mem::take(recovered);
                self.make_engine(node, recovered);
            }
        }
    }

    fn make_engine(&mut self, node: usize, recovered: Vec<Recovered>) {
        let config = EngineConfig {
            resource: RESOURCE.into(),
            node: NodeId(node as u8),
            node_name: NODE_NAMES[node].into(),
            peer_name: NODE_NAMES[1 - node].into(),
            volumes: VOLUMES.to_vec(),
            options: self.plan.options.clone(),
        };
        let seed = self.rng.next_u64();
        let it = &mut self.nodes[node];
        let engine = Engine::new(config, seed, self.now + it.clock);
        it.process = Process::Running(Box::new(engine));
        it.timer_at = None;
        it.role = Role::Secondary;
        it.promote_after = self.now;
        // With one Primary only, its node may go on alone as soon as its operator likes.
        let patience = match self.plan.class {
            Class::Solo => Span::millis(self.rng.between(1000, 4000)),
            _ => WAIT_FOR_PEER,
        };
        self.nodes[node].alone_after = self.now + patience;
        for (volume, found) in recovered.into_iter().enumerate() {
            self.nodes[node].ends[volume] = vec![found.ends().1];
            let agreed = found.metadata.superblock.agreed_bytes;
            if agreed != 0 {
                self.has_size(node, volume, agreed);
            }
            let it = &mut self.nodes[node];
            it.extents[volume] = (found.metadata.al.capacity(), Default::default());
            let granule = it.disks[volume].granule();
            let al_updates = self.plan.al_updates;
            let attach = Command::Attach {
                volume: VOLUMES[volume],
                recovered: Box::new(found),
                granule,
                al_updates,
            };
            self.order(node, Order::Attach, attach);
        }
        if self.nodes[node].disconnected_until.is_none() {
            self.order(node, Order::Connect, Command::Connect { discard_my_data: false });
        }
    }

    /// Gives an order to a node's engine.
    pub(crate) fn order(&mut self, node: usize, order: Order, command: Command) {
        if self.nodes[node].engine().is_none() {
            return;
        }
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.nodes[node].orders.insert(id, (order, self.now));
        self.input(node, Input::Command { id, command });
    }

    /// A node dies now.
    pub(crate) fn die(&mut self, node: usize, death: Death, down: Span) {
        let death = self.death_by_protocol(node, death);
        self.trace.line(self.now, "world", || format!("node {node} dies: {death:?}, for {down}"));
        if self.resizes(node) || self.resizes(1 - node) {
            self.marks.hit(Mark::DeathInResize);
        }
        if self.in_resync(node) {
            self.marks.hit(Mark::DeathInResync);
        }
        let linked = !self.net.open().is_empty();
        if linked && self.connection(node) == Some(types::ConnectionState::Connecting) {
            self.marks.hit(Mark::DeathInHandshake);
        }
        if matches!(self.nodes[1 - node].process, Process::Down) && !self.nodes[1 - node].stopped {
            self.marks.hit(Mark::BothUnclean);
        }
        self.marks.hit(if death == Death::Kill { Mark::Killed } else { Mark::PowerCut });
        for volume in 0..VOLUMES.len() {
            let disk = &mut self.nodes[node].disks[volume];
            let touched = match death {
                Death::Kill => disk.process_died(),
                Death::Power => {
                    let (lost, touched) = disk.power_lost();
                    if lost > 0 {
                        self.marks.hit(Mark::SectorsLost);
                    }
                    touched
                }
            };
            self.coverage_touch(volume, touched);
        }
        self.cut_off(node, death);
        self.nodes[node].powered = death == Death::Kill;
        self.nodes[node].stopped = false;
        self.nodes[node].behind = true;
        self.gone(node, down);
        if self.class() == Class::BothPower && death == Death::Power {
            self.nodes[node].lost_power = true;
            if self.nodes.iter().all(|node| node.lost_power) {
                self.power_era = Some(self.stamp());
            }
        }
    }

    /// A node's process is no more; it will be started again after so long.
    pub(crate) fn gone(&mut self, node: usize, down: Span) {
        let it = &mut self.nodes[node];
        it.process = Process::Down;
        it.life += 1;
        self.verifies.gone(node);
        it.doomed = None;
        it.disk_ops.clear();
        it.orders.clear();
        it.waiting.clear();
        it.sync_paused = [None; 2];
        it.paused_until = self.now;
        it.role = Role::Secondary;
        self.clients_vanish(node);
        for volume in 0..VOLUMES.len() {
            match self.load(node, volume) {
                Ok(found) => self.nodes[node].offline[volume] = Some(found.metadata.bitmap),
                Err(text) => return self.fail("metadata", text),
            }
        }
        self.schedule(self.now + down, Event::Start(node));
    }
}
