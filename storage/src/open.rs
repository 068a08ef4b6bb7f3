//! Opening: what is it, is it free, and what does it take?

use crate::BufferPool;
use crate::buffer::BUFFER_ALIGN;
use crate::file::BackingFile;
use crate::shared::{Geometry, Shared, ZeroWay};
use rustix::fs::{AtFlags, FileType, FlockOperation, OFlags, StatxFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use types::{BLOCK_BYTES, SECTOR_BYTES, Span};

/// How long to wait before the next look whether a file is free.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How often the kernel's list of locks is read for a holder that must be in it.
const LOCK_LIST_READS: usize = 8;

/// The largest unit that a file system is believed to zero in.
const MAX_ZERO_GRANULE: u64 = 64 << 10;

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// How requests are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// By a look at the file or device: see the crate's page.
    #[default]
    Auto,
    /// Through an io_uring; an error if the kernel does not give one.
    Uring,
    /// With plain calls on the caller's thread, which wait for the disk if it must be waited for.
    Inline,
    /// With plain calls on a few threads.
    Pool,
}

/// How to open a backing device.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How requests are done.
    pub backend: Backend,
    /// Whether to take the lock that keeps other daemons and tools away: an exclusive one, or a
    /// shared one with `read_only`.
    pub lock: bool,
    /// How long to wait for it. The kernel may hold the files of a killed daemon some tens of
    /// milliseconds longer than its process lives.
    pub lock_wait: Span,
    /// Whether to open for reading only: every write is refused.
    pub read_only: bool,
    /// Whether to go past the page cache where the device lets one.
    pub direct: bool,
    /// Where buffers come from.
    pub pool: BufferPool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            lock: true,
            lock_wait: Span::secs(1),
            read_only: false,
            direct: true,
            pool: BufferPool::default(),
        }
    }
}

/// Why a backing device could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing of that name.
    #[error("{}: no such file or device; check `disk` in the configuration, or create it first", path.display())]
    NotFound {
        /// Which.
        path: PathBuf,
    },
    /// Not with the rights of this process.
    #[error("{}: permission denied; the daemon's user needs to read and write it", path.display())]
    PermissionDenied {
        /// Which.
        path: PathBuf,
    },
    /// It, or the file system it is on, is read-only.
    #[error("{}: it is read-only; make it writable (blockdev --setrw, mount -o remount,rw)", path.display())]
    ReadOnly {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else has it.
    #[error("{}: in use: {by}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
        /// By whom, as far as is known, and what to do.
        by: String,
    },
    /// It has not even room for one block.
    #[error("{}: {bytes} bytes are too few; it needs at least {needed}", path.display())]
    TooSmall {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The least size.
        needed: u64,
    },
    /// A directory, a terminal, a socket, …
    #[error("{}: neither a regular file nor a block device", path.display())]
    NotAFileOrBlockDevice {
        /// Which.
        path: PathBuf,
    },
    /// The backend that was asked for is not to be had.
    #[error("{}: no {backend} here: {error}", path.display())]
    Backend {
        /// Which device.
        path: PathBuf,
        /// What was asked for.
        backend: &'static str,
        /// Why not.
        error: std::io::Error,
    },
    /// Anything else that the kernel said.
    #[error("{}: {doing} failed: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        error: std::io::Error,
    },
}

/// Open, lock and measure. Waits for the lock without blocking the thread.
pub(crate) async fn open(path: &Path, options: &OpenOptions) -> Result<BackingFile, OpenError> {
    let file = open_and_lock(path, options).await?;
    let failed = |doing| move |errno: Errno| io_error(path, doing, errno.into());
    let is_block_device = file_type(path, &file)? == FileType::BlockDevice;
    let stat_fs = rustix::fs::fstatfs(&file).map_err(failed("fstatfs"))?;
    // The cast: the type of this number differs between architectures.
    let sort = if is_block_device { "block device" } else { file_system(stat_fs.f_type as u64) };
    let bytes = (&file).seek(SeekFrom::End(0)).map_err(|error| io_error(path, "seek", error))?;
    if bytes < BLOCK_BYTES {
        return Err(OpenError::TooSmall { path: path.into(), bytes, needed: BLOCK_BYTES });
    }
    let sector = match is_block_device {
        true => rustix::fs::ioctl_blksszget(&file).map_err(failed("BLKSSZGET"))?.into(),
        false => SECTOR_BYTES,
    };
    // A tmpfs takes O_DIRECT and then does nothing with it.
    let direct = match options.direct && sort != "tmpfs" {
        true => go_direct(&file, bytes, sector),
        false => None,
    };
    let (granule, memory_align) = direct.unwrap_or((1, 1));
    let block = rustix::fs::fstat(&file).map_err(failed("fstat"))?.st_blksize as u64;
    let geometry = Geometry {
        bytes: bytes - bytes % SECTOR_BYTES.max(granule),
        granule,
        memory_align,
        zero_granule: zero_granule(block).max(sector).max(granule),
        read_only: options.read_only,
        offloads_zeros: !is_block_device || offloads_zeros(&file),
    };
    let shared = Arc::new(Shared::new(geometry));
    if sort == "tmpfs" {
        shared.lacks_zero_way(ZeroWay::ZeroRange);
    }
    let (path, sort, pool) = (path.to_path_buf(), sort.to_owned(), options.pool.clone());
    Ok(BackingFile { file, path, sort, shared, pool })
}

/// Open and lock it, as often as it takes within the time allowed.
#[allow(clippy::disallowed_methods, reason = "waits for the kernel; no decision hangs on the time")]
async fn open_and_lock(path: &Path, options: &OpenOptions) -> Result<File, OpenError> {
    let wait: Duration = options.lock_wait.into();
    let begun = std::time::Instant::now();
    loop {
        match try_open(path, options) {
            Err(OpenError::InUse { .. }) if begun.elapsed() < wait => {
                tokio::time::sleep(LOCK_RETRY).await;
            }
            other => return other,
        }
    }
}

fn try_open(path: &Path, options: &OpenOptions) -> Result<File, OpenError> {
    let meta = std::fs::metadata(path).map_err(|error| open_error(path, error))?;
    let is_block_device = meta.file_type().is_block_device();
    if !is_block_device && !meta.is_file() {
        return Err(OpenError::NotAFileOrBlockDevice { path: path.into() });
    }
    let mut flags = OFlags::CLOEXEC;
    if is_block_device && options.lock && !options.read_only {
        // Refused while it is mounted, part of a volume group, or held by another daemon.
        flags |= OFlags::EXCL;
    }
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(!options.read_only)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| open_error(path, error))?;
    if file_type(path, &file)? != FileType::from_raw_mode(meta_mode(&meta)) {
        return Err(OpenError::NotAFileOrBlockDevice { path: path.into() });
    }
    if options.lock {
        lock(path, &file, options.read_only)?;
    }
    Ok(file)
}

fn meta_mode(meta: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(meta)
}

fn file_type(path: &Path, file: &File) -> Result<FileType, OpenError> {
    let stat = rustix::fs::fstat(file).map_err(|errno| io_error(path, "fstat", errno.into()))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn lock(path: &Path, file: &File, read_only: bool) -> Result<(), OpenError> {
    let operation = match read_only {
        true => FlockOperation::NonBlockingLockShared,
        false => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let by = match lock_holder(file) {
                // Two volumes, or the data and metadata of one, by paths that lead to the same.
                Some(pid) if pid == std::process::id() => format!(
                    "this very process {pid} has it open already, as the `disk` or `meta-disk` of \
                     another volume, or by another name; give each its own"
                ),
                Some(pid) => format!("process {pid} holds a lock on it; `repadm down` there first"),
                None => "another process holds a lock on it; `repadm down` there first".into(),
            };
            Err(OpenError::InUse { path: path.into(), by })
        }
        Err(errno) => Err(io_error(path, "flock", errno.into())),
    }
}

/// Who holds the `flock` on this file, if the kernel lets one see it.
fn lock_holder(file: &File) -> Option<u32> {
    let stat = rustix::fs::fstat(file).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let inode = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    lock_holder_by(|| std::fs::read_to_string("/proc/locks").ok(), &inode)
}

/// The kernel hands its list out in pieces and by position: a line is missed if others before it go
/// between two pieces, as they do where many files are locked. So one that is not there is looked for
/// again.
fn lock_holder_by(mut read: impl FnMut() -> Option<String>, inode: &str) -> Option<u32> {
    (0..LOCK_LIST_READS).find_map(|_| lock_holder_in(&read()?, inode))
}

/// Lines are like `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF`.
fn lock_holder_in(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == inode => pid.parse().ok(),
            _ => None,
        }
    })
}

/// Switch the page cache off, if the file lets one and its size fits: the granule, and what buffers
/// must be aligned to.
fn go_direct(file: &File, bytes: u64, sector: u64) -> Option<(u64, usize)> {
    let flags = rustix::fs::fcntl_getfl(file).ok()?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).ok()?;
    let stated = direct_alignment(file);
    let tried = || [sector, BLOCK_BYTES].into_iter().find(|unit| takes_reads_of(file, *unit));
    let (unit, memory) = stated.or_else(|| tried().map(|unit| (unit, BUFFER_ALIGN))).unzip();
    let fits = |granule: &u64| granule.is_power_of_two() && bytes.is_multiple_of(*granule);
    match unit.map(|unit| unit.max(sector)).filter(fits).zip(memory) {
        Some((granule, memory)) if granule <= MAX_ZERO_GRANULE && memory <= BUFFER_ALIGN => {
            Some((granule, memory.next_power_of_two()))
        }
        _ => {
            let _ = rustix::fs::fcntl_setfl(file, flags);
            None
        }
    }
}

/// What `statx` says: the unit of offsets, and of addresses in memory. Linux 6.1, if at all.
fn direct_alignment(file: &File) -> Option<(u64, usize)> {
    let asked = StatxFlags::DIOALIGN;
    let statx = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, asked).ok()?;
    let known = statx.stx_mask & asked.bits() != 0 && statx.stx_dio_offset_align != 0;
    known.then_some((statx.stx_dio_offset_align.into(), statx.stx_dio_mem_align as usize))
}

fn takes_reads_of(file: &File, unit: u64) -> bool {
    let mut buf = BufferPool::new(0).alloc(unit as usize);
    rustix::io::pread(file, &mut buf[..], unit).is_ok()
}

/// Whether a block device has a command to zero, by the limits of its queue. A partition has that of
/// the whole device.
fn offloads_zeros(file: &File) -> bool {
    let Ok(stat) = rustix::fs::fstat(file) else { return false };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let limit = |queue: &str| {
        let path = format!("/sys/dev/block/{major}:{minor}/{queue}/write_zeroes_max_bytes");
        std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    limit("queue").or_else(|| limit("../queue")).is_some_and(|bytes| bytes > 0)
}

fn zero_granule(block: u64) -> u64 {
    match block.is_power_of_two() {
        true => block.clamp(BLOCK_BYTES, MAX_ZERO_GRANULE),
        false => MAX_ZERO_GRANULE,
    }
}

/// The name of a file system, for people; and `tmpfs` for a decision.
fn file_system(magic: u64) -> &'static str {
    match magic {
        TMPFS_MAGIC => "tmpfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0x794c_7630 => "overlayfs",
        0x6573_5546 => "fuse",
        _ => "file",
    }
}

fn open_error(path: &Path, error: std::io::Error) -> OpenError {
    let path = path.to_path_buf();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NXIO | Errno::NODEV) => {
            OpenError::NotFound { path }
        }
        Some(Errno::ACCESS | Errno::PERM) => OpenError::PermissionDenied { path },
        Some(Errno::ROFS) => OpenError::ReadOnly { path },
        Some(Errno::BUSY) => {
            let by = "it is mounted, or another program has it to itself; unmount it or stop that";
            OpenError::InUse { path, by: by.into() }
        }
        _ => OpenError::Io { path, doing: "open", error },
    }
}

fn io_error(path: &Path, doing: &'static str, error: std::io::Error) -> OpenError {
    OpenError::Io { path: path.into(), doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 99 fe:00:131 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 fe:00:132 0 EOF\n";
        assert_eq!(lock_holder_in(locks, "fe:00:131"), Some(4711));
        assert_eq!(lock_holder_in(locks, "fe:00:132"), None, "it waits, it does not hold");
    }

    #[test]
    fn a_line_that_one_reading_of_the_list_missed_is_found_by_the_next() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF\n";
        let mut readings = ["", line].into_iter();
        let read = || readings.next().map(String::from);
        assert_eq!(lock_holder_by(read, "fe:00:131"), Some(4711));
        assert_eq!(lock_holder_by(|| Some(String::new()), "fe:00:131"), None, "it ends");
        assert_eq!(lock_holder_by(|| None, "fe:00:131"), None, "there is no such list");
    }

    #[test]
    fn odd_block_sizes_zero_in_large_units() {
        assert_eq!(zero_granule(512), 4096);
        assert_eq!(zero_granule(4096), 4096);
        assert_eq!(zero_granule(1 << 20), 64 << 10);
        assert_eq!(zero_granule(12_288), 64 << 10);
    }
}
