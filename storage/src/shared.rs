//! What every part of one open device knows: its geometry, what it turned out not to support, and
//! whether it is poisoned.

use crate::DeviceError;
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use types::ByteRange;

/// The sizes and units of a device. Units are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Size in bytes when it was opened, a multiple of the granule.
    pub(crate) bytes: u64,
    /// The unit of offsets and lengths: 1, or the sector of a device that is open with `O_DIRECT`.
    pub(crate) granule: u64,
    /// What the address of a buffer must be a multiple of.
    pub(crate) memory_align: usize,
    /// The unit in which space is zeroed or given back without a write: never cut smaller, as a
    /// file system would zero the rest of its block through the page cache, behind `O_DIRECT`.
    pub(crate) zero_granule: u64,
    /// Whether it is open for reading only.
    pub(crate) read_only: bool,
    /// Whether what is behind it zeroes without anybody sending zeros. A block device may not: then
    /// the kernel does it, and is as slow as we would be.
    pub(crate) offloads_zeros: bool,
}

/// A way to zero without sending zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroWay {
    /// Give the space back; it reads as zeros.
    PunchHole,
    /// Zero it and keep the space.
    ZeroRange,
}

/// Shared between a device and its workers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) geometry: Geometry,
    /// Its size by now.
    bytes: AtomicU64,
    poisoned: AtomicBool,
    no_punch_hole: AtomicBool,
    no_zero_range: AtomicBool,
    no_dsync: AtomicBool,
    flushing: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let never = || AtomicBool::new(false);
        Self {
            geometry,
            bytes: AtomicU64::new(geometry.bytes),
            poisoned: never(),
            no_punch_hole: never(),
            no_zero_range: never(),
            // Only O_DIRECT writes leave nothing in the page cache for a flush to write: with
            // buffered ones, errors of the write-back must meet one flush at a time.
            no_dsync: AtomicBool::new(geometry.granule == 1),
            flushing: Mutex::new(()),
        }
    }

    /// Size in bytes, a multiple of the granule.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// It was found to be so large by now; what is no whole granule is not used. Requests that were
    /// taken before stay taken, so it never becomes smaller here.
    pub(crate) fn grow_to(&self, bytes: u64) {
        let unit = types::SECTOR_BYTES.max(self.geometry.granule);
        self.bytes.fetch_max(bytes - bytes % unit, Ordering::SeqCst);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Refuse every write and flush from now on.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    /// The outcome of a flush, seen together with the others. The kernel tells an error of the
    /// write-back to one flush only, so the flushes after a failed one fail too.
    pub(crate) fn judge_flush(&self, result: Result<(), Errno>) -> Result<(), DeviceError> {
        match result {
            Err(errno) => {
                self.poison();
                Err(DeviceError::FlushFailed { errno: errno.raw_os_error() })
            }
            Ok(()) if self.is_poisoned() => Err(DeviceError::Poisoned),
            Ok(()) => Ok(()),
        }
    }

    /// Hold this while a flush runs: two at once could share one error between them.
    pub(crate) fn flush_lock(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().expect("nothing panics while a flush runs")
    }

    /// The best way to zero that is not known to fail; none if zeros must be written.
    pub(crate) fn zero_way(&self, unmap: bool) -> Option<ZeroWay> {
        if unmap && !self.no_punch_hole.load(Ordering::Relaxed) {
            Some(ZeroWay::PunchHole)
        } else if !self.no_zero_range.load(Ordering::Relaxed) {
            Some(ZeroWay::ZeroRange)
        } else {
            None
        }
    }

    /// Whether no zeros will be sent to the device for a request to zero, as far as is known.
    pub(crate) fn zeroes_fast(&self, unmap: bool) -> bool {
        self.geometry.offloads_zeros && self.zero_way(unmap).is_some()
    }

    pub(crate) fn lacks_zero_way(&self, way: ZeroWay) {
        match way {
            ZeroWay::PunchHole => &self.no_punch_hole,
            ZeroWay::ZeroRange => &self.no_zero_range,
        }
        .store(true, Ordering::Relaxed);
    }

    /// Whether one write can be made durable by itself.
    pub(crate) fn has_dsync(&self) -> bool {
        !self.no_dsync.load(Ordering::Relaxed)
    }

    pub(crate) fn lacks_dsync(&self) {
        self.no_dsync.store(true, Ordering::Relaxed);
    }
}

impl Geometry {
    /// Memory takes anything.
    pub(crate) const fn of_memory(bytes: u64) -> Self {
        Self {
            bytes,
            granule: 1,
            memory_align: 1,
            zero_granule: 1,
            read_only: false,
            offloads_zeros: true,
        }
    }

    /// Whether a buffer at this address can be used as it is for these bytes.
    pub(crate) fn takes(&self, data: &[u8], range: ByteRange) -> bool {
        data.as_ptr().addr().is_multiple_of(self.memory_align) && range == range.widen(self.granule)
    }
}
