//! One request of the transmission phase: from the bytes of a header to a valid [`Command`], or to an
//! error that says why.
//!
//! The order of the checks fixes which error a client sees when several apply: the flags, then
//! whether the export may be written, then the length, then the alignment, then the end of the
//! device.
//!
//! How far the stream goes on is decided by the header alone, so that a request that is wrong leaves it
//! in step: a WRITE has a payload, and with extended headers so has what has the flag PAYLOAD_LEN. (A
//! WRITE is to have it, too; but QEMU 10.0 leaves it out, and sends the payload all the same.)

use crate::context::{Context, Contexts};
use crate::errno::Errno;
use crate::negotiate::Terms;
use crate::proto::{
    EXTENDED_REQUEST_MAGIC, ExtendedRequestHeader, REQUEST_MAGIC, RequestHeader, command,
    command_flag,
};
use crate::reply::{Failure, Replies, Ticket};
use bytes::{Buf, Bytes};
use types::ByteRange;
use zerocopy::FromBytes;

/// The longest READ and the longest payload of a WRITE that is served, whatever the export says:
/// clients that do not ask for its limit send more than 32 MiB, nbd-server's own test for one.
pub const SERVED_MAX_BYTES: u64 = 64 << 20;
/// The longest payload of a refused request that is read and thrown away to keep the connection.
/// A longer one closes it: no client sends more, and reading it would be work for nothing.
pub const DRAIN_MAX_BYTES: u64 = 128 << 20;
/// The longest payload of a BLOCK_STATUS: a length, and more numbers than there are contexts.
pub(crate) const FILTER_MAX_BYTES: usize = 64;

/// One request, valid against the export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// To be given back with the answer.
    pub ticket: Ticket,
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
            | Command::Status { range, .. }
            | Command::Cache(range) => range.is_empty(),
            Command::Flush => false,
        }
    }
}

/// What a request asks for. Every range lies within the export; it may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answer with the content of the range, at most [`SERVED_MAX_BYTES`].
    Read(ByteRange),
    /// Write `data`, which is as long as the range, at most [`SERVED_MAX_BYTES`].
    Write {
        /// Where.
        range: ByteRange,
        /// What.
        data: Bytes,
        /// Answered only when durable.
        fua: bool,
    },
    /// The range reads as zeros from now on. It may be as long as the export. A TRIM is one too:
    /// trimmed blocks read as zeros.
    Zero {
        /// Where.
        range: ByteRange,
        /// The space may be freed.
        unmap: bool,
        /// Answered only when durable.
        fua: bool,
        /// To be refused with ENOTSUP if it would take as long as writing zeros.
        fast: bool,
    },
    /// Every write answered before is durable when this is answered.
    Flush,
    /// The range will be read soon; doing nothing is right.
    Cache(ByteRange),
    /// What is known of the range, which is not empty.
    Status {
        /// Where.
        range: ByteRange,
        /// In which contexts, one at least.
        contexts: Contexts,
        /// Answer with one extent in each.
        one: bool,
    },
}

/// What the bytes of one header ask the reader to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A request without payload.
    Ready(Request),
    /// A WRITE; its payload, as long as the range, follows on the wire.
    Write { ticket: Ticket, range: ByteRange, fua: bool },
    /// A request that is refused; `payload` bytes follow on the wire and must be thrown away.
    Refused { ticket: Ticket, failure: Failure, payload: u64 },
    /// The client goes away in order.
    Disconnect,
}

/// A header after which the connection cannot go on: where the next request begins is unknown,
/// or too far away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRequest {
    /// It does not begin as a request does.
    #[error("a request begins with 0x{0:08x} and not with 0x{1:08x}")]
    Magic(u32, u32),
    /// A request is refused, and its payload of so many bytes is too long to be thrown away.
    #[error("a request with {0} bytes is far over the limit ({1} bytes)")]
    Payload(u64, u64),
}

/// A header of either kind, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) flags: u16,
    pub(crate) command: u16,
    pub(crate) ticket: Ticket,
    pub(crate) len: u64,
    /// How much of `len` follows on the wire.
    pub(crate) payload: u64,
}

impl Fields {
    /// The header at the beginning of `bytes`, and how long it is; nothing if it is not all there.
    pub(crate) fn read(
        bytes: &[u8],
        replies: Replies,
    ) -> Result<Option<(Self, usize)>, BrokenRequest> {
        if replies == Replies::Extended {
            let Ok((header, _)) = ExtendedRequestHeader::ref_from_prefix(bytes) else {
                return Ok(None);
            };
            check_magic(header.magic.get(), EXTENDED_REQUEST_MAGIC)?;
            let (flags, len) = (header.flags.get(), header.len.get());
            let ticket = Ticket { cookie: header.cookie.get(), offset: header.offset.get() };
            let command = header.command.get();
            let has_payload = command == command::WRITE || flags & command_flag::PAYLOAD_LEN != 0;
            let payload = if has_payload { len } else { 0 };
            let fields = Self { flags, command, ticket, len, payload };
            return Ok(Some((fields, size_of::<ExtendedRequestHeader>())));
        }
        let Ok((header, _)) = RequestHeader::ref_from_prefix(bytes) else { return Ok(None) };
        check_magic(header.magic.get(), REQUEST_MAGIC)?;
        let (command, len) = (header.command.get(), u64::from(header.len.get()));
        let ticket = Ticket { cookie: header.cookie.get(), offset: header.offset.get() };
        let payload = if command == command::WRITE { len } else { 0 };
        let fields = Self { flags: header.flags.get(), command, ticket, len, payload };
        Ok(Some((fields, size_of::<RequestHeader>())))
    }

    /// How many bytes of payload must be there before it can be judged.
    pub(crate) fn filter_bytes(&self) -> usize {
        match self.command {
            command::BLOCK_STATUS if self.payload <= FILTER_MAX_BYTES as u64 => {
                self.payload as usize
            }
            _ => 0,
        }
    }
}

fn check_magic(found: u32, expected: u32) -> Result<(), BrokenRequest> {
    if found == expected { Ok(()) } else { Err(BrokenRequest::Magic(found, expected)) }
}

/// Judges one header by the terms. `filter` is the payload of a BLOCK_STATUS, as long as
/// [`Fields::filter_bytes`] says; it is taken from the wire with the header.
pub(crate) fn judge(
    fields: &Fields,
    filter: &[u8],
    terms: &Terms,
) -> Result<Header, BrokenRequest> {
    let judge = Judge { fields, terms };
    match judge.accept(filter) {
        Ok(header) => Ok(header),
        Err(failure) => {
            // With extended headers each client has agreed to a limit.
            let limit = match terms.replies {
                Replies::Extended => SERVED_MAX_BYTES,
                Replies::Simple | Replies::Structured => DRAIN_MAX_BYTES,
            };
            if fields.payload > limit {
                return Err(BrokenRequest::Payload(fields.payload, limit));
            }
            let payload = fields.payload - filter.len() as u64;
            Ok(Header::Refused { ticket: fields.ticket, failure, payload })
        }
    }
}

struct Judge<'a> {
    fields: &'a Fields,
    terms: &'a Terms,
}

impl Judge<'_> {
    fn accept(&self, filter: &[u8]) -> Result<Header, Failure> {
        let &Fields { flags, command, ticket, .. } = self.fields;
        let fua = flags & command_flag::FUA != 0;
        let ready = |command| Ok(Header::Ready(Request { ticket, command }));
        match command {
            command::READ => {
                self.check_flags(match self.terms.replies {
                    Replies::Simple => 0,
                    Replies::Structured | Replies::Extended => command_flag::DF,
                })?;
                self.check_length()?;
                ready(Command::Read(self.range(Errno::Inval)?))
            }
            command::WRITE => {
                self.check_flags(match self.terms.replies {
                    Replies::Simple | Replies::Structured => 0,
                    Replies::Extended => command_flag::PAYLOAD_LEN,
                })?;
                self.check_writable()?;
                self.check_length()?;
                Ok(Header::Write { ticket, range: self.range(Errno::NoSpc)?, fua })
            }
            // There is no reply to tell an error in: the client goes, whatever the flags are.
            command::DISC => Ok(Header::Disconnect),
            command::FLUSH => {
                // Offset and length are reserved; clients that set them mean no harm.
                self.check_flags(0)?;
                ready(Command::Flush)
            }
            command::TRIM => {
                self.check_flags(0)?;
                self.check_writable()?;
                let range = self.range(Errno::Inval)?;
                ready(Command::Zero { range, unmap: true, fua, fast: false })
            }
            command::WRITE_ZEROES => {
                self.check_flags(command_flag::NO_HOLE | command_flag::FAST_ZERO)?;
                self.check_writable()?;
                let range = self.range(Errno::NoSpc)?;
                let unmap = flags & command_flag::NO_HOLE == 0;
                let fast = flags & command_flag::FAST_ZERO != 0;
                ready(Command::Zero { range, unmap, fua, fast })
            }
            command::CACHE => {
                self.check_flags(0)?;
                ready(Command::Cache(self.range(Errno::Inval)?))
            }
            command::BLOCK_STATUS => ready(self.status(filter)?),
            other => {
                let why = format!("{} ({other}) is not served", command::name(other));
                Err(Failure::new(Errno::Inval, why))
            }
        }
    }

    fn name(&self) -> &'static str {
        command::name(self.fields.command)
    }

    fn invalid(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(Errno::Inval, format!("{} {why}", self.name()))
    }

    /// FUA is allowed on every command; `allowed` are the other flags of this one.
    fn check_flags(&self, allowed: u16) -> Result<(), Failure> {
        match self.fields.flags & !(command_flag::FUA | allowed) {
            0 => Ok(()),
            strange => {
                Err(self.invalid(format_args!("with flags 0x{strange:x}, not agreed for it")))
            }
        }
    }

    fn check_writable(&self) -> Result<(), Failure> {
        let export = &self.terms.export;
        if !export.read_only {
            return Ok(());
        }
        let why = format!("{} to {}, which is read-only", self.name(), export.name);
        Err(Failure::new(Errno::Perm, why))
    }

    /// A chunk must not hold more than the client was told, and a READ is answered in one.
    fn check_length(&self) -> Result<(), Failure> {
        let told = u64::from(self.terms.export.max_payload);
        let in_a_chunk = self.fields.command == command::READ;
        let max = match self.terms.replies {
            Replies::Structured | Replies::Extended if in_a_chunk => told,
            _ => told.max(SERVED_MAX_BYTES),
        };
        match self.fields.len {
            len if len <= max => Ok(()),
            len => Err(self.invalid(format_args!("of {len} bytes; at most {max} are served"))),
        }
    }

    /// The request's range if it is aligned and within the export, else an error; `past_end` is
    /// the one for a range that ends after the export.
    fn range(&self, past_end: Errno) -> Result<ByteRange, Failure> {
        self.range_of(self.fields.len, past_end)
    }

    fn range_of(&self, len: u64, past_end: Errno) -> Result<ByteRange, Failure> {
        let (name, offset, export) = (self.name(), self.fields.ticket.offset, &self.terms.export);
        let granule = u64::from(export.min_block);
        if !offset.is_multiple_of(granule) || !len.is_multiple_of(granule) {
            return Err(
                self.invalid(format_args!("{offset}+{len} is not a multiple of {granule} bytes"))
            );
        }
        match offset.checked_add(len) {
            Some(end) if end <= export.size => Ok(ByteRange::new(offset, len)),
            _ => {
                let why = format!("{name} {offset}+{len} is past the end, {} bytes", export.size);
                Err(Failure::new(past_end, why))
            }
        }
    }

    /// BLOCK_STATUS: of the contexts that were selected, or of those that its payload names.
    fn status(&self, filter: &[u8]) -> Result<Command, Failure> {
        let Terms { replies, contexts, .. } = self.terms;
        if contexts.is_empty() {
            return Err(self.invalid("without a meta context that was selected for this export"));
        }
        let payload = match replies {
            Replies::Extended => command_flag::PAYLOAD_LEN,
            Replies::Simple | Replies::Structured => 0,
        };
        self.check_flags(command_flag::REQ_ONE | payload)?;
        let (len, contexts) = match self.fields.flags & command_flag::PAYLOAD_LEN {
            0 => (self.fields.len, *contexts),
            _ => self.filter(filter)?,
        };
        let range = self.range_of(len, Errno::Inval)?;
        if range.is_empty() {
            return Err(self.invalid("of nothing"));
        }
        let one = self.fields.flags & command_flag::REQ_ONE != 0;
        Ok(Command::Status { range, contexts, one })
    }

    /// The payload of BLOCK_STATUS: the length of the range, and the numbers of contexts.
    fn filter(&self, mut filter: &[u8]) -> Result<(u64, Contexts), Failure> {
        let len = filter.try_get_u64();
        let Ok(len) = len else { return Err(self.invalid("with a payload of a wrong length")) };
        if filter.is_empty() || !filter.len().is_multiple_of(size_of::<u32>()) {
            return Err(self.invalid("with a payload of a wrong length"));
        }
        let mut wanted = Vec::new();
        while let Ok(id) = filter.try_get_u32() {
            let known = Context::from_id(id).filter(|known| self.terms.contexts.contains(*known));
            match known {
                Some(context) if !wanted.contains(&context) => wanted.push(context),
                Some(_) => return Err(self.invalid(format_args!("names context {id} twice"))),
                None => return Err(self.invalid(format_args!("names context {id}, not selected"))),
            }
        }
        Ok((len, Contexts::only(|context| wanted.contains(&context))))
    }
}

#[cfg(test)]
mod tests;
