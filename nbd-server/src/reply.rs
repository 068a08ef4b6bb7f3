//! Encodes replies of the transmission phase, in the form that was agreed on.
//!
//! | answer | simple | structured and extended |
//! |---|---|---|
//! | data of a READ | header, data | one chunk OFFSET_DATA, which is the last |
//! | done | header | one chunk NONE |
//! | status | never asked for | a chunk for each context, the last of which is the last |
//! | error | header with the number | one chunk ERROR with the number and a text |
//!
//! The data of a READ is all there before its header is sent, so no reply is taken back, and each
//! READ is answered in one piece: the flag DF asks for what is done anyway.

use crate::context::Extents;
use crate::errno::Errno;
use crate::proto::{
    EXTENDED_REPLY_MAGIC, ExtendedReplyHeader, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC,
    SimpleReplyHeader, StructuredReplyHeader, chunk,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;
use types::StatusRun;
use zerocopy::IntoBytes;

/// The longest text of an error, in bytes; the specification's limit for strings is 4096.
const TEXT_MAX: usize = 1024;

/// The form of replies, and with it that of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// A header, and data behind that of a READ. All that the Linux driver knows.
    #[default]
    Simple,
    /// Chunks.
    Structured,
    /// Chunks with longer headers; requests have longer headers, too, and lengths of 64 bits.
    Extended,
}

/// What of a request its reply repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Chosen by the client.
    pub cookie: u64,
    /// The request's.
    pub offset: u64,
}

/// How a request ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to tell.
    Done,
    /// The data of a READ in pieces one after another, together as long as it asked for.
    Data(Vec<Bytes>),
    /// The answer to BLOCK_STATUS: of each context that it asked for, once.
    Status(Vec<Extents>),
}

/// How a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number that the client gets.
    pub errno: Errno,
    /// A text for people, which clients with structured replies get.
    pub why: Cow<'static, str>,
}

impl Failure {
    /// An error and why.
    pub fn new(errno: Errno, why: impl Into<Cow<'static, str>>) -> Self {
        Self { errno, why: why.into() }
    }
}

impl Replies {
    /// Puts what comes before the data of a READ, if there is any, into `output`: the data goes
    /// behind it as it is.
    ///
    /// # Panics
    /// If a status is to be told in simple replies: such a client cannot have asked for it.
    pub(crate) fn encode(
        self,
        ticket: Ticket,
        result: &Result<Answer, Failure>,
        output: &mut BytesMut,
    ) {
        let encoder = Encoder { replies: self, ticket, output };
        match (self, result) {
            (Self::Simple, Ok(Answer::Status(_))) => {
                unreachable!("BLOCK_STATUS is not taken from a client with simple replies")
            }
            (Self::Simple, Ok(_)) => encoder.simple(0),
            (Self::Simple, Err(failure)) => encoder.simple(failure.errno.code()),
            (_, Ok(Answer::Done)) => encoder.chunk(chunk::DONE, chunk::NONE, 0),
            (_, Ok(Answer::Data(pieces))) => encoder.data(pieces),
            (_, Ok(Answer::Status(all))) => encoder.status(all),
            (_, Err(failure)) => encoder.error(failure),
        }
    }
}

struct Encoder<'a> {
    replies: Replies,
    ticket: Ticket,
    output: &'a mut BytesMut,
}

impl Encoder<'_> {
    fn simple(self, error: u32) {
        let header = SimpleReplyHeader {
            magic: SIMPLE_REPLY_MAGIC.into(),
            error: error.into(),
            cookie: self.ticket.cookie.into(),
        };
        self.output.put_slice(header.as_bytes());
    }

    /// The header of a chunk with `len` bytes of payload.
    fn chunk(mut self, flags: u16, kind: u16, len: usize) {
        self.put_chunk(flags, kind, len);
    }

    fn put_chunk(&mut self, flags: u16, kind: u16, len: usize) {
        let Ticket { cookie, offset } = self.ticket;
        if self.replies == Replies::Extended {
            let header = ExtendedReplyHeader {
                magic: EXTENDED_REPLY_MAGIC.into(),
                flags: flags.into(),
                kind: kind.into(),
                cookie: cookie.into(),
                offset: offset.into(),
                len: (len as u64).into(),
            };
            return self.output.put_slice(header.as_bytes());
        }
        let header = StructuredReplyHeader {
            magic: STRUCTURED_REPLY_MAGIC.into(),
            flags: flags.into(),
            kind: kind.into(),
            cookie: cookie.into(),
            len: u32::try_from(len).expect("a chunk is as long as a request, or shorter").into(),
        };
        self.output.put_slice(header.as_bytes());
    }

    /// A chunk must not be empty: a READ of nothing is answered without one.
    fn data(mut self, pieces: &[Bytes]) {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len == 0 {
            return self.chunk(chunk::DONE, chunk::NONE, 0);
        }
        let offset = self.ticket.offset;
        self.put_chunk(chunk::DONE, chunk::OFFSET_DATA, size_of_val(&offset) + len);
        self.output.put_u64(offset);
    }

    fn status(mut self, all: &[Extents]) {
        let last = all.len().checked_sub(1).expect("a status is asked for in some context");
        for (index, Extents { context, map }) in all.iter().enumerate() {
            let runs = map.runs();
            assert!(!runs.is_empty(), "{context:?}: a status of nothing lets no client go on");
            let flags = if index == last { chunk::DONE } else { 0 };
            match self.replies {
                Replies::Extended => {
                    let len = 2 * size_of::<u32>() + runs.len() * 2 * size_of::<u64>();
                    self.put_chunk(flags, chunk::BLOCK_STATUS_EXT, len);
                    self.output.put_u32(context.id());
                    self.output.put_u32(runs.len() as u32);
                    for &StatusRun { len, flags } in runs {
                        self.output.put_u64(len);
                        self.output.put_u64(u64::from(flags));
                    }
                }
                _ => {
                    let len = size_of::<u32>() + runs.len() * 2 * size_of::<u32>();
                    self.put_chunk(flags, chunk::BLOCK_STATUS, len);
                    self.output.put_u32(context.id());
                    for &StatusRun { len, flags } in runs {
                        let len = u32::try_from(len).expect("the request was not longer");
                        self.output.put_u32(len);
                        self.output.put_u32(flags);
                    }
                }
            }
        }
    }

    fn error(mut self, failure: &Failure) {
        let why = &failure.why[..failure.why.floor_char_boundary(TEXT_MAX)];
        let len = size_of::<u32>() + size_of::<u16>() + why.len();
        self.put_chunk(chunk::DONE, chunk::ERROR, len);
        self.output.put_u32(failure.errno.code());
        self.output.put_u16(why.len() as u16);
        self.output.put_slice(why.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use types::StatusMap;

    const TICKET: Ticket =
        Ticket { cookie: u64::from_be_bytes(*b"\x01\x02\x03\x04abcd"), offset: 0x1000 };

    fn encoded(replies: Replies, result: Result<Answer, Failure>) -> Vec<u8> {
        let mut output = BytesMut::new();
        replies.encode(TICKET, &result, &mut output);
        output.to_vec()
    }

    fn full() -> Result<Answer, Failure> {
        Err(Failure::new(Errno::NoSpc, "full"))
    }

    fn status() -> Result<Answer, Failure> {
        let mut map = StatusMap::of(4096, StatusMap::DATA);
        map.push(512, StatusMap::HOLE | StatusMap::ZERO);
        let holes = Extents { context: Context::Allocation, map };
        let map = StatusMap::of(4608, StatusMap::OUT_OF_SYNC);
        let differs = Extents { context: Context::OutOfSync, map };
        Ok(Answer::Status(vec![holes, differs]))
    }

    #[test]
    fn simple_replies_repeat_the_cookie_byte_by_byte() {
        let header = b"\x67\x44\x66\x98\0\0\0\x1c\x01\x02\x03\x04abcd";
        assert_eq!(encoded(Replies::Simple, full()), header);
        let data = Ok(Answer::Data(vec![Bytes::from_static(b"xyz")]));
        assert_eq!(encoded(Replies::Simple, data)[4..8], [0; 4]);
        assert_eq!(encoded(Replies::Simple, Ok(Answer::Done)).len(), 16);
    }

    #[test]
    fn structured_replies_are_one_chunk_but_for_a_status() {
        let chunk = |kind: &[u8], len: u8, payload: &[u8]| {
            let head = [b"\x66\x8e\x33\xef", kind, b"\x01\x02\x03\x04abcd\0\0\0"].concat();
            [&head[..], &[len], payload].concat()
        };
        assert_eq!(encoded(Replies::Structured, Ok(Answer::Done)), chunk(b"\0\x01\0\0", 0, b""));
        let nothing = Ok(Answer::Data(vec![Bytes::new()]));
        assert_eq!(encoded(Replies::Structured, nothing), chunk(b"\0\x01\0\0", 0, b""));
        let data = Ok(Answer::Data(vec![Bytes::from_static(b"xy"), Bytes::from_static(b"z")]));
        let expected = chunk(b"\0\x01\0\x01", 11, b"\0\0\0\0\0\0\x10\0");
        assert_eq!(encoded(Replies::Structured, data), expected);
        let expected = chunk(b"\0\x01\x80\x01", 10, b"\0\0\0\x1c\0\x04full");
        assert_eq!(encoded(Replies::Structured, full()), expected);
        let holes = b"\0\0\0\x01\0\0\x10\0\0\0\0\0\0\0\x02\0\0\0\0\x03";
        let differs = b"\0\0\0\x02\0\0\x12\0\0\0\0\x01";
        let expected = [chunk(b"\0\0\0\x05", 20, holes), chunk(b"\0\x01\0\x05", 12, differs)];
        assert_eq!(encoded(Replies::Structured, status()), expected.concat());
    }

    #[test]
    fn extended_replies_repeat_the_offset_and_count_in_64_bits() {
        let chunk = |kind: &[u8], len: u8, payload: &[u8]| {
            let magic = &b"\x6e\x8a\x27\x8c"[..];
            let ticket = b"\x01\x02\x03\x04abcd\0\0\0\0\0\0\x10\0";
            [magic, kind, ticket, &[0; 7], &[len], payload].concat()
        };
        assert_eq!(encoded(Replies::Extended, Ok(Answer::Done)), chunk(b"\0\x01\0\0", 0, b""));
        let data = Ok(Answer::Data(vec![Bytes::from_static(b"xyz")]));
        let expected = chunk(b"\0\x01\0\x01", 11, b"\0\0\0\0\0\0\x10\0");
        assert_eq!(encoded(Replies::Extended, data), expected);
        let number = |number: u16| [&[0; 6], &number.to_be_bytes()[..]].concat();
        let holes = [
            &b"\0\0\0\x01\0\0\0\x02"[..],
            &[number(4096), number(0), number(512), number(3)].concat(),
        ];
        let differs = [&b"\0\0\0\x02\0\0\0\x01"[..], &[number(4608), number(1)].concat()];
        let expected = [
            chunk(b"\0\0\0\x06", 40, &holes.concat()),
            chunk(b"\0\x01\0\x06", 24, &differs.concat()),
        ];
        assert_eq!(encoded(Replies::Extended, status()), expected.concat());
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let failure = Failure::new(Errno::Io, "ä".repeat(5000));
        let bytes = encoded(Replies::Structured, Err(failure));
        assert_eq!(bytes.len(), 20 + 6 + TEXT_MAX);
        assert!(std::str::from_utf8(&bytes[26..]).is_ok());
    }
}
