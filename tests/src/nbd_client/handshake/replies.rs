//! What a server may answer to an option, and how it describes an export.

use super::{ACK, ExportInfo, GO, INFO, LIST, LIST_META_CONTEXT, OptionReply, SET_META_CONTEXT};
use crate::nbd_client::answer::Style;
use crate::nbd_client::error::{ClientError, breach};
use bytes::Buf;

const SERVER: u32 = 2;
const INFORMATION: u32 = 3;
const META_CONTEXT: u32 = 4;
/// Set in the type of every reply that is an error.
const ERROR: u32 = 1 << 31;
/// The error types that the protocol has are 1 to this one.
const LAST_ERROR: u32 = 10;
/// Names and other strings are no longer.
const STRING_MAX: usize = 4096;

/// Transmission flags with rules of their own.
mod flag {
    pub(super) const HAS_FLAGS: u16 = 1 << 0;
    pub(super) const WRITE_ZEROES: u16 = 1 << 6;
    pub(super) const DF: u16 = 1 << 7;
    pub(super) const RESIZE: u16 = 1 << 9;
    pub(super) const FAST_ZERO: u16 = 1 << 11;
    pub(super) const STATUS_PAYLOAD: u16 = 1 << 12;
    pub(super) const UNKNOWN: u16 = !0 << 13;
}

/// Whether this reply is the last one of its option, if it is one that may come.
pub(super) fn check_reply(option: u32, reply: &OptionReply) -> Result<bool, ClientError> {
    let OptionReply { kind, data } = reply;
    match (*kind, option) {
        (ACK, _) if data.is_empty() => Ok(true),
        (SERVER, LIST) => server(data).map(|_| false),
        (INFORMATION, INFO | GO) => Ok(false),
        (META_CONTEXT, LIST_META_CONTEXT | SET_META_CONTEXT) => {
            match context(data)? {
                // The id of a list has no meaning, and is to be zero.
                (id, name) if option == LIST_META_CONTEXT && id != 0 => {
                    breach(format!("a list names {name} with the id {id}"))
                }
                _ => Ok(false),
            }
        }
        (kind, _) if kind & ERROR != 0 && (1..=LAST_ERROR).contains(&(kind & !ERROR)) => {
            text(data).map(|_| true)
        }
        (kind, _) => breach(format!("a reply of type 0x{kind:x} to {option}: {data:02x?}")),
    }
}

/// Name and description of an export.
pub(super) fn server(mut data: &[u8]) -> Result<(String, String), ClientError> {
    let len = data.try_get_u32().map_err(short)? as usize;
    let (name, description) = data.split_at_checked(len).ok_or_else(too_short)?;
    Ok((text(name)?, text(description)?))
}

/// Id and name of a context.
pub(super) fn context(mut data: &[u8]) -> Result<(u32, String), ClientError> {
    let id = data.try_get_u32().map_err(short)?;
    let name = text(data)?;
    let namespace = name.split_once(':').map(|(namespace, _)| namespace);
    match namespace {
        Some("base" | "nbd-server" | "qemu") => Ok((id, name)),
        Some(other) if other.starts_with("x-") => Ok((id, name)),
        _ => breach(format!("a context named {name:?}")),
    }
}

pub(super) fn take_information(mut data: &[u8], info: &mut ExportInfo) -> Result<(), ClientError> {
    let kind = data.try_get_u16().map_err(short)?;
    if info.kinds.contains(&kind) {
        return breach(format!("information {kind} twice"));
    }
    info.kinds.push(kind);
    match kind {
        0 => {
            info.size = data.try_get_u64().map_err(short)?;
            info.flags = data.try_get_u16().map_err(short)?;
        }
        1 => info.name = text(std::mem::take(&mut data))?,
        2 => info.description = text(std::mem::take(&mut data))?,
        3 => {
            let mut next = || data.try_get_u32().map_err(short);
            let sizes = [next()?, next()?, next()?];
            check_sizes(sizes)?;
            info.block_size = Some(sizes);
        }
        _ => return breach(format!("information {kind}")),
    }
    match data {
        [] => Ok(()),
        _ => breach(format!("{} bytes behind information {kind}", data.len())),
    }
}

/// The rules of the size constraints.
fn check_sizes(sizes: [u32; 3]) -> Result<(), ClientError> {
    let [min, preferred, max] = sizes;
    let right = min.is_power_of_two()
        && min <= 1 << 16
        && preferred.is_power_of_two()
        && preferred >= min.max(512)
        && max >= preferred;
    if right { Ok(()) } else { breach(format!("block sizes {sizes:?}")) }
}

/// The rules of the transmission flags.
pub(super) fn check_flags(flags: u16, style: Style) -> Result<(), ClientError> {
    let has = |flag: u16| flags & flag != 0;
    let right = has(flag::HAS_FLAGS)
        && !has(flag::RESIZE | flag::UNKNOWN)
        && (style != Style::Simple || !has(flag::DF))
        && (style == Style::Extended || !has(flag::STATUS_PAYLOAD))
        && (has(flag::WRITE_ZEROES) || !has(flag::FAST_ZERO));
    if right { Ok(()) } else { breach(format!("flags 0x{flags:04x} with {style:?}")) }
}

pub(super) fn text(bytes: &[u8]) -> Result<String, ClientError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= STRING_MAX && !text.contains('\0') => Ok(text.to_owned()),
        _ => breach(format!("a string of {} bytes: {bytes:02x?}", bytes.len())),
    }
}

fn short(_: bytes::TryGetError) -> ClientError {
    too_short()
}

fn too_short() -> ClientError {
    ClientError::Protocol("the data of a reply ends too early".to_owned())
}
