//! A client's socket, of either kind, in the clear or within TLS.
//!
//! It is negotiated on the main thread and served by the thread of its resource. A socket belongs
//! to the runtime of one thread, so it is taken out of the one ([`Stream::detach`]) and into the
//! other ([`Stream::attach`]), underneath whatever TLS has made of it meanwhile.

use nbd_server::MaybeTls;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A socket that belongs to no runtime, on its way from one thread to another.
#[derive(Debug)]
pub(crate) enum StdStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A socket, in a runtime or on its way.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// On its way. Nothing in it: it was lost on the way, and the error said so.
    Detached(Option<StdStream>),
}

impl Stream {
    /// Takes it out of this thread's runtime. If that fails it is closed.
    pub(crate) fn detach(&mut self) -> io::Result<()> {
        let stream = match std::mem::replace(self, Self::Detached(None)) {
            Self::Tcp(stream) => StdStream::Tcp(stream.into_std()?),
            Self::Unix(stream) => StdStream::Unix(stream.into_std()?),
            Self::Detached(stream) => stream.ok_or_else(nowhere)?,
        };
        *self = Self::Detached(Some(stream));
        Ok(())
    }

    /// Takes it into this thread's runtime. If that fails it is closed.
    pub(crate) fn attach(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Detached(None)) {
            Self::Detached(None) => return Err(nowhere()),
            Self::Detached(Some(StdStream::Tcp(stream))) => Self::Tcp(TcpStream::from_std(stream)?),
            Self::Detached(Some(StdStream::Unix(stream))) => {
                Self::Unix(UnixStream::from_std(stream)?)
            }
            attached => attached,
        };
        Ok(())
    }

    /// Whether the other end has closed, or will send nothing more. Asks the kernel, so what it
    /// has sent before may still be unread, and no runtime need have looked meanwhile.
    pub(crate) fn has_hung_up(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_closed(stream.as_fd()),
            Self::Unix(stream) => is_closed(stream.as_fd()),
            Self::Detached(Some(StdStream::Tcp(stream))) => is_closed(stream.as_fd()),
            Self::Detached(Some(StdStream::Unix(stream))) => is_closed(stream.as_fd()),
            Self::Detached(None) => true,
        }
    }
}

/// The two directions of a negotiated connection, for one thread.
pub(crate) fn split(stream: MaybeTls<Stream>) -> (ReadHalf, WriteHalf) {
    match stream {
        MaybeTls::Plain(Stream::Tcp(stream)) => {
            let (read, write) = stream.into_split();
            (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
        }
        MaybeTls::Plain(Stream::Unix(stream)) => {
            let (read, write) = stream.into_split();
            (ReadHalf::Unix(read), WriteHalf::Unix(write))
        }
        other => {
            let shared = Rc::new(RefCell::new(other));
            (ReadHalf::Shared(shared.clone()), WriteHalf::Shared(shared))
        }
    }
}

fn nowhere() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket was lost between two threads")
}

/// Also if the kernel cannot tell: then reading will say why.
fn is_closed(socket: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// The direction from the client.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    /// TLS writes in order to read, too: its state is one.
    Shared(Rc<RefCell<MaybeTls<Stream>>>),
}

impl ReadHalf {
    /// As [`Stream::has_hung_up`].
    pub(crate) fn has_hung_up(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_closed(stream.as_ref().as_fd()),
            Self::Unix(stream) => is_closed(stream.as_ref().as_fd()),
            Self::Shared(stream) => stream.borrow_mut().underneath().has_hung_up(),
        }
    }
}

/// The direction to the client. Its shutdown ends TLS in order, with a `close_notify`.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    Shared(Rc<RefCell<MaybeTls<Stream>>>),
}

/// Passes a call on to whichever socket it is.
macro_rules! pass {
    ($self:ident, $stream:ident => $call:expr, $other:pat => $otherwise:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            $other => $otherwise,
        }
    };
}

/// What a half does that shares its stream with the other.
macro_rules! pass_shared {
    ($self:ident, $stream:ident => $call:expr) => {
        pass!($self, $stream => $call, Self::Shared(shared) => {
            let mut shared = shared.borrow_mut();
            let $stream = Pin::new(&mut *shared);
            $call
        })
    };
}

/// What a stream does that is in a runtime.
macro_rules! pass_attached {
    ($self:ident, $stream:ident => $call:expr) => {
        pass!($self, $stream => $call, Self::Detached(_) => Poll::Ready(Err(nowhere())))
    };
}

macro_rules! read {
    ($name:ident, $pass:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                $pass!(self, stream => stream.poll_read(cx, buf))
            }
        }
    };
}

macro_rules! write {
    ($name:ident, $pass:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                $pass!(self, stream => stream.poll_write(cx, buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                $pass!(self, stream => stream.poll_write_vectored(cx, bufs))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                $pass!(self, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                $pass!(self, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

read!(Stream, pass_attached);
read!(ReadHalf, pass_shared);
write!(Stream, pass_attached);
write!(WriteHalf, pass_shared);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_hangs_up_is_known_with_data_still_unread() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut near = Stream::Unix(near);
        let (mut far_read, mut far_write) = far.into_split();
        far_write.write_all(b"unread").await.unwrap();
        assert!(!near.has_hung_up());
        near.detach().unwrap();
        assert!(!near.has_hung_up());
        far_write.shutdown().await.unwrap();
        assert!(near.has_hung_up());
        near.attach().unwrap();
        let (mut read, mut write) = split(MaybeTls::Plain(near));
        assert!(read.has_hung_up());
        let mut text = String::new();
        read.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "unread");
        // Half a connection is one still.
        write.write_all(b"answer").await.unwrap();
        write.shutdown().await.unwrap();
        far_read.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "unreadanswer");
    }

    #[tokio::test]
    async fn a_stream_on_its_way_is_not_read_from() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut near = Stream::Unix(near);
        near.detach().unwrap();
        let error = near.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
}
