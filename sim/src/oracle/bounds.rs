//! Oracles: what waits is bounded; no verdict of equality with a mark; nothing answered from nothing.

use crate::node::VOLUMES;
use crate::world::World;
use metadata::Rule;
use types::BLOCK_BYTES;

/// The largest write of a simulated client.
const WRITE_MAX: u64 = 8 * BLOCK_BYTES;
/// Messages on their way by one link that clients and resyncs do not account for: answers, marks,
/// bitmaps, words about roles.
const MESSAGES_BESIDES: u64 = 256;

impl World {
    /// Looked at now and then: a queue that grows is found a little later just as well.
    pub(crate) fn check_bounds(&mut self, node: usize) {
        let Some(status) = self.status(node) else { return };
        let limit = self.plan.options.flush_bytes.max(WRITE_MAX);
        for volume in &status.volumes {
            if volume.undurable_bytes > limit {
                let text = format!(
                    "node {node} volume {}: {} bytes of {} writes are not known durable at the \
                     peer, and {limit} are the limit",
                    volume.id, volume.undurable_bytes, volume.undurable_writes
                );
                return self.fail("bounds", text);
            }
        }
        let asked = self.requests.iter().rev().take_while(|request| !request.over).count() as u64;
        let open = self.clients.iter().filter(|client| client.waiting_for.is_some()).count() as u64;
        let window = self.plan.options.resync_window / BLOCK_BYTES * VOLUMES.len() as u64;
        let limit = 4 * (asked + open + window) + self.plan.requests + MESSAGES_BESIDES;
        let queued = self.net.queued() as u64;
        if queued > limit {
            let text = format!("{queued} messages are on their way, and {limit} can be explained");
            self.fail("bounds", text);
        }
    }

    /// A verdict of equality while this side has a block marked would forget a difference.
    pub(crate) fn check_verdict(&mut self, node: usize, volume: usize, rule: Rule) {
        if !matches!(rule, Rule::NothingMarked | Rule::MissedEnd) {
            return;
        }
        let marked = self.nodes[node]
            .engine()
            .and_then(|engine| engine.out_of_sync(VOLUMES[volume]))
            .map_or(0, metadata::OutOfSync::weight);
        if marked > 0 {
            let text = format!("node {node} volume {volume}: in sync, with {marked} blocks marked");
            self.fail("verdict", text);
        }
    }

    /// Whoever has no good copy and no peer has nothing to answer with.
    pub(crate) fn check_answer(&mut self, node: usize, volume: usize) {
        let Some(status) = self.status(node) else { return };
        let volume = &status.volumes[volume];
        if volume.suspended.any() {
            let text = format!("node {node} volume {} answers while it is suspended", volume.id);
            self.fail("suspended", text);
        }
    }
}
