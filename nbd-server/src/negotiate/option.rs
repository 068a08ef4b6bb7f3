//! What is in the data of an option. A number in it is never trusted beyond the data's end.

use super::NAME_MAX;
use crate::proto::info;
use bytes::Buf;

/// The pieces of information that an INFO or GO asks for, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: bool,
    pub(super) description: bool,
    pub(super) block_size: bool,
}

/// The data of INFO and GO: length of the name, name, count of requests, requests, nothing more.
pub(super) fn info_request(mut data: &[u8]) -> Result<(String, Wanted), String> {
    let short = |_| "the data ends too early".to_owned();
    let name_len = data.try_get_u32().map_err(short)? as usize;
    let Some((bytes, mut rest)) = data.split_at_checked(name_len) else {
        return Err(format!("a name of {name_len} bytes is said to be in {} bytes", data.len()));
    };
    let name = name(bytes)?;
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

/// A name of an export, which may be empty.
pub(super) fn name(bytes: &[u8]) -> Result<String, String> {
    if bytes.len() > NAME_MAX {
        return Err(format!("a name of {} bytes; at most {NAME_MAX} are allowed", bytes.len()));
    }
    if bytes.contains(&0) {
        return Err("the name contains a NUL".to_owned());
    }
    match std::str::from_utf8(bytes) {
        Ok(name) => Ok(name.to_owned()),
        Err(error) => Err(format!("the name is not UTF-8 at byte {}", error.valid_up_to())),
    }
}
