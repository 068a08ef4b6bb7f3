//! Reading metadata back, after anything.
//!
//! ```text
//!   slots -> log -> bitmap, a piece at a time -> recover
//! ```
//! [`Loader`] says which bytes it wants and is given them, so that a driver of any kind can feed
//! it; [`load`] is the loop around it. What comes out is metadata ready for use, once the plan
//! that comes with it is durable.
//!
//! After an unclean stop all blocks of hot extents are marked (DRBD calls it `apply-al`). The plan
//! makes the marks durable, then empties the log, then says in the superblock that it is done; cut
//! off anywhere, the next recovery comes to the same marks.

use crate::activity_log::{ActivityLog, Replayed};
use crate::bitmap::OutOfSync;
use crate::layout::{Layout, LayoutError, Placement};
use crate::plan::{Batch, META_BLOCK};
use crate::superblock::{SlotsError, Superblock, damaged_slot, newest};
use crate::volume::{Metadata, PAGES_PER_BATCH};
use types::mutation::{self, Mutation};
use types::{BlockRange, ByteRange, EXTENT_BYTES, NodeId, VolumeId};

const BLOCK: u64 = META_BLOCK as u64;
/// Pages of bitmap that are asked for at once: 1 MiB.
const PAGES_PER_READ: u32 = 256;

/// Whose metadata is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The resource.
    pub resource: String,
    /// The volume of it.
    pub volume: VolumeId,
    /// The node, if a copy that another node used before is to be refused.
    pub node: Option<NodeId>,
}

/// Metadata as it was read.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Ready for use, once `plan` is durable. The superblock says that the disk is not attached.
    pub metadata: Metadata,
    /// Blocks that were in sync before they were marked for the crash.
    pub marked_blocks: u64,
    /// Pages of bitmap that were damaged, and count as all out-of-sync.
    pub bad_pages: u32,
    /// The superblock slot that was damaged; the other one was good.
    pub damaged_slot: Option<usize>,
    /// After an unclean stop the log could not be read, so every block is marked.
    pub log_lost: bool,
    /// The disk was not detached in order.
    pub crashed: bool,
    /// Batches to be made durable one after the other before anything else is written.
    pub plan: Vec<Batch>,
}

/// Why a disk cannot be attached. `E` is the error of the one who reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError<E> {
    /// The device could not be read.
    #[error("cannot read the metadata at {range}: {error}")]
    Read {
        /// What was to be read.
        range: ByteRange,
        /// What the reader said.
        error: E,
    },
    /// The device cannot hold metadata.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No usable superblock.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The device is smaller than it was.
    #[error(
        "the device has room for {found} bytes of data and had {recorded} when the metadata was \
         written; give it its size back, or run create-md and synchronise everything"
    )]
    SizeShrunk {
        /// The size of the data by the superblock.
        recorded: u64,
        /// The room for data now.
        found: u64,
    },
    /// The metadata is not where the device's size says.
    #[error(
        "the metadata is for {recorded} bytes of data and the device has room for {found}; \
         give the device the size that it had"
    )]
    SizeChanged {
        /// The size of the data by the superblock.
        recorded: u64,
        /// The room for data now.
        found: u64,
    },
    /// Internal metadata was looked for and external found, or the reverse.
    #[error("the metadata was created as {found}, and `meta-disk` says {expected}")]
    OtherPlacement {
        /// «internal» or «external».
        found: &'static str,
        /// The other one.
        expected: &'static str,
    },
    /// Another volume's metadata.
    #[error(
        "the metadata belongs to volume {found_resource}/{found_volume}, not to \
         {resource}/{volume}; correct `disk`, or run create-md to use the disk for another volume"
    )]
    OtherVolume {
        /// Whose it is.
        found_resource: String,
        /// Whose it is.
        found_volume: VolumeId,
        /// What was looked for.
        resource: String,
        /// What was looked for.
        volume: VolumeId,
    },
    /// The other node's metadata.
    #[error(
        "the metadata was written by node {found}, and this is node {expected}; \
         correct `disk`, or run create-md to synchronise everything from the peer"
    )]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who asks.
        expected: NodeId,
    },
}

impl<E> LoadError<E> {
    fn other<F>(self) -> LoadError<F> {
        match self {
            Self::Read { .. } => unreachable!("a loader does not read"),
            Self::Layout(error) => LoadError::Layout(error),
            Self::Slots(error) => LoadError::Slots(error),
            Self::SizeShrunk { recorded, found } => LoadError::SizeShrunk { recorded, found },
            Self::SizeChanged { recorded, found } => LoadError::SizeChanged { recorded, found },
            Self::OtherPlacement { found, expected } => {
                LoadError::OtherPlacement { found, expected }
            }
            Self::OtherVolume { found_resource, found_volume, resource, volume } => {
                LoadError::OtherVolume { found_resource, found_volume, resource, volume }
            }
            Self::OtherNode { found, expected } => LoadError::OtherNode { found, expected },
        }
    }
}

/// Reads metadata by saying what it wants.
#[derive(Debug)]
pub struct Loader {
    device_bytes: u64,
    placement: Placement,
    expected: Option<Expected>,
    slots: [u64; 2],
    damaged_slot: Option<usize>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The two slots, which are next to each other.
    Slots,
    /// The ring of the log.
    Log(Box<Superblock>, Layout),
    /// The bitmap, from that page on.
    Bitmap(Box<Partial>, u32),
    /// Nothing more is wanted.
    Done(Box<Partial>),
}

/// All that was read so far.
#[derive(Debug)]
struct Partial {
    superblock: Superblock,
    layout: Layout,
    log: Replayed,
    bitmap: OutOfSync,
    bad_pages: u32,
}

/// A loader's error: nothing but what the bytes say.
type Unreadable = LoadError<std::convert::Infallible>;

impl Loader {
    /// For a metadata device of that size. With `expected`, other volumes' metadata is refused.
    ///
    /// # Errors
    /// If the device is too small for a superblock.
    pub fn new<E>(
        device_bytes: u64,
        placement: Placement,
        expected: Option<Expected>,
    ) -> Result<Self, LoadError<E>> {
        let slots = match placement {
            Placement::Internal => Layout::internal_superblock_offsets(device_bytes)?,
            Placement::External { .. } if device_bytes < 2 * BLOCK => {
                let (device, needed) = ("metadata device", 2 * BLOCK);
                return Err(LayoutError::TooSmall { device, found: device_bytes, needed }.into());
            }
            Placement::External { .. } => [0, BLOCK],
        };
        let (damaged_slot, step) = (None, Step::Slots);
        Ok(Self { device_bytes, placement, expected, slots, damaged_slot, step })
    }

    /// The bytes of the metadata device that are wanted next; none when all is there. At most
    /// 4 MiB at once.
    pub fn wants(&self) -> Option<ByteRange> {
        match &self.step {
            Step::Slots => Some(ByteRange::new(self.slots[0], 2 * BLOCK)),
            Step::Log(_, layout) => {
                Some(ByteRange::new(layout.al_offset(), u64::from(layout.al_blocks()) * BLOCK))
            }
            Step::Bitmap(partial, page) => {
                let pages = (partial.layout.bitmap_pages() - page).min(PAGES_PER_READ);
                let offset = partial.layout.bitmap_offset() + u64::from(*page) * BLOCK;
                Some(ByteRange::new(offset, u64::from(pages) * BLOCK))
            }
            Step::Done(_) => None,
        }
    }

    /// The bytes that were wanted.
    ///
    /// # Errors
    /// If they are no metadata, or not those that are expected.
    ///
    /// # Panics
    /// If there are more or fewer bytes than were wanted.
    pub fn feed<E>(mut self, bytes: &[u8]) -> Result<Self, LoadError<E>> {
        let wanted = self.wants().map_or(0, |range| range.len);
        assert!(bytes.len() as u64 == wanted, "{} bytes for {wanted}", bytes.len());
        let step = match self.step {
            Step::Slots => {
                let (first, second) = bytes.split_at(META_BLOCK);
                let superblock = newest([first, second])?;
                self.damaged_slot = damaged_slot([first, second]);
                let layout = self.check(&superblock).map_err(LoadError::other)?;
                Step::Log(Box::new(superblock), layout)
            }
            Step::Log(superblock, layout) => {
                let log = ActivityLog::replay(bytes, layout.al_blocks());
                let bitmap = OutOfSync::with_layout(&layout);
                let superblock = *superblock;
                Step::Bitmap(Box::new(Partial { superblock, layout, log, bitmap, bad_pages: 0 }), 0)
            }
            Step::Bitmap(mut partial, mut page) => {
                for block in bytes.chunks(META_BLOCK) {
                    partial.bad_pages += u32::from(!partial.bitmap.load_page(page, block));
                    page += 1;
                }
                if page < partial.layout.bitmap_pages() {
                    Step::Bitmap(partial, page)
                } else {
                    Step::Done(partial)
                }
            }
            Step::Done(partial) => Step::Done(partial),
        };
        Ok(Self { step, ..self })
    }

    /// The superblock, once it is read: for tools that want no more.
    pub fn superblock(&self) -> Option<&Superblock> {
        match &self.step {
            Step::Slots => None,
            Step::Log(superblock, _) => Some(superblock),
            Step::Bitmap(partial, _) | Step::Done(partial) => Some(&partial.superblock),
        }
    }

    /// Metadata ready for use.
    ///
    /// # Panics
    /// If something is still wanted.
    pub fn finish(self) -> Recovered {
        let damaged_slot = self.damaged_slot;
        let Step::Done(partial) = self.step else { panic!("the loader wants {:?}", self.wants()) };
        Recovered { damaged_slot, ..recover(*partial) }
    }

    /// The layout, if the superblock is one for this device and this volume.
    fn check(&self, superblock: &Superblock) -> Result<Layout, Unreadable> {
        if let Some(expected) = &self.expected {
            check_owner(superblock, expected)?;
        }
        let internal = self.placement == Placement::Internal;
        if superblock.internal != internal {
            let word = |internal| if internal { "internal" } else { "external" };
            let (found, expected) = (word(superblock.internal), word(internal));
            return Err(LoadError::OtherPlacement { found, expected });
        }
        let recorded = superblock.data_bytes;
        let layout = match self.placement {
            Placement::Internal => Layout::internal(self.device_bytes, superblock.al_blocks)?,
            Placement::External { data_device_bytes } => {
                // A data device that has grown is used as far as it was, until `resize`.
                if data_device_bytes < recorded {
                    let found = data_device_bytes;
                    return Err(LoadError::SizeShrunk { recorded, found });
                }
                Layout::external(recorded, self.device_bytes, superblock.al_blocks)?
            }
        };
        let found = layout.data_bytes();
        if found < recorded {
            return Err(LoadError::SizeShrunk { recorded, found });
        }
        let written = (superblock.al_offset, superblock.bitmap_offset, superblock.bitmap_pages);
        let here = (layout.al_offset(), layout.bitmap_offset(), layout.bitmap_pages());
        if found != recorded || written != here {
            return Err(LoadError::SizeChanged { recorded, found });
        }
        Ok(layout)
    }
}

fn check_owner(superblock: &Superblock, expected: &Expected) -> Result<(), Unreadable> {
    if superblock.resource != expected.resource || superblock.volume != expected.volume {
        return Err(LoadError::OtherVolume {
            found_resource: superblock.resource.clone(),
            found_volume: superblock.volume,
            resource: expected.resource.clone(),
            volume: expected.volume,
        });
    }
    match (superblock.node, expected.node) {
        (Some(found), Some(expected)) if found != expected => {
            Err(LoadError::OtherNode { found, expected })
        }
        _ => Ok(()),
    }
}

/// Read all of it with a function that reads a range of the metadata device.
///
/// Before that, whoever means to use the disk **flushes** the device: what a process wrote that was
/// killed before its own flush is read here, and is not durable. A second slot written beside it, or
/// a log emptied after it, could reach the disk alone.
///
/// # Errors
/// If reading fails, or the disk cannot be attached.
pub fn load<E>(
    read: &mut dyn FnMut(ByteRange) -> Result<Vec<u8>, E>,
    device_bytes: u64,
    placement: Placement,
    expected: Option<Expected>,
) -> Result<Recovered, LoadError<E>> {
    let mut loader = Loader::new(device_bytes, placement, expected)?;
    while let Some(range) = loader.wants() {
        let bytes = read(range).map_err(|error| LoadError::Read { range, error })?;
        loader = loader.feed(&bytes)?;
    }
    Ok(loader.finish())
}

/// Marks what may have been written when the node stopped.
fn recover(partial: Partial) -> Recovered {
    let Partial { mut superblock, layout, log, mut bitmap, bad_pages } = partial;
    let crashed = superblock.flags.attached;
    let before = bitmap.weight();
    let log_lost = crashed && log.hot.is_none();
    if crashed {
        let without_log = superblock.flags.al_disabled && superblock.flags.primary;
        // The flag of a full sync is durable before its marks are.
        let everything = without_log || superblock.flags.full_sync;
        match &log.hot {
            Some(hot) if !everything => {
                for extent in hot {
                    bitmap.set(blocks_of_extent(extent.0, bitmap.blocks()));
                }
            }
            Some(_) | None => bitmap.set_all(),
        }
        superblock.flags.crashed_primary |= superblock.flags.primary;
        superblock.flags.primary = false;
        superblock.flags.attached = false;
    }
    let marked_blocks = bitmap.weight() - before;

    let al = ActivityLog::with_sequence(&layout, superblock.al_extents, log.next_sequence);
    let mut metadata = Metadata { superblock, al, bitmap, layout };
    let mut plan = Vec::new();
    while metadata.bitmap.unsaved_pages() > 0 {
        plan.push(metadata.bitmap.save_some(PAGES_PER_BATCH));
    }
    // An empty log with another number of slots also starts over: the table in memory and the
    // slices on disk must count alike.
    if log.hot.is_none_or(|hot| !hot.is_empty()) || log.capacity != metadata.al.capacity() {
        plan.push(metadata.al.reset());
    }
    if crashed {
        plan.push(metadata.save_superblock());
    }
    if mutation::on(Mutation::RecoveryFlagFirst) {
        plan.reverse();
    }
    let damaged_slot = None;
    Recovered { metadata, marked_blocks, bad_pages, damaged_slot, log_lost, crashed, plan }
}

/// The blocks of an extent, as far as the volume has them.
fn blocks_of_extent(extent: u32, blocks: u64) -> BlockRange {
    let per_extent = EXTENT_BYTES / types::BLOCK_BYTES;
    let start = u64::from(extent) * per_extent;
    BlockRange::new(start.min(blocks), (start + per_extent).min(blocks))
}

#[cfg(test)]
mod tests;
