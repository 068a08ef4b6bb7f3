//! One request of the transmission phase: from 28 bytes to a valid [`Command`], or to an error
//! that says why.
//!
//! The order of the checks fixes which error a client sees when several apply: the flags, then
//! whether the export may be written, then the length, then the alignment, then the end of the
//! device.

use crate::errno::Errno;
use crate::export::ExportInfo;
use crate::proto::{REQUEST_MAGIC, RequestHeader, command, command_flag};
use bytes::Bytes;
use types::ByteRange;

/// The longest payload of a refused WRITE that is read and thrown away to keep the connection.
/// A longer one closes it: no client sends more, and reading it would be work for nothing.
pub const DRAIN_MAX_BYTES: u32 = 128 << 20;

/// One request, valid against the export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, to be echoed in the reply.
    pub cookie: u64,
    /// What it asks for.
    pub command: Command,
}

impl Request {
    /// Whether it touches no byte: a request of length zero, which succeeds at once.
    pub fn is_empty(&self) -> bool {
        match self.command {
            Command::Read(range)
            | Command::Write { range, .. }
            | Command::Zero { range, .. }
            | Command::Cache(range) => range.is_empty(),
            Command::Flush => false,
        }
    }
}

/// What a request asks for. Every range lies within the export; it may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answer with the content of the range, at most the export's `max_payload`.
    Read(ByteRange),
    /// Write `data`, which is as long as the range.
    Write {
        /// Where.
        range: ByteRange,
        /// What.
        data: Bytes,
        /// Answered only when durable.
        fua: bool,
    },
    /// The range reads as zeros from now on. It may be as long as 4 GiB - 1. A TRIM is one too:
    /// trimmed blocks read as zeros.
    Zero {
        /// Where.
        range: ByteRange,
        /// The space may be freed.
        unmap: bool,
        /// Answered only when durable.
        fua: bool,
    },
    /// Every write answered before is durable when this is answered.
    Flush,
    /// The range will be read soon; doing nothing is right.
    Cache(ByteRange),
}

/// What the bytes of one header ask the reader to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A request without payload.
    Ready(Request),
    /// A WRITE; its payload, as long as the range, follows on the wire.
    Write { cookie: u64, range: ByteRange, fua: bool },
    /// A request that is refused; `payload` bytes follow on the wire and must be thrown away.
    Refused { cookie: u64, errno: Errno, why: String, payload: u32 },
    /// The client goes away in order.
    Disconnect,
}

/// A header after which the connection cannot go on: where the next request begins is unknown,
/// or too far away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRequest {
    /// It does not begin as a request does.
    #[error("a request begins with 0x{0:08x} and not with 0x{REQUEST_MAGIC:08x}")]
    Magic(u32),
    /// A WRITE of so many bytes is refused, and its payload is too long to be thrown away.
    #[error("a WRITE of {0} bytes is far over the limit ({DRAIN_MAX_BYTES} bytes)")]
    Payload(u32),
}

/// Judges one header against the export.
pub(crate) fn parse(header: &RequestHeader, export: &ExportInfo) -> Result<Header, BrokenRequest> {
    if header.magic.get() != REQUEST_MAGIC {
        return Err(BrokenRequest::Magic(header.magic.get()));
    }
    let payload = if header.command.get() == command::WRITE { header.len.get() } else { 0 };
    match accept(header, export) {
        Ok(header) => Ok(header),
        Err(_) if payload > DRAIN_MAX_BYTES => Err(BrokenRequest::Payload(payload)),
        Err((errno, why)) => {
            Ok(Header::Refused { cookie: header.cookie.get(), errno, why, payload })
        }
    }
}

type Refused = (Errno, String);

fn accept(header: &RequestHeader, export: &ExportInfo) -> Result<Header, Refused> {
    let cookie = header.cookie.get();
    let fua = header.flags.get() & command_flag::FUA != 0;
    let ready = |command| Ok(Header::Ready(Request { cookie, command }));
    match header.command.get() {
        command::READ => {
            check_flags(header, 0)?;
            check_payload(header, export)?;
            ready(Command::Read(range(header, export, Errno::Inval)?))
        }
        command::WRITE => {
            check_flags(header, 0)?;
            check_writable(header, export)?;
            check_payload(header, export)?;
            Ok(Header::Write { cookie, range: range(header, export, Errno::NoSpc)?, fua })
        }
        // There is no reply to tell an error in: the client goes, whatever the flags are.
        command::DISC => Ok(Header::Disconnect),
        command::FLUSH => {
            // Offset and length are reserved; clients that set them mean no harm.
            check_flags(header, 0)?;
            ready(Command::Flush)
        }
        command::TRIM => {
            check_flags(header, 0)?;
            check_writable(header, export)?;
            let range = range(header, export, Errno::Inval)?;
            ready(Command::Zero { range, unmap: true, fua })
        }
        command::WRITE_ZEROES => {
            check_flags(header, command_flag::NO_HOLE)?;
            check_writable(header, export)?;
            let range = range(header, export, Errno::NoSpc)?;
            let unmap = header.flags.get() & command_flag::NO_HOLE == 0;
            ready(Command::Zero { range, unmap, fua })
        }
        command::CACHE => {
            check_flags(header, 0)?;
            ready(Command::Cache(range(header, export, Errno::Inval)?))
        }
        other => Err((Errno::Inval, format!("{} ({other}) is not served", command::name(other)))),
    }
}

/// FUA is allowed on every command; `allowed` are the other flags of this one.
fn check_flags(header: &RequestHeader, allowed: u16) -> Result<(), Refused> {
    let strange = header.flags.get() & !(command_flag::FUA | allowed);
    if strange == 0 {
        return Ok(());
    }
    let name = command::name(header.command.get());
    Err((Errno::Inval, format!("{name} with flags 0x{strange:x}, which are not agreed for it")))
}

fn check_writable(header: &RequestHeader, export: &ExportInfo) -> Result<(), Refused> {
    if !export.read_only {
        return Ok(());
    }
    let name = command::name(header.command.get());
    Err((Errno::Perm, format!("{name} to {}, which is read-only", export.name)))
}

fn check_payload(header: &RequestHeader, export: &ExportInfo) -> Result<(), Refused> {
    let (len, max) = (header.len.get(), export.max_payload);
    if len <= max {
        return Ok(());
    }
    let name = command::name(header.command.get());
    Err((Errno::Inval, format!("{name} of {len} bytes; at most {max} are served")))
}

/// The request's range if it is aligned and within the export, else an error; `past_end` is the
/// one for a range that ends after the export.
fn range(
    header: &RequestHeader,
    export: &ExportInfo,
    past_end: Errno,
) -> Result<ByteRange, Refused> {
    let name = command::name(header.command.get());
    let (offset, len) = (header.offset.get(), u64::from(header.len.get()));
    let granule = u64::from(export.min_block);
    if !offset.is_multiple_of(granule) || !len.is_multiple_of(granule) {
        let why = format!("{name} {offset}+{len} is not a multiple of {granule} bytes");
        return Err((Errno::Inval, why));
    }
    match offset.checked_add(len) {
        Some(end) if end <= export.size => Ok(ByteRange::new(offset, len)),
        _ => {
            let size = export.size;
            Err((past_end, format!("{name} {offset}+{len} is past the end, {size} bytes")))
        }
    }
}

#[cfg(test)]
mod tests;
