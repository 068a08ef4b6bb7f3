//! What the main thread says to a resource: orders, questions, and clients to serve.

use super::super::engine_config::engine_config;
use super::super::links::LinkSetup;
use super::super::orders::{NewSetup, Order, Reply, held_by};
use super::super::status::{Surroundings, VolumeSurroundings, resource_status, volume_verify};
use super::super::{Message, NewClient};
use super::{Pump, Stage as Life, TAKING_AWAY, TakingAway, not_listening};
use control::{Failure, ResourceStatus, VolumeVerify, exit};
use replicator::{EngineConfig, Reconfigure, STOP_PATIENCE};
use std::task::Context;
use types::{ConnectionState, Ledger, Role, Stage, VolumeId};

impl Pump {
    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Order(order, reply) => self.order(order, reply),
            Message::Inspect(answer) if self.stage != Life::Running => {
                let text = format!("{}: it is being taken down", self.resource.name);
                let _ = answer.send(Err(Failure::new(exit::STATE, text)));
            }
            Message::Inspect(answer) => self.orders.inspect(answer, &mut self.inputs),
            Message::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Message::Verified(reply) => {
                let _ = reply.send(self.verified());
            }
            Message::Client(client) => self.serve(client),
        }
    }

    fn verified(&self) -> Vec<VolumeVerify> {
        let volumes = self.engine.status().volumes;
        let of = |volume| volume_verify(volume, self.engine.out_of_sync(volume.id));
        volumes.iter().map(of).collect()
    }

    fn order(&mut self, order: Order, reply: Reply) {
        if self.stage != Life::Running {
            return self.refuse_late(reply);
        }
        match &order {
            Order::Attach(volume) => {
                let disk =
                    volume.disk.as_deref().map(|disk| tracing::field::display(disk.display()));
                tracing::info!(volume = volume.id.0, disk, "ordered: attach");
            }
            Order::Reconfigure(..) => tracing::info!("ordered: take another configuration"),
            other => tracing::info!(order = ?other, "ordered"),
        }
        match order {
            Order::Attach(volume) => return self.attach(*volume, reply),
            Order::Reconfigure(resource, node) => return self.reconfigure(*resource, &node, reply),
            Order::Detach(volume) if !self.has_disk(volume) => {
                let _ = reply.send(Ok(()));
                return;
            }
            Order::Secondary { force } | Order::Down { force } if self.clients.len() > 0 => {
                let command =
                    if matches!(order, Order::Down { .. }) { "down" } else { "secondary" };
                return match force {
                    true => self.take_away(command, order, reply),
                    false => self.refuse_held(command, reply),
                };
            }
            Order::Stop => self.clients.pause(),
            _ => {}
        }
        self.pass(&order, reply);
    }

    fn pass(&mut self, order: &Order, reply: Reply) {
        if matches!(order, Order::Down { .. } | Order::Stop) {
            self.stage = Life::Stopping { give_up: self.clock.now() + STOP_PATIENCE };
        }
        self.orders.pass(order, reply, &mut self.inputs);
    }

    /// The device is taken from its clients, softly: what is in flight is answered, what comes late is
    /// refused. Then the order is passed on.
    fn take_away(&mut self, command: &str, order: Order, reply: Reply) {
        tracing::warn!(clients = self.clients.len(), "dropped by «{command} --force»");
        self.clients.take_away();
        let give_up = self.clock.now() + TAKING_AWAY;
        self.taking_away = Some(TakingAway { order, reply, give_up });
    }

    /// Passes on the order that waits for the clients to be gone, if they are, or have to.
    pub(super) fn end_taking_away(&mut self, cx: &mut Context<'_>) {
        let now = self.clock.now();
        let ends = |taking: &mut TakingAway| self.clients.len() == 0 || taking.give_up <= now;
        let Some(TakingAway { order, reply, .. }) = self.taking_away.take_if(ends) else { return };
        self.clients.drop_all(cx, &mut self.inputs);
        self.clients.serve_again();
        match self.stage {
            Life::Running => self.pass(&order, reply),
            _ => self.refuse_late(reply),
        }
    }

    fn refuse_late(&self, reply: Reply) {
        let text = format!("{}: it is being taken down", self.resource.name);
        let _ = reply.send(Err(Failure::new(exit::STATE, text)));
    }

    fn has_disk(&self, volume: VolumeId) -> bool {
        self.disks.contains(volume) || self.orders.is_opening(volume)
    }

    fn attach(&mut self, volume: config::Volume, reply: Reply) {
        let resource = &self.resource.name;
        let Some(known) = self.me.volumes.iter_mut().find(|known| known.id == volume.id) else {
            let text = format!("{resource}/{}: the resource has no such volume", volume.id);
            let _ = reply.send(Err(Failure::new(exit::USAGE, text)));
            return;
        };
        if self.disks.contains(volume.id) {
            let _ = reply.send(Ok(()));
            return;
        }
        // The file may name another disk than when the resource came up.
        *known = volume;
        let means = (&self.payloads.pool, &self.ends);
        self.orders.open(resource, self.me.node_id, known, means, reply);
    }

    /// Another configuration, of which the main thread has seen that it can be taken while this one
    /// is in force.
    fn reconfigure(&mut self, resource: config::Resource, node: &str, reply: Reply) {
        let prepared = self.prepare(resource, node);
        match prepared {
            Ok((change, setup)) => self.orders.reconfigure(change, setup, reply, &mut self.inputs),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    fn prepare(
        &self,
        resource: config::Resource,
        node: &str,
    ) -> Result<(Reconfigure, NewSetup), Failure> {
        let name = &resource.name;
        let Some((me, peer)) = resource.host(node) else {
            let text = format!("{name}: the configuration has no host «{node}»");
            return Err(Failure::new(exit::CONFIG, text));
        };
        let (me, peer) = (me.clone(), peer.clone());
        let moved = me.address != self.me.address || peer.address != self.peer.address;
        if moved && self.engine.status().connection != ConnectionState::StandAlone {
            let text = format!(
                "{name}: its addresses have changed, and it is connected, or seeks its peer: run \
                 «repadm disconnect {name}» first; «repadm adjust {name}» does that by itself"
            );
            return Err(Failure::new(exit::STATE, text));
        }
        let link = LinkSetup::of(&resource, &me, &peer);
        let link =
            self.links.prepare(link).map_err(|error| not_listening(&resource, &me, &error))?;
        let EngineConfig { node_name, peer_name, options, .. } =
            engine_config(&resource, &me, &peer);
        let change = Reconfigure { node_name, peer_name, options };
        Ok((change, NewSetup { resource, me, peer, link }))
    }

    fn refuse_held(&self, command: &str, reply: Reply) {
        let holders = self.clients.holders(None);
        let failure = held_by(&self.resource.name, command, &holders)
            .expect("it is refused because there are clients");
        let _ = reply.send(Err(failure));
    }

    fn serve(&mut self, client: NewClient) {
        // The role may have changed since the client was told that it may come, or be about to: it
        // would stay connected to a Secondary, and be refused everything.
        let leaving =
            self.stage != Life::Running || self.taking_away.is_some() || self.orders.is_demoting();
        if leaving || self.engine.status().role != Role::Primary {
            tracing::info!(client = client.peer, "closed: this node is not Primary any more");
            return;
        }
        self.clients.insert(client, self.clock.now(), &mut self.inputs);
        self.changed = true;
    }

    fn status(&self) -> ResourceStatus {
        let around = Surroundings {
            resource: &self.resource,
            me: &self.me,
            peer: &self.peer,
            strangers_refused: self.links.strangers(),
            now: self.clock.now(),
        };
        resource_status(&self.engine.status(), &around, |volume| VolumeSurroundings {
            backend: self.disks.backend(volume).map(str::to_owned),
            lower_pending: self.disks.in_flight(volume) as u64,
            clients: self.clients.holders(Some(volume)),
            ledger: self.ledger(volume),
        })
    }

    /// What the engine knows of the time of requests, and what only its driver sees.
    fn ledger(&self, volume: VolumeId) -> Ledger {
        let mut ledger = self.engine.ledger(volume).cloned().unwrap_or_default();
        let ours =
            [(Stage::Send, self.links.sends(volume)), (Stage::Reply, self.clients.replies(volume))];
        for (stage, histogram) in ours {
            if let Some(histogram) = histogram {
                ledger.add(stage, histogram);
            }
        }
        ledger
    }
}
