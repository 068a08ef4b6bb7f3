//! What `verify` takes.

use super::Named;
use clap::Args;

/// What to compare, or what else is wanted of a verify.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Begin at this sector (of 512 bytes)
    #[arg(long, value_name = "SECTOR", conflicts_with_all = ["cancel", "report"])]
    pub start: Option<u64>,
    /// End before this sector
    #[arg(long, value_name = "SECTOR", conflicts_with_all = ["cancel", "report"])]
    pub stop: Option<u64>,
    /// End a verify that runs
    #[arg(long, conflicts_with = "report")]
    pub cancel: bool,
    /// Tell what the last one has found, where the copies differ, and how to repair it
    #[arg(long)]
    pub report: bool,
    /// Which.
    #[command(flatten)]
    pub on: Named,
}
