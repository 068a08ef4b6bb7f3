//! What comes of one request: its reply, put together from chunks and held to the protocol.
//!
//! A chunk that the protocol forbids is an error of the client, and not of the request: overlaps,
//! gaps, lengths of nothing, what lies outside of what was asked, contexts that were not agreed
//! on, a kind of reply that was not.

use super::error::{ClientError, breach};
use super::operation::{FLAG_DF, FLAG_FAST_ZERO, FLAG_REQ_ONE, Header, Operation, command};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// The last chunk of a reply.
const FLAG_DONE: u16 = 1;
/// The longest READ that may be answered with data.
pub(super) const READ_MAX_BYTES: u64 = 64 << 20;
/// Strings are no longer than this.
const STRING_MAX: usize = 4096;
/// More extents are not to be sent in one chunk.
const EXTENTS_MAX: usize = 1 << 20;
/// The numbers that an error may have.
const ERRORS: [u32; 8] = [1, 5, 12, 22, 28, EOVERFLOW, ENOTSUP, 108];
const EOVERFLOW: u32 = 75;
const ENOTSUP: u32 = 95;

/// How requests and replies look in the transmission phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// Simple replies only.
    #[default]
    Simple,
    /// Chunks, and simple replies where nothing needs a chunk.
    Structured,
    /// Chunks with extended headers only, and extended requests.
    Extended,
}

/// One chunk of a reply: its kind and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing, at the end.
    None,
    /// So many bytes of data.
    Data {
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// So many zeros.
    Hole {
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// The extents of a context, with lengths of 32 or 64 bits.
    Status {
        /// The context's id.
        context: u32,
        /// Whether the lengths have 64 bits.
        wide: bool,
    },
    /// An error of the whole request.
    Error(u32),
    /// An error at an offset.
    ErrorAt {
        /// The error.
        errno: u32,
        /// Where.
        offset: u64,
    },
}

/// Some bytes in a row with one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes.
    pub len: u64,
    /// What the context says of them.
    pub flags: u64,
}

/// What came with an answer beside its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The chunks in their order. Nothing for a simple reply.
    pub chunks: Vec<Chunk>,
    /// What its errors say to people.
    pub texts: Vec<String>,
    /// The extents by the context's id.
    pub extents: BTreeMap<u32, Vec<Extent>>,
}

/// What both sides know of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Agreed {
    pub(super) style: Style,
    /// The names of the selected contexts, by id.
    pub(super) contexts: BTreeMap<u32, String>,
    pub(super) export_bytes: u64,
    /// The longest data of a chunk.
    pub(super) payload_max: u64,
}

/// One chunk as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawChunk {
    pub(super) flags: u16,
    pub(super) kind: u16,
    /// The request's, with extended headers.
    pub(super) offset: Option<u64>,
    pub(super) payload: Bytes,
}

/// A reply of which some chunks are there.
#[derive(Debug)]
pub(super) struct Answer {
    header: Header,
    /// The contexts of which a status must come.
    contexts: BTreeSet<u32>,
    data: BytesMut,
    /// Content that was sent, as `(first byte, bytes)`.
    content: Vec<(u64, u64)>,
    detail: Detail,
    error: Option<u32>,
}

impl Answer {
    pub(super) fn to(operation: &Operation, agreed: &Agreed) -> Self {
        let extended = agreed.style == Style::Extended;
        let mut header = operation.header(extended);
        let mut contexts: BTreeSet<u32> = agreed.contexts.keys().copied().collect();
        if let Some((len, named)) = operation.filter(extended) {
            header.len = len;
            contexts.retain(|id| named.contains(id));
        }
        Self {
            header,
            contexts,
            data: BytesMut::new(),
            content: Vec::new(),
            detail: Detail::default(),
            error: None,
        }
    }

    /// Takes the next chunk. Whether it was the last one.
    pub(super) fn take(&mut self, chunk: RawChunk, agreed: &Agreed) -> Result<bool, ClientError> {
        let done = chunk.flags & FLAG_DONE != 0;
        if chunk.flags & !FLAG_DONE != 0 {
            return breach(format!("a chunk with flags 0x{:x}", chunk.flags));
        }
        if chunk.offset.is_some_and(|offset| offset != self.header.offset) {
            return breach(format!("a chunk for offset {:?} of {:?}", chunk.offset, self.header));
        }
        let chunk = match chunk.kind {
            0 => self.none(&chunk.payload, done)?,
            1 => self.data(chunk.payload, agreed)?,
            2 => self.hole(chunk.payload)?,
            5 | 6 => self.status(chunk.kind == 6, chunk.payload, agreed)?,
            0x8001 | 0x8002 => self.error(chunk.kind == 0x8002, chunk.payload)?,
            kind => return breach(format!("a chunk of type 0x{kind:x}")),
        };
        self.detail.chunks.push(chunk);
        if done {
            self.check_whole()?;
        }
        Ok(done)
    }

    /// The result, when the last chunk was taken.
    pub(super) fn finish(self) -> (Result<Bytes, u32>, Detail) {
        (self.error.map_or(Ok(self.data.freeze()), Err), self.detail)
    }

    fn none(&self, payload: &Bytes, done: bool) -> Result<Chunk, ClientError> {
        match payload.is_empty() && done {
            true => Ok(Chunk::None),
            false => breach(format!("NONE with {} bytes, the last: {done}", payload.len())),
        }
    }

    fn data(&mut self, mut payload: Bytes, agreed: &Agreed) -> Result<Chunk, ClientError> {
        if payload.len() < 9 {
            return breach(format!("OFFSET_DATA with {} bytes", payload.len()));
        }
        let offset = payload.get_u64();
        let len = payload.len() as u64;
        if len > agreed.payload_max {
            return breach(format!("OFFSET_DATA with {len} bytes of data"));
        }
        let at = self.place(offset, len)?;
        self.data[at..at + payload.len()].copy_from_slice(&payload);
        Ok(Chunk::Data { offset, len })
    }

    fn hole(&mut self, mut payload: Bytes) -> Result<Chunk, ClientError> {
        if payload.len() != 12 {
            return breach(format!("OFFSET_HOLE with {} bytes", payload.len()));
        }
        let (offset, len) = (payload.get_u64(), u64::from(payload.get_u32()));
        self.place(offset, len)?;
        Ok(Chunk::Hole { offset, len })
    }

    /// Room for content, which must lie in what was asked and on nothing that came before. Gives
    /// its place in the data.
    fn place(&mut self, offset: u64, len: u64) -> Result<usize, ClientError> {
        let Header { command, flags, offset: start, len: asked } = self.header;
        let what = format!("content {offset}+{len} in an answer to {:?}", self.header);
        if command != command::READ || len == 0 {
            return breach(what);
        }
        let inside = offset >= start && len <= asked && offset - start <= asked - len;
        let overlaps = self.content.iter().any(|&(at, n)| offset < at + n && at < offset + len);
        let after_error = self.detail.chunks.iter().any(|chunk| match *chunk {
            Chunk::ErrorAt { offset: at, .. } => at >= offset && at - offset < len,
            _ => false,
        });
        if asked > READ_MAX_BYTES {
            return breach(format!("{what}: so much is not served"));
        }
        if !inside || overlaps || after_error {
            return breach(format!("{what}, after {:?}", self.detail.chunks));
        }
        if flags & FLAG_DF != 0 && (!self.content.is_empty() || self.error == Some(EOVERFLOW)) {
            return breach(format!("{what}, in pieces"));
        }
        self.content.push((offset, len));
        let asked = usize::try_from(asked).expect("nobody asks for more data than fits");
        self.data.resize(asked, 0);
        Ok((offset - start) as usize)
    }

    fn status(
        &mut self,
        wide: bool,
        mut payload: Bytes,
        agreed: &Agreed,
    ) -> Result<Chunk, ClientError> {
        let (head, each) = if wide { (8, 16) } else { (4, 8) };
        let whole = payload.len() > head && (payload.len() - head).is_multiple_of(each);
        let right = wide == (agreed.style == Style::Extended);
        if !whole || !right || self.header.command != command::BLOCK_STATUS {
            return breach(format!("status of {} bytes, wide: {wide}", payload.len()));
        }
        let context = payload.get_u32();
        if !self.contexts.contains(&context) || self.detail.extents.contains_key(&context) {
            return breach(format!("status of context {context}; {:?}", self.contexts));
        }
        let count = payload.len() / each;
        if wide && payload.get_u32() as usize != count {
            return breach(format!("another number of extents than {count}"));
        }
        let mut extents = Vec::new();
        while !payload.is_empty() {
            extents.push(match wide {
                true => Extent { len: payload.get_u64(), flags: payload.get_u64() },
                false => Extent { len: payload.get_u32().into(), flags: payload.get_u32().into() },
            });
        }
        self.check_extents(&extents, agreed)?;
        self.detail.extents.insert(context, extents);
        Ok(Chunk::Status { context, wide })
    }

    fn check_extents(&self, extents: &[Extent], agreed: &Agreed) -> Result<(), ClientError> {
        let Header { flags, offset, len, .. } = self.header;
        // What any context says here has 32 bits.
        let strange = |extent: &Extent| extent.len == 0 || extent.flags >> 32 != 0;
        if extents.len() > EXTENTS_MAX || extents.iter().any(strange) {
            return breach(format!("{} extents: {:?}", extents.len(), extents.first()));
        }
        let sum = |extents: &[Extent]| {
            extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.len))
        };
        let before_last = sum(&extents[..extents.len() - 1]);
        let end = sum(extents).and_then(|sum| sum.checked_add(offset));
        let one = flags & FLAG_REQ_ONE == 0 || (extents.len() == 1 && extents[0].len <= len);
        let needed = before_last.is_some_and(|sum| sum < len);
        if !one || !needed || end.is_none_or(|end| end > agreed.export_bytes) {
            return breach(format!("extents {extents:?} in an answer to {:?}", self.header));
        }
        Ok(())
    }

    fn error(&mut self, has_offset: bool, mut payload: Bytes) -> Result<Chunk, ClientError> {
        let total = payload.len();
        let fixed = if has_offset { 14 } else { 6 };
        if total < fixed {
            return breach(format!("an error chunk of {total} bytes"));
        }
        let (errno, text_len) = (payload.get_u32(), usize::from(payload.get_u16()));
        if text_len > STRING_MAX || text_len + fixed != total {
            return breach(format!("an error text of {text_len} bytes in a chunk of {total}"));
        }
        check_errno(errno, self.header)?;
        let text = payload.split_to(text_len);
        match std::str::from_utf8(&text) {
            Ok(text) if !text.contains('\0') => self.detail.texts.push(text.to_owned()),
            _ => return breach(format!("an error text {text:?}")),
        }
        // Errors with an offset and one without do not go together, nor two without.
        if self.error.is_some() && !(has_offset && self.has_offsets_only()) {
            return breach(format!("an error after {:?}", self.detail.chunks));
        }
        self.error = Some(self.error.unwrap_or(errno));
        if !has_offset {
            return Ok(Chunk::Error(errno));
        }
        let offset = payload.get_u64();
        let Header { command, offset: start, len, .. } = self.header;
        let repeated = self.detail.chunks.contains(&Chunk::ErrorAt { errno, offset });
        let inside = offset >= start && offset - start < len;
        if command == command::FLUSH || !inside || repeated {
            return breach(format!("an error at {offset} in an answer to {:?}", self.header));
        }
        Ok(Chunk::ErrorAt { errno, offset })
    }

    fn has_offsets_only(&self) -> bool {
        !self.detail.chunks.iter().any(|chunk| matches!(chunk, Chunk::Error(_)))
    }

    /// Whether all is there that a success needs.
    fn check_whole(&self) -> Result<(), ClientError> {
        if self.error.is_some() {
            return Ok(());
        }
        let Header { command, len, .. } = self.header;
        let sent: u64 = self.content.iter().map(|(_, len)| len).sum();
        if command == command::READ && sent != len {
            return breach(format!("{sent} bytes in an answer to {:?}", self.header));
        }
        let contexts = self.detail.extents.len();
        if command == command::BLOCK_STATUS && contexts != self.contexts.len() {
            return breach(format!("status of {contexts} contexts; {:?}", self.contexts));
        }
        Ok(())
    }
}

/// Whether a simple reply is allowed, and the data that comes with it.
pub(super) fn simple(
    header: Header,
    errno: u32,
    style: Style,
) -> Result<Result<u64, u32>, ClientError> {
    let Header { command, len, .. } = header;
    let needs_chunk = command == command::READ
        || (command == command::BLOCK_STATUS && errno == 0)
        || style == Style::Extended;
    if style != Style::Simple && needs_chunk {
        return breach(format!("a simple reply to {header:?}"));
    }
    if errno != 0 {
        check_errno(errno, header)?;
        return Ok(Err(errno));
    }
    if command == command::BLOCK_STATUS {
        return breach("a simple reply to BLOCK_STATUS that says success");
    }
    Ok(Ok(if command == command::READ { len } else { 0 }))
}

/// Whether the number is one of the protocol's, and one that this request may get.
fn check_errno(errno: u32, header: Header) -> Result<(), ClientError> {
    let Header { command, flags, .. } = header;
    let allowed = match errno {
        EOVERFLOW => {
            let has_payload = command == command::WRITE
                || (command == command::READ && flags & FLAG_DF == 0 && header.len >> 32 == 0);
            !has_payload && command != command::FLUSH
        }
        ENOTSUP => command == command::WRITE_ZEROES && flags & FLAG_FAST_ZERO != 0,
        _ => ERRORS.contains(&errno),
    };
    match allowed {
        true => Ok(()),
        false => breach(format!("error {errno} in an answer to {header:?}")),
    }
}

#[cfg(test)]
mod tests;
