//! What can go wrong between a client and its server.

use std::fmt;
use std::io;

/// What went wrong.
#[derive(Debug)]
pub enum ClientError {
    /// The connection failed or was closed. What was in flight may have been done or not.
    Io(io::Error),
    /// The server broke the protocol.
    Protocol(String),
    /// The server answered an option with an error.
    Refused {
        /// The reply's type, one of [`Self::UNSUP`] and so on.
        kind: u32,
        /// What it said.
        text: String,
    },
    /// The server answered a request with an error, by its number in the protocol.
    Errno(u32),
}

impl ClientError {
    /// The option is not supported.
    pub const UNSUP: u32 = 0x8000_0001;
    /// A policy of the server forbids it: this node is Secondary.
    pub const POLICY: u32 = 0x8000_0002;
    /// The option was malformed.
    pub const INVALID: u32 = 0x8000_0003;
    /// Nothing goes on without TLS.
    pub const TLS_REQD: u32 = 0x8000_0005;
    /// There is no such export.
    pub const UNKNOWN: u32 = 0x8000_0006;
    /// The server is going down.
    pub const SHUTDOWN: u32 = 0x8000_0007;
    /// The request or its answer is too long.
    pub const TOO_BIG: u32 = 0x8000_0009;
    /// Extended headers are needed, or agreed on already.
    pub const EXT_HEADER_REQD: u32 = 0x8000_000a;

    /// Whether the connection is gone, so that what was in flight is unknown.
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// The type of the error reply to an option, if it was refused.
    pub fn refused_with(&self) -> Option<u32> {
        match self {
            Self::Refused { kind, .. } => Some(*kind),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => write!(f, "the NBD connection failed"),
            Self::Protocol(why) => write!(f, "the NBD server has broken the protocol: {why}"),
            Self::Refused { kind, text } => write!(f, "refused with 0x{kind:x}: {text}"),
            Self::Errno(errno) => write!(f, "the NBD server answered with error {errno}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The server broke the protocol.
pub(super) fn breach<T>(why: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError::Protocol(why.into()))
}
