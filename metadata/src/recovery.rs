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
use crate::growth::Growth;
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
    /// The sequence of the superblock as it was found.
    pub found_sequence: u64,
    /// The device has grown, and the plan moves the metadata from where it was: the end of that
    /// place.
    pub moved_from: Option<u64>,
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
         give the device the size that it had, or, if it has grown since, say how large it was: \
         `--was-size SIZE` of `repadm up` and `repadm attach`"
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
        "the metadata was written by node {found}, and this is node {expected}: if this disk is the \
         other node's, correct `disk`; if it is not, the addresses have changed, whose order says \
         which node is 0 where the configuration does not: write `node-id {found};` into this \
         host's `on`, and the other id into the other's, on both nodes; only if this disk may lose \
         its data, because the peer has all of it: create-md"
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
    /// Sizes that the device had or has: where superblocks may be, the next to be read last.
    ends: Vec<u64>,
    /// The best superblock so far.
    best: Option<Candidate>,
    /// What is wrong at the end of the device.
    why: Option<Unreadable>,
    damaged_slot: Option<usize>,
    step: Step,
}

/// A superblock that may be the one that counts.
#[derive(Debug)]
struct Candidate {
    superblock: Box<Superblock>,
    layout: Layout,
    damaged_slot: Option<usize>,
}

impl Candidate {
    /// Of two that fit their places the one of the younger metadata counts, and of those the one
    /// that was written later: the other was left over.
    fn outdates(&self, other: &Self) -> bool {
        let age = |it: &Self| (it.superblock.created, it.superblock.sequence);
        age(self) > age(other)
    }
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
        Self::of_grown(device_bytes, placement, expected, &[])
    }

    /// The same for a device that may have grown: internal metadata may then still be at the end
    /// that it had when it was as long as one of `was`.
    ///
    /// # Errors
    /// If the device is too small for a superblock.
    pub fn of_grown<E>(
        device_bytes: u64,
        placement: Placement,
        expected: Option<Expected>,
        was: &[u64],
    ) -> Result<Self, LoadError<E>> {
        match placement {
            Placement::Internal => drop(Layout::internal_superblock_offsets(device_bytes)?),
            Placement::External { .. } if device_bytes < 2 * BLOCK => {
                let (device, needed) = ("metadata device", 2 * BLOCK);
                return Err(LayoutError::TooSmall { device, found: device_bytes, needed }.into());
            }
            Placement::External { .. } => {}
        }
        let internal = placement == Placement::Internal;
        let smaller =
            |was: &u64| internal && was / BLOCK < device_bytes / BLOCK && *was >= 2 * BLOCK;
        let ends = was.iter().copied().filter(smaller).chain([device_bytes]).collect();
        let (best, why, damaged_slot, step) = (None, None, None, Step::Slots);
        Ok(Self { device_bytes, placement, expected, ends, best, why, damaged_slot, step })
    }

    /// Where the slots are that are looked at now.
    fn slots(&self) -> ByteRange {
        let end = self.ends.last().expect("an end of the device is looked at");
        let first = match self.placement {
            Placement::Internal => end / BLOCK * BLOCK - 2 * BLOCK,
            Placement::External { .. } => 0,
        };
        ByteRange::new(first, 2 * BLOCK)
    }

    /// The bytes of the metadata device that are wanted next; none when all is there. At most
    /// 4 MiB at once.
    pub fn wants(&self) -> Option<ByteRange> {
        match &self.step {
            Step::Slots => Some(self.slots()),
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
            Step::Slots => self.take_slots(bytes).map_err(LoadError::other)?,
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

    /// The slots at one of the ends. What is wrong there is only told if there is nothing better;
    /// a newer program's metadata is never passed over.
    fn take_slots(&mut self, bytes: &[u8]) -> Result<Step, Unreadable> {
        let (first, second) = bytes.split_at(META_BLOCK);
        let end = self.ends.pop().expect("an end of the device is looked at");
        let found = newest([first, second]).map_err(LoadError::Slots).and_then(|superblock| {
            let layout = self.check(&superblock, end)?;
            let damaged_slot = damaged_slot([first, second]);
            Ok(Candidate { superblock: Box::new(superblock), layout, damaged_slot })
        });
        match found {
            Ok(found) if self.best.as_ref().is_none_or(|best| found.outdates(best)) => {
                self.best = Some(found);
            }
            Ok(_) => {}
            Err(error @ LoadError::Slots(SlotsError::Version(_))) => return Err(error),
            Err(error) => self.why = self.why.take().or(Some(error)),
        }
        if !self.ends.is_empty() {
            return Ok(Step::Slots);
        }
        match (self.best.take(), self.why.take()) {
            (Some(best), _) => {
                self.damaged_slot = best.damaged_slot;
                Ok(Step::Log(best.superblock, best.layout))
            }
            (None, Some(why)) => Err(why),
            (None, None) => unreachable!("each end has a superblock, or something is wrong there"),
        }
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
        let mut recovered = Recovered { damaged_slot, ..recover(*partial) };
        if self.placement == Placement::Internal {
            recovered.finish_move();
            recovered.move_to(self.device_bytes);
        }
        recovered
    }

    /// The layout, if the superblock is one for this device and this volume, found at that end.
    fn check(&self, superblock: &Superblock, end: u64) -> Result<Layout, Unreadable> {
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
            Placement::Internal => Layout::internal(end, superblock.al_blocks)?,
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
    load_grown(read, device_bytes, placement, expected, &[])
}

/// [`load`] for a device that may have grown since it was as long as one of `was`.
///
/// # Errors
/// As [`load`].
pub fn load_grown<E>(
    read: &mut dyn FnMut(ByteRange) -> Result<Vec<u8>, E>,
    device_bytes: u64,
    placement: Placement,
    expected: Option<Expected>,
    was: &[u64],
) -> Result<Recovered, LoadError<E>> {
    let mut loader = Loader::of_grown(device_bytes, placement, expected, was)?;
    while let Some(range) = loader.wants() {
        let bytes = read(range).map_err(|error| LoadError::Read { range, error })?;
        loader = loader.feed(&bytes)?;
    }
    Ok(loader.finish())
}

impl Recovered {
    /// Metadata of a disk that was detached in order, with nothing to be written.
    pub fn whole(metadata: Metadata) -> Self {
        Self {
            found_sequence: metadata.superblock.sequence,
            metadata,
            marked_blocks: 0,
            bad_pages: 0,
            damaged_slot: None,
            log_lost: false,
            crashed: false,
            moved_from: None,
            plan: Vec::new(),
        }
    }

    /// Where internal metadata may be as long as the plan is not durable, and where they are then:
    /// to be remembered before and after.
    pub fn ends(&self) -> (Vec<u64>, u64) {
        let end = self.metadata.layout.md_range().end();
        (self.moved_from.into_iter().chain([end]).collect(), end)
    }

    /// A move of the metadata was cut off when the new had come to count: what is left of the old
    /// goes.
    fn finish_move(&mut self) {
        let (end, al_blocks) =
            (self.metadata.superblock.moved_from, self.metadata.layout.al_blocks());
        if end == 0 {
            return;
        }
        let old = Layout::internal(end, al_blocks).map(|layout| layout.md_range());
        let here = self.metadata.layout.md_range();
        // Whoever wrote another value there is not us; nothing is overwritten on its word.
        match old.ok().filter(|old| old.end() == end && old.end() <= here.offset) {
            Some(old) => self.carry_out(Growth::unfinished(&self.metadata, old)),
            None => self.metadata.superblock.moved_from = 0,
        }
    }

    /// The device is larger than it was when the metadata were put where they are. With too little
    /// room for a move they stay.
    fn move_to(&mut self, device_bytes: u64) {
        let old = self.metadata.layout.md_range().end();
        if let Ok(Some(layout)) = self.metadata.larger_layout(device_bytes, device_bytes) {
            let growth = Growth::begin(&mut self.metadata, layout);
            self.carry_out(growth);
            self.moved_from = Some(old);
        }
    }

    fn carry_out(&mut self, mut growth: Growth) {
        while let Some(batch) = growth.next(&mut self.metadata) {
            self.plan.push(batch);
        }
    }
}

/// Marks what may have been written when the node stopped.
fn recover(partial: Partial) -> Recovered {
    let Partial { mut superblock, layout, log, mut bitmap, bad_pages } = partial;
    let (crashed, found_sequence) = (superblock.flags.attached, superblock.sequence);
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
    Recovered {
        marked_blocks,
        bad_pages,
        log_lost,
        crashed,
        found_sequence,
        plan,
        ..Recovered::whole(metadata)
    }
}

/// The blocks of an extent, as far as the volume has them.
fn blocks_of_extent(extent: u32, blocks: u64) -> BlockRange {
    let per_extent = EXTENT_BYTES / types::BLOCK_BYTES;
    let start = u64::from(extent) * per_extent;
    BlockRange::new(start.min(blocks), (start + per_extent).min(blocks))
}

#[cfg(test)]
mod tests;
