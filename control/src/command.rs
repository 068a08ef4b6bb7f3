//! What can be asked of a daemon.

use crate::{Failure, VERSION};
use serde::{Deserialize, Serialize};
use types::{Span, VolumeId};

/// One question or order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The version of the protocol that the client speaks: [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub command: Command,
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
    /// Take the local copies for Outdated.
    Outdate {
        /// The resource.
        resource: String,
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
    /// Watch the resources: [`Reply::Status`](crate::Reply::Status) with all of them at once and
    /// whenever something has changed, [`Reply::Helper`](crate::Reply::Helper) between. A slow
    /// reader gets the newest picture, not each. Ends when the client hangs up.
    Watch,
    /// Wait until connected and the verdict is taken. Ends when the client hangs up.
    WaitConnect {
        /// The resource.
        resource: String,
        /// How long at most; `None` is for ever.
        timeout: Option<Span>,
    },
    /// Wait until connected, established, and the local disks are UpToDate. Ends when the client
    /// hangs up.
    WaitSync {
        /// The resource.
        resource: String,
        /// Only this volume.
        volume: Option<VolumeId>,
        /// How long at most; `None` is for ever.
        timeout: Option<Span>,
    },
    /// End the daemon in order, as SIGTERM does.
    Shutdown,
}

impl Command {
    /// The resource that it is about.
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Version | Self::Watch | Self::Shutdown => None,
            Self::Up { resource, .. } => resource.get("name").and_then(serde_json::Value::as_str),
            Self::Status { resource } => resource.as_deref(),
            Self::Down { resource, .. }
            | Self::Attach { resource, .. }
            | Self::Detach { resource, .. }
            | Self::Connect { resource, .. }
            | Self::SplitBrain { resource }
            | Self::Outdate { resource }
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
            Self::Down { .. } => "down",
            Self::Attach { .. } => "attach",
            Self::Detach { .. } => "detach",
            Self::Connect { .. } => "connect",
            Self::SplitBrain { .. } => "split-brain",
            Self::Outdate { .. } => "outdate",
            Self::SuspendIo { .. } => "suspend-io",
            Self::ResumeIo { .. } => "resume-io",
            Self::Disconnect { .. } => "disconnect",
            Self::Primary { .. } => "primary",
            Self::Secondary { .. } => "secondary",
            Self::Status { .. } => "status",
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
            timeout: Some(Span::secs(5)),
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
