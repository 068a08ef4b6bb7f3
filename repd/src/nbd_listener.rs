//! Listens for NBD clients, negotiates with each, and hands it to the thread of its resource.

use crate::access::Access;
use crate::activation::PassedListener;
use crate::clock::Clock;
use crate::daemon::Daemon;
use crate::exports::{DaemonExports, resolve};
use crate::log_limit::LogLimit;
use crate::negotiating::{Held, NEGOTIATING_MAX, Negotiating};
use crate::options::NbdAddress;
use crate::resource::NewClient;
use crate::sockets::{self, BACKLOG, SocketFile};
use crate::stream::Stream;
use control::{Failure, exit};
use nbd_server::{NegotiationError, TlsOffer, negotiate};
use rustix::net::sockopt;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// How long a client may take to negotiate, TLS included.
const NEGOTIATION_PATIENCE: Duration = Duration::from_secs(10);
/// How long to rest when no connection can be accepted, for instance for want of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A socket that clients connect to.
#[derive(Debug)]
pub(crate) enum NbdListener {
    Unix {
        listener: UnixListener,
        /// Removes the socket when nobody listens any more, if it was made here.
        _file: Option<SocketFile>,
    },
    Tcp(TcpListener),
}

impl NbdListener {
    /// # Errors
    /// With exit code 10, naming the address.
    pub(crate) fn bind(address: &NbdAddress, access: Access) -> Result<Self, Failure> {
        let failed = |text: String| Failure::new(exit::CONFIG, format!("NBD: {text}"));
        match address {
            NbdAddress::Unix(path) => {
                let (listener, file) =
                    sockets::listen(path, access).map_err(|error| failed(error.to_string()))?;
                Ok(Self::Unix { listener, _file: Some(file) })
            }
            NbdAddress::Tcp(address) => {
                let listen = || -> io::Result<TcpListener> {
                    let socket = match address.is_ipv4() {
                        true => TcpSocket::new_v4(),
                        false => TcpSocket::new_v6(),
                    }?;
                    socket.set_reuseaddr(true)?;
                    socket.bind(*address)?;
                    socket.listen(BACKLOG.cast_unsigned())
                };
                let listener = listen()
                    .map_err(|error| failed(format!("cannot listen on {address}: {error}")))?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    /// A socket that was made by who started this daemon.
    pub(crate) fn passed(listener: PassedListener) -> io::Result<Self> {
        Ok(match listener {
            PassedListener::Unix(listener) => {
                Self::Unix { listener: UnixListener::from_std(listener)?, _file: None }
            }
            PassedListener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
        })
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
                keep_alive(&stream)?;
                Ok((Stream::Tcp(stream), from.to_string()))
            }
        }
    }

    /// Serves until it is dropped; who negotiates is dropped with it. To be spawned on the main
    /// thread.
    pub(crate) async fn serve(self, daemon: Rc<Daemon>) {
        self.serve_at_most(NEGOTIATING_MAX, daemon).await;
    }

    async fn serve_at_most(self, max: usize, daemon: Rc<Daemon>) {
        let clock = Clock::start();
        let reception = Rc::new(Reception {
            daemon,
            clock,
            refusals: RefCell::default(),
            failures: RefCell::default(),
        });
        let mut negotiating = Negotiating::new(max, clock);
        let mut troubles = LogLimit::default();
        loop {
            match self.accept().await {
                Ok((stream, peer)) => negotiating.admit(&peer.clone(), |held| {
                    let reception = reception.clone();
                    async move { reception.receive(stream, &peer, held).await }
                }),
                Err(error) => {
                    if let Some(withheld) = troubles.admit(clock.now()) {
                        tracing::warn!(withheld, "accepting an NBD client failed: {error}");
                    }
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

/// A client whose machine is gone without a word is closed some 30 s later: it would be in the way of
/// `secondary` and `down` for ever.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

/// What the clients of one listener meet.
struct Reception {
    daemon: Rc<Daemon>,
    clock: Clock,
    refusals: RefCell<LogLimit>,
    failures: RefCell<LogLimit>,
}

/// Why a client is not served.
enum Unwelcome {
    /// It was told, or could have known.
    Refused(String),
    Failed(String),
}

impl Reception {
    /// One client, until its resource has it or it is gone.
    async fn receive(&self, stream: Stream, peer: &str, held: Held) {
        match self.welcome(stream, peer, held).await {
            Ok(()) => {}
            Err(Unwelcome::Refused(why)) => {
                if let Some(withheld) = self.refusals.borrow_mut().admit(self.clock.now()) {
                    tracing::info!(client = peer, withheld, "NBD client refused: {why}");
                }
            }
            Err(Unwelcome::Failed(why)) => {
                if let Some(withheld) = self.failures.borrow_mut().admit(self.clock.now()) {
                    tracing::warn!(client = peer, withheld, "NBD client: {why}");
                }
            }
        }
    }

    async fn welcome(&self, stream: Stream, peer: &str, held: Held) -> Result<(), Unwelcome> {
        let daemon = &self.daemon;
        let exports = DaemonExports::new(daemon.clone(), held);
        let offer = daemon.tls_offer();
        let negotiated = negotiate(stream, &exports, &offer, peer, NEGOTIATION_PATIENCE).await;
        let mut negotiated = match negotiated {
            Ok(negotiated) => negotiated,
            Err(error) if error.is_ordinary() => {
                return match exports.wanted_tls(matches!(offer, TlsOffer::Require(_))) {
                    true => Err(Unwelcome::Refused("TLS is required, and it has none".into())),
                    false => Ok(()),
                };
            }
            Err(NegotiationError::Refused { name, why }) => {
                return Err(Unwelcome::Refused(format!("export {name:?}: {why}")));
            }
            Err(error) => return Err(Unwelcome::Failed(error.to_string())),
        };
        let failed = |error: io::Error| Unwelcome::Failed(error.to_string());
        let resources = daemon.resources();
        let names = resources.iter().map(|entry| entry.name());
        let export = negotiated.terms.export.name.clone();
        let Some((name, volume)) = resolve(&export, names) else {
            let text = format!("{export} went down while it was negotiated");
            return Err(Unwelcome::Failed(text));
        };
        negotiated.stream.underneath().detach().map_err(failed)?;
        let entry = resources.iter().find(|entry| entry.name() == name);
        let client = NewClient {
            stream: negotiated.stream,
            leftover: negotiated.leftover,
            terms: negotiated.terms,
            volume,
            peer: peer.to_owned(),
            gone: None,
        };
        let resource = entry.expect("only what is up is resolved").resource.clone();
        resource.serve(client).await.map_err(|failure| Unwelcome::Failed(failure.text))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::path::Path;
    use tokio::io::AsyncReadExt;
    use tokio::task::LocalSet;

    /// A listener that takes at most so many, and whoever works with it.
    async fn with_listener<T>(max: usize, work: impl AsyncFnOnce(&Path) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nbd.sock");
        let daemon = testing::daemon(&directory.path().join("state"));
        let run = async {
            let address = NbdAddress::Unix(path.clone());
            let listener = NbdListener::bind(&address, Access::PRIVATE).unwrap();
            let serving = tokio::task::spawn_local(listener.serve_at_most(max, daemon));
            let result = work(&path).await;
            serving.abort();
            let _ = serving.await;
            assert!(!path.exists(), "the socket is removed when nobody listens");
            result
        };
        LocalSet::new().run_until(run).await
    }

    async fn greeting(client: &mut UnixStream) -> [u8; 18] {
        let mut bytes = [0; 18];
        client.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_flood_of_silent_clients_keeps_nobody_out() {
        with_listener(8, async |path: &Path| {
            let mut clients = Vec::new();
            for _ in 0..100 {
                let mut client = UnixStream::connect(path).await.unwrap();
                assert_eq!(&greeting(&mut client).await[..8], b"NBDMAGIC");
                clients.push(client);
            }
            // The oldest were closed for the others.
            for client in &mut clients[..92] {
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            }
            for client in &clients[92..] {
                let mut byte = [0];
                let still = client.try_read(&mut byte).unwrap_err();
                assert_eq!(still.kind(), io::ErrorKind::WouldBlock);
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_or_little_is_closed_in_time() {
        with_listener(8, async |path: &Path| {
            let mut silent = UnixStream::connect(path).await.unwrap();
            let mut slow = UnixStream::connect(path).await.unwrap();
            greeting(&mut silent).await;
            greeting(&mut slow).await;
            let (mut slow_read, mut slow_write) = slow.into_split();
            // Whole, this would be flags and the beginning of an option.
            let drip = async {
                use tokio::io::AsyncWriteExt;
                for byte in b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\xff" {
                    if slow_write.write_all(&[*byte]).await.is_err() {
                        return false;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                true
            };
            let ends = async {
                assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
                // It may be reset with a byte unread.
                assert!(matches!(slow_read.read(&mut [0]).await, Ok(0) | Err(_)));
            };
            let ((), has_said_all) = tokio::join!(ends, drip);
            assert!(!has_said_all, "it took longer than a client may");
        })
        .await;
    }

    #[tokio::test]
    async fn who_negotiates_when_the_listener_ends_is_closed() {
        let mut client = with_listener(8, async |path: &Path| {
            let mut client = UnixStream::connect(path).await.unwrap();
            greeting(&mut client).await;
            client
        })
        .await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
