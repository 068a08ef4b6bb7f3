//! What a daemon answers.

use crate::{Failure, ResourceStatus, SplitBrainReport, VolumeVerify, WaitLimit};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One frame of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Something to tell the operator; more frames follow.
    Note(String),
    /// To a watcher: the resources that are up, by name. More frames follow.
    Status(Vec<ResourceStatus>),
    /// To a watcher: what became of a handler. More frames follow.
    Helper(HelperEvent),
    /// To one who waits: how long that lasts at most, from now. More frames follow.
    Waiting(WaitLimit),
    /// It is done. Final.
    Done(Answer),
    /// It is not done. Final.
    Failed(Failure),
}

impl Reply {
    /// Whether no more frames follow.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// A handler of the configuration was called, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum HelperEvent {
    /// It was called.
    Called {
        /// The resource that it is about.
        resource: String,
        /// Its name in the configuration.
        helper: String,
    },
    /// It has ended, or could not be started.
    Ended {
        /// The resource that it is about.
        resource: String,
        /// Its name in the configuration.
        helper: String,
        /// Its exit code as a shell would have it: 128 and the signal that ended it, 127 if it
        /// could not be started.
        status: i32,
    },
    /// So many of these events have gone by while this watcher did not read.
    Missed(u64),
}

/// What comes with a command that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// Who the daemon is.
    Version(DaemonVersion),
    /// The resources, by name.
    Status(Vec<ResourceStatus>),
    /// What both nodes have of a resource.
    SplitBrain(Box<SplitBrainReport>),
    /// What verifies have found, by volume.
    Verified(Vec<VolumeVerify>),
    /// What a resource runs with.
    Running {
        /// The resolved resource: a `config::Resource` as JSON, with what was changed since it came
        /// up. The shared secret is in it.
        resource: serde_json::Value,
        /// The name of this node, one of the resource's hosts.
        node: String,
    },
}

/// Who the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonVersion {
    /// Its release.
    pub release: String,
    /// The version of the control protocol.
    pub control: u32,
    /// The version of the replication protocol.
    pub replication: u32,
    /// Its process.
    pub pid: u32,
    /// The name that it was started with (`--node`); nothing if it takes the host's name.
    pub node: Option<String>,
    /// Where it keeps what is up.
    pub state_dir: PathBuf,
    /// Where it serves NBD, as `unix:PATH` or `tcp:ADDR:PORT`.
    pub nbd: Vec<String>,
}
