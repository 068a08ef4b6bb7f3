//! A client's socket, of either kind.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A socket that belongs to no runtime, on its way from one thread to another.
#[derive(Debug)]
pub(crate) enum StdStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A socket in a runtime.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes it out of this thread's runtime.
    pub(crate) fn into_std(self) -> io::Result<StdStream> {
        Ok(match self {
            Self::Tcp(stream) => StdStream::Tcp(stream.into_std()?),
            Self::Unix(stream) => StdStream::Unix(stream.into_std()?),
        })
    }

    /// Takes it into this thread's runtime.
    pub(crate) fn from_std(stream: StdStream) -> io::Result<Self> {
        Ok(match stream {
            StdStream::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            StdStream::Unix(stream) => Self::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// Its two directions.
    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }
}

/// The direction from the client.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl ReadHalf {
    /// Whether the client has closed its side, whatever of it is still to be read.
    pub(crate) fn has_hung_up(&self) -> bool {
        false
    }
}

/// The direction to the client.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Passes every call on to whichever socket it is.
macro_rules! pass {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

macro_rules! pass_read {
    ($name:ident) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                pass!(self, stream => stream.poll_read(cx, buf))
            }
        }
    };
}

macro_rules! pass_write {
    ($name:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                pass!(self, stream => stream.poll_write(cx, buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                pass!(self, stream => stream.poll_write_vectored(cx, bufs))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                pass!(self, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                pass!(self, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

pass_read!(Stream);
pass_read!(ReadHalf);
pass_write!(Stream);
pass_write!(WriteHalf);
