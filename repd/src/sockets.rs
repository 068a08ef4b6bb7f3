//! Unix sockets of a daemon: what a dead daemon left is replaced, a living one's is respected.

use crate::access::Access;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Connections that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 1024;

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another process listens there.
    #[error(
        "{}: process {pid} serves this socket already; stop it, or choose another path", path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        pid: String,
    },
    /// Something else is in the way.
    #[error("{}: this is not a socket; remove it, or choose another path", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {doing} failed: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Listens on a socket that they may connect to whom `access` lets. Its directory is made, for this
/// user alone, if it is missing.
///
/// # Errors
/// If a living process or something that is no socket is there, or the system refuses.
pub(crate) fn listen(
    path: &Path,
    access: Access,
) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |doing| move |error| SocketError::Io { path: path.to_owned(), doing, error };
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        make_private_dir(directory).map_err(failed("making its directory"))?;
    }
    remove_stale(path)?;
    bind(path, access)
}

/// Nobody can connect before `listen`, and then the permissions are right. (A mask for the process
/// would be felt by every file that another thread creates meanwhile.)
fn bind(path: &Path, access: Access) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |doing| move |error| SocketError::Io { path: path.to_owned(), doing, error };
    let bound = || -> io::Result<_> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    let socket = bound().map_err(failed("listening"))?;
    let file = SocketFile(path.to_owned());
    access.apply(path).map_err(failed("giving it its mode, user and group"))?;
    let listening = net::listen(&socket, BACKLOG).map_err(io::Error::from);
    let listener = listening.and_then(|()| UnixListener::from_std(socket.into()));
    listener.map(|listener| (listener, file)).map_err(failed("listening"))
}

/// Makes a directory for this user alone.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |doing| move |error| SocketError::Io { path: path.to_owned(), doing, error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at it")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = net::sockopt::socket_peercred(&stream)
                .map_or_else(|_| "?".to_owned(), |peer| peer.pid.as_raw_nonzero().to_string());
            Err(SocketError::InUse { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed("removing a dead daemon's socket"))
        }
        Err(error) => Err(failed("connecting to who may serve it")(error)),
    }
}

/// A socket that is removed when the daemon ends in order.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing is lost if it stays: the next daemon replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/control.sock");
        let (first, file) = listen(&path, Access::PRIVATE).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = listen(&path, Access::PRIVATE).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        // A daemon that dies removes nothing.
        drop(first);
        std::mem::forget(file);
        let again = listen(&path, Access::PRIVATE).unwrap();
        drop(again);
        assert!(!path.exists());
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(listen(&path, Access::PRIVATE), Err(SocketError::NotASocket { .. })));
    }
}
