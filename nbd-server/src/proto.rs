//! The numbers of the NBD protocol and the layout of its fixed structures. All integers on the
//! wire are big-endian.
//!
//! Nothing here decides anything: what is allowed is in [`mod@crate::negotiate`] and
//! [`crate::request`].

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of the server: `NBDMAGIC`.
pub const NBD_MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
/// Begins the second half of the greeting and every option of the client: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
/// Begins every reply to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Begins every request of the transmission phase.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Begins every request with an extended header.
pub const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// Begins every simple reply of the transmission phase.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Begins every chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
/// Begins every chunk of a reply with an extended header.
pub const EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;
/// The zeros after the answer to EXPORT_NAME, unless the client declined them.
pub const EXPORT_NAME_PADDING: usize = 124;

/// Handshake flags of the server and of the client: the same bits, 16 and 32 bits wide.
pub mod handshake {
    /// Options are answered, and the client may send more than one.
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    /// No padding after the answer to EXPORT_NAME.
    pub const NO_ZEROES: u16 = 1 << 1;
}

/// Options that a client sends during negotiation.
pub mod option {
    /// Ends the negotiation; cannot report an error.
    pub const EXPORT_NAME: u32 = 1;
    /// The client goes away.
    pub const ABORT: u32 = 2;
    /// Names of the exports.
    pub const LIST: u32 = 3;
    /// Begin TLS.
    pub const STARTTLS: u32 = 5;
    /// Describe an export.
    pub const INFO: u32 = 6;
    /// Describe an export and begin the transmission phase.
    pub const GO: u32 = 7;
    /// Agree on structured replies.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Names of meta contexts.
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Select meta contexts.
    pub const SET_META_CONTEXT: u32 = 10;
    /// Agree on headers with 64-bit lengths.
    pub const EXTENDED_HEADERS: u32 = 11;

    /// The specification's name of an option, for logs.
    pub fn name(option: u32) -> &'static str {
        match option {
            EXPORT_NAME => "EXPORT_NAME",
            ABORT => "ABORT",
            LIST => "LIST",
            STARTTLS => "STARTTLS",
            INFO => "INFO",
            GO => "GO",
            STRUCTURED_REPLY => "STRUCTURED_REPLY",
            LIST_META_CONTEXT => "LIST_META_CONTEXT",
            SET_META_CONTEXT => "SET_META_CONTEXT",
            EXTENDED_HEADERS => "EXTENDED_HEADERS",
            _ => "unknown option",
        }
    }
}

/// Types of replies to options.
pub mod reply {
    /// The option is done; nothing more follows for it.
    pub const ACK: u32 = 1;
    /// One export of a LIST.
    pub const SERVER: u32 = 2;
    /// One piece of information of an INFO or GO.
    pub const INFO: u32 = 3;
    /// One meta context of a LIST_META_CONTEXT or SET_META_CONTEXT.
    pub const META_CONTEXT: u32 = 4;
    /// Set in every type that is an error.
    pub const ERROR: u32 = 1 << 31;
    /// The option is not known, or not supported now.
    pub const ERR_UNSUP: u32 = ERROR | 1;
    /// The server's policy forbids it.
    pub const ERR_POLICY: u32 = ERROR | 2;
    /// The option's data is not what the specification says.
    pub const ERR_INVALID: u32 = ERROR | 3;
    /// Nothing more is heard in the clear.
    pub const ERR_TLS_REQD: u32 = ERROR | 5;
    /// There is no such export.
    pub const ERR_UNKNOWN: u32 = ERROR | 6;
    /// The server is going down.
    pub const ERR_SHUTDOWN: u32 = ERROR | 7;
    /// Extended headers were agreed on, which excludes this option.
    pub const ERR_EXT_HEADER_REQD: u32 = ERROR | 10;
}

/// Kinds of information in a reply of type [`reply::INFO`].
pub mod info {
    /// Size and transmission flags.
    pub const EXPORT: u16 = 0;
    /// The canonical name.
    pub const NAME: u16 = 1;
    /// A description for people.
    pub const DESCRIPTION: u16 = 2;
    /// Minimum and preferred block, maximum payload.
    pub const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags: what an export can do.
pub mod transmission {
    /// Always set.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// Writes are refused.
    pub const READ_ONLY: u16 = 1 << 1;
    /// FLUSH is served.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// The flag FUA is honoured.
    pub const SEND_FUA: u16 = 1 << 3;
    /// The disk behind it rotates.
    pub const ROTATIONAL: u16 = 1 << 4;
    /// TRIM is served.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// WRITE_ZEROES is served.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// The flag DF is honoured.
    pub const SEND_DF: u16 = 1 << 7;
    /// Several connections are one device: a flush on any covers the answered writes of all.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// CACHE is served.
    pub const SEND_CACHE: u16 = 1 << 10;
    /// The flag FAST_ZERO is honoured.
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
    /// BLOCK_STATUS takes a payload that names the contexts.
    pub const BLOCK_STATUS_PAYLOAD: u16 = 1 << 12;
}

/// Commands of the transmission phase.
pub mod command {
    /// Read.
    pub const READ: u16 = 0;
    /// Write; the only one with a payload.
    pub const WRITE: u16 = 1;
    /// The client goes away in order.
    pub const DISC: u16 = 2;
    /// Make answered writes durable.
    pub const FLUSH: u16 = 3;
    /// The content is not needed any more.
    pub const TRIM: u16 = 4;
    /// Will be read soon.
    pub const CACHE: u16 = 5;
    /// Write zeros without sending them.
    pub const WRITE_ZEROES: u16 = 6;
    /// State of blocks by meta context.
    pub const BLOCK_STATUS: u16 = 7;

    /// The specification's name of a command, for logs.
    pub fn name(command: u16) -> &'static str {
        match command {
            READ => "READ",
            WRITE => "WRITE",
            DISC => "DISC",
            FLUSH => "FLUSH",
            TRIM => "TRIM",
            CACHE => "CACHE",
            WRITE_ZEROES => "WRITE_ZEROES",
            BLOCK_STATUS => "BLOCK_STATUS",
            _ => "unknown command",
        }
    }
}

/// Flags of a command.
pub mod command_flag {
    /// Answered only when durable. Allowed on every command, of use on writes.
    pub const FUA: u16 = 1 << 0;
    /// WRITE_ZEROES must not free the space.
    pub const NO_HOLE: u16 = 1 << 1;
    /// READ must be answered in one piece of data.
    pub const DF: u16 = 1 << 2;
    /// BLOCK_STATUS asks for one extent only.
    pub const REQ_ONE: u16 = 1 << 3;
    /// WRITE_ZEROES must fail if it would be no faster than a WRITE.
    pub const FAST_ZERO: u16 = 1 << 4;
    /// With extended headers: the length is that of a payload that follows.
    pub const PAYLOAD_LEN: u16 = 1 << 5;
}

/// Types of chunks of structured replies, and their flag.
pub mod chunk {
    /// In the flags: no chunk of this reply follows.
    pub const DONE: u16 = 1 << 0;
    /// Nothing but the header.
    pub const NONE: u16 = 0;
    /// Offset and data of a READ.
    pub const OFFSET_DATA: u16 = 1;
    /// Extents of one meta context, lengths and flags of 32 bits.
    pub const BLOCK_STATUS: u16 = 5;
    /// The same with 64 bits.
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// An error and a text.
    pub const ERROR: u16 = (1 << 15) | 1;
}

/// The server's first bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Greeting {
    /// [`NBD_MAGIC`].
    pub nbd_magic: U64,
    /// [`OPTION_MAGIC`].
    pub option_magic: U64,
    /// Bits of [`handshake`].
    pub flags: U16,
}
const _: () = assert!(size_of::<Greeting>() == 18);

/// Begins an option of the client; `len` bytes of data follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OptionHeader {
    /// [`OPTION_MAGIC`].
    pub magic: U64,
    /// One of [`option`].
    pub option: U32,
    /// Bytes of data.
    pub len: U32,
}
const _: () = assert!(size_of::<OptionHeader>() == 16);

/// Begins a reply to an option; `len` bytes of data follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OptionReplyHeader {
    /// [`OPTION_REPLY_MAGIC`].
    pub magic: U64,
    /// The option that is answered.
    pub option: U32,
    /// One of [`reply`].
    pub kind: U32,
    /// Bytes of data.
    pub len: U32,
}
const _: () = assert!(size_of::<OptionReplyHeader>() == 20);

/// Begins a request; a WRITE's payload of `len` bytes follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RequestHeader {
    /// [`REQUEST_MAGIC`].
    pub magic: U32,
    /// Bits of [`command_flag`].
    pub flags: U16,
    /// One of [`command`].
    pub command: U16,
    /// Chosen by the client, echoed as it is: it may be in any byte order.
    pub cookie: U64,
    /// First byte.
    pub offset: U64,
    /// Bytes.
    pub len: U32,
}
const _: () = assert!(size_of::<RequestHeader>() == 28);

/// Begins a request after EXTENDED_HEADERS.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtendedRequestHeader {
    /// [`EXTENDED_REQUEST_MAGIC`].
    pub magic: U32,
    /// Bits of [`command_flag`].
    pub flags: U16,
    /// One of [`command`].
    pub command: U16,
    /// As in [`RequestHeader`].
    pub cookie: U64,
    /// First byte.
    pub offset: U64,
    /// Bytes of the effect, or of the payload if the flags say so.
    pub len: U64,
}
const _: () = assert!(size_of::<ExtendedRequestHeader>() == 32);

/// Begins a chunk of a structured reply; `len` bytes of payload follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct StructuredReplyHeader {
    /// [`STRUCTURED_REPLY_MAGIC`].
    pub magic: U32,
    /// [`chunk::DONE`] or nothing.
    pub flags: U16,
    /// One of [`chunk`].
    pub kind: U16,
    /// The request's.
    pub cookie: U64,
    /// Bytes of payload.
    pub len: U32,
}
const _: () = assert!(size_of::<StructuredReplyHeader>() == 20);

/// Begins a chunk after EXTENDED_HEADERS; `len` bytes of payload follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtendedReplyHeader {
    /// [`EXTENDED_REPLY_MAGIC`].
    pub magic: U32,
    /// [`chunk::DONE`] or nothing.
    pub flags: U16,
    /// One of [`chunk`].
    pub kind: U16,
    /// The request's.
    pub cookie: U64,
    /// The request's.
    pub offset: U64,
    /// Bytes of payload.
    pub len: U64,
}
const _: () = assert!(size_of::<ExtendedReplyHeader>() == 32);

/// Begins a simple reply; the data of a successful READ follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SimpleReplyHeader {
    /// [`SIMPLE_REPLY_MAGIC`].
    pub magic: U32,
    /// Zero, or an [`crate::Errno`].
    pub error: U32,
    /// The request's.
    pub cookie: U64,
}
const _: () = assert!(size_of::<SimpleReplyHeader>() == 16);
