//! Tests of the real processes: two daemons on loopback with file-backed disks, clients of ours
//! and of others, and a network cable that can be cut.
//!
//! - [`cluster`]: two nodes in a directory of their own, `repadm` on each, and what can be done to
//!   a daemon;
//! - [`proxy`]: the cable between them;
//! - [`nbd_client`], [`load`], [`foreign`]: who writes and reads;
//! - [`conformance`]: a daemon to hold to the NBD specification, and transcripts of sessions;
//! - [`scenario`]: the behaviours that are shown, each at the scale of a test or of an acceptance;
//! - [`torture`]: random trouble under load, for as long as one likes.
//!
//! `cargo test` runs every scenario at a small scale; `cargo run --release -p tests -- acceptance`
//! at the full one, and says what it measured.

#![forbid(unsafe_code)]

pub mod certificates;
pub mod clock;
pub mod cluster;
pub mod conformance;
pub mod disks;
pub mod foreign;
pub mod load;
pub mod namespace;
pub mod nbd_client;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod scenario;
pub mod torture;
