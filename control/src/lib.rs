//! The control socket: what `repadm` asks of `repd`, and what it is answered.
//!
//! A client connects to a Unix socket and sends one [`Request`]; the daemon sends [`Reply`] frames
//! until one is final, and then takes the next request. A frame is a length (32 bit, little
//! endian) and that many bytes of JSON, see [`frame`]. The version is part of every request, so
//! that a daemon and a `repadm` of different releases tell each other so in words.

#![forbid(unsafe_code)]

mod client;
mod command;
mod failure;
pub mod frame;
mod patience;
mod reply;
mod report;
mod status;
mod verify;

pub use client::Client;
pub use command::{Command, Request, RequestError, Spare, VolumeOrder};
pub use failure::{Failure, exit};
pub use patience::{Circumstance, Patience, WaitLimit};
pub use reply::{Answer, DaemonVersion, HelperEvent, Reply};
pub use report::{
    CopyReport, MarksReport, Outcome, PolicyReport, RangeReport, SplitBrainReport, VerdictReport,
    VolumeReport,
};
pub use status::{
    ClientStatus, Counters, FlagStatus, GenerationStatus, GenerationsStatus, PeerStatus,
    ResourceStatus, ResyncProgress, ResyncSuspended, Suspended, VolumeStatus,
};
pub use verify::{VerifyOutcome, VolumeVerify};

/// The version of this protocol. A daemon answers requests of its own version only.
pub const VERSION: u32 = 1;
