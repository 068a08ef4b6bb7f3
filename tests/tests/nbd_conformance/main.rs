//! The requirements of the NBD specification, each shown with a real daemon. The table is
//! `docs/nbd-conformance.md`; each test names the rows that it shows.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod block_status;
mod commands;
mod describe;
mod disconnect;
mod extended;
mod flags;
mod golden;
mod greeting;
mod limits;
mod meta;
mod names;
mod options;
mod roles;
mod structured;
mod table;

use tests::conformance::{ALLOCATION, OUT_OF_SYNC, Served, shared};
use tests::nbd_client::{Client, FLAG_PAYLOAD_LEN, Operation, Style};

const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
const EOVERFLOW: u32 = 75;
const ENOTSUP: u32 = 95;
const ESHUTDOWN: u32 = 108;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISC: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const CACHE: u16 = 5;
const WRITE_ZEROES: u16 = 6;
const BLOCK_STATUS: u16 = 7;

const STYLES: [Style; 3] = [Style::Simple, Style::Structured, Style::Extended];
/// 6 GiB of data and their metadata: more than 4 GiB, so that lengths of 64 bits have something to
/// say. The transcripts know the number. The file is sparse.
const DISK_BYTES: u64 = (6 << 30) + 59 * 4096;

/// The daemon of most tests.
fn served() -> &'static Served {
    shared(DISK_BYTES)
}

/// The error that a request gets, or none.
async fn errno(client: &mut Client, operation: Operation) -> Option<u32> {
    client.ask(operation).await.unwrap().result.err()
}

/// A client that has selected both contexts, if there are any in this style.
async fn client_with_status(style: Style) -> Client {
    match style {
        Style::Simple => served().client(style).await.unwrap(),
        _ => served().client_with(style, &[ALLOCATION, OUT_OF_SYNC]).await.unwrap(),
    }
}

/// The request of a header and the payload that goes with it in this style.
fn request(style: Style, command: u16, flags: u16, offset: u64, len: u64) -> Operation {
    if command != WRITE {
        return Operation::raw(command, flags, offset, len);
    }
    let payload_len = if style == Style::Extended { FLAG_PAYLOAD_LEN } else { 0 };
    let payload = vec![0x77; len as usize].into();
    Operation::Raw { command, flags: flags | payload_len, offset, len, payload }
}
