//! What a client asks for.

use bytes::Bytes;

/// The command's numbers.
pub(super) mod command {
    pub(crate) const READ: u16 = 0;
    pub(crate) const WRITE: u16 = 1;
    pub(crate) const DISC: u16 = 2;
    pub(crate) const FLUSH: u16 = 3;
    pub(crate) const TRIM: u16 = 4;
    pub(crate) const WRITE_ZEROES: u16 = 6;
    pub(crate) const BLOCK_STATUS: u16 = 7;
}

/// Durable before it is answered.
pub const FLAG_FUA: u16 = 1 << 0;
/// Of WRITE_ZEROES: keep the space.
pub const FLAG_NO_HOLE: u16 = 1 << 1;
/// Of READ: one chunk with data at most.
pub const FLAG_DF: u16 = 1 << 2;
/// Of BLOCK_STATUS: one extent for each context.
pub const FLAG_REQ_ONE: u16 = 1 << 3;
/// Of WRITE_ZEROES: fast, or not at all.
pub const FLAG_FAST_ZERO: u16 = 1 << 4;
/// With extended headers: a payload follows, as long as the length says.
pub const FLAG_PAYLOAD_LEN: u16 = 1 << 5;

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
    /// Any command, flags and payload, valid or not. Nothing is added to the flags. Without
    /// extended headers the length goes out as its lower 32 bits.
    Raw {
        /// The command's number.
        command: u16,
        /// The flags.
        flags: u16,
        /// First byte.
        offset: u64,
        /// Bytes, as the header says.
        len: u64,
        /// What is sent behind the header.
        payload: Bytes,
    },
}

/// The fields of a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) command: u16,
    pub(super) flags: u16,
    pub(super) offset: u64,
    pub(super) len: u64,
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

    /// Any command without payload.
    pub fn raw(command: u16, flags: u16, offset: u64, len: u64) -> Self {
        Self::Raw { command, flags, offset, len, payload: Bytes::new() }
    }

    /// BLOCK_STATUS.
    pub fn block_status(offset: u64, len: u64, flags: u16) -> Self {
        Self::raw(command::BLOCK_STATUS, flags, offset, len)
    }

    /// BLOCK_STATUS, of these contexts only. With extended headers.
    pub fn filtered_status(offset: u64, len: u64, flags: u16, contexts: &[u32]) -> Self {
        let ids = contexts.iter().flat_map(|id| id.to_be_bytes());
        let payload: Bytes = len.to_be_bytes().into_iter().chain(ids).collect();
        let (command, flags) = (command::BLOCK_STATUS, flags | FLAG_PAYLOAD_LEN);
        Self::Raw { command, flags, offset, len: payload.len() as u64, payload }
    }

    /// The length and the contexts that a payload of BLOCK_STATUS names.
    pub(super) fn filter(&self, extended: bool) -> Option<(u64, Vec<u32>)> {
        let Self::Raw { command: command::BLOCK_STATUS, flags, payload, .. } = self else {
            return None;
        };
        let (len, ids) = payload.split_first_chunk()?;
        let ids = ids.chunks_exact(4).map(|id| id.try_into().map_or(0, u32::from_be_bytes));
        let named = extended && flags & FLAG_PAYLOAD_LEN != 0;
        named.then(|| (u64::from_be_bytes(*len), ids.collect()))
    }

    /// What follows the header on the wire.
    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Write { data, .. } => data,
            Self::Raw { payload, .. } => payload,
            _ => &[],
        }
    }

    /// Its header. With extended headers a write says that it has a payload.
    pub(super) fn header(&self, extended: bool) -> Header {
        let fua = |fua: bool| if fua { FLAG_FUA } else { 0 };
        let new = |command, flags, offset, len| Header { command, flags, offset, len };
        match *self {
            Self::Read { offset, len } => new(command::READ, 0, offset, len.into()),
            Self::Write { offset, ref data, fua: durable } => {
                let payload_len = if extended { FLAG_PAYLOAD_LEN } else { 0 };
                new(command::WRITE, fua(durable) | payload_len, offset, data.len() as u64)
            }
            Self::Flush => new(command::FLUSH, 0, 0, 0),
            Self::Trim { offset, len, fua: durable } => {
                new(command::TRIM, fua(durable), offset, len.into())
            }
            Self::WriteZeroes { offset, len, no_hole, fua: durable } => {
                let no_hole = if no_hole { FLAG_NO_HOLE } else { 0 };
                new(command::WRITE_ZEROES, fua(durable) | no_hole, offset, len.into())
            }
            Self::Raw { command, flags, offset, len, .. } => new(command, flags, offset, len),
        }
    }
}
