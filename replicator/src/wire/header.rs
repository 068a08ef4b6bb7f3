//! The fixed header that every message starts with.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 64;
/// The longest payload: one extent of data, the longest piece that a request is cut into.
pub const MAX_PAYLOAD_BYTES: usize = types::EXTENT_BYTES as usize;

/// "repd" and the number of the format.
const MAGIC: u32 = 0x7265_7001;

/// A header as it stands on the wire, little endian. Which fields a kind uses is told in
/// docs/protocol.md; unused ones are zero, and a header in which they are not is refused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    magic: U32,
    /// CRC-32C of the header with this field zero.
    header_crc: U32,
    /// CRC-32C of the payload; zero without one.
    pub(super) payload_crc: U32,
    pub(super) payload_len: U32,
    pub(super) kind: U16,
    pub(super) volume: U16,
    pub(super) flags: U32,
    pub(super) offset: U64,
    pub(super) len: U64,
    pub(super) seq: U64,
    pub(super) seen: U64,
    pub(super) settled: U64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// What is wrong with received bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first bytes are not ours.
    #[error("not the replication protocol (magic {0:#010x})")]
    Magic(u32),
    /// The header was damaged on the way.
    #[error("header checksum does not match")]
    HeaderCrc,
    /// The payload was damaged on the way.
    #[error("payload checksum does not match")]
    PayloadCrc,
    /// Longer than anything we send.
    #[error("payload of {0} bytes, the longest allowed is {MAX_PAYLOAD_BYTES}")]
    TooLong(u32),
    /// A kind that this version does not know.
    #[error("unknown message kind {0}")]
    Kind(u16),
    /// A field has a value that no message has.
    #[error("message {kind}: {what}")]
    Field {
        /// The kind of the message.
        kind: &'static str,
        /// Which field, and why.
        what: &'static str,
    },
    /// A body that does not decode.
    #[error("message {kind}: body does not decode: {why}")]
    Body {
        /// The kind of the message.
        kind: &'static str,
        /// What the decoder says.
        why: String,
    },
}

impl Header {
    pub(super) fn new(kind: u16) -> Self {
        let mut header = <Self as zerocopy::FromZeros>::new_zeroed();
        header.magic = MAGIC.into();
        header.kind = kind.into();
        header
    }

    /// The bytes for the wire, checksums included.
    pub(super) fn seal(mut self, payload: &[u8]) -> [u8; HEADER_BYTES] {
        assert!(payload.len() <= MAX_PAYLOAD_BYTES, "payload of {} bytes", payload.len());
        self.payload_len = (payload.len() as u32).into();
        self.payload_crc = if payload.is_empty() { 0 } else { crc32c::crc32c(payload) }.into();
        self.header_crc = 0.into();
        self.header_crc = crc32c::crc32c(self.as_bytes()).into();
        zerocopy::transmute!(self)
    }

    /// Checks a received header. Nothing of it is believed before its checksum matches.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let header: Self = zerocopy::transmute!(*bytes);
        if header.magic.get() != MAGIC {
            return Err(WireError::Magic(header.magic.get()));
        }
        let mut unsealed = header;
        unsealed.header_crc = 0.into();
        if crc32c::crc32c(unsealed.as_bytes()) != header.header_crc.get() {
            return Err(WireError::HeaderCrc);
        }
        if header.payload_len.get() as usize > MAX_PAYLOAD_BYTES {
            return Err(WireError::TooLong(header.payload_len.get()));
        }
        Ok(header)
    }

    /// How many bytes of payload follow.
    pub fn payload_len(&self) -> usize {
        self.payload_len.get() as usize
    }

    pub(super) fn check_payload(&self, payload: &[u8]) -> Result<(), WireError> {
        assert_eq!(payload.len(), self.payload_len(), "the caller has read the whole payload");
        let crc = if payload.is_empty() { 0 } else { crc32c::crc32c(payload) };
        if crc == self.payload_crc.get() { Ok(()) } else { Err(WireError::PayloadCrc) }
    }

    /// Where the message lies, for a log line about a protocol error.
    pub fn describe(&self) -> String {
        format!("kind {} volume {} payload {}", self.kind, self.volume, self.payload_len)
    }

    pub(super) fn set_range(&mut self, range: types::ByteRange) {
        self.offset = range.offset.into();
        self.len = range.len.into();
    }

    pub(super) fn range(&self, kind: &'static str) -> Result<types::ByteRange, WireError> {
        let (offset, len) = (self.offset.get(), self.len.get());
        if offset.checked_add(len).is_none() {
            return Err(WireError::Field { kind, what: "range beyond the end of all numbers" });
        }
        Ok(types::ByteRange::new(offset, len))
    }

    /// The fields that a kind does not use must be zero.
    pub(super) fn expect_zero(
        &self,
        kind: &'static str,
        fields: &[U64],
        flags_allowed: u32,
    ) -> Result<(), WireError> {
        if fields.iter().any(|field| field.get() != 0) {
            return Err(WireError::Field { kind, what: "a field that is not used is set" });
        }
        if self.flags.get() & !flags_allowed != 0 {
            return Err(WireError::Field { kind, what: "an unknown flag is set" });
        }
        Ok(())
    }
}
