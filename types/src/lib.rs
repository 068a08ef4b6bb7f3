//! The vocabulary of replication: ids, ranges, time, states, conflicts, latencies.
//!
//! Every other crate speaks in these words, and they are the words of logs, status output and
//! documentation too. Nothing here has behaviour beyond its own arithmetic and spelling.

#![forbid(unsafe_code)]

mod block_status;
mod conflict;
mod id;
mod latency;
pub mod mutation;
mod prng;
mod range;
mod state;
mod time;

pub use block_status::{StatusMap, StatusRun};
pub use conflict::{ConflictCounts, ConflictKind};
pub use id::{NodeId, VolumeId};
pub use latency::{Histogram, Ledger, Stage};
pub use prng::Prng;
pub use range::{
    BLOCK_BYTES, BlockRange, ByteRange, EXTENT_BYTES, MAX_REQUEST_BYTES, SECTOR_BYTES, blocks_of,
};
pub use state::{ConnectionState, DiskState, Protocol, ReplicationState, Role};
pub use time::{Span, Time};
