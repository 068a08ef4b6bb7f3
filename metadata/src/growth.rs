//! Moving metadata after its device has grown.
//!
//! Internal metadata has its place at the end of the device. When the device grows, all of it is
//! written anew at the new end, and only when that is durable, and counts, does anything else
//! reach the old place:
//!
//! ```text
//!   wipe the new slots -> bitmap, log -> both superblocks -> zeros over the old place -> superblock
//!                 the old metadata counts  |  the new metadata counts
//! ```
//! Whatever is left over at the new place from an earlier life of the device (it may be whole, and
//! count higher) is void from the first batch on. Once the new superblocks are durable they say
//! where the old place ends; until that is zeros, recovery goes on with it. External metadata stays
//! where it is, and only its bitmap becomes longer.
//!
//! The volume does not grow by this: `agreed_bytes` says how much of the room is in use.

use crate::layout::{Layout, LayoutError};
use crate::plan::{Batch, META_BLOCK, MetaWrite};
use crate::volume::{Metadata, PAGES_PER_BATCH};
use bytes::Bytes;
use types::ByteRange;
use types::mutation::{self, Mutation};

const BLOCK: u64 = META_BLOCK as u64;
/// Zeros that are written at once.
const ZEROS: usize = 1 << 20;

/// Why the metadata cannot have its place at the new end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrowError {
    /// A device has become smaller than what is on it.
    #[error(
        "the device has room for {found} bytes of data and had {recorded}: shrinking is not done; \
         give the device its size back"
    )]
    Shrunk {
        /// The room for data by the superblock.
        recorded: u64,
        /// The room for data now.
        found: u64,
    },
    /// The new place would overlap the old one.
    #[error(
        "the device has grown too little: it has {found} bytes, and its metadata can only be moved \
         when it has {needed}; enlarge it further"
    )]
    TooLittle {
        /// The size of the device.
        found: u64,
        /// The least size that will do.
        needed: u64,
    },
    /// There is no room for the larger bitmap, or no layout at all.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A move under way: its batches, each to be durable before the next.
#[derive(Clone, Debug)]
pub struct Growth {
    layout: Layout,
    /// What becomes free.
    old: ByteRange,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing at the new place counts from now on.
    Wipe,
    /// The bitmap, from that page on.
    Bitmap(u32),
    /// The log.
    Log,
    /// The new metadata counts.
    Superblocks,
    /// The old place is zeros up to that byte.
    Zeros(u64),
    /// Nothing of the old is left.
    Last,
    Done,
}

impl Metadata {
    /// Where everything has to be on devices of those sizes; none if it is there already.
    ///
    /// `data_device_bytes` counts for external metadata only.
    ///
    /// # Errors
    /// If the devices have not the room.
    pub fn larger_layout(
        &self,
        data_device_bytes: u64,
        meta_device_bytes: u64,
    ) -> Result<Option<Layout>, GrowError> {
        let (recorded, al_blocks) = (self.layout.data_bytes(), self.layout.al_blocks());
        let new = match self.layout.is_internal() {
            true => Layout::internal(meta_device_bytes, al_blocks)?,
            false => Layout::external(data_device_bytes, meta_device_bytes, al_blocks)?,
        };
        let found = new.data_bytes();
        if found < recorded {
            return Err(GrowError::Shrunk { recorded, found });
        }
        if new == self.layout {
            return Ok(None);
        }
        if new.is_internal() && new.md_range().offset < self.layout.md_range().end() {
            let needed = least_device(self.layout.md_range().end(), &new);
            return Err(GrowError::TooLittle { found: meta_device_bytes, needed });
        }
        Ok(Some(new))
    }
}

/// The least size of a device whose metadata begins at `from` or behind it.
fn least_device(from: u64, like: &Layout) -> u64 {
    let mut size = from + like.md_range().len;
    // A larger device may need another page of bitmap, once.
    while Layout::internal(size, like.al_blocks()).is_ok_and(|new| new.md_range().offset < from) {
        size += BLOCK;
    }
    size
}

impl Growth {
    /// Begins to move metadata. In memory it has the new size at once.
    pub fn begin(metadata: &mut Metadata, layout: Layout) -> Self {
        let old = metadata.layout.md_range();
        assert!(
            !layout.is_internal() || layout.md_range().offset >= old.end(),
            "the new place of the metadata overlaps the old one"
        );
        let step = if layout.is_internal() {
            Step::Wipe
        } else {
            Step::Bitmap(metadata.layout.bitmap_pages())
        };
        metadata.bitmap.relocate(&layout);
        Self { layout, old, step }
    }

    /// The end of a move that was cut off after the new metadata had come to count.
    pub(crate) fn unfinished(metadata: &Metadata, old: ByteRange) -> Self {
        Self { layout: metadata.layout, old, step: Step::Zeros(old.offset) }
    }

    /// The next batch; none when all are given out. Between the first and the end nobody else
    /// writes metadata.
    pub fn next(&mut self, metadata: &mut Metadata) -> Option<Batch> {
        loop {
            let (batch, next) = match self.step {
                Step::Wipe => (crate::volume::wipe(&self.layout), self.after_wipe()),
                Step::Bitmap(page) if page >= self.layout.bitmap_pages() => {
                    self.step = self.after_bitmap();
                    continue;
                }
                Step::Bitmap(page) => {
                    let end = (page + PAGES_PER_BATCH as u32).min(self.layout.bitmap_pages());
                    (metadata.bitmap.save_span(page..end), Step::Bitmap(end))
                }
                Step::Log => (metadata.al.relocate(&self.layout), self.after_log()),
                Step::Superblocks => (self.superblocks(metadata), self.after_superblocks()),
                Step::Zeros(from) if from >= self.old.end() => {
                    self.step = self.after_zeros();
                    continue;
                }
                Step::Zeros(from) => self.zeros(from),
                Step::Last => {
                    metadata.superblock.moved_from = 0;
                    (metadata.save_superblock(), Step::Done)
                }
                Step::Done => return None,
            };
            self.step = next;
            return Some(batch);
        }
    }

    fn after_wipe(&self) -> Step {
        match () {
            () if mutation::on(Mutation::GrowTorn) => Step::Superblocks,
            () if mutation::on(Mutation::GrowDataEarly) => Step::Zeros(self.old.offset),
            () => Step::Bitmap(0),
        }
    }

    const fn after_bitmap(&self) -> Step {
        if self.layout.is_internal() { Step::Log } else { Step::Superblocks }
    }

    fn after_log(&self) -> Step {
        if mutation::on(Mutation::GrowTorn) {
            return Step::Zeros(self.old.offset);
        }
        Step::Superblocks
    }

    fn after_superblocks(&self) -> Step {
        match () {
            () if !self.layout.is_internal() => Step::Done,
            () if mutation::on(Mutation::GrowTorn) => Step::Bitmap(0),
            () if mutation::on(Mutation::GrowDataEarly) => Step::Last,
            () => Step::Zeros(self.old.offset),
        }
    }

    fn after_zeros(&self) -> Step {
        if mutation::on(Mutation::GrowDataEarly) {
            return Step::Bitmap(0);
        }
        Step::Last
    }

    /// Both slots of internal metadata: one alone would stand beside a wipe mark, and not count.
    fn superblocks(&self, metadata: &mut Metadata) -> Batch {
        metadata.layout = self.layout;
        let superblock = &mut metadata.superblock;
        superblock.data_bytes = self.layout.data_bytes();
        superblock.al_offset = self.layout.al_offset();
        superblock.bitmap_offset = self.layout.bitmap_offset();
        superblock.bitmap_pages = self.layout.bitmap_pages();
        if !self.layout.is_internal() {
            return metadata.save_superblock();
        }
        superblock.moved_from = self.old.end();
        let mut both = metadata.save_superblock();
        both.extend(metadata.save_superblock());
        both
    }

    /// Some of the old place.
    fn zeros(&self, from: u64) -> (Batch, Step) {
        static NOTHING: [u8; ZEROS] = [0; ZEROS];
        let end = self.old.end().min(from + (PAGES_PER_BATCH * META_BLOCK) as u64);
        let mut batch = Batch::default();
        let mut at = from;
        while at < end {
            let len = (end - at).min(ZEROS as u64);
            let data = Bytes::from_static(&NOTHING[..len as usize]);
            batch.writes.push(MetaWrite { offset: at, data });
            at += len;
        }
        (batch, Step::Zeros(end))
    }
}

#[cfg(test)]
mod tests;
