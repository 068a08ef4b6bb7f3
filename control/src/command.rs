//! What can be asked of a daemon.

use crate::{Failure, Patience, VERSION};
use serde::{Deserialize, Serialize};
use types::VolumeId;

/// One question or order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The version of the protocol that the client speaks: [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub command: Command,
}

/// What an order leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spare {
    /// Disks: none is attached or detached.
    pub disks: bool,
    /// The link: the peer is neither sought nor left.
    pub link: bool,
}

/// What can be ordered of single volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum VolumeOrder {
    /// A resync is to stand still; remembered over a restart of the daemon.
    PauseSync,
    /// It is not to any more.
    ResumeSync,
    /// Give the copy here up, and copy it anew from the peer.
    Invalidate {
        /// Copy only what is marked as out-of-sync.
        keep_marks: bool,
    },
    /// Have the peer do that.
    InvalidateRemote {
        /// Copy only what is marked as out-of-sync.
        keep_marks: bool,
    },
    /// Begin a new generation.
    NewCurrentUuid {
        /// Of two disks that were just created and hold the same, and leave the first resync out.
        clear_bitmap: bool,
    },
}

impl VolumeOrder {
    /// Its name, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PauseSync => "pause-sync",
            Self::ResumeSync => "resume-sync",
            Self::Invalidate { .. } => "invalidate",
            Self::InvalidateRemote { .. } => "invalidate-remote",
            Self::NewCurrentUuid { .. } => "new-current-uuid",
        }
    }
}

/// What can be asked. `resource` is always the name of a resource that is up, except in
/// [`Command::Up`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Who is there? Answered by [`Answer::Version`](crate::Answer::Version).
    Version,
    /// Create the resource if it is not there, attach its disks, seek the peer. Done when the
    /// disks are attached and the peer is being sought; nothing happens to what is so already.
    Up {
        /// The resolved resource: a `config::Resource` as JSON.
        resource: serde_json::Value,
        /// The name of this node, one of the resource's hosts.
        node: String,
        /// What is left as it is.
        #[serde(default)]
        spare: Spare,
    },
    /// Take other options, without anything being interrupted. Refused, and nothing is changed, if
    /// something else differs from what runs than options, names, the device's path, and the disks
    /// of volumes that are detached. (Addresses may differ too while the peer is left by order.)
    /// What was fixed when a disk was attached (its path, that of its metadata, its log) stays
    /// until it is attached anew.
    Reconfigure {
        /// The resolved resource: a `config::Resource` as JSON.
        resource: serde_json::Value,
        /// The name of this node, one of the resource's hosts.
        node: String,
    },
    /// Demote, let the peer and the disks go, forget the resource.
    Down {
        /// The resource.
        resource: String,
        /// Drop the clients that have its devices open.
        force: bool,
    },
    /// Take the disks into service.
    Attach {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
        /// The resource as it is configured now: a `config::Resource` as JSON. Its disks are
        /// taken instead of those that the daemon knew; without it, those.
        config: Option<serde_json::Value>,
    },
    /// Let the disks go.
    Detach {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
    },
    /// Seek the peer.
    Connect {
        /// The resource.
        resource: String,
        /// After a split brain: what was written here since may be thrown away.
        discard_my_data: bool,
    },
    /// What both nodes have, and what they would decide if they connected. Answered by
    /// [`Answer::SplitBrain`](crate::Answer::SplitBrain).
    SplitBrain {
        /// The resource.
        resource: String,
    },
    /// Make a volume as large as its disks have room for, on both nodes. Done when it is.
    Resize {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeId,
        /// Its new size in bytes; all that there is room for if not given.
        size: Option<u64>,
        /// What is new is equal on both disks.
        assume_clean: bool,
        /// Grow it without the peer.
        assume_peer_has_space: bool,
    },
    /// The disk of a volume has grown since it was used last: it was so large. To be said before an
    /// order that attaches it; the resource need not be up.
    WasSize {
        /// The resource.
        resource: String,
        /// The volume.
        volume: VolumeId,
        /// Bytes of the disk.
        bytes: u64,
    },
    /// Take the local copies for Outdated.
    Outdate {
        /// The resource.
        resource: String,
    },
    /// Compare the copies. Done when it has begun.
    Verify {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
        /// The first sector.
        start: u64,
        /// The sector behind the last; without it, all there are.
        stop: Option<u64>,
    },
    /// End a verify, on whichever node it was ordered.
    CancelVerify {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
    },
    /// What verifies have found. Answered by [`Answer::Verified`](crate::Answer::Verified).
    VerifyReport {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
    },
    /// Let I/O stand still.
    SuspendIo {
        /// The resource.
        resource: String,
    },
    /// Let I/O go on, whatever it stands still for.
    ResumeIo {
        /// The resource.
        resource: String,
    },
    /// An order about volumes, done for one after the other.
    Volumes {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
        /// What.
        order: VolumeOrder,
    },
    /// Leave the peer.
    Disconnect {
        /// The resource.
        resource: String,
    },
    /// Become Primary.
    Primary {
        /// The resource.
        resource: String,
        /// Take the local data as good if no UpToDate copy can be reached.
        force: bool,
    },
    /// Become Secondary.
    Secondary {
        /// The resource.
        resource: String,
        /// Drop the clients that have its devices open.
        force: bool,
    },
    /// Answered by [`Answer::Status`](crate::Answer::Status).
    Status {
        /// Only this resource; all that are up otherwise.
        resource: Option<String>,
    },
    /// The configuration that a resource runs with. Answered by
    /// [`Answer::Running`](crate::Answer::Running).
    Running {
        /// The resource.
        resource: String,
    },
    /// Watch the resources: [`Reply::Status`](crate::Reply::Status) with all of them at once and
    /// whenever something has changed, [`Reply::Helper`](crate::Reply::Helper) between. A slow
    /// reader gets the newest picture, not each. Ends when the client hangs up.
    Watch,
    /// Wait until connected and the verdict is taken. [`Reply::Waiting`](crate::Reply::Waiting) says
    /// at once how long at most. Ends when the client hangs up.
    WaitConnect {
        /// The resource.
        resource: String,
        /// How long at most.
        patience: Patience,
    },
    /// Wait until connected, established, and the local disks are UpToDate. Told and ended as
    /// [`Command::WaitConnect`].
    WaitSync {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
        /// How long at most.
        patience: Patience,
    },
    /// End the daemon in order, as SIGTERM does.
    Shutdown,
}

impl Command {
    /// The resource that it is about.
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Version | Self::Watch | Self::Shutdown => None,
            Self::Up { resource, .. } | Self::Reconfigure { resource, .. } => {
                resource.get("name").and_then(serde_json::Value::as_str)
            }
            Self::Status { resource } => resource.as_deref(),
            Self::Down { resource, .. }
            | Self::Attach { resource, .. }
            | Self::Detach { resource, .. }
            | Self::Volumes { resource, .. }
            | Self::Connect { resource, .. }
            | Self::SplitBrain { resource }
            | Self::Running { resource }
            | Self::Outdate { resource }
            | Self::Resize { resource, .. }
            | Self::WasSize { resource, .. }
            | Self::Verify { resource, .. }
            | Self::CancelVerify { resource, .. }
            | Self::VerifyReport { resource, .. }
            | Self::SuspendIo { resource }
            | Self::ResumeIo { resource }
            | Self::Disconnect { resource }
            | Self::Primary { resource, .. }
            | Self::Secondary { resource, .. }
            | Self::WaitConnect { resource, .. }
            | Self::WaitSync { resource, .. } => Some(resource),
        }
    }

    /// Its name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Up { .. } => "up",
            Self::Reconfigure { .. } => "reconfigure",
            Self::Down { .. } => "down",
            Self::Attach { .. } => "attach",
            Self::Detach { .. } => "detach",
            Self::Volumes { order, .. } => order.name(),
            Self::Connect { .. } => "connect",
            Self::SplitBrain { .. } => "split-brain",
            Self::Outdate { .. } => "outdate",
            Self::Resize { .. } => "resize",
            Self::WasSize { .. } => "was-size",
            Self::Verify { .. } => "verify",
            Self::CancelVerify { .. } => "cancel-verify",
            Self::VerifyReport { .. } => "verify-report",
            Self::SuspendIo { .. } => "suspend-io",
            Self::ResumeIo { .. } => "resume-io",
            Self::Disconnect { .. } => "disconnect",
            Self::Primary { .. } => "primary",
            Self::Secondary { .. } => "secondary",
            Self::Status { .. } => "status",
            Self::Running { .. } => "running",
            Self::Watch => "watch",
            Self::WaitConnect { .. } => "wait-connect",
            Self::WaitSync { .. } => "wait-sync",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is no request, or one that this version does not know.
    #[error("the request does not decode: {0}")]
    Decode(#[from] serde_json::Error),
    /// Another version.
    #[error(
        "the daemon speaks version {VERSION} of the control protocol and was asked in version \
         {0}: use the repadm that was installed with this daemon"
    )]
    Version(u32),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::failed(error.to_string())
    }
}

impl Request {
    /// A request in this version.
    pub fn new(command: Command) -> Self {
        Self { version: VERSION, command }
    }

    /// The request of a frame. The version is looked at first, so that a request of another
    /// version gets that answer whatever else is in it.
    ///
    /// # Errors
    /// If it is of another version, or does not decode.
    pub fn decode(frame: &[u8]) -> Result<Self, RequestError> {
        #[derive(Deserialize)]
        struct Envelope {
            version: u32,
            command: serde_json::Value,
        }
        let Envelope { version, command } = serde_json::from_slice(frame)?;
        if version != VERSION {
            return Err(RequestError::Version(version));
        }
        Ok(Self { version, command: serde_json::from_value(command)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back() {
        let wait = Command::WaitSync {
            resource: "r0".into(),
            volume: Some(VolumeId(3)),
            patience: Patience::of(Some(types::Span::secs(5))),
        };
        for command in [Command::Version, wait, Command::Status { resource: None }] {
            let request = Request::new(command);
            let bytes = serde_json::to_vec(&request).unwrap();
            assert_eq!(Request::decode(&bytes).unwrap(), request);
        }
    }

    #[test]
    fn another_version_is_named_before_the_command_is_looked_at() {
        let error = Request::decode(br#"{"version": 9, "command": {"dance": {}}}"#).unwrap_err();
        assert!(matches!(error, RequestError::Version(9)), "{error}");
        let error = Request::decode(br#"{"version": 1, "command": {"dance": {}}}"#).unwrap_err();
        assert!(matches!(error, RequestError::Decode(_)), "{error}");
        assert!(Request::decode(br#"{"version": 1, "command": {"connect": {}}}"#).is_err());
    }
}
