//! Why a command was not done.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The exit codes of `repadm`.
pub mod exit {
    /// Done, also when there was nothing to do.
    pub const DONE: u8 = 0;
    /// Usage; an unknown resource; a resource that is not up.
    pub const USAGE: u8 = 1;
    /// A wait timed out.
    pub const TIMEOUT: u8 = 5;
    /// `outdate`: the disk is worth less than Outdated already. DRBD's code, which scripts for
    /// `fence-peer` know.
    pub const LOWER: u8 = 5;
    /// Invalid configuration; no metadata; metadata in the way; disk missing or in use.
    pub const CONFIG: u8 = 10;
    /// A change of state was refused.
    pub const STATE: u8 = 11;
    /// Refused for want of UpToDate data.
    pub const NO_DATA: u8 = 17;
    /// Split brain.
    pub const SPLIT_BRAIN: u8 = 18;
    /// The daemon cannot be reached, or failed.
    pub const FAILED: u8 = 20;
}

/// Why a command was not done: what is in the way, and which command removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What `repadm` exits with: one of [`exit`].
    pub exit: u8,
    /// Whole sentences, without «error:» before them.
    pub text: String,
}

impl Failure {
    /// A failure with that exit code.
    pub fn new(exit: u8, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// Something that went wrong in the daemon, or on the way to it.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(exit::FAILED, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
