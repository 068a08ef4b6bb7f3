//! Disks that grow, and the order to use what is new.
//!
//! A disk may have been as large before: then whole metadata of that life are at its new end, in
//! sync, with nothing hot. And what is new holds anything, a different thing on each node.

use crate::content::bytes_of_tag;
use crate::disk::layout;
use crate::marks::Mark;
use crate::node::{Order, Process, VOLUMES};
use crate::plan::{Class, Death};
use crate::world::{Event, World};
use metadata::{Batch, CreateParams, Metadata};
use replicator::{Command, DeviceSizes, Input, Refusal, Resize};
use types::{BLOCK_BYTES, NodeId, Prng, SECTOR_BYTES, Span, Time};

impl World {
    /// The disk of a volume is larger from now on, whatever its node does.
    pub(crate) fn enlarge(&mut self, node: usize, volume: usize, extra: u64) {
        let old = self.nodes[node].disks[volume].device_bytes();
        let new = old + extra;
        self.enlarge_clean(node, volume, extra);
        let mut rng = Prng::new(new ^ node as u64);
        let used_before = rng.chance(1, 2) && layout(new).md_range().offset > old;
        let disk = &mut self.nodes[node].disks[volume];
        if used_before {
            let (_, batches) = Metadata::create(CreateParams {
                layout: layout(new),
                node: Some(NodeId(node as u8)),
                volume: VOLUMES[volume],
                disk_incarnation: 1 + old,
                al_extents: self.plan.al_extents,
                resource: crate::node::RESOURCE.into(),
                // Long before the disk was made what it is now.
                now: Time(7),
            });
            batches.iter().for_each(|batch| disk.preset(batch));
        }
        // Not where clients will read: what is there before they write is not told from zeros.
        for at in 0..3 {
            let place = old / BLOCK_BYTES * BLOCK_BYTES + 600 * 1024 + at * BLOCK_BYTES;
            if place + BLOCK_BYTES < layout(new).md_range().offset {
                let garbage = bytes_of_tag(u64::MAX - place - node as u64, BLOCK_BYTES);
                disk.preset(&Batch::one(place, garbage.to_vec()));
            }
        }
        self.disk_changed(node, volume);
    }

    /// The same with a disk that was never used there.
    pub(crate) fn enlarge_clean(&mut self, node: usize, volume: usize, extra: u64) {
        let old = self.nodes[node].disks[volume].device_bytes();
        let new = old + extra;
        self.trace.line(self.now, "world", || {
            format!("the disk of volume {volume} at node {node} grows from {old} to {new} bytes")
        });
        self.nodes[node].disks[volume].grow(new);
        self.disk_changed(node, volume);
    }

    /// An operator wants a volume to be as large as it can.
    pub(crate) fn order_resize(&mut self, node: usize, volume: usize) {
        let peer = &self.nodes[1 - node];
        let (mine, theirs) =
            (self.nodes[node].disks[volume].device_bytes(), peer.disks[volume].device_bytes());
        // It is true then; and the peer may take it when it is back. One that is just starting has opened
        // its disk already, and takes what that was.
        let assume_peer_has_space = matches!(peer.process, Process::Down) && theirs >= mine;
        let order = Resize {
            volume: VOLUMES[volume],
            size: None,
            assume_clean: false,
            assume_peer_has_space,
        };
        let order_out = Order::Resize { volume, assumed: assume_peer_has_space };
        self.order(node, order_out, Command::Resize(order));
    }

    /// Whether a disk may be enlarged now: not while the peer is believed to have room for whatever the
    /// disk is when the node measures it. The peer takes what its own disk was when it was attached.
    pub(crate) fn may_enlarge(&self, node: usize, volume: usize) -> bool {
        let believed = Order::Resize { volume, assumed: true };
        let mut orders = self.nodes[node].orders.values();
        !orders.any(|(order, _)| *order == believed)
    }

    /// Whether a node is asked to grow a volume.
    pub(crate) fn resizes(&self, node: usize) -> bool {
        let mut orders = self.nodes[node].orders.values();
        orders.any(|(order, _)| matches!(order, Order::Resize { .. }))
    }

    pub(crate) fn resize_done(&mut self, node: usize, volume: usize, result: &Result<(), Refusal>) {
        let size = |at: usize| self.nodes[at].sizes[volume];
        let linked = (0..2).all(|at| self.status(at).is_some_and(|status| status.established));
        match result {
            Ok(()) if linked && size(0) != size(1) => {
                let text = format!(
                    "volume {volume} was grown, and has {} bytes at node 0 and {} at node 1",
                    size(0),
                    size(1)
                );
                self.fail("answers", text);
            }
            Ok(()) => {}
            Err(refusal) if refusal.text.is_empty() => {
                self.fail("answers", format!("node {node} refused an order without a reason"));
            }
            Err(_) => self.marks.hit(Mark::ResizeRefused),
        }
    }

    pub(crate) fn measure(&mut self, node: usize, volume: usize) {
        let after = Span::micros(self.rng.between(1, 2000));
        let life = self.nodes[node].life;
        self.schedule(self.now + after, Event::Measured { node, life, volume });
    }

    pub(crate) fn measured(&mut self, node: usize, life: u32, volume: usize) {
        if self.nodes[node].life != life {
            return;
        }
        let bytes = self.nodes[node].disks[volume].device_bytes();
        let sizes = Ok(DeviceSizes { data_bytes: bytes, meta_bytes: bytes });
        self.input(node, Input::DiskMeasured { volume: VOLUMES[volume], sizes });
    }

    /// A node has that size from now on; what is new may differ only where that is known.
    pub(crate) fn has_size(&mut self, node: usize, volume: usize, size: u64) {
        let known = self.nodes[node].sizes[volume];
        if size < known {
            let text = format!("volume {volume} of node {node} shrinks from {known} to {size}");
            return self.fail("answers", text);
        }
        self.nodes[node].sizes[volume] = size;
        let old = self.sizes[volume];
        if size <= old {
            return;
        }
        self.sizes[volume] = size;
        let sectors = old / SECTOR_BYTES..size / SECTOR_BYTES;
        let used: Vec<_> = (self.nodes.iter())
            .flat_map(|node| node.disks[volume].used(sectors.clone()))
            .map(|sector| sector..sector + 1)
            .collect();
        self.coverage_touch(volume, used);
    }

    /// A node has grown while its engine ran.
    pub(crate) fn resized(&mut self, node: usize, volume: usize, size: u64) {
        if self.nodes[1 - node].sizes[volume] == size {
            self.marks.hit(Mark::Resized);
            self.new_part[volume] = true;
        }
        self.has_size(node, volume, size);
    }

    /// How a node dies that was to die like that: not by losing its cache while the other lacks what
    /// is only there.
    pub(crate) fn fitting_death(&self, node: usize, death: Death) -> Death {
        let other = self.status(1 - node);
        let good = other.is_some_and(|status| crate::operator::all_up_to_date(&status));
        if self.class() == Class::Grow && !good { Death::Kill } else { death }
    }

    /// Where clients of a node may write by now.
    pub(crate) fn places(&self, node: usize, volume: usize) -> Vec<u64> {
        let size = self.nodes[node].sizes[volume];
        let later = self.plan.later_places[volume].iter();
        let later = later.filter(|place| **place + 8 * BLOCK_BYTES <= size);
        let twice = later.flat_map(|place| [*place, *place]);
        self.plan.places[volume].iter().copied().chain(twice).collect()
    }
}
