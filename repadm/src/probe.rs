//! What is on a disk already: enough of the formats of file systems and partition tables to know
//! how far they reach, so that metadata is not written over their end.

use std::fmt;

/// How many bytes from the start of a disk [`probe`] wants to see.
pub const PROBE_BYTES: usize = 68 * 1024;

/// Something found at the start of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it calls itself.
    pub kind: Kind,
    /// How many bytes of the disk it takes, if it says so.
    pub bytes: Option<u64>,
}

/// What can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// GFS2.
    Gfs2,
    /// NTFS.
    Ntfs,
    /// An LVM physical volume.
    Lvm,
    /// Swap space.
    Swap,
    /// LUKS encryption.
    Luks,
    /// A GUID partition table.
    Gpt,
}

impl Kind {
    /// In words, with the article.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ext => "an ext2/3/4 file system",
            Self::Xfs => "an XFS file system",
            Self::Btrfs => "a btrfs file system",
            Self::Gfs2 => "a GFS2 file system",
            Self::Ntfs => "an NTFS file system",
            Self::Lvm => "an LVM physical volume",
            Self::Swap => "swap space",
            Self::Luks => "a LUKS container",
            Self::Gpt => "a GUID partition table",
        }
    }

    /// How to make it smaller, where there is a way. `{}` stands for the size in KiB.
    pub const fn how_to_shrink(self) -> Option<&'static str> {
        match self {
            Self::Ext => Some("resize2fs DISK {}K"),
            Self::Btrfs => Some("btrfs filesystem resize {}K MOUNTPOINT"),
            Self::Ntfs => Some("ntfsresize --size {}Ki DISK"),
            Self::Lvm => Some("pvresize --setphysicalvolumesize {}K DISK"),
            Self::Swap => Some("mkswap DISK {}"),
            Self::Xfs | Self::Gfs2 | Self::Luks | Self::Gpt => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Look at the first bytes of a disk, up to [`PROBE_BYTES`] of them; fewer are no error.
pub fn probe(start: &[u8]) -> Option<Found> {
    let start = Bytes(start);
    [ext, xfs, btrfs, gfs2, ntfs, lvm, swap, luks, gpt].into_iter().find_map(|look| look(&start))
}

/// Bytes that may end anywhere.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn has(&self, at: usize, magic: &[u8]) -> bool {
        self.0.get(at..).is_some_and(|rest| rest.starts_with(magic))
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn le16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn le32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn le64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn be32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    fn be64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
}

const fn found(kind: Kind, bytes: Option<u64>) -> Option<Found> {
    Some(Found { kind, bytes })
}

fn ext(disk: &Bytes<'_>) -> Option<Found> {
    const AT: usize = 1024;
    const INCOMPAT_64BIT: u32 = 0x80;
    if !disk.has(AT + 0x38, &[0x53, 0xEF]) {
        return None;
    }
    let low = disk.le32(AT + 4)?;
    let wide = disk.le32(AT + 0x60)? & INCOMPAT_64BIT != 0;
    let high = if wide { disk.le32(AT + 0x150)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(low);
    let bytes =
        1024u64.checked_shl(disk.le32(AT + 0x18)?).and_then(|size| blocks.checked_mul(size));
    found(Kind::Ext, bytes)
}

fn xfs(disk: &Bytes<'_>) -> Option<Found> {
    if !disk.has(0, b"XFSB") {
        return None;
    }
    found(Kind::Xfs, disk.be64(8)?.checked_mul(u64::from(disk.be32(4)?)))
}

fn btrfs(disk: &Bytes<'_>) -> Option<Found> {
    const AT: usize = 64 * 1024;
    // The size of this device, not of the file system, which may have several.
    disk.has(AT + 0x40, b"_BHRfS_M")
        .then(|| Found { kind: Kind::Btrfs, bytes: disk.le64(AT + 0xD1) })
}

fn gfs2(disk: &Bytes<'_>) -> Option<Found> {
    const AT: usize = 64 * 1024;
    // Its superblock does not say how large it is: only the resource index does.
    if !disk.has(AT, &[0x01, 0x16, 0x19, 0x70]) {
        return None;
    }
    found(Kind::Gfs2, None)
}

fn ntfs(disk: &Bytes<'_>) -> Option<Found> {
    if !disk.has(3, b"NTFS    ") {
        return None;
    }
    // One sector more than it counts: the copy of the boot sector.
    let sectors = disk.le64(0x28)?.checked_add(1)?;
    found(Kind::Ntfs, sectors.checked_mul(u64::from(disk.le16(0x0B)?)))
}

fn lvm(disk: &Bytes<'_>) -> Option<Found> {
    for at in [0, 512, 1024, 1536] {
        if disk.has(at, b"LABELONE") && disk.has(at + 24, b"LVM2 001") {
            const UUID_BYTES: usize = 32;
            let header = at.checked_add(usize::try_from(disk.le32(at + 20)?).ok()?)?;
            return found(Kind::Lvm, disk.le64(header.checked_add(UUID_BYTES)?));
        }
    }
    None
}

fn swap(disk: &Bytes<'_>) -> Option<Found> {
    for page in [4096u32, 8192, 16384, 65536] {
        if disk.has(page as usize - 10, b"SWAPSPACE2") {
            let last_page = u64::from(disk.le32(1024 + 4)?);
            return found(Kind::Swap, Some((last_page + 1) * u64::from(page)));
        }
    }
    None
}

fn luks(disk: &Bytes<'_>) -> Option<Found> {
    if !disk.has(0, b"LUKS\xBA\xBE") {
        return None;
    }
    found(Kind::Luks, None)
}

fn gpt(disk: &Bytes<'_>) -> Option<Found> {
    for sector in [512u64, 4096] {
        let at = sector as usize;
        if disk.has(at, b"EFI PART") {
            // The other copy of the table is in the last sector.
            let other = disk.le64(at + 32)?;
            return found(Kind::Gpt, other.checked_add(1).and_then(|n| n.checked_mul(sector)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut disk = vec![0; PROBE_BYTES];
        for (at, bytes) in parts {
            disk[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        disk
    }

    #[test]
    fn an_empty_disk_holds_nothing() {
        assert_eq!(probe(&disk(&[])), None);
        assert_eq!(probe(&[]), None);
    }

    #[test]
    fn sizes_are_read_as_each_format_has_them() {
        let ext = disk(&[
            (1024 + 0x38, &[0x53, 0xEF]),
            (1024 + 4, &65_536u32.to_le_bytes()),
            (1024 + 0x18, &2u32.to_le_bytes()),
        ]);
        assert_eq!(probe(&ext), found(Kind::Ext, Some(256 << 20)));
        let ext_64bit = disk(&[
            (1024 + 0x38, &[0x53, 0xEF]),
            (1024 + 0x18, &2u32.to_le_bytes()),
            (1024 + 0x60, &0x2C2u32.to_le_bytes()),
            (1024 + 0x150, &1u32.to_le_bytes()),
        ]);
        assert_eq!(probe(&ext_64bit), found(Kind::Ext, Some(16 << 40)));
        let xfs =
            disk(&[(0, b"XFSB"), (4, &4096u32.to_be_bytes()), (8, &131_072u64.to_be_bytes())]);
        assert_eq!(probe(&xfs), found(Kind::Xfs, Some(512 << 20)));
        let lvm = disk(&[
            (512, b"LABELONE"),
            (512 + 20, &32u32.to_le_bytes()),
            (512 + 24, b"LVM2 001"),
            (512 + 64, &(1u64 << 30).to_le_bytes()),
        ]);
        assert_eq!(probe(&lvm), found(Kind::Lvm, Some(1 << 30)));
        let swap = disk(&[(4086, b"SWAPSPACE2"), (1028, &255u32.to_le_bytes())]);
        assert_eq!(probe(&swap), found(Kind::Swap, Some(1 << 20)));
        let btrfs =
            disk(&[(65_536 + 0x40, b"_BHRfS_M"), (65_536 + 0xD1, &(3u64 << 30).to_le_bytes())]);
        assert_eq!(probe(&btrfs), found(Kind::Btrfs, Some(3 << 30)));
        let ntfs = disk(&[
            (3, b"NTFS    "),
            (0x0B, &512u16.to_le_bytes()),
            (0x28, &2047u64.to_le_bytes()),
        ]);
        assert_eq!(probe(&ntfs), found(Kind::Ntfs, Some(1 << 20)));
        let gpt = disk(&[(512, b"EFI PART"), (512 + 32, &2047u64.to_le_bytes())]);
        assert_eq!(probe(&gpt), found(Kind::Gpt, Some(1 << 20)));
    }

    #[test]
    fn what_does_not_tell_its_size_is_still_found() {
        let gfs2 = disk(&[(65_536, &[0x01, 0x16, 0x19, 0x70])]);
        assert_eq!(probe(&gfs2), found(Kind::Gfs2, None));
        assert_eq!(probe(&disk(&[(0, b"LUKS\xBA\xBE")])), found(Kind::Luks, None));
    }

    #[test]
    fn nonsense_in_a_header_is_no_panic() {
        let ext = disk(&[(1024, &[0xFF; 1024]), (1024 + 0x38, &[0x53, 0xEF])]);
        assert_eq!(probe(&ext), found(Kind::Ext, None));
        let lvm = disk(&[(512, &[0xFF; 512]), (512, b"LABELONE"), (536, b"LVM2 001")]);
        assert_eq!(probe(&lvm), found(Kind::Lvm, None));
        for magic in [&b"XFSB"[..], b"LUKS\xBA\xBE"] {
            for len in 0..magic.len() + 4 {
                let mut short = magic.to_vec();
                short.resize(len, 0xFF);
                let _ = probe(&short);
            }
        }
    }
}
