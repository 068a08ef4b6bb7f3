//! How large disks were when their internal metadata were put where they are.
//!
//! ```text
//! STATE_DIR/ends/RESOURCE%2fVOLUME     sizes in bytes, then their CRC-32C
//! ```
//! Metadata are at the end of a disk. One that has grown while no daemon used it has them where its
//! end was, and this tells where that is: two places while they are moved. It is durable before the disk is used, outlives the boot,
//! and only helps to find: what is found there proves itself.

use crate::state_dir::{file_name, write_whole};
use std::io;
use std::path::PathBuf;
use types::VolumeId;

/// The directory with the ends.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    directory: PathBuf,
}

impl Ends {
    /// In that directory; it is there.
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What is remembered of a disk, if that is intact.
    pub(crate) fn get(&self, resource: &str, volume: VolumeId) -> Vec<u64> {
        self.read(resource, volume).unwrap_or_default()
    }

    fn read(&self, resource: &str, volume: VolumeId) -> Option<Vec<u64>> {
        let text = std::fs::read_to_string(self.file(resource, volume)).ok()?;
        let (sizes, crc) = text.trim_end().split_once(" crc32c:")?;
        let intact = u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(sizes.as_bytes()));
        sizes.split(' ').map(|size| size.parse().ok().filter(|_| intact)).collect()
    }

    /// Remembers it; durable when this returns.
    pub(crate) fn put(&self, resource: &str, volume: VolumeId, sizes: &[u64]) -> io::Result<()> {
        if self.get(resource, volume) == sizes {
            return Ok(());
        }
        let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
        let sizes = sizes.join(" ");
        let text = format!("{sizes} crc32c:{:08x}\n", crc32c::crc32c(sizes.as_bytes()));
        write_whole(&self.file(resource, volume), text.as_bytes())
    }

    fn file(&self, resource: &str, volume: VolumeId) -> PathBuf {
        self.directory.join(file_name(&format!("{resource}/{volume}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_what_is_damaged_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let ends = Ends::new(dir.path().to_owned());
        assert!(ends.get("r0", VolumeId(0)).is_empty());
        ends.put("r0", VolumeId(0), &[1 << 30]).unwrap();
        ends.put("r0", VolumeId(1), &[7]).unwrap();
        ends.put("r0", VolumeId(0), &[1 << 30, 2 << 30]).unwrap();
        assert_eq!(ends.get("r0", VolumeId(0)), [1 << 30, 2 << 30]);
        assert_eq!(ends.get("r0", VolumeId(1)), [7]);
        let path = ends.file("r0", VolumeId(1));
        std::fs::write(&path, "8 crc32c:00000000\n").unwrap();
        assert!(ends.get("r0", VolumeId(1)).is_empty());
    }
}
