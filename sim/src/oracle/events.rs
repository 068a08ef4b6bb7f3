//! Oracle: what engines report must be explained by what the world did to them.

use crate::node::{Order, VOLUMES};
use crate::plan::Class;
use crate::world::World;
use replicator::Event as EngineEvent;
use types::{ConnectionState, DiskState, ReplicationState};

impl World {
    pub(crate) fn check_event(&mut self, node: usize, event: &EngineEvent) {
        let class = self.class();
        if class == Class::Scripted {
            // A script has its own expectations.
            return;
        }
        let wrong = match event {
            EngineEvent::SplitBrain { .. } => class != Class::SplitBrain,
            EngineEvent::Generation { .. } => class == Class::Resets,
            EngineEvent::Replication {
                new:
                    ReplicationState::SyncSource
                    | ReplicationState::SyncTarget
                    | ReplicationState::PausedSyncS
                    | ReplicationState::PausedSyncT,
                ..
            } => class == Class::Resets,
            EngineEvent::Disk { volume, new: DiskState::Failed, .. }
            | EngineEvent::DiskFailed { volume, .. } => {
                self.nodes[node].disks[usize::from(volume.0)].failed == 0
            }
            EngineEvent::Connection { new: ConnectionState::StandAlone, .. } => {
                class != Class::SplitBrain && !self.may_stand_alone(node)
            }
            // Both are honest, and the network changes nothing.
            EngineEvent::Connection { new: ConnectionState::ProtocolError, .. } => true,
            _ => false,
        };
        if wrong {
            let class = class.as_str();
            self.fail("events", format!("in a world of class {class}, node {node}: {event}"));
        }
    }

    /// Whether a node was ordered to leave its peer.
    fn may_stand_alone(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let leaves = |order| matches!(order, Order::Disconnect | Order::Stop);
        it.disconnected_until.is_some() || it.orders.values().any(|(order, _)| leaves(*order))
    }

    /// A node that has stopped in order must not look as if it had crashed.
    pub(crate) fn check_stopped(&mut self, node: usize) {
        for volume in 0..VOLUMES.len() {
            if self.nodes[node].disks[volume].faults.any() {
                // It was let go before.
                continue;
            }
            match self.load(node, volume) {
                Err(text) => self.fail("metadata", text),
                Ok(found) if found.crashed || found.marked_blocks > 0 => {
                    let text = format!(
                        "node {node} volume {volume} has stopped in order, and a start marks {} \
                         blocks as after a crash",
                        found.marked_blocks
                    );
                    self.fail("metadata", text);
                }
                Ok(_) => {}
            }
        }
    }
}
