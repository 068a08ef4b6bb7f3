//! Deterministic simulator: worlds of engines, disks, links and clients from one seed.
#![forbid(unsafe_code)]

pub mod history;
pub mod linear;
