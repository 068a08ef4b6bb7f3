//! What a client asks for.

use bytes::Bytes;

const FLAG_FUA: u16 = 1;
const FLAG_NO_HOLE: u16 = 2;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read `len` bytes.
    Read {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// Write `data`.
    Write {
        /// First byte.
        offset: u64,
        /// What to write.
        data: Bytes,
        /// Answered only when durable.
        fua: bool,
    },
    /// Make zero by TRIM.
    Trim {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
        /// Answered only when durable.
        fua: bool,
    },
    /// Make zero by WRITE_ZEROES.
    WriteZeroes {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
        /// Keep the space.
        no_hole: bool,
        /// Answered only when durable.
        fua: bool,
    },
    /// Make answered writes durable.
    Flush,
    /// Any command and flags without payload, valid or not.
    Raw {
        /// The command's number.
        command: u16,
        /// The flags.
        flags: u16,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
    },
}

impl Operation {
    /// A read.
    pub fn read(offset: u64, len: u32) -> Self {
        Self::Read { offset, len }
    }

    /// A write, not FUA.
    pub fn write(offset: u64, data: impl Into<Bytes>) -> Self {
        Self::Write { offset, data: data.into(), fua: false }
    }

    /// Command, flags, offset, length.
    pub(super) fn header(&self) -> (u16, u16, u64, u32) {
        let fua = |fua: bool| if fua { FLAG_FUA } else { 0 };
        match *self {
            Self::Read { offset, len } => (0, 0, offset, len),
            Self::Write { offset, ref data, fua: durable } => {
                let len = u32::try_from(data.len()).expect("a test writes less than 4 GiB at once");
                (1, fua(durable), offset, len)
            }
            Self::Flush => (3, 0, 0, 0),
            Self::Trim { offset, len, fua: durable } => (4, fua(durable), offset, len),
            Self::WriteZeroes { offset, len, no_hole, fua: durable } => {
                let no_hole = if no_hole { FLAG_NO_HOLE } else { 0 };
                (6, fua(durable) | no_hole, offset, len)
            }
            Self::Raw { command, flags, offset, len } => (command, flags, offset, len),
        }
    }
}
