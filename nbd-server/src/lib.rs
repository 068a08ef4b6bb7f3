//! The NBD protocol, server side: negotiation, requests, replies, and the trait of the exports
//! behind them.
//!
//! What it speaks: fixed newstyle with every option of the specification; all commands but the
//! withdrawn ones; simple, structured and extended replies; the meta contexts `base:allocation` and
//! `x-repd:out-of-sync`; TLS by STARTTLS. `docs/nbd-conformance.md` goes through the specification.
//!
//! | module | decides |
//! |---|---|
//! | [`proto`] | nothing: the numbers and structures of the protocol |
//! | [`negotiate`](mod@negotiate) | what an option is answered with, as a function of bytes |
//! | [`request`] | whether a request is valid, and which error it gets |
//! | [`context`] | what BLOCK_STATUS can tell |
//! | [`reply`] | how an answer looks on the wire |
//! | [`export`] | what the daemon is asked |
//! | [`connection`] | how bytes come from a socket and go to it |
//! | `tls` | with what certificates, and how a connection goes on within TLS |
//!
//! No client can make it panic, take memory that is not bounded, or wait beyond a deadline.

#![forbid(unsafe_code)]

pub mod connection;
pub mod context;
pub mod errno;
pub mod export;
pub mod fuzzing;
pub mod negotiate;
pub mod proto;
pub mod reply;
pub mod request;
mod tls;

pub use connection::{
    ConnectionError, Incoming, Negotiated, PayloadBuffers, ReplyWriter, RequestReader, VecBuffers,
    negotiate,
};
pub use context::{Context, Contexts, Extents};
pub use errno::Errno;
pub use export::{ExportInfo, Exports, Refusal, Session};
pub use negotiate::{NegotiationError, Terms};
pub use reply::{Answer, Failure, Replies, Ticket};
pub use request::{Command, Request};
pub use tls::{Identity, MaybeTls, TlsError, TlsOffer};
