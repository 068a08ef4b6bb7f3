//! Sockets that were made before this daemon was started, as systemd passes them: in LISTEN_FDS,
//! with their names in LISTEN_FDNAMES.

use crate::options::NbdAddress;
use anyhow::{Context, bail, ensure};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The name of the control socket.
const CONTROL: &str = "control";
/// The first descriptor that is passed.
const FIRST: usize = 3;

/// What was passed.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// The control socket.
    pub(crate) control: Option<UnixListener>,
    /// Where NBD is served.
    pub(crate) nbd: Vec<(NbdAddress, PassedListener)>,
}

/// A socket that somebody else removes.
#[derive(Debug)]
pub(crate) enum PassedListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Takes what was passed. The one that is named `control`, or has the address of the control
/// socket, is that; all others are for NBD. To be called before there is another thread: it
/// changes the environment, so that children do not take the sockets for theirs.
///
/// # Errors
/// If something else than listening stream sockets was passed.
pub(crate) fn take(control: &Path) -> anyhow::Result<Passed> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut descriptors = ListenFd::from_env();
    let mut passed = Passed::default();
    let mut names = names.split(':');
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        let what = || format!("descriptor {} «{name}» of LISTEN_FDS", FIRST + index);
        if let Ok(Some(listener)) = descriptors.take_unix_listener(index) {
            let address = listener.local_addr().with_context(what)?;
            let path = address.as_pathname().map(Path::to_owned).with_context(|| {
                format!("{}: the socket has no path, and clients could not name it", what())
            })?;
            ensure_listening(&listener).with_context(what)?;
            listener.set_nonblocking(true).with_context(what)?;
            if name == CONTROL || path == control {
                ensure!(passed.control.is_none(), "{}: a second control socket", what());
                passed.control = Some(listener);
            } else {
                passed.nbd.push((NbdAddress::Unix(path), PassedListener::Unix(listener)));
            }
        } else if let Ok(Some(listener)) = descriptors.take_tcp_listener(index) {
            ensure!(name != CONTROL, "{}: the control socket must be a Unix socket", what());
            ensure_listening(&listener).with_context(what)?;
            listener.set_nonblocking(true).with_context(what)?;
            let address = listener.local_addr().with_context(what)?;
            passed.nbd.push((NbdAddress::Tcp(address), PassedListener::Tcp(listener)));
        } else {
            bail!("{} is not a stream socket; use ListenStream= in the socket unit", what());
        }
    }
    Ok(passed)
}

fn ensure_listening(socket: impl AsFd) -> anyhow::Result<()> {
    let listens = socket_acceptconn(socket)?;
    ensure!(listens, "the socket does not listen; use Accept=no in the socket unit");
    Ok(())
}
