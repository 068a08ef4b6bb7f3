//! Deterministic simulator: worlds of engines, disks, links and clients, each from one seed.
//!
//! A world runs two engines exactly as they ship, on disks, a network and a clock that are
//! unkinder than real ones, and oracles watch it. See [`plan::Class`] for what can happen in it
//! and `oracle` for what must be true of it. [`history`] and [`linear`] are of use to tests of real
//! processes too.

#![forbid(unsafe_code)]

mod client;
mod content;
pub mod crash_states;
mod disk;
mod disk_loss;
mod early;
mod effects;
mod grow;
pub mod history;
mod life;
pub mod linear;
mod links;
mod load;
mod maps;
pub mod marks;
pub mod mutations;
mod net;
mod node;
mod observe;
mod operator;
mod oracle;
pub mod plan;
pub mod replay;
mod resync_orders;
mod runner;
pub mod script;
pub mod shrink;
pub mod trace;
mod verify;
mod world;

pub use oracle::Failure;
pub use runner::{Outcome, replay_command, run, run_replay};
pub use world::World;
