//! Drives one accepted socket, whatever it is: TCP, Unix, or a pipe of a test.
//!
//! First [`negotiate()`] on the whole stream; then the stream is split, and a [`RequestReader`]
//! and a [`ReplyWriter`] work on the halves in one task, without locks. Every future here may be
//! dropped and made anew without losing a byte, except [`negotiate()`] itself.

mod buffers;
mod handshake;
mod reader;
mod writer;

pub use buffers::{PayloadBuffers, VecBuffers};
pub use handshake::{Negotiated, negotiate};
pub use reader::{ConnectionError, Incoming, RequestReader};
pub use writer::ReplyWriter;
