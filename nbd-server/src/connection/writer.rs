//! Writes replies: many with one vectored write.

use crate::errno::Errno;
use crate::reply::simple_header;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Data up to this length is copied behind its header: cheaper than a slice of its own.
const COPY_BYTES: usize = 1024;
/// The most slices in one write.
const SLICES: usize = 64;

/// Queues and writes the replies of one connection.
///
/// The queue is as long as what was pushed: the caller bounds it by bounding the requests in
/// flight, and looks at [`pending_bytes`](Self::pending_bytes).
#[derive(Debug)]
pub struct ReplyWriter<W> {
    write: W,
    /// What is still to be written, in order.
    queue: VecDeque<Bytes>,
    /// Headers and short data behind the queue's last element.
    tail: BytesMut,
    pending_bytes: usize,
}

impl<W> ReplyWriter<W> {
    /// A writer to `write`, with nothing queued.
    pub fn new(write: W) -> Self {
        Self { write, queue: VecDeque::new(), tail: BytesMut::new(), pending_bytes: 0 }
    }

    /// Queues the reply to the request with this cookie. A successful READ is answered with
    /// exactly as many bytes as it asked for, everything else with none.
    pub fn push(&mut self, cookie: u64, reply: Result<Bytes, Errno>) {
        let (data, error) = match reply {
            Ok(data) => (data, None),
            Err(errno) => (Bytes::new(), Some(errno)),
        };
        let header = simple_header(cookie, error);
        self.pending_bytes += header.len() + data.len();
        self.tail.extend_from_slice(&header);
        if data.len() <= COPY_BYTES {
            self.tail.extend_from_slice(&data);
        } else {
            self.seal_tail();
            self.queue.push_back(data);
        }
    }

    /// How many bytes are still to be written.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// The stream and nothing else: what is not written is dropped.
    pub fn into_inner(self) -> W {
        self.write
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }

    fn written(&mut self, mut len: usize) {
        self.pending_bytes =
            self.pending_bytes.checked_sub(len).expect("no more is written than was queued");
        while len > 0 {
            let first = self.queue.front_mut().expect("no more is written than was queued");
            let part = len.min(first.len());
            first.advance(part);
            len -= part;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> ReplyWriter<W> {
    /// Writes all that is queued. Cancel-safe: what is not written when it is dropped stays
    /// queued, to be continued at the right byte.
    ///
    /// # Errors
    /// When the client does not take any more; close the connection then.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`flush`](Self::flush), for a caller with a poll loop of its own.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seal_tail();
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.queue.len().min(SLICES);
            for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(bytes);
            }
            let write = Pin::new(&mut self.write);
            let len = ready!(write.poll_write_vectored(cx, &slices[..count]))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(len);
        }
        Pin::new(&mut self.write).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests;
