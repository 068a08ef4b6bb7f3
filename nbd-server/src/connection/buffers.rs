//! Where the payload of a WRITE is received: once, into memory that the caller chooses.

use bytes::Bytes;
use std::task::{Context, Poll};

/// A source of buffers for payloads, for example a pool of aligned ones.
pub trait PayloadBuffers {
    /// Memory that is being received into.
    type Buf: AsMut<[u8]>;

    /// Whether a buffer of `len` bytes may be taken now. When not, no more is read from this
    /// connection until the waker is called: this is where a budget of memory is kept.
    fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<()> {
        let _ = (cx, len);
        Poll::Ready(())
    }

    /// A buffer of exactly `len` bytes, at least one, at most the export's `max_payload`. Its
    /// content does not matter: it is written over before anyone reads it.
    fn take(&self, len: usize) -> Self::Buf;

    /// The buffer with its payload received.
    fn finish(&self, buf: Self::Buf) -> Bytes;
}

impl<P: PayloadBuffers + ?Sized> PayloadBuffers for &P {
    type Buf = P::Buf;

    fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<()> {
        (**self).poll_ready(cx, len)
    }

    fn take(&self, len: usize) -> Self::Buf {
        (**self).take(len)
    }

    fn finish(&self, buf: Self::Buf) -> Bytes {
        (**self).finish(buf)
    }
}

impl<P: PayloadBuffers + ?Sized> PayloadBuffers for std::rc::Rc<P> {
    type Buf = P::Buf;

    fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<()> {
        (**self).poll_ready(cx, len)
    }

    fn take(&self, len: usize) -> Self::Buf {
        (**self).take(len)
    }

    fn finish(&self, buf: Self::Buf) -> Bytes {
        (**self).finish(buf)
    }
}

/// Buffers from the allocator, unaligned and unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub struct VecBuffers;

impl PayloadBuffers for VecBuffers {
    type Buf = Vec<u8>;

    fn take(&self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn finish(&self, buf: Vec<u8>) -> Bytes {
        buf.into()
    }
}
