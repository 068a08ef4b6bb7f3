//! What a verify has found.

use serde::{Deserialize, Serialize};
use types::VolumeId;

/// A verify that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyOutcome {
    /// This node drove it.
    pub requester: bool,
    /// When it started, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
    /// It has compared all that it was to compare.
    pub complete: bool,
    /// Everything before this sector has been compared: known by who drove it.
    pub position_sector: Option<u64>,
    /// Blocks of 4 KiB that were compared.
    pub compared_blocks: u64,
    /// Blocks that differed.
    pub found_blocks: u64,
    /// Why it is not complete, and what else there is to say.
    pub text: String,
}

/// What is known of the verifies of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VolumeVerify {
    /// The volume.
    pub volume: VolumeId,
    /// One runs now.
    pub running: bool,
    /// When a verify of the whole volume last ended, in milliseconds since the Unix epoch.
    pub last_whole: Option<u64>,
    /// How the last one ended, since the resource came up.
    pub outcome: Option<VerifyOutcome>,
    /// Blocks that are marked out-of-sync now.
    pub out_of_sync_blocks: u64,
    /// Where they are: first sector and number of sectors, at most [`VolumeVerify::RANGES_MAX`].
    pub ranges: Vec<(u64, u64)>,
    /// There are more ranges than are listed.
    pub more_ranges: bool,
}

impl VolumeVerify {
    /// So many ranges are listed.
    pub const RANGES_MAX: usize = 4096;
}
