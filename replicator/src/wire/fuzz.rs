//! The body of the fuzz target for the protocol.

use super::{HEADER_BYTES, Header, Message, decode};
use bytes::Bytes;

/// Whatever the bytes are, reading them as messages ends, and a message that is accepted is
/// written again as the very bytes that it was read from: there is no second way to say it, and
/// nothing of it was overlooked.
///
/// No fuzzer guesses a checksum, so each message is looked at twice: as it is, and with its
/// checksums made right.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_wire(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let claimed = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        let (payload, next) = after.split_at(after.len().min(claimed as usize));
        one(header, payload);
        one(&sealed(*header, payload), payload);
        rest = next;
    }
}

/// The message that this header and payload are once the checksums and the length are right.
pub(crate) fn forged(header: [u8; HEADER_BYTES], payload: &[u8]) -> Option<Message> {
    let header = Header::parse(&sealed(header, payload)).ok()?;
    decode(&header, Bytes::copy_from_slice(payload)).ok()
}

fn one(header: &[u8; HEADER_BYTES], payload: &[u8]) {
    let Ok(parsed) = Header::parse(header) else { return };
    if parsed.payload_len() != payload.len() {
        return;
    }
    let Ok(message) = decode(&parsed, Bytes::copy_from_slice(payload)) else { return };
    let again = message.encode();
    assert_eq!(again.header, *header, "{message:?}");
    assert_eq!(again.payload, payload, "{message:?}");
}

/// The header with our magic and with checksums and length that fit.
fn sealed(mut header: [u8; HEADER_BYTES], payload: &[u8]) -> [u8; HEADER_BYTES] {
    let crc = if payload.is_empty() { 0 } else { crc32c::crc32c(payload) };
    header[0..4].copy_from_slice(&0x7265_7001_u32.to_le_bytes());
    header[4..8].fill(0);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    let len = u32::try_from(payload.len()).expect("a payload is as long as a u32 claims at most");
    header[12..16].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c::crc32c(&header);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    header
}
