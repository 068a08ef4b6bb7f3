//! All connections to the peer: the listener, the one attempt to dial, and the links that stand.

use super::link::{ReceiveError, Receiver, Sender};
use crate::clock::Clock;
use crate::log_limit::LogLimit;
use config::Host;
use replicator::wire::Message;
use replicator::{Input, LinkDownCause, LinkEpoch};
use rustix::net::sockopt;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use storage::BufferPool;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Sleep;
use types::{Histogram, Span, Time, VolumeId};

/// The longest an attempt to connect may take.
const DIAL_PATIENCE: Span = Span::secs(5);
/// How long a link that is being closed may take to send what is queued.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How often the engine is told that bytes of a message come in or go out.
const PROGRESS_EVERY: Span = Span::millis(100);
/// How many messages of a link are taken in one turn.
const MESSAGES_PER_TURN: usize = 256;
/// How many links may stand at once: two cross while both nodes dial, the rest is a peer that
/// does not know what it does.
const LINKS_MAX: usize = 8;

/// What is configured about the connection.
#[derive(Clone, Debug)]
pub(crate) struct LinkSetup {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) connect_int: Span,
    pub(crate) send_buffer: u32,
    pub(crate) receive_buffer: u32,
}

/// Another setup, with the listener that it needs if that is another.
#[derive(Debug)]
pub(crate) struct LinkChange {
    setup: LinkSetup,
    listener: Option<TcpListener>,
}

type Dial = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// See the module's page.
pub(crate) struct Links {
    setup: LinkSetup,
    pool: BufferPool,
    /// Nothing once the engine has stopped: then the peer is told that nobody is here.
    listener: Option<TcpListener>,
    dial: Option<Dial>,
    links: BTreeMap<LinkEpoch, Link>,
    closing: Vec<Closing>,
    last_epoch: u64,
    /// How long clients' writes wait until a link has taken them.
    sends: BTreeMap<VolumeId, Histogram>,
    strangers: u64,
    stranger_log: LogLimit,
    protocol_log: LogLimit,
}

struct Link {
    stream: TcpStream,
    receiver: Receiver,
    sender: Sender,
    progress_told: Time,
}

/// A link that the engine has closed: what is queued is sent, then the peer's end is waited for.
/// (Closing a socket with unread bytes resets it, and the last words would be lost.)
struct Closing {
    stream: TcpStream,
    sender: Sender,
    shut: bool,
    deadline: Pin<Box<Sleep>>,
}

impl Links {
    /// Listens on the node's own address. To be called in the resource's runtime.
    pub(crate) fn listen(setup: LinkSetup, pool: BufferPool) -> io::Result<Self> {
        let listener = setup.listen()?;
        Ok(Self {
            setup,
            pool,
            listener: Some(listener),
            dial: None,
            links: BTreeMap::new(),
            closing: Vec::new(),
            last_epoch: 0,
            sends: BTreeMap::new(),
            strangers: 0,
            stranger_log: LogLimit::default(),
            protocol_log: LogLimit::default(),
        })
    }

    /// What is needed to [take](Self::take) another setup.
    ///
    /// # Errors
    /// If the new address cannot be listened on.
    pub(crate) fn prepare(&self, setup: LinkSetup) -> io::Result<LinkChange> {
        let moved = setup.local != self.setup.local;
        let listener = if moved { Some(setup.listen()?) } else { None };
        Ok(LinkChange { setup, listener })
    }

    /// Takes another setup. Links that stand keep their addresses, and get the new buffers.
    pub(crate) fn take(&mut self, LinkChange { setup, listener }: LinkChange) {
        self.setup = setup;
        if listener.is_some() {
            self.listener = listener;
        }
        for link in self.links.values() {
            if let Err(error) = self.setup.size_buffers(&link.stream) {
                tracing::warn!("the buffers of the link stay as they are: {error}");
            }
        }
    }

    /// How long clients' writes waited until a link had taken them.
    pub(crate) fn sends(&self, volume: VolumeId) -> Option<&Histogram> {
        self.sends.get(&volume)
    }

    /// How many connections from others than the peer were refused.
    pub(crate) const fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Dials the peer once; the outcome is an input.
    pub(crate) fn connect(&mut self) {
        assert!(self.dial.is_none(), "the engine dials once at a time");
        self.dial = Some(Box::pin(dial(self.setup.clone())));
    }

    /// Queues a message; nothing if the link is over, which the engine then knows or is about to
    /// be told.
    pub(crate) fn send(&mut self, epoch: LinkEpoch, message: &Message, now: Time) {
        if let Some(link) = self.links.get_mut(&epoch) {
            link.sender.push(message, now);
        }
    }

    /// Closes a link once what is queued has been sent.
    pub(crate) fn close(&mut self, epoch: LinkEpoch) {
        if let Some(Link { stream, sender, .. }) = self.links.remove(&epoch) {
            let deadline = Box::pin(tokio::time::sleep(CLOSE_PATIENCE));
            self.closing.push(Closing { stream, sender, shut: false, deadline });
        }
    }

    /// The engine has stopped: only what it has closed is still seen to its end.
    pub(crate) fn end(&mut self) {
        self.listener = None;
        self.dial = None;
        self.links.clear();
    }

    /// Whether every link has been closed and has said its last word.
    pub(crate) fn is_quiet(&self) -> bool {
        self.links.is_empty() && self.closing.is_empty()
    }

    /// Takes what has come in.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        inputs: &mut VecDeque<Input>,
    ) {
        self.poll_dial(cx, inputs);
        self.poll_accept(cx, clock, inputs);
        let mut over = Vec::new();
        for (&epoch, link) in &mut self.links {
            if let Err(error) = link.poll_receive(cx, epoch, inputs) {
                over.push((epoch, error));
            }
            link.tell_progress(clock, epoch, inputs);
        }
        for (epoch, error) in over {
            self.lost(epoch, &error, clock, inputs);
        }
        self.closing.retain_mut(|closing| closing.poll(cx).is_pending());
    }

    /// Sends what is queued, as far as the sockets take it.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        inputs: &mut VecDeque<Input>,
    ) {
        let mut over = Vec::new();
        for (&epoch, link) in &mut self.links {
            if link.sender.is_empty() {
                continue;
            }
            if let Poll::Ready(Err(error)) = link.sender.poll_send(&mut link.stream, cx) {
                over.push((epoch, error));
            }
            let now = clock.now();
            while let Some((volume, since)) = link.sender.next_taken() {
                self.sends.entry(volume).or_default().record(now.since(since));
            }
        }
        for (epoch, error) in over {
            self.lost(epoch, &ReceiveError::Io(error), clock, inputs);
        }
        // Also what was just closed: its last words go now, not at the next event.
        self.closing.retain_mut(|closing| closing.poll(cx).is_pending());
    }

    fn lost(
        &mut self,
        epoch: LinkEpoch,
        error: &ReceiveError,
        clock: &Clock,
        inputs: &mut VecDeque<Input>,
    ) {
        let cause = match error {
            ReceiveError::Protocol { .. } => {
                if let Some(withheld) = self.protocol_log.admit(clock.now()) {
                    let peer = self.setup.peer;
                    tracing::warn!(%peer, withheld, "the peer broke the protocol: {error}");
                }
                LinkDownCause::Protocol
            }
            ReceiveError::Closed | ReceiveError::Io(_) => {
                tracing::debug!(peer = %self.setup.peer, "link {} is over: {error}", epoch.0);
                LinkDownCause::Closed
            }
        };
        self.links.remove(&epoch);
        inputs.push_back(Input::LinkDown { epoch, cause });
    }

    fn poll_dial(&mut self, cx: &mut Context<'_>, inputs: &mut VecDeque<Input>) {
        let Some(dial) = &mut self.dial else { return };
        let Poll::Ready(outcome) = dial.as_mut().poll(cx) else { return };
        self.dial = None;
        match outcome {
            Ok(stream) => self.up(stream, true, inputs),
            Err(error) => {
                tracing::debug!(peer = %self.setup.peer, "not connected: {error}");
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                inputs.push_back(Input::ConnectFailed { refused });
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>, clock: &Clock, inputs: &mut VecDeque<Input>) {
        for _ in 0..LINKS_MAX {
            let Some(listener) = &self.listener else { return };
            match listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((stream, from))) => {
                    if from.ip().to_canonical() != self.setup.peer.ip().to_canonical() {
                        self.refuse_stranger(from, clock);
                    } else if self.links.len() >= LINKS_MAX {
                        tracing::warn!(%from, "refused: the peer has too many connections");
                    } else {
                        self.up(stream, false, inputs);
                    }
                }
                Poll::Ready(Err(error)) => {
                    // One connection that failed on the way, or no descriptor left: the next
                    // event brings another look.
                    tracing::warn!(local = %self.setup.local, "accepting failed: {error}");
                    return;
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    fn refuse_stranger(&mut self, from: SocketAddr, clock: &Clock) {
        self.strangers += 1;
        if let Some(withheld) = self.stranger_log.admit(clock.now()) {
            tracing::warn!(
                %from, refused = self.strangers, withheld,
                "a connection was refused: only the peer's address {} may connect to {}",
                self.setup.peer.ip(), self.setup.local
            );
        }
    }

    fn up(&mut self, stream: TcpStream, initiated: bool, inputs: &mut VecDeque<Input>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {error}");
        }
        self.last_epoch += 1;
        let epoch = LinkEpoch(self.last_epoch);
        let receiver = Receiver::new(self.pool.clone());
        let (sender, progress_told) = (Sender::default(), Time(0));
        self.links.insert(epoch, Link { stream, receiver, sender, progress_told });
        inputs.push_back(Input::LinkUp { epoch, initiated });
    }
}

impl LinkSetup {
    /// What a resource says of its connection.
    pub(crate) fn of(resource: &config::Resource, me: &Host, peer: &Host) -> Self {
        let bytes = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            local: me.address,
            peer: peer.address,
            connect_int: resource.net.connect_int,
            send_buffer: bytes(resource.net.sndbuf_size),
            receive_buffer: bytes(resource.net.rcvbuf_size),
        }
    }

    fn listen(&self) -> io::Result<TcpListener> {
        let socket = self.socket()?;
        // A daemon that is restarted must not wait for the connections of its predecessor.
        socket.set_reuseaddr(true)?;
        socket.bind(self.local)?;
        socket.listen(16)
    }

    /// Sizes the buffers of a connection that stands. One that the system sizes from now on keeps
    /// what it has: it cannot be told.
    fn size_buffers(&self, stream: &TcpStream) -> io::Result<()> {
        let usize_of = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        if self.send_buffer > 0 {
            sockopt::set_socket_send_buffer_size(stream, usize_of(self.send_buffer))?;
        }
        if self.receive_buffer > 0 {
            sockopt::set_socket_recv_buffer_size(stream, usize_of(self.receive_buffer))?;
        }
        Ok(())
    }

    fn socket(&self) -> io::Result<TcpSocket> {
        let socket = match self.local {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Left alone, the system sizes them by itself, and better.
        if self.send_buffer > 0 {
            socket.set_send_buffer_size(self.send_buffer)?;
        }
        if self.receive_buffer > 0 {
            socket.set_recv_buffer_size(self.receive_buffer)?;
        }
        Ok(socket)
    }
}

/// From the node's own address, since that is the one that the peer lets in.
async fn dial(setup: LinkSetup) -> io::Result<TcpStream> {
    let socket = setup.socket()?;
    let mut from = setup.local;
    from.set_port(0);
    socket.bind(from)?;
    let patience = setup.connect_int.min(DIAL_PATIENCE).into();
    match tokio::time::timeout(patience, socket.connect(setup.peer)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Link {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LinkEpoch,
        inputs: &mut VecDeque<Input>,
    ) -> Result<(), ReceiveError> {
        for _ in 0..MESSAGES_PER_TURN {
            match self.receiver.poll_next(&mut self.stream, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(message) => {
                    inputs.push_back(Input::Message { epoch, message: message? });
                }
            }
        }
        Ok(())
    }

    /// Long messages take their time: that they move is a sign of life.
    fn tell_progress(&mut self, clock: &Clock, epoch: LinkEpoch, inputs: &mut VecDeque<Input>) {
        let moved = [self.receiver.take_moved(), self.sender.take_moved()];
        if !moved.contains(&true) {
            return;
        }
        let now = clock.now();
        if now.since(self.progress_told) >= PROGRESS_EVERY {
            self.progress_told = now;
            inputs.push_back(Input::LinkProgress { epoch });
        }
    }
}

impl Closing {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.shut {
            match self.sender.poll_send(&mut self.stream, cx) {
                Poll::Pending => return self.poll_discard(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => self.shut = true,
            }
        }
        self.poll_discard(cx)
    }

    /// Throws away what still comes in, so that the peer is not stuck in sending; ready at the
    /// peer's end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 16 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match pin!(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
