//! Where everything is on a device.
//!
//! ```text
//! internal:  | data ...                  | bitmap pages | log ring | slot 0 | slot 1 | (tail < 4 KiB)
//! external:  | slot 0 | slot 1 | log ring | bitmap pages | unused      (data: all of another device)
//! ```
//! Internal metadata is at the end, so that data starts at offset zero: a disk can be given to
//! replication or taken from it without moving a byte of data.

use crate::bitmap::PAGE_BLOCKS;
use crate::plan::META_BLOCK;
use types::{BLOCK_BYTES, ByteRange};

/// Blocks of the activity log's ring unless asked otherwise: 32 KiB, as DRBD.
pub const AL_BLOCKS_DEFAULT: u32 = 8;
/// The smallest ring: one transaction being written, one that holds the table.
pub const AL_BLOCKS_MIN: u32 = 2;
/// The largest ring. 73 blocks hold the largest table; more would only rotate.
pub const AL_BLOCKS_MAX: u32 = 1024;
/// The largest volume, 1 PiB as in DRBD.
pub const MAX_DATA_BYTES: u64 = 1 << 50;

const BLOCK: u64 = META_BLOCK as u64;
const SLOTS: u64 = 2;

/// Whether the metadata is on the data's device or on one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the end of the device that holds the data.
    Internal,
    /// Alone on another device («flexible»); the data device is used whole.
    External {
        /// Size of the data device in bytes.
        data_device_bytes: u64,
    },
}

/// Where everything is. All offsets are bytes on the metadata device, multiples of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    data_bytes: u64,
    superblocks: u64,
    al: u64,
    al_blocks: u32,
    bitmap: u64,
    bitmap_pages: u32,
    internal: bool,
}

/// Why a device cannot hold it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The device has no room.
    #[error(
        "the {device} is too small: it has {found} bytes and at least {needed} are needed; \
         use a larger device"
    )]
    TooSmall {
        /// «device», «data device» or «metadata device».
        device: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The least size in bytes.
        needed: u64,
    },
    /// More data than the format counts.
    #[error("a volume of {found} bytes is too large: at most {MAX_DATA_BYTES} bytes (1 PiB) work")]
    TooLarge {
        /// The size of the data in bytes.
        found: u64,
    },
    /// A ring that is no ring.
    #[error(
        "an activity log of {found} blocks of 4 KiB does not work; \
         choose {AL_BLOCKS_MIN} to {AL_BLOCKS_MAX}"
    )]
    AlBlocks {
        /// The number asked for.
        found: u32,
    },
}

impl Layout {
    /// Metadata at the end of the device: data | bitmap | log | superblock slots.
    ///
    /// A tail of the device that is no whole 4 KiB block is not used.
    ///
    /// # Errors
    /// If there is no room for one block of data, or more than [`MAX_DATA_BYTES`] of it.
    pub fn internal(device_bytes: u64, al_blocks: u32) -> Result<Self, LayoutError> {
        check_al_blocks(al_blocks)?;
        let [superblocks, _] = Self::internal_superblock_offsets(device_bytes)?;
        let fixed = u64::from(al_blocks);
        // One block of data and its page of bitmap at least.
        let Some(rest) = (superblocks / BLOCK).checked_sub(fixed).filter(|&rest| rest >= 2) else {
            let needed = (SLOTS + fixed + 2) * BLOCK;
            return Err(LayoutError::TooSmall { device: "device", found: device_bytes, needed });
        };
        // Each page of bitmap with the blocks it speaks of: PAGE_BLOCKS + 1 blocks.
        let data_blocks = rest - rest.div_ceil(PAGE_BLOCKS + 1);
        let data_bytes = check_data(data_blocks * BLOCK_BYTES)?;
        let bitmap_pages = pages_for(data_bytes);
        let al = superblocks - fixed * BLOCK;
        let bitmap = al - u64::from(bitmap_pages) * BLOCK;
        assert!(bitmap >= data_bytes, "the bitmap at {bitmap} overlaps data of {data_bytes} bytes");
        Ok(Self { data_bytes, superblocks, al, al_blocks, bitmap, bitmap_pages, internal: true })
    }

    /// Where the two superblock slots of internal metadata are, from the device size alone: a
    /// reader that knows nothing else finds them.
    ///
    /// # Errors
    /// If the device is smaller than the two slots.
    pub fn internal_superblock_offsets(device_bytes: u64) -> Result<[u64; 2], LayoutError> {
        let blocks = device_bytes / BLOCK;
        let Some(first) = blocks.checked_sub(SLOTS) else {
            let needed = (SLOTS + u64::from(AL_BLOCKS_MIN) + 2) * BLOCK;
            return Err(LayoutError::TooSmall { device: "device", found: device_bytes, needed });
        };
        Ok([first * BLOCK, (first + 1) * BLOCK])
    }

    /// Everything at the start of another device: slots | log | bitmap. The data device is used
    /// whole, but for a tail that is no whole 4 KiB block.
    ///
    /// # Errors
    /// If either device is too small, or the data too large.
    pub fn external(
        data_device_bytes: u64,
        meta_device_bytes: u64,
        al_blocks: u32,
    ) -> Result<Self, LayoutError> {
        check_al_blocks(al_blocks)?;
        let data_bytes = data_device_bytes / BLOCK_BYTES * BLOCK_BYTES;
        if data_bytes == 0 {
            let found = data_device_bytes;
            return Err(LayoutError::TooSmall {
                device: "data device",
                found,
                needed: BLOCK_BYTES,
            });
        }
        let bitmap_pages = pages_for(check_data(data_bytes)?);
        let al = SLOTS * BLOCK;
        let bitmap = al + u64::from(al_blocks) * BLOCK;
        let needed = bitmap + u64::from(bitmap_pages) * BLOCK;
        if meta_device_bytes < needed {
            let found = meta_device_bytes;
            return Err(LayoutError::TooSmall { device: "metadata device", found, needed });
        }
        Ok(Self {
            data_bytes,
            superblocks: 0,
            al,
            al_blocks,
            bitmap,
            bitmap_pages,
            internal: false,
        })
    }

    /// The layout of a placement on a metadata device of that size.
    ///
    /// # Errors
    /// As [`Layout::internal`] and [`Layout::external`].
    pub fn of(
        placement: Placement,
        meta_device_bytes: u64,
        al_blocks: u32,
    ) -> Result<Self, LayoutError> {
        match placement {
            Placement::Internal => Self::internal(meta_device_bytes, al_blocks),
            Placement::External { data_device_bytes } => {
                Self::external(data_device_bytes, meta_device_bytes, al_blocks)
            }
        }
    }

    /// Bytes usable for data, a multiple of 4096. Data starts at offset zero of its device.
    pub const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Whether the metadata shares the device with the data.
    pub const fn is_internal(&self) -> bool {
        self.internal
    }

    /// Where a superblock slot is, 0 or 1.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn superblock_offset(&self, slot: usize) -> u64 {
        assert!((slot as u64) < SLOTS, "there is no superblock slot {slot}");
        self.superblocks + slot as u64 * BLOCK
    }

    /// Where the ring of the activity log starts.
    pub const fn al_offset(&self) -> u64 {
        self.al
    }

    /// The length of the ring in blocks of 4 KiB.
    pub const fn al_blocks(&self) -> u32 {
        self.al_blocks
    }

    /// Where the bitmap starts.
    pub const fn bitmap_offset(&self) -> u64 {
        self.bitmap
    }

    /// How many pages of 4 KiB the bitmap has.
    pub const fn bitmap_pages(&self) -> u32 {
        self.bitmap_pages
    }

    /// Everything that belongs to the metadata on its device.
    pub fn md_range(&self) -> ByteRange {
        if self.internal {
            ByteRange::between(self.bitmap, self.superblocks + SLOTS * BLOCK)
        } else {
            ByteRange::between(0, self.bitmap + u64::from(self.bitmap_pages) * BLOCK)
        }
    }
}

fn check_al_blocks(found: u32) -> Result<(), LayoutError> {
    if (AL_BLOCKS_MIN..=AL_BLOCKS_MAX).contains(&found) {
        Ok(())
    } else {
        Err(LayoutError::AlBlocks { found })
    }
}

fn check_data(bytes: u64) -> Result<u64, LayoutError> {
    if bytes <= MAX_DATA_BYTES { Ok(bytes) } else { Err(LayoutError::TooLarge { found: bytes }) }
}

/// Pages of bitmap for so many bytes of data, at most [`MAX_DATA_BYTES`].
pub(crate) fn pages_for(data_bytes: u64) -> u32 {
    let pages = types::blocks_of(data_bytes).div_ceil(PAGE_BLOCKS);
    u32::try_from(pages).expect("1 PiB has fewer than 2^32 pages of bitmap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_parts_follow_each_other_up_to_the_end() {
        let device = 100 * (1 << 20) + 777;
        let layout = Layout::internal(device, 8).unwrap();
        assert_eq!(layout.superblock_offset(1) + BLOCK, device / BLOCK * BLOCK);
        assert_eq!(layout.superblock_offset(0) + BLOCK, layout.superblock_offset(1));
        assert_eq!(layout.al_offset() + 8 * BLOCK, layout.superblock_offset(0));
        let bitmap_end = layout.bitmap_offset() + u64::from(layout.bitmap_pages()) * BLOCK;
        assert_eq!(bitmap_end, layout.al_offset());
        assert_eq!(layout.data_bytes(), layout.bitmap_offset());
        assert_eq!(layout.md_range(), ByteRange::between(layout.data_bytes(), device - 777));
    }

    /// The bitmap has a bit for every block, for every size around the edges of a page.
    #[test]
    fn the_bitmap_covers_the_data_at_every_size() {
        let fixed = 2 + u64::from(AL_BLOCKS_DEFAULT);
        for blocks in (2..200).chain(32_630..32_660).chain(65_270..65_300) {
            let layout = Layout::internal((blocks + fixed) * BLOCK, AL_BLOCKS_DEFAULT).unwrap();
            let data = layout.data_bytes() / BLOCK;
            let pages = u64::from(layout.bitmap_pages());
            assert!(pages * PAGE_BLOCKS >= data, "{blocks}");
            assert!((pages - 1) * PAGE_BLOCKS < data, "{blocks}: a page too many");
            // At most one block of the device is left over, and only at the edge of a page.
            assert!(data + pages + 1 >= blocks, "{blocks}: wasteful");
        }
    }

    #[test]
    fn a_device_without_room_says_how_much_is_needed() {
        for size in [0, 4096, 8191, 8192, 11 * BLOCK] {
            let error = Layout::internal(size, AL_BLOCKS_DEFAULT).unwrap_err();
            assert!(matches!(error, LayoutError::TooSmall { found, .. } if found == size));
        }
        assert_eq!(Layout::internal(12 * BLOCK, AL_BLOCKS_DEFAULT).unwrap().data_bytes(), BLOCK);
        let error = Layout::external(1 << 30, 4096, 8).unwrap_err();
        let LayoutError::TooSmall { needed, .. } = error else { panic!("{error}") };
        assert!(Layout::external(1 << 30, needed, 8).is_ok());
        assert!(Layout::external(1 << 30, needed - 1, 8).is_err());
        assert_eq!(Layout::internal(1 << 30, 1), Err(LayoutError::AlBlocks { found: 1 }));
        assert!(matches!(Layout::internal(1 << 60, 8), Err(LayoutError::TooLarge { .. })));
    }

    #[test]
    fn external_parts_follow_each_other_from_the_start() {
        let layout = Layout::external((1 << 30) + 5, 1 << 20, 8).unwrap();
        assert_eq!(layout.data_bytes(), 1 << 30);
        assert_eq!([0, 1].map(|slot| layout.superblock_offset(slot)), [0, 4096]);
        assert_eq!((layout.al_offset(), layout.bitmap_offset()), (8192, 8192 + 8 * BLOCK));
        assert_eq!(layout.bitmap_pages(), 9);
    }
}
