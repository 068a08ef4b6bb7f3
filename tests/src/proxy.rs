//! The cable between the nodes: one direction of connecting, from a port to a port on 127.0.0.1,
//! which can be cut with a reset or in silence, and be slow or far.
//!
//! It has a thread of its own; dropping it ends every connection with a reset.

use anyhow::Context;
use bytes::BytesMut;
use std::io;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Bytes that are led on in one go.
const PIECE: usize = 64 << 10;
/// Pieces on their way, each direction: what a far cable holds.
const ON_THE_WAY: usize = 256;

/// How the cable is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// Grows with every reset: connections of an older one end.
    resets: u64,
    /// Grows each time that one end of every connection is told that it is gone, and which.
    halved: u64,
    half: Option<Half>,
    /// Connections are refused by a reset.
    refusing: bool,
    /// What gets nothing through, and nobody is told.
    silent: Option<Silence>,
    /// How long a piece is on its way.
    delay: Duration,
    /// Bytes a second, each way.
    rate: Option<u64>,
    /// The cable is gone.
    ended: bool,
}

/// Which way a silent cable lets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Neither way.
    Both,
    /// Not from who connects to who is connected to.
    There,
    /// Not from who is connected to to who connects.
    Back,
}

/// Which end of a connection is told that it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Who has connected.
    Near,
    /// Who was connected to.
    Far,
}

/// A cable. See the module.
#[derive(Debug)]
pub struct Proxy {
    state: watch::Sender<State>,
    carried: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    /// Leads what connects to one port to another.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(from: u16, to: u16) -> anyhow::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, from))
            .with_context(|| format!("the cable cannot listen on port {from}"))?;
        listener.set_nonblocking(true)?;
        let (state, watched) = watch::channel(State::default());
        let carried = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&carried);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::spawn(move || {
            // It ends with the state, or with a listener that the system takes away.
            let _ = runtime.block_on(lead(listener, to, watched, count));
        });
        Ok(Self { state, carried, thread: Some(thread) })
    }

    /// Ends every connection with a reset; new ones get through.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Ends every connection with a reset, and refuses new ones.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.resets += 1;
            state.refusing = true;
        });
    }

    /// Ends every connection with a reset for one of its ends; the other is told nothing, and hears
    /// nothing, until the next reset. New connections get through.
    pub fn half_open(&self, half: Half) {
        self.state.send_modify(|state| {
            state.halved += 1;
            state.half = Some(half);
        });
    }

    /// Lets nothing through from now on, and tells nobody.
    pub fn silence(&self) {
        self.silence_one_way(Silence::Both);
    }

    /// Lets nothing through that way, and tells nobody. Nobody connects anew, either: that takes
    /// both ways.
    pub fn silence_one_way(&self, way: Silence) {
        self.state.send_modify(|state| state.silent = Some(way));
    }

    /// Mends what [`cut`](Self::cut) or [`silence`](Self::silence) did. Connections that were
    /// silent do not wake up: after so long their ends have given them up.
    pub fn mend(&self) {
        self.state.send_modify(|state| {
            if state.silent.is_some() {
                state.resets += 1;
            }
            (state.refusing, state.silent) = (false, None);
        });
    }

    /// Makes every piece be so long on its way.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Lets so many bytes a second through, each way.
    pub fn throttle(&self, rate: Option<u64>) {
        self.state.send_modify(|state| state.rate = rate);
    }

    /// Bytes that were led on so far, both ways together.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.ended = true);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

async fn lead(
    listener: StdListener,
    to: u16,
    mut watched: watch::Receiver<State>,
    carried: Arc<AtomicU64>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut joins = tokio::task::JoinSet::new();
    while !watched.borrow().ended {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                let state = *watched.borrow();
                if state.refusing {
                    hang_up(near);
                } else {
                    joins.spawn(join(near, to, watched.clone(), Arc::clone(&carried)));
                }
            }
            // The sender lives as long as this thread is waited for.
            _ = watched.changed() => {}
            Some(_) = joins.join_next() => {}
        }
    }
    Ok(())
}

/// How a connection has ended.
enum Ended {
    /// By itself.
    Closed,
    Cut,
    /// For one of its ends.
    Half(Option<Half>),
}

/// Both directions of one connection, until an end ends it or the cable is cut.
async fn join(
    mut near: TcpStream,
    to: u16,
    watched: watch::Receiver<State>,
    carried: Arc<AtomicU64>,
) {
    let State { resets: begun, halved, .. } = *watched.borrow();
    let mut watched_by_half = watched.clone();
    let half = async move {
        let state = watched_by_half.wait_for(|state| state.halved != halved).await;
        state.map_or(None, |state| state.half)
    };
    let mut watched_by_cut = watched.clone();
    let cut = async move {
        // Nothing more is heard of a cable that is gone: then it is cut, too.
        let _ = watched_by_cut.wait_for(|state| state.resets != begun || state.ended).await;
    };
    let far = {
        let mut watched = watched.clone();
        async move {
            // In silence nobody gets through to the other end.
            let _ = watched.wait_for(|state| state.silent.is_none()).await;
            TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await
        }
    };
    tokio::pin!(cut);
    let far = tokio::select! {
        () = &mut cut => None,
        far = far => far.ok(),
    };
    let Some(mut far) = far else { return hang_up(near) };
    // It makes the cable slower at worst.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ended = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let one = carry(near_in, far_out, Silence::There, watched.clone(), begun, &carried);
        let other = carry(far_in, near_out, Silence::Back, watched.clone(), begun, &carried);
        tokio::select! {
            // What was held back in silence is lost when the cable is mended.
            biased;
            () = &mut cut => Ended::Cut,
            half = half => Ended::Half(half),
            _ = async { tokio::join!(one, other) } => Ended::Closed,
        }
    };
    match ended {
        Ended::Closed => {}
        Ended::Cut => [near, far].into_iter().for_each(hang_up),
        Ended::Half(half) => {
            let (told, other) = if half == Some(Half::Far) { (far, near) } else { (near, far) };
            hang_up(told);
            cut.await;
            hang_up(other);
        }
    }
}

/// Closes with a reset.
fn hang_up(stream: TcpStream) {
    if let Ok(stream) = stream.into_std() {
        // Without it the close is an orderly one, which is a cut as well.
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
}

/// One direction, until its end; the end is passed on.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Silence,
    mut watched: watch::Receiver<State>,
    begun: u64,
    carried: &AtomicU64,
) -> io::Result<()> {
    let (send, mut receive) = mpsc::channel::<(Instant, BytesMut)>(ON_THE_WAY);
    let reading = {
        let watched = watched.clone();
        async move {
            loop {
                let mut piece = BytesMut::with_capacity(PIECE);
                let got = from.read_buf(&mut piece).await.unwrap_or(0);
                let due = Instant::now() + watched.borrow().delay;
                if got == 0 || send.send((due, piece)).await.is_err() {
                    return;
                }
            }
        }
    };
    let writing = async {
        let mut free_at = Instant::now();
        while let Some((due, piece)) = receive.recv().await {
            let state = *watched.borrow();
            if let Some(rate) = state.rate {
                let takes = Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64);
                free_at = free_at.max(Instant::now()) + takes;
            }
            tokio::time::sleep_until(due.max(free_at)).await;
            // A mended cable has lost what it held back: the reset that comes with it ends this.
            let is_open = |state: &State| {
                let silent = state.silent.is_some_and(|it| it == way || it == Silence::Both);
                !silent && state.resets == begun
            };
            let _ = watched.wait_for(is_open).await;
            // Counted before: whoever has received it finds it counted.
            carried.fetch_add(piece.len() as u64, Ordering::Relaxed);
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::join!(reading, writing).1
}

#[cfg(test)]
mod tests;
