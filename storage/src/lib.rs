//! Backing devices: where the bytes of a volume are.
//!
//! A [`Device`] takes requests ([`Op`]) by id and gives completions by id, in any order. It belongs
//! to one thread, which runs a tokio current-thread runtime:
//!
//! ```text
//! submit, submit, …  →  kick (one system call)  →  completions().await  →  answers
//! ```
//!
//! What is behind it is chosen when it is opened, by a look at the file or device:
//!
//! | backend | used for | why |
//! |---|---|---|
//! | io_uring | what takes `O_DIRECT` | completes without blocking; no other thread is involved |
//! | inline | tmpfs | a plain call never waits there, and a ring is thirty times slower |
//! | pool | the rest | plain calls that may block, on a few threads |
//! | memory | tests | loses unflushed writes when asked |
//!
//! Around any of them lies [`fault`], which fails what a test tells it to fail.
//!
//! # The contract of the caller
//!
//! Two writes (or zeroings) that overlap, their ranges widened to [`Device::granule`], are never in
//! flight at once, nor a write with a read whose outcome matters. A device that writes whole
//! sectors only is written by reading around, and the device keeps no lock of its own: the engine
//! has one already.
//!
//! # What a device promises
//!
//! - A [`Op::Flush`] makes durable every write whose completion was seen before it was submitted.
//! - A failed flush is final: what was written may be gone although a later flush would succeed.
//!   The device is poisoned then, and refuses every write and flush to come.
//! - What was zeroed reads as zeros, whatever way the device has for it.
//! - What a [`Op::Map`] says to be zeros, a read at some moment of it would have seen as zeros.
//! - No buffer is freed while the kernel may touch it: dropping a device waits.

mod buffer;
mod device;
pub mod fault;
mod file;
mod inline;
mod job;
mod map;
mod memory;
mod op;
mod open;
mod pool;
mod shared;
mod uring;

pub use buffer::{AlignedBuf, BUFFER_ALIGN, BufferPool};
pub use device::Device;
pub use memory::MemoryDisk;
pub use op::{Completion, DeviceError, Op, OpId, OpKind};
pub use open::{Backend, OpenError, OpenOptions};
