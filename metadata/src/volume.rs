//! The metadata of one volume in memory: superblock, activity log and bitmap together.

use crate::activity_log::ActivityLog;
use crate::bitmap::OutOfSync;
use crate::generation::Generations;
use crate::layout::Layout;
use crate::plan::{Batch, META_BLOCK};
use crate::superblock::{Superblock, wiped_slot};
use types::mutation::{self, Mutation};
use types::{NodeId, Time, VolumeId};

/// Pages of bitmap in one batch when all of it is written: 4 MiB.
pub(crate) const PAGES_PER_BATCH: usize = 1024;

/// The metadata of one volume. The parts are public: whoever changes one also saves it.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Identity, generations, flags. Saved by [`Metadata::save_superblock`].
    pub superblock: Superblock,
    /// The hot extents.
    pub al: ActivityLog,
    /// The blocks out-of-sync.
    pub bitmap: OutOfSync,
    /// Where everything is.
    pub layout: Layout,
}

/// What `create-md` needs to know.
#[derive(Clone, Debug)]
pub struct CreateParams {
    /// Where everything goes.
    pub layout: Layout,
    /// The resource, at most [`RESOURCE_NAME_MAX`](crate::RESOURCE_NAME_MAX) bytes.
    pub resource: String,
    /// The volume of the resource.
    pub volume: VolumeId,
    /// The node, if it is known.
    pub node: Option<NodeId>,
    /// 64 random bits, not zero: the name of this disk.
    pub disk_incarnation: u64,
    /// Extents that may be hot at once; more than the log can rebuild is cut.
    pub al_extents: u32,
    /// The time of creation.
    pub now: Time,
}

impl Metadata {
    /// New metadata, and the batches that write it, each to be durable before the next. Cut off
    /// anywhere, they leave what was there before, or no metadata, or all of the new.
    ///
    /// # Panics
    /// If the resource name is too long.
    pub fn create(p: CreateParams) -> (Self, Vec<Batch>) {
        let generations = Generations::just_created(p.node.unwrap_or(NodeId(0)), p.now);
        let mut superblock = Superblock::new(&p.layout, p.resource, generations);
        superblock.volume = p.volume;
        superblock.node = p.node;
        superblock.disk_incarnation = p.disk_incarnation;
        let mut al = ActivityLog::new(&p.layout, p.al_extents);
        superblock.al_extents = al.capacity();
        let bitmap = OutOfSync::with_layout(&p.layout);

        let mut batches = vec![wipe(&p.layout), al.format()];
        let pages: Vec<u32> = (0..bitmap.pages()).collect();
        for chunk in pages.chunks(PAGES_PER_BATCH) {
            let mut batch = Batch::default();
            for &page in chunk {
                let offset = p.layout.bitmap_offset() + u64::from(page) * META_BLOCK as u64;
                batch.push(offset, bitmap.encode_page(page));
            }
            batches.push(batch);
        }
        let mut both = Batch::one(p.layout.superblock_offset(0), superblock.encode());
        superblock.sequence = 1;
        both.push(p.layout.superblock_offset(1), superblock.encode());
        batches.push(both);
        (Self { superblock, al, bitmap, layout: p.layout }, batches)
    }

    /// The next superblock write: counts it, and writes the slot that does not count now. There
    /// is at most one under way.
    pub fn save_superblock(&mut self) -> Batch {
        self.superblock.sequence += if mutation::on(Mutation::SameSlot) { 2 } else { 1 };
        let offset = self.layout.superblock_offset(self.superblock.slot());
        Batch::one(offset, self.superblock.encode())
    }

    /// Change how many extents may be hot at once, while none is: the table starts over. Save
    /// the superblock too.
    ///
    /// # Panics
    /// If an extent is hot.
    pub fn set_al_extents(&mut self, al_extents: u32) -> Batch {
        assert!(self.al.hot_count() == 0, "the activity log is in use");
        self.al = ActivityLog::with_sequence(&self.layout, al_extents, self.al.next_sequence());
        self.superblock.al_extents = self.al.capacity();
        self.al.reset()
    }
}

/// Metadata that is there no more, all or nothing. The data is not touched.
pub fn wipe(layout: &Layout) -> Batch {
    let mut batch = Batch::default();
    for slot in 0..2 {
        batch.push(layout.superblock_offset(slot), wiped_slot());
    }
    batch
}

#[cfg(test)]
mod tests;
