//! The transmission phase, driven by whole requests, and a model of what each of them must become.

use super::feed::Feed;
use super::transmission::{all_terms, transmission};
use crate::connection::Incoming;
use crate::errno::Errno;
use crate::negotiate::Terms;
use crate::proto::{EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC, command, command_flag};
use crate::reply::Replies;
use bytes::BufMut;

/// A sequence of requests made of `bytes`: each is read once, in its place, and accepted or refused as
/// the model says, and the stream stays in step behind it.
///
/// # Panics
/// If not.
pub fn fuzz_transmission_ops(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    let all: Vec<Terms> = all_terms().collect();
    let terms = &all[usize::from(feed.byte()) % all.len()];
    let piece = feed.choose(&[1, 5, 28, 33, 100, 4096, 1 << 20]);
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    while !feed.is_empty() && expected.len() < REQUESTS_MAX {
        let cookie = expected.len() as u64 + 1;
        let asked = Asked::choose(&mut feed, terms, cookie);
        asked.put(terms, &mut wire);
        expected.push((cookie, asked.judge(terms)));
    }
    let (read, end) = transmission(&wire, piece, terms);
    let read: Vec<(u64, Option<Errno>)> = read.iter().map(outcome).collect();
    assert_eq!(read, expected, "{terms:?}");
    assert_eq!(end, "the client has hung up", "the stream is out of step");
}

const REQUESTS_MAX: usize = 64;
const COMMANDS: [u16; 10] = [
    command::READ,
    command::WRITE,
    command::FLUSH,
    command::TRIM,
    command::CACHE,
    command::WRITE_ZEROES,
    command::BLOCK_STATUS,
    command::BLOCK_STATUS,
    8,
    999,
];

/// The cookie, and the error if it is refused.
fn outcome(incoming: &Incoming) -> (u64, Option<Errno>) {
    match incoming {
        Incoming::Request(request) => (request.ticket.cookie, None),
        Incoming::Reject { ticket, failure } => (ticket.cookie, Some(failure.errno)),
        Incoming::Disconnect => unreachable!("nobody has said good-bye"),
    }
}

/// A request to be sent.
struct Asked {
    command: u16,
    flags: u16,
    cookie: u64,
    offset: u64,
    /// Of the effect.
    len: u64,
    payload: Option<Vec<u8>>,
    /// Of the payload of BLOCK_STATUS: whether it is one.
    is_filter: bool,
}

impl Asked {
    fn choose(feed: &mut Feed<'_>, terms: &Terms, cookie: u64) -> Self {
        let is_extended = terms.replies == Replies::Extended;
        let command = feed.choose(&COMMANDS);
        // Mostly no flags or those of the command; sometimes anything.
        let mut flags = match feed.byte() % 8 {
            0..4 => 0,
            4..7 => [0, 0x1, 0x2, 0x4, 0x8, 0x10, 0x12][usize::from(feed.byte()) % 7],
            _ => u16::from(feed.byte()) << 8 | u16::from(feed.byte()),
        };
        let size = terms.export.size;
        let offset = match feed.byte() % 4 {
            0 => 0,
            1 => (feed.number() % size) & !4095,
            2 => size.saturating_sub(feed.number() % 8192),
            _ => feed.number(),
        };
        let mut len = match feed.byte() % 6 {
            0 => 4096,
            1 => u64::from(feed.byte()),
            2 => 4096 * u64::from(feed.byte()),
            3 => u64::from(u32::MAX) - feed.number() % 8192,
            4 => 64 << 20,
            _ => feed.number(),
        };
        if command == command::WRITE {
            // Its payload is really sent.
            len %= 20_000;
        }
        if !is_extended {
            len %= 1 << 32;
            let payload = (command == command::WRITE).then(|| vec![7; len as usize]);
            return Self { command, flags, cookie, offset, len, payload, is_filter: false };
        }
        flags &= !command_flag::PAYLOAD_LEN;
        let says_so = command != command::WRITE || feed.byte() % 8 != 7;
        let has_payload = match command {
            command::WRITE => true,
            command::BLOCK_STATUS => feed.flag(),
            _ => feed.byte() % 8 == 7,
        };
        let is_filter = has_payload && command == command::BLOCK_STATUS && feed.byte() % 4 != 3;
        let payload = has_payload.then(|| {
            if says_so {
                flags |= command_flag::PAYLOAD_LEN;
            }
            if !is_filter {
                return vec![7; (len % 20_000) as usize];
            }
            let mut filter = len.to_be_bytes().to_vec();
            filter.put_u32(1);
            filter
        });
        Self { command, flags, cookie, offset, len, payload, is_filter }
    }

    fn put(&self, terms: &Terms, wire: &mut Vec<u8>) {
        let is_extended = terms.replies == Replies::Extended;
        wire.put_u32(if is_extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC });
        wire.put_u16(self.flags);
        wire.put_u16(self.command);
        wire.put_u64(self.cookie);
        wire.put_u64(self.offset);
        match (is_extended, &self.payload) {
            (true, Some(payload)) => wire.put_u64(payload.len() as u64),
            (true, None) => wire.put_u64(self.len),
            (false, _) => wire.put_u32(self.len as u32),
        }
        if let Some(payload) = &self.payload {
            wire.extend_from_slice(payload);
        }
    }

    /// The error that the client must be told, if any.
    fn judge(&self, terms: &Terms) -> Option<Errno> {
        const FUA: u16 = 1;
        let is_extended = terms.replies == Replies::Extended;
        let is_structured = terms.replies != Replies::Simple;
        let (allowed, writes, past_end) = match self.command {
            command::READ => (if is_structured { 4 } else { 0 }, false, Errno::Inval),
            command::WRITE => (if is_extended { 32 } else { 0 }, true, Errno::NoSpc),
            command::FLUSH | command::CACHE => (0, false, Errno::Inval),
            command::TRIM => (0, true, Errno::Inval),
            command::WRITE_ZEROES => (2 | 16, true, Errno::NoSpc),
            command::BLOCK_STATUS => (8 | if is_extended { 32 } else { 0 }, false, Errno::Inval),
            _ => return Some(Errno::Inval),
        };
        if self.command == command::BLOCK_STATUS && !is_structured {
            return Some(Errno::Inval);
        }
        if self.flags & !(FUA | allowed) != 0 {
            return Some(Errno::Inval);
        }
        if writes && terms.export.read_only {
            return Some(Errno::Perm);
        }
        if self.command == command::FLUSH {
            return None;
        }
        let is_status = self.command == command::BLOCK_STATUS;
        if is_status && self.payload.is_some() && !self.is_filter {
            return Some(Errno::Inval);
        }
        let len = match (is_status, &self.payload) {
            (false, Some(payload)) => payload.len() as u64,
            _ => self.len,
        };
        // A chunk holds no more than the client was told.
        let longest = match self.command {
            command::READ if is_structured => 32 << 20,
            command::READ | command::WRITE => 64 << 20,
            _ => u64::MAX,
        };
        if len > longest {
            return Some(Errno::Inval);
        }
        let granule = u64::from(terms.export.min_block);
        if !self.offset.is_multiple_of(granule) || !len.is_multiple_of(granule) {
            return Some(Errno::Inval);
        }
        if u128::from(self.offset) + u128::from(len) > u128::from(terms.export.size) {
            return Some(past_end);
        }
        (is_status && len == 0).then_some(Errno::Inval)
    }
}
