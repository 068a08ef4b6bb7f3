//! Messages to bytes and back.

use super::body::{self, AckKind};
use super::header::{HEADER_BYTES, Header, WireError};
use super::{Message, RefuseCode, ResyncStep, Stamp};
use bytes::Bytes;
use types::{ByteRange, DiskState, EXTENT_BYTES, Role, VolumeId};
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
    RoleRequest = 48,
    RoleReply = 49,
    RoleIs = 50,
    DiskIs = 51,
    SequenceIs = 52,
    StandIn = 53,
    Outdate = 54,
}

impl Kind {
    const fn takes_payload(self) -> bool {
        match self {
            Self::Hello | Self::Auth | Self::State | Self::Bitmap | Self::Refuse => true,
            Self::Plan => true,
            Self::Write | Self::Settled | Self::ReadDone => true,
            Self::ResyncData | Self::InSync | Self::RoleReply => true,
            Self::Ready | Self::Bye | Self::Ping | Self::Pong | Self::Zero | Self::Ack => false,
            Self::Flush | Self::FlushDone | Self::Durable | Self::Read => false,
            Self::ResyncRequest | Self::ResyncFailed | Self::ResyncEnd => false,
            Self::RoleRequest | Self::RoleIs | Self::DiskIs | Self::SequenceIs => false,
            Self::StandIn | Self::Outdate => false,
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
            Self::StandIn => true,
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
            Self::RoleRequest { .. } => Kind::RoleRequest,
            Self::RoleReply { .. } => Kind::RoleReply,
            Self::RoleIs(_) => Kind::RoleIs,
            Self::DiskIs { .. } => Kind::DiskIs,
            Self::SequenceIs { .. } => Kind::SequenceIs,
            Self::StandIn { .. } => Kind::StandIn,
            Self::Outdate => Kind::Outdate,
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
            | Self::ResyncEnd { .. } => return self.fill_resync(header),
            Self::Flush { volume, id } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
            }
            Self::FlushDone { volume, id, ok } => {
                header.volume = volume.0.into();
                header.seq = (*id).into();
                header.flags = if *ok { FLAG_OK } else { 0 }.into();
            }
            Self::Durable { volume, upto } => {
                header.volume = volume.0.into();
                header.seq = (*upto).into();
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
            Self::RoleRequest { id, role } => {
                header.seq = (*id).into();
                header.offset = u64::from(role.to_u8()).into();
            }
            Self::RoleReply { id, granted, text } => {
                header.seq = (*id).into();
                header.flags = if *granted { FLAG_OK } else { 0 }.into();
                return text_bytes(text);
            }
            Self::RoleIs(role) => header.offset = u64::from(role.to_u8()).into(),
            Self::DiskIs { volume, disk } => {
                header.volume = volume.0.into();
                header.offset = u64::from(disk.to_u8()).into();
            }
            Self::SequenceIs { volume, sequence: number }
            | Self::StandIn { volume, id: number } => {
                header.volume = volume.0.into();
                header.seq = (*number).into();
            }
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
            Self::ResyncRequest { volume, range } | Self::ResyncFailed { volume, range } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                Bytes::new()
            }
            Self::ResyncData { volume, range, data } => {
                header.volume = volume.0.into();
                header.set_range(*range);
                header.flags = if data.is_some() { FLAG_DATA } else { 0 }.into();
                data.clone().unwrap_or_default()
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
            other => unreachable!("{} is not of the resync", other.name()),
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
        | Kind::DiskIs
        | Kind::SequenceIs
        | Kind::StandIn => decode_resync(kind, header, payload),
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
            Message::ResyncRequest { volume, range: data_range(name, header, None)? }
        }
        Kind::ResyncFailed => {
            Message::ResyncFailed { volume, range: data_range(name, header, None)? }
        }
        Kind::ResyncData => {
            let data = (flags & FLAG_DATA != 0).then_some(payload);
            let range = data_range(name, header, data.as_ref())?;
            Message::ResyncData { volume, range, data }
        }
        Kind::InSync => {
            let blocks = body::decode_pairs(name, &payload)?;
            if blocks.iter().any(|&(start, count)| start.checked_add(count).is_none()) {
                return Err(wrong("blocks beyond the end of all numbers"));
            }
            Message::InSync { volume, blocks }
        }
        Kind::ResyncEnd => Message::ResyncEnd {
            volume,
            step: resync_step(seq).ok_or_else(|| wrong("unknown step"))?,
        },
        Kind::DiskIs => {
            let number = u8::try_from(header.offset.get()).ok();
            let disk = number.and_then(DiskState::from_u8);
            Message::DiskIs { volume, disk: disk.ok_or_else(|| wrong("unknown disk state"))? }
        }
        Kind::SequenceIs => Message::SequenceIs { volume, sequence: seq },
        Kind::StandIn => Message::StandIn { volume, id: seq },
        other => unreachable!("{} is not of the resync", other.name()),
    })
}

/// Fields that a kind does not use must be zero, so that a later version can give them a meaning.
fn check_unused(kind: Kind, h: &Header) -> Result<(), WireError> {
    let none: U64 = 0.into();
    let all = [h.offset, h.len, h.seq, h.seen, h.settled];
    let (used, flags): ([bool; 5], u32) = match kind {
        Kind::Hello | Kind::Auth | Kind::State | Kind::Ready | Kind::Bye => ([false; 5], 0),
        Kind::Ping | Kind::Pong | Kind::Plan | Kind::Outdate => ([false; 5], 0),
        Kind::Bitmap => ([true, false, false, false, false], 0),
        Kind::Refuse | Kind::ResyncEnd => ([false, false, true, false, false], 0),
        Kind::Write => ([true; 5], FLAG_FUA),
        Kind::Zero => ([true; 5], FLAG_FUA | FLAG_UNMAP),
        Kind::Ack => ([true, false, true, false, false], 0),
        Kind::Settled => ([false, false, false, false, true], 0),
        Kind::Flush | Kind::Durable | Kind::SequenceIs | Kind::StandIn => {
            ([false, false, true, false, false], 0)
        }
        Kind::FlushDone | Kind::RoleReply => ([false, false, true, false, false], FLAG_OK),
        Kind::Read => ([true, true, true, false, false], 0),
        Kind::ReadDone => ([false, false, true, false, false], FLAG_DATA),
        Kind::ResyncRequest | Kind::ResyncFailed => ([true, true, false, false, false], 0),
        Kind::ResyncData => ([true, true, false, false, false], FLAG_DATA),
        Kind::InSync => ([false; 5], 0),
        Kind::RoleRequest => ([true, false, true, false, false], 0),
        Kind::RoleIs | Kind::DiskIs => ([true, false, false, false, false], 0),
    };
    let unused = std::array::from_fn::<U64, 5, _>(|i| if used[i] { none } else { all[i] });
    let wrong = |what| Err(WireError::Field { kind: kind.name(), what });
    if !kind.is_about_a_volume() && h.volume.get() != 0 {
        return wrong("a volume where none belongs");
    }
    let optional = matches!(kind, Kind::ReadDone | Kind::ResyncData);
    if optional && h.flags.get() & FLAG_DATA == 0 && h.payload_len() != 0 {
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
    }
}

const fn ack_kind(number: u64) -> Option<AckKind> {
    match number {
        1 => Some(AckKind::Written),
        2 => Some(AckKind::Superseded),
        3 => Some(AckKind::Failed),
        _ => None,
    }
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
