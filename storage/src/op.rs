//! What a device can be asked, and what it answers.

use bytes::Bytes;
use rustix::io::Errno;
use std::fmt;
use types::{ByteRange, MAX_REQUEST_BYTES};

/// The caller's name for a request; given back with its completion. The device does not look at it.
pub type OpId = u64;

/// A request. Offsets are absolute on the device; any alignment is accepted.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Read these bytes.
    Read(ByteRange),
    /// Write `data`, which is as long as `range`.
    Write {
        /// Where to.
        range: ByteRange,
        /// The bytes. Nothing is copied when the buffer is aligned as the device wants it.
        data: Bytes,
        /// Whether it must be durable when it is answered.
        fua: bool,
    },
    /// Make these bytes read as zeros.
    Zero {
        /// Which bytes: exactly these, whatever unit the device has.
        range: ByteRange,
        /// Whether the space behind them may be given back.
        unmap: bool,
        /// Whether it must be durable when it is answered.
        fua: bool,
    },
    /// Make every write durable that was answered before this was submitted.
    Flush,
    /// Say which of these bytes are data, and which read as zeros. Of any length: the answer, a
    /// [`StatusMap`](types::StatusMap) as bytes, may end earlier.
    Map(ByteRange),
}

impl Op {
    /// What kind of request it is.
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::Read(_) => OpKind::Read,
            Self::Write { .. } => OpKind::Write,
            Self::Zero { .. } => OpKind::Zero,
            Self::Flush => OpKind::Flush,
            Self::Map(_) => OpKind::Map,
        }
    }

    /// The bytes it is about; empty for a flush.
    pub const fn range(&self) -> ByteRange {
        match self {
            Self::Read(range)
            | Self::Write { range, .. }
            | Self::Zero { range, .. }
            | Self::Map(range) => *range,
            Self::Flush => ByteRange { offset: 0, len: 0 },
        }
    }

    /// Whether it must be durable when it is answered. A flush is not a write.
    pub const fn fua(&self) -> bool {
        match self {
            Self::Write { fua, .. } | Self::Zero { fua, .. } => *fua,
            Self::Read(_) | Self::Flush | Self::Map(_) => false,
        }
    }

    /// Stop the caller who mixed up two writes, on the caller's own thread.
    pub(crate) fn assert_whole(&self) {
        if let Self::Write { range, data, .. } = self {
            assert_eq!(data.len() as u64, range.len, "a write's data is as long as its range");
        }
    }

    /// Whether a device of so many bytes can do it at all.
    pub(crate) fn check(&self, device_bytes: u64, read_only: bool) -> Result<(), DeviceError> {
        let range = self.range();
        let kind = self.kind();
        if range.offset.checked_add(range.len).is_none_or(|end| end > device_bytes) {
            return Err(DeviceError::OutOfRange { kind, range, device_bytes });
        }
        if matches!(kind, OpKind::Read | OpKind::Write) && range.len > MAX_REQUEST_BYTES {
            return Err(DeviceError::TooLong { kind, range });
        }
        if read_only && matches!(kind, OpKind::Write | OpKind::Zero) {
            return Err(DeviceError::ReadOnly { kind, range });
        }
        Ok(())
    }
}

impl fmt::Debug for Op {
    /// Says how long the data is and not what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fua = if self.fua() { " fua" } else { "" };
        match self {
            Self::Zero { range, unmap: true, .. } => write!(f, "zero {range} unmap{fua}"),
            Self::Flush => f.write_str("flush"),
            _ => write!(f, "{} {}{fua}", self.kind(), self.range()),
        }
    }
}

/// The kinds of request, for errors and for rules about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// [`Op::Read`].
    Read,
    /// [`Op::Write`].
    Write,
    /// [`Op::Zero`].
    Zero,
    /// [`Op::Flush`].
    Flush,
    /// [`Op::Map`].
    Map,
}

impl OpKind {
    /// Whether it leaves everything as it is: then it may be done also on a poisoned device.
    pub(crate) const fn only_looks(self) -> bool {
        matches!(self, Self::Read | Self::Map)
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Zero => "zero",
            Self::Flush => "flush",
            Self::Map => "map",
        })
    }
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The id that it was submitted with.
    pub id: OpId,
    /// The data of a read, the map of a [`Op::Map`], nothing for the others; or why it failed.
    pub result: Result<Bytes, DeviceError>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The device or the file system refused.
    #[error("{kind} of {range} failed: {}", describe_errno(*errno))]
    Io {
        /// What was tried.
        kind: OpKind,
        /// On which bytes.
        range: ByteRange,
        /// The error number.
        errno: i32,
    },
    /// A flush failed, or a write that had to be durable. The device is poisoned from now on.
    #[error("flush failed, so earlier writes may be lost: {}", describe_errno(*errno))]
    FlushFailed {
        /// The error number.
        errno: i32,
    },
    /// An earlier flush failed; nothing that is written could be trusted. Detach the device.
    #[error("refused: an earlier flush of this device failed, so earlier writes may be lost")]
    Poisoned,
    /// It reaches over the end of the device.
    #[error("{kind} of {range} reaches over the end of the device at {device_bytes}")]
    OutOfRange {
        /// What was asked.
        kind: OpKind,
        /// Of which bytes.
        range: ByteRange,
        /// The size of the device.
        device_bytes: u64,
    },
    /// More in one request than [`MAX_REQUEST_BYTES`].
    #[error("{kind} of {range} is longer than {MAX_REQUEST_BYTES} bytes, the most in one request")]
    TooLong {
        /// What was asked.
        kind: OpKind,
        /// Of which bytes.
        range: ByteRange,
    },
    /// The device was opened for reading only.
    #[error("{kind} of {range} refused: the device is open for reading only")]
    ReadOnly {
        /// What was asked.
        kind: OpKind,
        /// On which bytes.
        range: ByteRange,
    },
    /// The file or device has become shorter since it was opened.
    #[error(
        "{kind} of {range} came to an end at {at}: the device is shorter than when it was opened"
    )]
    Truncated {
        /// What was tried.
        kind: OpKind,
        /// On which bytes.
        range: ByteRange,
        /// Where the data ends.
        at: u64,
    },
    /// A flush was asked for by a plain call while one of the queue was running.
    #[error("flush refused: another flush is running; wait until nothing is in flight")]
    FlushRunning,
}

impl DeviceError {
    /// The error number that a client would get for it.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Io { errno, .. } | Self::FlushFailed { errno } => *errno,
            Self::Poisoned | Self::Truncated { .. } => Errno::IO.raw_os_error(),
            Self::OutOfRange { .. } | Self::TooLong { .. } => Errno::INVAL.raw_os_error(),
            Self::ReadOnly { .. } => Errno::ROFS.raw_os_error(),
            Self::FlushRunning => Errno::BUSY.raw_os_error(),
        }
    }

    /// Whether there was no space left: the one error that an operator can mend under way.
    pub fn is_no_space(&self) -> bool {
        [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error).contains(&self.errno())
    }
}

/// The name by which manuals and the kernel's log have it, and what it means.
fn describe_errno(errno: i32) -> String {
    let meaning = std::io::Error::from_raw_os_error(errno);
    match ERRNO_NAMES.iter().find(|(known, _)| known.raw_os_error() == errno) {
        Some((_, name)) => format!("{name}, {meaning}"),
        None => meaning.to_string(),
    }
}

/// What disks and file systems say.
const ERRNO_NAMES: &[(Errno, &str)] = &[
    (Errno::IO, "EIO"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::DQUOT, "EDQUOT"),
    (Errno::ROFS, "EROFS"),
    (Errno::FBIG, "EFBIG"),
    (Errno::NXIO, "ENXIO"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NODATA, "ENODATA"),
    (Errno::ILSEQ, "EILSEQ"),
    (Errno::REMOTEIO, "EREMOTEIO"),
    (Errno::NOLINK, "ENOLINK"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::BUSY, "EBUSY"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::PERM, "EPERM"),
    (Errno::STALE, "ESTALE"),
];
