//! Oracle: after the end of trouble, all comes to rest within a bounded time.

use crate::disk::DiskFaults;
use crate::node::Node;
use crate::plan::Class;
use crate::world::{Event, POLL, Phase, World};
use replicator::Status;
use types::{ConnectionState, DiskState, ReplicationState, Role, Span};

/// After the end of trouble all must come to rest within so long. A daemon may wait a minute for
/// its peer before it becomes Primary.
const REST: Span = Span::secs(120);

/// A resync may take longer, a block at a time over a slow link. It is waited for as long as it gets
/// on: within so long fewer blocks must be marked than ever before.
const RESYNC_STEP: Span = Span::secs(10);

impl World {
    /// The end of load and trouble.
    pub(crate) fn heal(&mut self) {
        self.trace.line(self.now, "world", || "all is well from now on".into());
        self.phase = Phase::Healing { deadline: self.now + REST, marked: u64::MAX };
        self.heal_net();
        for node in 0..2 {
            self.nodes[node].doomed = None;
            for disk in &mut self.nodes[node].disks {
                disk.faults = DiskFaults::default();
            }
            if let Some(until) = &mut self.nodes[node].disconnected_until {
                *until = self.now;
            }
        }
        self.schedule(self.now + POLL, Event::Watch);
    }

    /// Has everything come to rest?
    pub(crate) fn watch(&mut self) {
        self.await_resync();
        let phase = self.phase.clone();
        let (Phase::Healing { deadline, .. } | Phase::LastFlush { deadline, .. }) = phase else {
            return;
        };
        if self.now > deadline {
            let text = self.unrest().unwrap_or_else(|| "the last flush is not answered".into());
            return self.fail("liveness", format!("{REST} after the end of trouble: {text}"));
        }
        match phase {
            Phase::Healing { .. } if self.unrest().is_none() => {
                let first = self.requests.len();
                self.phase = Phase::LastFlush { deadline, first };
                self.last_flushes();
            }
            Phase::LastFlush { first, .. }
                if self.requests[first..].iter().all(|request| request.over)
                    && self.unrest().is_none() =>
            {
                self.phase = Phase::Done;
                return self.check_end(first);
            }
            _ => {}
        }
        self.schedule(self.now + POLL, Event::Watch);
    }

    /// A resync that gets on is waited for.
    fn await_resync(&mut self) {
        let volumes = |status: Status| status.volumes.into_iter();
        let statuses = (0..2).filter_map(|node| self.status(node)).flat_map(volumes);
        let now_marked = statuses.map(|volume| volume.out_of_sync_blocks).sum();
        let step = self.now + RESYNC_STEP;
        if let Phase::Healing { deadline, marked } = &mut self.phase
            && now_marked < *marked
        {
            (*deadline, *marked) = (step.max(*deadline), now_marked);
        }
    }

    /// What has not come to rest yet.
    pub(crate) fn unrest(&self) -> Option<String> {
        let parted = self.is_parted_for_good();
        let suspended = |request: &crate::client::Request| {
            let status = self.status(request.node);
            status.is_some_and(|status| status.volumes[request.volume].suspended.no_data)
        };
        let open =
            |request: &crate::client::Request| !(request.over || parted && suspended(request));
        if let Some(at) = self.requests.iter().position(open) {
            let request = &self.requests[at];
            return Some(format!(
                "request {at} of node {} ({:?} {}) is not answered",
                request.node, request.asked, request.range
            ));
        }
        for node in 0..2 {
            let it = &self.nodes[node];
            let Some(status) = self.status(node) else {
                return Some(format!("node {node} does not run"));
            };
            if let Some((order, _)) = it.orders.values().next() {
                return Some(format!("node {node} does not answer {order:?}"));
            }
            if it.losses.iter().any(Option::is_some) {
                return Some(format!("node {node} has a disk to let go or to take back"));
            }
            let writes: usize = it.disks.iter().map(crate::disk::Disk::writes_in_flight).sum();
            if writes > 0 || it.is_paused(self.now) {
                return Some(format!("node {node} still writes"));
            }
            if let Some(text) = unrest_of(node, &status).filter(|_| !parted) {
                return Some(text);
            }
        }
        // A node that has waited long enough for its peer is Primary in the end.
        let wants = |node: &Node| node.wants_primary && node.role != Role::Primary;
        let waiting = self.nodes.iter().find(|node| wants(node))?;
        (!parted).then(|| format!("node {} has not become Primary", waiting.id))
    }

    /// Split brain: both nodes have found it, and stand alone.
    pub(crate) fn is_parted_for_good(&self) -> bool {
        self.class() == Class::SplitBrain
            && (0..2).all(|node| self.connection(node) == Some(ConnectionState::StandAlone))
    }
}

fn unrest_of(node: usize, status: &Status) -> Option<String> {
    if status.connection != ConnectionState::Connected || !status.established {
        return Some(format!("node {node} is {}, not established", status.connection));
    }
    status.volumes.iter().find_map(|volume| {
        let wrong = if volume.disk != DiskState::UpToDate {
            format!("is {}", volume.disk)
        } else if volume.peer_disk != DiskState::UpToDate {
            format!("thinks its peer {}", volume.peer_disk)
        } else if volume.replication != ReplicationState::Established {
            format!("is {}", volume.replication)
        } else if volume.counters.pending > 0 {
            format!("waits for {} writes of its peer", volume.counters.pending)
        } else if volume.out_of_sync_blocks > 0 {
            format!("has {} blocks marked", volume.out_of_sync_blocks)
        } else {
            return None;
        };
        Some(format!("node {node} volume {} {wrong}", volume.id))
    })
}
