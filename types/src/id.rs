//! Small numbers that must not be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which of the two nodes of a resource: 0 or 1.
///
/// Both nodes compute the same ids from the same configuration. The node with the *lower* id is
/// the **arbiter**: every tie in the replication rules is broken by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u8);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a volume within its resource, 0 to 65534 as in DRBD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VolumeId(pub u16);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
