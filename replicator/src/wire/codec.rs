//! Messages to bytes and back.

use super::body::{self, AckKind};
use super::header::{HEADER_BYTES, Header, WireError};
use super::{Content, Message, PeerOrder, RefuseCode, ResyncStep, Stamp};
use crate::digest::Digest;
use bytes::Bytes;
use metadata::GenerationId;
use types::{BLOCK_BYTES, ByteRange, DiskState, EXTENT_BYTES, Role, VolumeId};
use zerocopy::byteorder::little_endian::U64;

/// A message ready to be sent: header, then payload.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The header.
    pub header: [u8; HEADER_BYTES],
    /// The payload, often the very bytes that a client sent.
    pub payload: Bytes,
}

const FLAG_FUA: u32 = 1;
const FLAG_UNMAP: u32 = 2;
const FLAG_OK: u32 = 1;
const FLAG_DATA: u32 = 1;
const FLAG_SAME: u32 = 2;
const FLAG_BY_USER: u32 = 1;
const FLAG_BY_DEPENDENCY: u32 = 2;
const FLAG_LOCKED: u32 = 1;
const FLAG_WHOLE: u32 = 2;
const DIGEST_FLAGS: u32 = 0x70;
/// The longest text that travels in a message, in bytes.
const TEXT_MAX: usize = 4096;

/// Kinds by number. Numbers are never used again for something else.
macro_rules! kinds {
    ($($name:ident = $number:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        enum Kind { $($name = $number,)+ }
        impl Kind {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)+];
            fn from_u16(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
            const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

kinds! {
    Hello = 1,
    Auth = 2,
    State = 3,
    Bitmap = 4,
    Ready = 5,
    Refuse = 6,
    Bye = 7,
    Ping = 8,
    Pong = 9,
    Plan = 10,
    Write = 16,
    Zero = 17,
    Ack = 18,
    Settled = 19,
    Flush = 20,
    FlushDone = 21,
    Durable = 22,
    Read = 23,
    ReadDone = 24,
    ResyncRequest = 32,
    ResyncData = 33,
    ResyncFailed = 34,
    InSync = 35,
    ResyncEnd = 36,
    VerifyRequest = 37,
    VerifyReply = 38,
    VerifyOutOfSync = 39,
    VerifyEnd = 40,
    SyncControl = 45,
    Order = 46,
    OrderDone = 47,
    RoleRequest = 48,
    RoleReply = 49,
    RoleIs = 50,
    DiskIs = 51,
    SequenceIs = 52,
    StandIn = 53,
    Outdate = 54,
    Resize = 61,
    ResizeReply = 62,
    Behind = 56,
}

impl Kind {
    const fn takes_payload(self) -> bool {
        match self {
            Self::Hello | Self::Auth | Self::State | Self::Bitmap | Self::Refuse => true,
            Self::Plan => true,
            Self::Write | Self::Settled | Self::ReadDone => true,
            Self::ResyncData | Self::InSync | Self::RoleReply | Self::ResizeReply => true,
            Self::Ready | Self::Bye | Self::Ping | Self::Pong | Self::Zero | Self::Ack => false,
            Self::Flush | Self::FlushDone | Self::Durable | Self::Read => false,
            Self::ResyncRequest => true,
            Self::ResyncFailed | Self::ResyncEnd => false,
            Self::SyncControl | Self::Order => false,
            Self::OrderDone => true,
            Self::VerifyReply | Self::VerifyOutOfSync | Self::VerifyEnd => true,
            Self::VerifyRequest => false,
            Self::RoleRequest | Self::RoleIs | Self::DiskIs | Self::SequenceIs => false,
            Self::StandIn | Self::Outdate | Self::Resize | Self::Behind => false,
        }
    }

    const fn is_about_a_volume(self) -> bool {
        match self {
            Self::Hello | Self::Auth | Self::State | Self::Ready | Self::Refuse | Self::Bye => {
                false
            }
            Self::Ping | Self::Pong | Self::RoleRequest | Self::RoleReply | Self::RoleIs => false,
            Self::Plan | Self::Outdate => false,
            Self::Bitmap | Self::Write | Self::Zero | Self::Ack | Self::Settled => true,
            Self::Flush | Self::FlushDone | Self::Durable | Self::Read | Self::ReadDone => true,
            Self::ResyncRequest | Self::ResyncData | Self::ResyncFailed => true,
            Self::InSync | Self::ResyncEnd | Self::DiskIs | Self::SequenceIs => true,
            Self::StandIn | Self::SyncControl | Self::Order | Self::OrderDone => true,
            Self::Resize | Self::ResizeReply | Self::Behind => true,
            Self::VerifyRequest | Self::VerifyReply | Self::VerifyOutOfSync => true,
            Self::VerifyEnd => true,
        }
    }
}

impl Message {
    fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Auth(_) => Kind::Auth,
            Self::State(_) => Kind::State,
            Self::Bitmap { .. } => Kind::Bitmap,
            Self::Plan(_) => Kind::Plan,
            Self::Ready => Kind::Ready,
            Self::Refuse { .. } => Kind::Refuse,
            Self::Bye => Kind::Bye,
            Self::Ping => Kind::Ping,
            Self::Pong => Kind::Pong,
            Self::Write { .. } => Kind::Write,
            Self::Zero { .. } => Kind::Zero,
            Self::Ack { .. } => Kind::Ack,
            Self::Settled { .. } => Kind::Settled,
            Self::Flush { .. } => Kind::Flush,
            Self::FlushDone { .. } => Kind::FlushDone,
            Self::Durable { .. } => Kind::Durable,
            Self::Read { .. } => Kind::Read,
            Self::ReadDone { .. } => Kind::ReadDone,
            Self::ResyncRequest { .. } => Kind::ResyncRequest,
            Self::ResyncData { .. } => Kind::ResyncData,
            Self::ResyncFailed { .. } => Kind::ResyncFailed,
            Self::InSync { .. } => Kind::InSync,
            Self::ResyncEnd { .. } => Kind::ResyncEnd,
            Self::VerifyRequest { .. } => Kind::VerifyRequest,
            Self::VerifyReply { .. } => Kind::VerifyReply,
            Self::VerifyOutOfSync { .. } => Kind::VerifyOutOfSync,
            Self::VerifyEnd { .. } => Kind::VerifyEnd,
            Self::RoleRequest { .. } => Kind::RoleRequest,
            Self::RoleReply { .. } => Kind::RoleReply,
            Self::RoleIs(_) => Kind::RoleIs,
            Self::DiskIs { .. } => Kind::DiskIs,
            Self::SequenceIs { .. } => Kind::SequenceIs,
            Self::StandIn { .. } => Kind::StandIn,
            Self::Outdate => Kind::Outdate,
            Self::SyncControl { .. } => Kind::SyncControl,
            Self::Order { .. } => Kind::Order,
            Self::OrderDone { .. } => Kind::OrderDone,
            Self::Resize { .. } => Kind::Resize,
            Self::ResizeReply { .. } => Kind::ResizeReply,
            Self::Behind { .. } => Kind::Behind,
        }
    }

    /// The name of its kind, for logs.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The bytes for the wire.
    pub fn encode(&self) -> Encoded {
        let mut header = Header::new(self.kind() as u16);
        let payload = self.fill(&mut header);
        Encoded { header: header.seal(&payload), payload }
    }

    /// Sets the fields of the header and gives the payload.
    fn fill(&self, header: &mut Header) -> Bytes {
        match self {
            Self::Hello(hello) => return body::encode_hello(hello),
            Self::Auth(auth) => return body::encode_auth(auth),
            Self::State(state) => return body::encode_state(state),
            Self::Plan(plans) => return body::encode_plans(plans),
            Self::Ready | Self::Bye | Self::Ping | Self::Pong | Self::Outdate => {}
            Self::Bitmap { volume, from, runs } => {
                header.volume = volume.0.into();
                header.offset = (*from).into();
                return runs.clone();
            }
            Self::Refuse { code, text } => {
                header.seq = u64::from(refuse_number(*code)).into();
                return text_bytes(text);
            }
            Self::Write { .. } | Self::Zero { .. } | Self::Ack { .. } | Self::Settled { .. } => {
                return self.fill_write_path(header);
            }
            Self::ResyncRequest { .. }
            | Self::ResyncData { .. }
            | Self::ResyncFailed { .. }
            | Self::InSync { .. }
            | Self::ResyncEnd { .. }
            | Self::SyncControl { .. } => return self.fill_resync(header),
            Self::Resize { .. } | Self::ResizeReply { .. } => return self.fill_resize(header),
            Self::VerifyRequest { .. }
            | Self::VerifyReply { .. }
            | Self::VerifyOutOfSync { .. }
            | Self::VerifyEnd { .. } => return self.fill_verify(header),
            Self::Flush { volume, id } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
            }
            Self::FlushDone { volume, id, ok } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.flags = if *ok { FLAG_OK } else { 0 }.into();
            }
            Self::Read { volume, id, range } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.set_range(*range);
            }
            Self::ReadDone { volume, id, data } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.flags = if data.is_some() { FLAG_DATA } else { 0 }.into();
                return data.clone().unwrap_or_default();
            }
            Self::RoleRequest { .. }
            | Self::RoleReply { .. }
            | Self::Order { .. }
            | Self::OrderDone { .. }
            | Self::Behind { .. }
            | Self::RoleIs(_)
            | Self::DiskIs { .. }
            | Self::SequenceIs { .. }
            | Self::Durable { .. }
            | Self::StandIn { .. } => return self.fill_state(header),
        }
        Bytes::new()
    }

    /// Of roles, disks, orders, and what is durable.
    fn fill_state(&self, header: &mut Header) -> Bytes {
        match self {
            Self::RoleRequest { id, role } => {
                header.seq = (*id).into();
                header.offset = u64::from(role.to_u8()).into();
            }
            Self::RoleReply { id, granted, text } => {
                header.seq = (*id).into();
                header.flags = if *granted { FLAG_OK } else { 0 }.into();
                return text_bytes(text);
            }
            Self::Order { volume, id, order } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                let (number, generation) = order_number(*order);
                header.offset = number.into();
                header.seen = generation.into();
            }
            Self::OrderDone { volume, id, done, text } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.flags = if *done { FLAG_OK } else { 0 }.into();
                return text_bytes(text);
            }
            Self::Behind { volume } => header.volume = volume.0.into(),
            Self::RoleIs(role) => header.offset = u64::from(role.to_u8()).into(),
            Self::DiskIs { volume, disk } => {
                header.volume = volume.0.into();
                header.offset = u64::from(disk.to_u8()).into();
            }
            Self::SequenceIs { volume, sequence: number }
            | Self::Durable { volume, upto: number }
            | Self::StandIn { volume, id: number } => {
                header.volume = volume.0.into();
                header.seq = (*number).into();
            }
            other => unreachable!("{} is of no state", other.name()),
        }
        Bytes::new()
    }

    fn fill_write_path(&self, header: &mut Header) -> Bytes {
        match self {
            Self::Write { stamp, range, data, fua } => {
                assert_eq!(range.len, data.len() as u64, "a write has the length of its data");
                set_stamp(header, stamp);
                header.set_range(*range);
                header.flags = if *fua { FLAG_FUA } else { 0 }.into();
                data.clone()
            }
            Self::Zero { stamp, range, unmap, fua } => {
                set_stamp(header, stamp);
                header.set_range(*range);
                let flags = if *fua { FLAG_FUA } else { 0 } | if *unmap { FLAG_UNMAP } else { 0 };
                header.flags = flags.into();
                Bytes::new()
            }
            Self::Ack { volume, seq, kind } => {
                header.volume = volume.0.into();
                header.seq = (*seq).into();
                header.offset = u64::from(ack_number(*kind)).into();
                Bytes::new()
            }
            Self::Settled { volume, below, seqs } => {
                header.volume = volume.0.into();
                header.settled = (*below).into();
                if seqs.is_empty() { Bytes::new() } else { body::encode_numbers(seqs) }
            }
            other => unreachable!("{} is not of the write path", other.name()),
        }
    }

    fn fill_resync(&self, header: &mut Header) -> Bytes {
        match self {
            Self::ResyncRequest { volume, range, known } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                let (flag, digests) = match known {
                    Some((digest, digests)) => (digest_flag(*digest), digests.clone()),
                    None => (0, Bytes::new()),
                };
                header.flags = flag.into();
                digests
            }
            Self::ResyncFailed { volume, range } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                Bytes::new()
            }
            Self::ResyncData { volume, range, content } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                let (flag, data) = match content {
                    Content::Data(data) => (FLAG_DATA, data.clone()),
                    Content::Zeros => (0, Bytes::new()),
                    Content::Same => (FLAG_SAME, Bytes::new()),
                };
                header.flags = flag.into();
                data
            }
            Self::InSync { volume, blocks } => {
                header.volume = volume.0.into();
                body::encode_pairs(blocks)
            }
            Self::ResyncEnd { volume, step } => {
                header.volume = volume.0.into();
                header.seq = u64::from(step_number(*step)).into();
                Bytes::new()
            }
            Self::SyncControl { volume, user, dependency, speed } => {
                header.volume = volume.0.into();
                header.seq = u64::from(*speed).into();
                let user = if *user { FLAG_BY_USER } else { 0 };
                header.flags = (user | if *dependency { FLAG_BY_DEPENDENCY } else { 0 }).into();
                Bytes::new()
            }
            other => unreachable!("{} is not of the resync", other.name()),
        }
    }

    fn fill_verify(&self, header: &mut Header) -> Bytes {
        match self {
            Self::VerifyRequest { volume, range, id, total, done, digest, locked } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                header.seq = (*id).into();
                header.seen = (*total).into();
                header.settled = (*done).into();
                header.flags =
                    (digest_flag(*digest) | if *locked { FLAG_LOCKED } else { 0 }).into();
                Bytes::new()
            }
            Self::VerifyReply { volume, id, range, digests } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                header.seq = (*id).into();
                header.flags = if digests.is_some() { FLAG_DATA } else { 0 }.into();
                digests.clone().unwrap_or_default()
            }
            Self::VerifyOutOfSync { volume, blocks } => {
                header.volume = volume.0.into();
                body::encode_pairs(blocks)
            }
            Self::VerifyEnd { volume, id, complete, whole, found, text } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.offset = (*found).into();
                let flags =
                    if *complete { FLAG_OK } else { 0 } | if *whole { FLAG_WHOLE } else { 0 };
                header.flags = flags.into();
                text_bytes(text)
            }
            other => unreachable!("{} is not of a verify", other.name()),
        }
    }
}

impl Message {
    fn fill_resize(&self, header: &mut Header) -> Bytes {
        match self {
            Self::Resize { volume, id, size } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.offset = (*size).into();
                Bytes::new()
            }
            Self::ResizeReply { volume, id, result } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                match result {
                    Ok(room) => {
                        header.offset = (*room).into();
                        header.flags = FLAG_OK.into();
                        Bytes::new()
                    }
                    Err(text) => text_bytes(text),
                }
            }
            other => unreachable!("{} is not about a size", other.name()),
        }
    }
}

/// The message of a checked header and its payload.
pub fn decode(header: &Header, payload: Bytes) -> Result<Message, WireError> {
    header.check_payload(&payload)?;
    let number = header.kind.get();
    let kind = Kind::from_u16(number).ok_or(WireError::Kind(number))?;
    if !kind.takes_payload() && !payload.is_empty() {
        let (kind, what) = (kind.name(), "a payload where none belongs");
        return Err(WireError::Field { kind, what });
    }
    check_unused(kind, header)?;
    match kind {
        Kind::Write
        | Kind::Zero
        | Kind::Ack
        | Kind::Settled
        | Kind::Flush
        | Kind::FlushDone
        | Kind::Durable
        | Kind::Read
        | Kind::ReadDone => decode_write_path(kind, header, payload),
        Kind::ResyncRequest
        | Kind::ResyncFailed
        | Kind::ResyncData
        | Kind::InSync
        | Kind::ResyncEnd
        | Kind::SyncControl
        | Kind::Order
        | Kind::OrderDone
        | Kind::DiskIs
        | Kind::SequenceIs
        | Kind::StandIn
        | Kind::Resize
        | Kind::ResizeReply
        | Kind::Behind => decode_resync(kind, header, payload),
        Kind::VerifyRequest | Kind::VerifyReply | Kind::VerifyOutOfSync | Kind::VerifyEnd => {
            decode_verify(kind, header, payload)
        }
        _ => decode_link(kind, header, payload),
    }
}

/// Messages of the handshake, of the link itself, and about roles.
fn decode_link(kind: Kind, header: &Header, payload: Bytes) -> Result<Message, WireError> {
    let name = kind.name();
    let wrong = |what| WireError::Field { kind: name, what };
    let volume = VolumeId(header.volume.get());
    let seq = header.seq.get();
    let flags = header.flags.get();
    Ok(match kind {
        Kind::Hello => Message::Hello(Box::new(body::decode_hello(&payload)?)),
        Kind::Auth => Message::Auth(body::decode_auth(&payload)?),
        Kind::State => Message::State(Box::new(body::decode_state(&payload)?)),
        Kind::Bitmap => Message::Bitmap { volume, from: header.offset.get(), runs: payload },
        Kind::Plan => Message::Plan(body::decode_plans(&payload)?),
        Kind::Ready => Message::Ready,
        Kind::Outdate => Message::Outdate,
        Kind::Refuse => Message::Refuse {
            code: refuse_code(seq).ok_or_else(|| wrong("unknown reason"))?,
            text: text(name, &payload)?,
        },
        Kind::Bye => Message::Bye,
        Kind::Ping => Message::Ping,
        Kind::Pong => Message::Pong,
        Kind::RoleRequest => {
            Message::RoleRequest { id: seq, role: role(name, header.offset.get())? }
        }
        Kind::RoleReply => {
            let granted = flags & FLAG_OK != 0;
            Message::RoleReply { id: seq, granted, text: text(name, &payload)? }
        }
        Kind::RoleIs => Message::RoleIs(role(name, header.offset.get())?),
        other => unreachable!("{} is not of the link", other.name()),
    })
}

/// Messages about writes, flushes and reads.
fn decode_write_path(kind: Kind, header: &Header, payload: Bytes) -> Result<Message, WireError> {
    let name = kind.name();
    let wrong = |what| WireError::Field { kind: name, what };
    let volume = VolumeId(header.volume.get());
    let seq = header.seq.get();
    let flags = header.flags.get();
    Ok(match kind {
        Kind::Write => {
            let range = data_range(name, header, Some(&payload))?;
            let (stamp, fua) = (stamp(name, header)?, flags & FLAG_FUA != 0);
            Message::Write { stamp, range, data: payload, fua }
        }
        Kind::Zero => Message::Zero {
            stamp: stamp(name, header)?,
            range: data_range(name, header, None)?,
            unmap: flags & FLAG_UNMAP != 0,
            fua: flags & FLAG_FUA != 0,
        },
        Kind::Ack => Message::Ack {
            volume,
            seq,
            kind: ack_kind(header.offset.get()).ok_or_else(|| wrong("unknown outcome"))?,
        },
        Kind::Settled => {
            let seqs = match payload.is_empty() {
                true => Vec::new(),
                false => body::decode_numbers(name, &payload)?,
            };
            if seqs.is_empty() && !payload.is_empty() {
                return Err(wrong("an empty list that is not left out"));
            }
            Message::Settled { volume, below: header.settled.get(), seqs }
        }
        Kind::Flush => Message::Flush { volume, id: seq },
        Kind::FlushDone => Message::FlushDone { volume, id: seq, ok: flags & FLAG_OK != 0 },
        Kind::Durable => Message::Durable { volume, upto: seq },
        Kind::Read => Message::Read { volume, id: seq, range: data_range(name, header, None)? },
        Kind::ReadDone => {
            let data = (flags & FLAG_DATA != 0).then_some(payload);
            Message::ReadDone { volume, id: seq, data }
        }
        other => unreachable!("{} is not of the write path", other.name()),
    })
}

/// Messages about a resync and about disks.
fn decode_resync(kind: Kind, header: &Header, payload: Bytes) -> Result<Message, WireError> {
    let name = kind.name();
    let wrong = |what| WireError::Field { kind: name, what };
    let volume = VolumeId(header.volume.get());
    let seq = header.seq.get();
    let flags = header.flags.get();
    Ok(match kind {
        Kind::ResyncRequest => {
            let range = data_range(name, header, None)?;
            Message::ResyncRequest { volume, range, known: known(header, range, payload)? }
        }
        Kind::ResyncFailed => {
            Message::ResyncFailed { volume, range: data_range(name, header, None)? }
        }
        Kind::ResyncData => {
            let content = match flags {
                0 => Content::Zeros,
                FLAG_DATA => Content::Data(payload),
                FLAG_SAME => Content::Same,
                _ => return Err(wrong("both data and no data")),
            };
            let data = if let Content::Data(data) = &content { Some(data) } else { None };
            Message::ResyncData { volume, range: data_range(name, header, data)?, content }
        }
        Kind::InSync => Message::InSync { volume, blocks: pairs(name, &payload)? },
        Kind::ResyncEnd => Message::ResyncEnd {
            volume,
            step: resync_step(seq).ok_or_else(|| wrong("unknown step"))?,
        },
        Kind::DiskIs => {
            let number = u8::try_from(header.offset.get()).ok();
            let disk = number.and_then(DiskState::from_u8);
            Message::DiskIs { volume, disk: disk.ok_or_else(|| wrong("unknown disk state"))? }
        }
        Kind::SyncControl => Message::SyncControl {
            volume,
            user: flags & FLAG_BY_USER != 0,
            dependency: flags & FLAG_BY_DEPENDENCY != 0,
            speed: u8::try_from(seq).map_err(|_| wrong("unknown speed"))?,
        },
        Kind::Order => {
            let order = peer_order(header.offset.get(), header.seen.get());
            let order = order.ok_or_else(|| wrong("unknown order"))?;
            Message::Order { volume, id: seq, order }
        }
        Kind::OrderDone => {
            let done = flags & FLAG_OK != 0;
            Message::OrderDone { volume, id: seq, done, text: text(name, &payload)? }
        }
        Kind::SequenceIs => Message::SequenceIs { volume, sequence: seq },
        Kind::StandIn => Message::StandIn { volume, id: seq },
        Kind::Resize => Message::Resize { volume, id: seq, size: header.offset.get() },
        Kind::ResizeReply => {
            let (granted, room) = (flags & FLAG_OK != 0, header.offset.get());
            if granted && !payload.is_empty() || !granted && room != 0 {
                return Err(wrong("neither a yes nor a no"));
            }
            let result = if granted { Ok(room) } else { Err(text(name, &payload)?) };
            Message::ResizeReply { volume, id: seq, result }
        }
        Kind::Behind => Message::Behind { volume },
        other => unreachable!("{} is not of the resync", other.name()),
    })
}

/// The digests of the blocks of a range that a resync target has there, if it says so.
fn known(
    header: &Header,
    range: ByteRange,
    payload: Bytes,
) -> Result<Option<(Digest, Bytes)>, WireError> {
    let wrong = |what| WireError::Field { kind: Kind::ResyncRequest.name(), what };
    let flags = header.flags.get();
    if flags == 0 {
        return Ok(None);
    }
    let digest = digest(flags).ok_or_else(|| wrong("not one digest"))?;
    let whole = range.offset.is_multiple_of(BLOCK_BYTES);
    if !whole || !digest.fits(&payload, range.blocks().len()) {
        return Err(wrong("digests of other blocks"));
    }
    Ok(Some((digest, payload)))
}

/// Messages about a verify.
fn decode_verify(kind: Kind, header: &Header, payload: Bytes) -> Result<Message, WireError> {
    let name = kind.name();
    let volume = VolumeId(header.volume.get());
    let id = header.seq.get();
    let flags = header.flags.get();
    Ok(match kind {
        Kind::VerifyRequest => Message::VerifyRequest {
            volume,
            range: data_range(name, header, None)?,
            id,
            total: header.seen.get(),
            done: header.settled.get(),
            digest: digest(flags & !FLAG_LOCKED)
                .ok_or(WireError::Field { kind: name, what: "not one digest" })?,
            locked: flags & FLAG_LOCKED != 0,
        },
        Kind::VerifyReply => {
            let digests = (flags & FLAG_DATA != 0).then_some(payload);
            Message::VerifyReply { volume, id, range: data_range(name, header, None)?, digests }
        }
        Kind::VerifyOutOfSync => {
            Message::VerifyOutOfSync { volume, blocks: pairs(name, &payload)? }
        }
        Kind::VerifyEnd => Message::VerifyEnd {
            volume,
            id,
            complete: flags & FLAG_OK != 0,
            whole: flags & FLAG_WHOLE != 0,
            found: header.offset.get(),
            text: text(name, &payload)?,
        },
        other => unreachable!("{} is not of a verify", other.name()),
    })
}

/// Runs of blocks, as (first block, count).
fn pairs(kind: &'static str, payload: &[u8]) -> Result<Vec<(u64, u64)>, WireError> {
    let blocks = body::decode_pairs(kind, payload)?;
    if blocks.iter().any(|&(start, count)| start.checked_add(count).is_none()) {
        return Err(WireError::Field { kind, what: "blocks beyond the end of all numbers" });
    }
    Ok(blocks)
}

/// Fields that a kind does not use must be zero, so that a later version can give them a meaning.
fn check_unused(kind: Kind, h: &Header) -> Result<(), WireError> {
    let none: U64 = 0.into();
    let all = [h.offset, h.len, h.seq, h.seen, h.settled];
    let (used, flags): ([bool; 5], u32) = match kind {
        Kind::Hello | Kind::Auth | Kind::State | Kind::Ready | Kind::Bye => ([false; 5], 0),
        Kind::Ping | Kind::Pong | Kind::Plan | Kind::Outdate | Kind::Behind => ([false; 5], 0),
        Kind::Bitmap => ([true, false, false, false, false], 0),
        Kind::Refuse | Kind::ResyncEnd => ([false, false, true, false, false], 0),
        Kind::Write => ([true; 5], FLAG_FUA),
        Kind::Zero => ([true; 5], FLAG_FUA | FLAG_UNMAP),
        Kind::Ack | Kind::Resize => ([true, false, true, false, false], 0),
        Kind::ResizeReply => ([true, false, true, false, false], FLAG_OK),
        Kind::Settled => ([false, false, false, false, true], 0),
        Kind::Flush | Kind::Durable | Kind::SequenceIs | Kind::StandIn => {
            ([false, false, true, false, false], 0)
        }
        Kind::SyncControl => {
            ([false, false, true, false, false], FLAG_BY_USER | FLAG_BY_DEPENDENCY)
        }
        Kind::Order => ([true, false, true, true, false], 0),
        Kind::FlushDone | Kind::RoleReply | Kind::OrderDone => {
            ([false, false, true, false, false], FLAG_OK)
        }
        Kind::Read => ([true, true, true, false, false], 0),
        Kind::ReadDone => ([false, false, true, false, false], FLAG_DATA),
        Kind::ResyncFailed => ([true, true, false, false, false], 0),
        Kind::ResyncRequest => ([true, true, false, false, false], DIGEST_FLAGS),
        Kind::ResyncData => ([true, true, false, false, false], FLAG_DATA | FLAG_SAME),
        Kind::InSync | Kind::VerifyOutOfSync => ([false; 5], 0),
        Kind::VerifyRequest => ([true; 5], FLAG_LOCKED | DIGEST_FLAGS),
        Kind::VerifyReply => ([true, true, true, false, false], FLAG_DATA),
        Kind::VerifyEnd => ([true, false, true, false, false], FLAG_OK | FLAG_WHOLE),
        Kind::RoleRequest => ([true, false, true, false, false], 0),
        Kind::RoleIs | Kind::DiskIs => ([true, false, false, false, false], 0),
    };
    let unused = std::array::from_fn::<U64, 5, _>(|i| if used[i] { none } else { all[i] });
    let wrong = |what| Err(WireError::Field { kind: kind.name(), what });
    if !kind.is_about_a_volume() && h.volume.get() != 0 {
        return wrong("a volume where none belongs");
    }
    let optional = matches!(kind, Kind::ReadDone | Kind::ResyncData | Kind::VerifyReply);
    let unsaid = optional && h.flags.get() & FLAG_DATA == 0
        || kind == Kind::ResyncRequest && h.flags.get() == 0;
    if unsaid && h.payload_len() != 0 {
        return wrong("a payload that the flags do not tell of");
    }
    h.expect_zero(kind.name(), &unused, flags)
}

fn set_stamp(header: &mut Header, stamp: &Stamp) {
    header.volume = stamp.volume.0.into();
    header.seq = stamp.seq.into();
    header.seen = stamp.seen.into();
    header.settled = stamp.settled_below.into();
}

fn stamp(kind: &'static str, header: &Header) -> Result<Stamp, WireError> {
    let stamp = Stamp {
        volume: VolumeId(header.volume.get()),
        seq: header.seq.get(),
        seen: header.seen.get(),
        settled_below: header.settled.get(),
    };
    if stamp.seq == 0 || stamp.settled_below > stamp.seq {
        return Err(WireError::Field { kind, what: "numbers that no write has" });
    }
    Ok(stamp)
}

/// A range of data: not empty, within an extent's length, as long as the data if there is any.
fn data_range(
    kind: &'static str,
    header: &Header,
    data: Option<&Bytes>,
) -> Result<ByteRange, WireError> {
    let range = header.range(kind)?;
    if range.is_empty() || range.len > EXTENT_BYTES {
        return Err(WireError::Field { kind, what: "empty, or longer than an extent" });
    }
    if data.is_some_and(|data| data.len() as u64 != range.len) {
        return Err(WireError::Field { kind, what: "data not as long as the range" });
    }
    Ok(range)
}

fn text_bytes(text: &str) -> Bytes {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Bytes::copy_from_slice(&text.as_bytes()[..end])
}

fn text(kind: &'static str, bytes: &[u8]) -> Result<String, WireError> {
    if bytes.len() > TEXT_MAX {
        return Err(WireError::Field { kind, what: "text too long" });
    }
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| WireError::Field { kind, what: "text is not UTF-8" })
}

fn role(kind: &'static str, number: u64) -> Result<Role, WireError> {
    let role = u8::try_from(number).ok().and_then(Role::from_u8);
    role.ok_or(WireError::Field { kind, what: "unknown role" })
}

const fn ack_number(kind: AckKind) -> u8 {
    match kind {
        AckKind::Written => 1,
        AckKind::Superseded => 2,
        AckKind::Failed => 3,
        AckKind::Received => 4,
    }
}

const fn ack_kind(number: u64) -> Option<AckKind> {
    match number {
        1 => Some(AckKind::Written),
        2 => Some(AckKind::Superseded),
        3 => Some(AckKind::Failed),
        4 => Some(AckKind::Received),
        _ => None,
    }
}

const fn digest_flag(digest: Digest) -> u32 {
    match digest {
        Digest::Crc32c => 0x10,
        Digest::Xxh3 => 0x20,
        Digest::Sha256 => 0x40,
    }
}

fn digest(flag: u32) -> Option<Digest> {
    Digest::ALL.into_iter().find(|digest| digest_flag(*digest) == flag)
}

const fn step_number(step: ResyncStep) -> u8 {
    match step {
        ResyncStep::Finished => 1,
        ResyncStep::Confirmed => 2,
        ResyncStep::Adopted => 3,
    }
}

const fn resync_step(number: u64) -> Option<ResyncStep> {
    match number {
        1 => Some(ResyncStep::Finished),
        2 => Some(ResyncStep::Confirmed),
        3 => Some(ResyncStep::Adopted),
        _ => None,
    }
}

/// An order by its number, and the generation that goes with it.
const fn order_number(order: PeerOrder) -> (u64, u64) {
    match order {
        PeerOrder::Invalidate => (1, 0),
        PeerOrder::InvalidateMarked => (2, 0),
        PeerOrder::SkipSync(generation) => (3, generation.0),
    }
}

fn peer_order(number: u64, generation: u64) -> Option<PeerOrder> {
    match (number, generation) {
        (1, 0) => Some(PeerOrder::Invalidate),
        (2, 0) => Some(PeerOrder::InvalidateMarked),
        (3, generation) => Some(PeerOrder::SkipSync(GenerationId(generation))),
        _ => None,
    }
}

const fn refuse_number(code: RefuseCode) -> u8 {
    match code {
        RefuseCode::Mismatch => 1,
        RefuseCode::Authentication => 2,
        RefuseCode::SplitBrain => 3,
        RefuseCode::Data => 4,
        RefuseCode::Busy => 5,
    }
}

const fn refuse_code(number: u64) -> Option<RefuseCode> {
    match number {
        1 => Some(RefuseCode::Mismatch),
        2 => Some(RefuseCode::Authentication),
        3 => Some(RefuseCode::SplitBrain),
        4 => Some(RefuseCode::Data),
        5 => Some(RefuseCode::Busy),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
