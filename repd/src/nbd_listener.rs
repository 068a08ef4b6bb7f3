//! Listens for NBD clients, negotiates with each, and hands it to the thread of its resource.

use crate::clock::Clock;
use crate::daemon::Daemon;
use crate::exports::{DaemonExports, resolve};
use crate::log_limit::LogLimit;
use crate::options::NbdAddress;
use crate::resource::NewClient;
use crate::sockets::{self, SocketFile};
use crate::stream::Stream;
use control::{Failure, exit};
use nbd_server::{MaybeTls, Negotiated, NegotiationError, TlsOffer, negotiate};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

/// How long a client may take to negotiate.
const NEGOTIATION_PATIENCE: Duration = Duration::from_secs(10);
/// How many clients may negotiate at once on one listener. (Those that are held while a resource
/// is brought back count, too.)
const NEGOTIATING_MAX: usize = 256;
/// How long to rest when no connection can be accepted, for instance for want of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A socket that clients connect to.
#[derive(Debug)]
pub(crate) enum NbdListener {
    Unix {
        listener: UnixListener,
        /// Removes the socket when nobody listens any more.
        _file: SocketFile,
    },
    Tcp(TcpListener),
}

impl NbdListener {
    /// # Errors
    /// With exit code 10, naming the address.
    pub(crate) fn bind(address: &NbdAddress) -> Result<Self, Failure> {
        let failed = |text: String| Failure::new(exit::CONFIG, format!("NBD: {text}"));
        match address {
            NbdAddress::Unix(path) => {
                let listener = sockets::listen(path).map_err(|error| failed(error.to_string()))?;
                Ok(Self::Unix { listener, _file: SocketFile(path.clone()) })
            }
            NbdAddress::Tcp(address) => {
                let listen = || -> io::Result<TcpListener> {
                    let socket = match address.is_ipv4() {
                        true => TcpSocket::new_v4(),
                        false => TcpSocket::new_v6(),
                    }?;
                    socket.set_reuseaddr(true)?;
                    socket.bind(*address)?;
                    socket.listen(128)
                };
                let listener = listen()
                    .map_err(|error| failed(format!("cannot listen on {address}: {error}")))?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = describe_local(&stream);
                Ok((Stream::Unix(stream), peer))
            }
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), from.to_string()))
            }
        }
    }

    /// Serves for ever. To be spawned on the main thread.
    pub(crate) async fn serve(self, daemon: Rc<Daemon>) {
        let negotiating = Rc::new(Cell::new(0));
        let (clock, limit) = (Clock::start(), Rc::new(RefCell::new(LogLimit::default())));
        loop {
            match self.accept().await {
                Ok((_, peer)) if negotiating.get() >= NEGOTIATING_MAX => {
                    tracing::warn!(client = peer, "closed: too many clients negotiate at once");
                }
                Ok((stream, peer)) => {
                    let (daemon, negotiating) = (daemon.clone(), negotiating.clone());
                    let limit = limit.clone();
                    negotiating.set(negotiating.get() + 1);
                    tokio::task::spawn_local(async move {
                        if let Err(error) = welcome(&daemon, stream, &peer).await
                            && let Some(withheld) = limit.borrow_mut().admit(clock.now())
                        {
                            tracing::warn!(client = peer, withheld, "NBD client: {error}");
                        }
                        negotiating.set(negotiating.get() - 1);
                    });
                }
                Err(error) => {
                    tracing::warn!("accepting an NBD client failed: {error}");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

async fn welcome(daemon: &Rc<Daemon>, stream: Stream, peer: &str) -> Result<(), String> {
    let exports = DaemonExports(daemon.clone());
    let negotiated = negotiate(stream, &exports, &TlsOffer::Off, peer, NEGOTIATION_PATIENCE).await;
    let Negotiated { stream, terms, leftover } = match negotiated {
        Ok(negotiated) => negotiated,
        Err(error) if error.is_ordinary() => return Ok(()),
        Err(NegotiationError::Refused { name, why }) => {
            tracing::info!(client = peer, export = name, "NBD refused: {why}");
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let resources = daemon.resources();
    let names = resources.iter().map(|entry| entry.name());
    let export = terms.export.name.clone();
    let Some((name, volume)) = resolve(&export, names) else {
        return Err(format!("{export} went down while it was negotiated"));
    };
    let MaybeTls::Plain(stream) = stream else {
        unreachable!("TLS is not offered");
    };
    let stream = stream.into_std().map_err(|error| error.to_string())?;
    let entry = resources.iter().find(|entry| entry.name() == name);
    let client = NewClient { stream, leftover, terms, volume, peer: peer.to_owned() };
    let resource = entry.expect("only what is up is resolved").resource.clone();
    resource.serve(client).await.map_err(|failure| failure.text)
}

/// The process at the other end of a Unix socket.
fn describe_local(stream: &UnixStream) -> String {
    let Some(pid) = stream.peer_cred().ok().and_then(|peer| peer.pid()) else {
        return "a local process".into();
    };
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("pid {pid} ({})", name.trim()),
        Err(_) => format!("pid {pid}"),
    }
}
