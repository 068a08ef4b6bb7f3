//! What is printed, as functions from a picture of the state to text. Nothing here asks anybody
//! anything, so that every state can be shown by a test.

pub mod color;
pub mod events;
pub mod generations;
pub mod overview;
pub mod pairs;
pub mod proc;
pub mod progress;
pub mod script;
pub mod show;
pub mod size;
pub mod split_brain;
pub mod status;
pub mod status_json;
pub mod time;
pub mod top;
pub mod verify;
pub mod words;

#[cfg(test)]
pub(crate) mod samples;

/// Bytes as the KiB that DRBD counts in.
pub(crate) const fn kib(bytes: u64) -> u64 {
    bytes / 1024
}

/// Blocks as KiB.
pub(crate) const fn blocks_kib(blocks: u64) -> u64 {
    blocks.saturating_mul(types::BLOCK_BYTES / 1024)
}

/// DRBD's spelling of a flag.
pub(crate) const fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// What a handshake found, as a sentence that says what it is.
pub(crate) fn split_brain(what: &str) -> String {
    const NAME: &str = "split brain";
    if what.starts_with(NAME) { what.to_owned() } else { format!("{NAME}: {what}") }
}

/// The same in one short line, with what to do next.
pub(crate) fn split_brain_in_short(resource: &str) -> String {
    format!(
        "split brain: both nodes wrote alone, nothing is discarded; see repadm split-brain \
         {resource}"
    )
}
