//! The NBD protocol, server side: negotiation, requests, replies, and the trait of the exports
//! behind them.
//!
//! What it speaks: fixed newstyle; EXPORT_NAME, ABORT, LIST, INFO and GO; READ, WRITE, FLUSH,
//! TRIM, WRITE_ZEROES, CACHE and DISC with simple replies; FUA and NO_HOLE. Every other option is
//! answered with ERR_UNSUP, every other command with EINVAL.
//!
//! | module | decides |
//! |---|---|
//! | [`proto`] | nothing: the numbers and structures of the protocol |
//! | [`negotiate`](mod@negotiate) | what an option is answered with, as a function of bytes |
//! | [`request`] | whether a request is valid, and which error it gets |
//! | [`export`] | what the daemon is asked |
//! | [`connection`] | how bytes come from a socket and go to it |
//!
//! No client can make it panic, take memory that is not bounded, or wait beyond a deadline.

#![forbid(unsafe_code)]

pub mod connection;
pub mod errno;
pub mod export;
pub mod fuzzing;
pub mod negotiate;
pub mod proto;
mod reply;
pub mod request;

pub use connection::{
    ConnectionError, Incoming, Negotiated, PayloadBuffers, ReplyWriter, RequestReader, VecBuffers,
    negotiate,
};
pub use errno::Errno;
pub use export::{ExportInfo, Exports, Refusal};
pub use negotiate::NegotiationError;
pub use request::{Command, Request};
