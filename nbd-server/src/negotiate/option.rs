//! What is in the data of an option. A number in it is never trusted beyond the data's end.

use super::NAME_MAX;
use crate::proto::info;
use bytes::{Buf, TryGetError};

/// The pieces of information that an INFO or GO asks for, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: bool,
    pub(super) description: bool,
    pub(super) block_size: bool,
}

/// The data of INFO and GO: length of the name, name, count of requests, requests, nothing more.
pub(super) fn info_request(mut rest: &[u8]) -> Result<(String, Wanted), String> {
    let name = string("name", &mut rest)?;
    let count = rest.try_get_u16().map_err(short)?;
    if rest.len() != usize::from(count) * size_of::<u16>() {
        return Err(format!("{count} requests are said to be in {} bytes", rest.len()));
    }
    let mut wanted = Wanted::default();
    while let Ok(kind) = rest.try_get_u16() {
        match kind {
            info::NAME => wanted.name = true,
            info::DESCRIPTION => wanted.description = true,
            info::BLOCK_SIZE => wanted.block_size = true,
            // EXPORT is sent always; what is not known is left out, as the specification asks.
            _ => {}
        }
    }
    Ok((name, wanted))
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT: length of the name, name, count of queries,
/// and of each its length and text; nothing more.
pub(super) fn context_request(mut data: &[u8]) -> Result<(String, Vec<String>), String> {
    let name = string("name", &mut data)?;
    let count = data.try_get_u32().map_err(short)? as usize;
    // Each takes four bytes at least: so much for a count that is too large to be true.
    if count > data.len() / size_of::<u32>() {
        return Err(format!("{count} queries are said to be in {} bytes", data.len()));
    }
    let queries = (0..count).map(|_| string("query", &mut data)).collect::<Result<_, _>>()?;
    match data.len() {
        0 => Ok((name, queries)),
        len => Err(format!("{len} bytes are behind the last query")),
    }
}

/// A name of an export, which may be empty.
pub(super) fn name(bytes: &[u8]) -> Result<String, String> {
    text("name", bytes)
}

/// Takes a string from the beginning of `data`: its length, and so many bytes.
fn string(what: &str, data: &mut &[u8]) -> Result<String, String> {
    let len = data.try_get_u32().map_err(short)? as usize;
    let Some((bytes, rest)) = data.split_at_checked(len) else {
        return Err(format!("a {what} of {len} bytes is said to be in {} bytes", data.len()));
    };
    *data = rest;
    text(what, bytes)
}

fn text(what: &str, bytes: &[u8]) -> Result<String, String> {
    if bytes.len() > NAME_MAX {
        return Err(format!("a {what} of {} bytes; at most {NAME_MAX} are allowed", bytes.len()));
    }
    if bytes.contains(&0) {
        return Err(format!("the {what} contains a NUL"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(format!("the {what} is not UTF-8 at byte {}", error.valid_up_to())),
    }
}

fn short(_: TryGetError) -> String {
    "the data ends too early".to_owned()
}
