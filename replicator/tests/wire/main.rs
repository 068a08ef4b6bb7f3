//! The wire format, from outside: docs/protocol.md is what is tested here.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod damage;
mod golden;
mod round_trip;
mod samples;

use bytes::Bytes;
use replicator::wire::{HEADER_BYTES, Header, Message, WireError, decode};

/// The bytes of a message as they stand on the link.
fn bytes_of(message: &Message) -> Vec<u8> {
    let encoded = message.encode();
    [&encoded.header[..], &encoded.payload].concat()
}

/// The message that these bytes are, as a receiver reads it.
fn read(bytes: &[u8]) -> Result<Message, WireError> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>().expect("a whole header");
    let header = Header::parse(header)?;
    assert_eq!(header.payload_len(), payload.len(), "a header that is believed tells the length");
    decode(&header, Bytes::copy_from_slice(payload))
}

/// The same bytes with checksums that fit, as somebody means them who knows the format.
fn seal(bytes: &mut [u8]) {
    let (header, payload) = bytes.split_first_chunk_mut::<HEADER_BYTES>().expect("a whole header");
    let crc = if payload.is_empty() { 0 } else { crc32c::crc32c(payload) };
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    header[4..8].fill(0);
    let crc = crc32c::crc32c(header);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
}
