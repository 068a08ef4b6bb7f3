//! The superblock: what decides everything else, in two slots written in turn.
//!
//! A superblock with sequence `n` goes to slot `n % 2`; the slot with the higher sequence counts.
//! A write that is torn or lost leaves the other slot, that is, the state before. So there is at
//! most one superblock write under way.
//!
//! A slot with the **wipe mark** at the start of any of its sectors means: no metadata, whatever
//! the other slot says. That makes `create-md` and `wipe-md` all or nothing over metadata that
//! was there before: with one sector of the mark on disk the old metadata is gone, in both slots.

mod format;

use crate::activity_log::AL_EXTENTS_DEFAULT;
use crate::generation::{GenerationId, Generations};
use crate::layout::Layout;
use types::{NodeId, Role, SECTOR_BYTES, Time, VolumeId};

/// The longest name of a resource that fits, in bytes.
pub const RESOURCE_NAME_MAX: usize = 128;

/// The version of the format that is written here. Readers refuse all others.
pub(crate) const VERSION: u32 = 1;

/// At the start of each sector of a wiped slot.
pub(crate) const WIPE_MARK: &[u8; 8] = b"REPDWIPE";

/// What is known of one copy of one volume, but for its log and its bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Counts superblock writes; its parity is its slot.
    pub sequence: u64,
    /// When the metadata was created.
    pub created: Time,
    /// When a verify of all of it has last ended; zero: never.
    pub last_verify: Time,
    /// The random name of this disk, from `create-md`.
    pub disk_incarnation: u64,
    /// The name of the peer's disk when it was last met; 0: never met.
    pub peer_disk_incarnation: u64,
    /// The highest durable superblock sequence that the peer told of that disk; 0: never told. A
    /// disk that comes back with a lower one is older than it was.
    pub peer_sequence: u64,
    /// The node that this copy belongs to, once known.
    pub node: Option<NodeId>,
    /// The resource, at most [`RESOURCE_NAME_MAX`] bytes.
    pub resource: String,
    /// The volume of the resource.
    pub volume: VolumeId,
    /// Bytes usable for data here, as in the layout.
    pub data_bytes: u64,
    /// The size agreed with the peer; 0: not yet.
    pub agreed_bytes: u64,
    /// Generations of the data; the bitmap id is that of the one peer slot in use.
    pub generations: Generations,
    /// The newest generation that clients saw from this disk.
    pub newest_exposed: GenerationId,
    /// Facts that are true or false.
    pub flags: Flags,
    /// The role that the operator wants, for a restart within the boot.
    pub role_intent: Role,
    /// Extents that may be hot at once.
    pub al_extents: u32,
    /// Peer slots in use; 1.
    pub peer_slots: u8,
    /// Where the log is, to check it against the layout.
    pub al_offset: u64,
    /// Length of the log in 4 KiB blocks; part of the layout.
    pub al_blocks: u32,
    /// Where the bitmap is, to check it against the layout.
    pub bitmap_offset: u64,
    /// Pages of bitmap, to check them against the layout.
    pub bitmap_pages: u32,
    /// Whether the metadata shares the device with the data.
    pub internal: bool,
    /// Where the place ends that the metadata was moved from, as long as that is not zeros yet;
    /// 0: nothing is left there.
    pub moved_from: u64,
}

/// Facts about a copy that are true or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The data is consistent: a state that was once valid.
    pub consistent: bool,
    /// It was UpToDate when that was last known.
    pub was_up_to_date: bool,
    /// The node is Primary while attached.
    pub primary: bool,
    /// It was Primary, did not stop in order, and has not met the peer since.
    pub crashed_primary: bool,
    /// The peer's copy is known to be Outdated or worse.
    pub peer_outdated: bool,
    /// All blocks count as marked, until the marks are durable.
    pub full_sync: bool,
    /// In use: not detached in order. Set before the first write, cleared by the last one.
    pub attached: bool,
    /// No activity log is kept (`al-updates no`): after a crash everything is marked.
    pub al_disabled: bool,
}

/// What is wrong with one slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Not 4096 bytes.
    #[error("a superblock has 4096 bytes, not {found}")]
    Length {
        /// The bytes given.
        found: usize,
    },
    /// There is something else.
    #[error("no repd metadata")]
    Magic,
    /// The wipe mark is in it.
    #[error("wiped")]
    Wiped,
    /// Torn or damaged.
    #[error("damaged: the checksum is {found:08x} and should be {computed:08x}")]
    Checksum {
        /// As stored.
        found: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// Written by another version of the format.
    #[error(
        "metadata version {found}, and this program reads version {VERSION}; \
         use the program that wrote it"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A good superblock that belongs in the other slot.
    #[error(
        "a superblock for {data_bytes} bytes of data in the wrong slot: the device has not the \
         size that it had"
    )]
    Moved {
        /// The size of the data by the superblock.
        data_bytes: u64,
    },
    /// A value that no writer writes.
    #[error("bad value {value} in field {field}")]
    Field {
        /// The field, as in docs/ondisk.md.
        field: &'static str,
        /// What is in it.
        value: u64,
    },
}

/// Why neither slot gives a superblock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotsError {
    /// Nothing of ours is there.
    #[error(
        "no metadata; if the disk had metadata and has been enlarged since, say how large it was: \
         `--was-size SIZE` of `repadm up` and `repadm attach`; otherwise run create-md"
    )]
    NoMetadata,
    /// Something of ours is there, and not usable.
    #[error(
        "both superblock slots are bad (slot 0: {0}; slot 1: {1}); \
         restore the device, or run create-md and synchronise everything from the peer"
    )]
    BothBad(SuperblockError, SuperblockError),
    /// Another version of the format. Slots of ours do not count beside it: it is newer.
    #[error(transparent)]
    Version(SuperblockError),
}

impl Superblock {
    /// Of new metadata, with the sequence 0.
    pub(crate) fn new(layout: &Layout, resource: String, generations: Generations) -> Self {
        assert!(resource.len() <= RESOURCE_NAME_MAX, "the name {resource:?} is too long");
        Self {
            sequence: 0,
            created: generations.current.born,
            disk_incarnation: 0,
            peer_disk_incarnation: 0,
            peer_sequence: 0,
            last_verify: Time(0),
            node: None,
            resource,
            volume: VolumeId(0),
            data_bytes: layout.data_bytes(),
            agreed_bytes: 0,
            generations,
            newest_exposed: GenerationId::UNSET,
            flags: Flags::default(),
            role_intent: Role::Secondary,
            al_extents: AL_EXTENTS_DEFAULT,
            peer_slots: 1,
            al_offset: layout.al_offset(),
            al_blocks: layout.al_blocks(),
            bitmap_offset: layout.bitmap_offset(),
            bitmap_pages: layout.bitmap_pages(),
            internal: layout.is_internal(),
            moved_from: 0,
        }
    }

    /// The slot that this superblock belongs in, 0 or 1.
    pub const fn slot(&self) -> usize {
        (self.sequence % 2) as usize
    }

    /// The 4096 bytes of it.
    ///
    /// # Panics
    /// If the resource name or the history is too long: they were checked when they came in.
    pub fn encode(&self) -> Vec<u8> {
        format::encode(self)
    }

    /// Read 4096 bytes.
    ///
    /// # Errors
    /// Names what is wrong, and never more than one thing.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        format::decode(bytes)
    }
}

/// The superblock that counts, of the two slots as they were read.
///
/// # Errors
/// If there is none, or one of another version.
pub fn newest(slots: [&[u8]; 2]) -> Result<Superblock, SlotsError> {
    if slots.into_iter().any(has_wipe_mark) {
        return Err(SlotsError::NoMetadata);
    }
    let [first, second] = [0, 1].map(|slot| decode_slot(slots[slot], slot));
    match (first, second) {
        (Err(error @ SuperblockError::Version { .. }), _)
        | (_, Err(error @ SuperblockError::Version { .. })) => Err(SlotsError::Version(error)),
        (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(SuperblockError::Magic), Err(SuperblockError::Magic)) => Err(SlotsError::NoMetadata),
        (Err(a), Err(b)) => Err(SlotsError::BothBad(a, b)),
    }
}

/// The slot that is damaged, where the other one is good: a write was torn there, or the disk has
/// lost it. `create-md` writes both.
pub(crate) fn damaged_slot(slots: [&[u8]; 2]) -> Option<usize> {
    let good = [0, 1].map(|slot| decode_slot(slots[slot], slot).is_ok());
    (good[0] != good[1]).then_some(usize::from(good[0]))
}

/// A slot full of wipe marks.
pub(crate) fn wiped_slot() -> Vec<u8> {
    let mut out = vec![0; crate::plan::META_BLOCK];
    for sector in out.chunks_exact_mut(SECTOR_BYTES as usize) {
        sector[..WIPE_MARK.len()].copy_from_slice(WIPE_MARK);
    }
    out
}

/// Whether a sector of the slot has the wipe mark, and the slot is not a good superblock that
/// happens to have these bytes somewhere.
fn has_wipe_mark(slot: &[u8]) -> bool {
    let marked = slot.chunks(SECTOR_BYTES as usize).any(|sector| sector.starts_with(WIPE_MARK));
    marked && !matches!(Superblock::decode(slot), Ok(_) | Err(SuperblockError::Version { .. }))
}

fn decode_slot(bytes: &[u8], slot: usize) -> Result<Superblock, SuperblockError> {
    let superblock = Superblock::decode(bytes)?;
    if superblock.slot() == slot {
        Ok(superblock)
    } else {
        Err(SuperblockError::Moved { data_bytes: superblock.data_bytes })
    }
}

#[cfg(test)]
mod tests;
