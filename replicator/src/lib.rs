//! The replication engine: input in, effects out.
//!
//! One [`Engine`] is one resource on one node. It is a function of its inputs: it has no clock, no
//! thread, no file and no socket, and two engines that are told the same do the same. The daemon
//! drives it with real disks and links, the simulator with invented ones; what the simulator
//! proves is what ships.
#![forbid(unsafe_code)]

mod digest;
mod effect;
mod engine;
mod event;
/// The body of the fuzz target for the handshake.
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod input;
mod inspection;
mod options;
mod status;
pub mod wire;

pub use digest::Digest;
pub use effect::{DeviceSizes, DiskOp, Effect, Effects, IoError, Refusal, RefusalKind};
pub use engine::Engine;
pub use event::{Event, Severity};
pub use handler::Handler;
pub use input::{
    ClientId, ClientOp, Command, CommandId, DiskError, DiskOpId, HandlerId, Input, LinkDownCause,
    LinkEpoch, MetaOpId, PauseCause, Reconfigure, RequestId, Resize, STOP_PATIENCE,
};
pub use inspection::{InspectedCopy, InspectedVolume, Inspection, Marks, RANGES_MAX};
pub use options::{
    EngineConfig, Fencing, OnCongestion, OnIoError, OnNoData, Options, Pace, ReadBalancing,
    RrConflict, Secret, VolumeOptions,
};
pub use status::{
    Counters, Pauses, ResyncStatus, Status, Suspended, VerifyReport, VerifyStatus, VolumeStatus,
};
