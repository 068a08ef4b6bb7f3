//! Where a file has data, and where it reads as zeros.
//!
//! What reads as zeros is `lseek`'s word alone, which knows what is only in the page cache, too.
//! Whether space is kept for it (zeroed, or allocated and never written) is `FIEMAP`'s, where the
//! file system has that: it may be out of date by then, and that does no harm.

use crate::DeviceError;
use crate::file::BackingFile;
use crate::op::OpKind;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use types::{ByteRange, SECTOR_BYTES, StatusMap};

/// So many system calls for one map, a few milliseconds: more than its runs take, unless the file
/// changes all the time or the space that is kept is in very many pieces.
const CALLS_MAX: usize = 4 * StatusMap::RUNS_MAX;

/// A hole that reads as zeros.
const HOLE: u32 = StatusMap::HOLE | StatusMap::ZERO;

/// The runs of a range that lies within the file. A block device has none: it is all data.
///
/// The offset of the descriptor moves. Nobody uses it.
pub(crate) fn map(file: &BackingFile, range: ByteRange) -> Result<StatusMap, DeviceError> {
    if file.sort == "block device" {
        return Ok(StatusMap::of(range.len, StatusMap::DATA));
    }
    let (at, end) = (range.offset, range.end());
    let map = StatusMap::new();
    let mut walk = Walk { file, range, at, end, map, calls: 0, tells_extents: true };
    walk.run()?;
    if walk.map.covered() == 0 {
        // Nothing was found out in time.
        walk.push(end, StatusMap::DATA);
    }
    Ok(walk.map)
}

/// A map in the making: all of the range before `at` is in it.
struct Walk<'a> {
    file: &'a BackingFile,
    range: ByteRange,
    at: u64,
    end: u64,
    map: StatusMap,
    calls: usize,
    /// Whether the file system has not yet said that it has no `FIEMAP`.
    tells_extents: bool,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), DeviceError> {
        while self.at < self.end && self.calls < CALLS_MAX {
            let data = match self.seek(SeekFrom::Data(self.at)) {
                Ok(data) => (data & !(SECTOR_BYTES - 1)).clamp(self.at, self.end),
                Err(Errno::NXIO) => self.end_of_file()?,
                Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    // This file system cannot tell.
                    self.push(self.end, StatusMap::DATA);
                    return Ok(());
                }
                Err(errno) => return Err(self.error(errno)),
            };
            if !self.push_zeros(data) || data == self.end {
                return Ok(());
            }
            let hole = match self.seek(SeekFrom::Hole(data)) {
                Ok(hole) => hole.next_multiple_of(SECTOR_BYTES).clamp(data, self.end),
                // The file has just become shorter.
                Err(Errno::NXIO) => data,
                Err(errno) => return Err(self.error(errno)),
            };
            if !self.push(hole, StatusMap::DATA) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// There is no more data, which is the end of the range unless the file ends before it.
    fn end_of_file(&self) -> Result<u64, DeviceError> {
        let stat = rustix::fs::fstat(&self.file.file).map_err(|errno| self.error(errno))?;
        let at = stat.st_size.cast_unsigned();
        if at < self.end {
            let (kind, range) = (OpKind::Map, self.range);
            return Err(DeviceError::Truncated { kind, range, at });
        }
        Ok(self.end)
    }

    fn seek(&mut self, to: SeekFrom) -> Result<u64, Errno> {
        self.calls += 1;
        rustix::fs::seek(&self.file.file, to)
    }

    /// All up to there is of that kind. False if there is no room for it.
    fn push(&mut self, upto: u64, flags: u32) -> bool {
        let fits = self.map.push(upto - self.at, flags);
        if fits {
            self.at = upto;
        }
        fits
    }

    /// All up to there reads as zeros: as far as it is in extents, space is kept for it. False if
    /// there is no room for all of it, or no time.
    fn push_zeros(&mut self, upto: u64) -> bool {
        while self.at < upto && self.calls < CALLS_MAX {
            let batch = self.extents(ByteRange::between(self.at, upto));
            for extent in &batch {
                let kept = [extent.offset, extent.end()].map(|at| at.clamp(self.at, upto));
                if !self.push(kept[0], HOLE) || !self.push(kept[1], StatusMap::ZERO) {
                    return false;
                }
            }
            if batch.len() < EXTENTS && !self.push(upto, HOLE) {
                return false;
            }
        }
        self.at == upto
    }

    /// The first extents of a range, at most [`EXTENTS`] of them; none if nobody can tell.
    fn extents(&mut self, range: ByteRange) -> Vec<ByteRange> {
        if !self.tells_extents {
            return Vec::new();
        }
        self.calls += 1;
        let mut request = Request::new(range);
        // SAFETY: `FS_IOC_FIEMAP` takes a `struct fiemap`, which is `Head`, followed by as many
        // `struct fiemap_extent` as it says in `room`, and writes nothing beyond these. `Request`
        // is both, laid out as in C, and of integers only: whatever is written is valid.
        let fiemap = unsafe { Updater::<FIEMAP, Request>::new(&mut request) };
        // SAFETY: the descriptor is that of an open file, and the argument is as argued above.
        let result = unsafe { ioctl(&self.file.file, fiemap) };
        self.tells_extents = result.is_ok();
        let found = if result.is_ok() { request.head.found as usize } else { 0 };
        let extents = request.extents.iter().take(found);
        extents.map(|extent| ByteRange::new(extent.logical, extent.length)).collect()
    }

    fn error(&self, errno: Errno) -> DeviceError {
        let errno = errno.raw_os_error();
        DeviceError::Io { kind: OpKind::Map, range: self.range, errno }
    }
}

/// So many extents by one call: most files have few that are kept and not written.
const EXTENTS: usize = 32;

const FIEMAP: Opcode = opcode::read_write::<Head>(b'f', 11);

/// `struct fiemap` of the kernel's `linux/fiemap.h`, without its extents.
#[repr(C)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    found: u32,
    room: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved_64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

const _: () = assert!(size_of::<Head>() == 32 && size_of::<Extent>() == 56);

#[repr(C)]
struct Request {
    head: Head,
    extents: [Extent; EXTENTS],
}

impl Request {
    fn new(range: ByteRange) -> Self {
        let ByteRange { offset: start, len: length } = range;
        let room = EXTENTS as u32;
        let head = Head { start, length, flags: 0, found: 0, room, reserved: 0 };
        Self { head, extents: [Extent::default(); EXTENTS] }
    }
}
