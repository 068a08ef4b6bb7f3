//! The errors that a client can be told, by the numbers of the protocol.

use std::io::{self, ErrorKind};

/// An error of one request. The numbers are the protocol's, whatever the system calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u32)]
pub enum Errno {
    /// The export is read-only.
    #[error("EPERM")]
    Perm = 1,
    /// The disk failed, or the resource cannot be served.
    #[error("EIO")]
    Io = 5,
    /// No memory for it now.
    #[error("ENOMEM")]
    NoMem = 12,
    /// The request breaks a rule.
    #[error("EINVAL")]
    Inval = 22,
    /// A write past the end, or no space below.
    #[error("ENOSPC")]
    NoSpc = 28,
    /// The answer would be too large.
    #[error("EOVERFLOW")]
    Overflow = 75,
    /// A fast zero is not possible.
    #[error("ENOTSUP")]
    NotSup = 95,
    /// The server is going down. It obliges the client to disconnect: never for a passing trouble.
    #[error("ESHUTDOWN")]
    Shutdown = 108,
}

impl Errno {
    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The error of this number on the wire; `None` for zero and for numbers that the protocol
    /// does not have.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Perm,
            5 => Self::Io,
            12 => Self::NoMem,
            22 => Self::Inval,
            28 => Self::NoSpc,
            75 => Self::Overflow,
            95 => Self::NotSup,
            108 => Self::Shutdown,
            _ => return None,
        })
    }
}

/// What a client is told about an error of the operating system.
impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::NoSpc
            }
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::Perm,
            ErrorKind::OutOfMemory => Self::NoMem,
            ErrorKind::InvalidInput => Self::Inval,
            _ => Self::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_protocol() {
        for code in 0..200 {
            if let Some(errno) = Errno::from_code(code) {
                assert_eq!(errno.code(), code);
            }
        }
        assert_eq!((0..200).filter_map(Errno::from_code).count(), 8);
    }

    #[test]
    fn errors_of_the_system_become_errors_of_the_protocol() {
        let of = |raw| Errno::from(&io::Error::from_raw_os_error(raw));
        const { assert!(cfg!(target_os = "linux")) };
        assert_eq!(of(28), Errno::NoSpc, "ENOSPC");
        assert_eq!(of(122), Errno::NoSpc, "EDQUOT");
        assert_eq!(of(27), Errno::NoSpc, "EFBIG");
        assert_eq!(of(30), Errno::Perm, "EROFS");
        assert_eq!(of(12), Errno::NoMem, "ENOMEM");
        assert_eq!(of(5), Errno::Io, "EIO");
        assert_eq!(of(110), Errno::Io, "ETIMEDOUT");
    }
}
