//! Writes replies: many with one vectored write.

use crate::reply::{Answer, Failure, Replies, Ticket};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
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
    replies: Replies,
    /// What is still to be written, in order.
    queue: VecDeque<Bytes>,
    /// Headers and short data behind the queue's last element.
    tail: BytesMut,
    pending_bytes: usize,
    pushed_bytes: u64,
    /// The stream has bytes that it may not have sent: TLS keeps what the socket does not take.
    unsent: bool,
}

impl<W> ReplyWriter<W> {
    /// A writer to `write` of replies in this form, with nothing queued.
    pub fn new(write: W, replies: Replies) -> Self {
        let (queue, tail) = (VecDeque::new(), BytesMut::new());
        Self { write, replies, queue, tail, pending_bytes: 0, pushed_bytes: 0, unsent: false }
    }

    /// Queues the reply to a request.
    pub fn push(&mut self, ticket: Ticket, result: Result<Answer, Failure>) {
        let before = self.tail.len();
        self.replies.encode(ticket, &result, &mut self.tail);
        self.count(self.tail.len() - before);
        let Ok(Answer::Data(pieces)) = result else { return };
        for data in pieces {
            self.count(data.len());
            if data.len() <= COPY_BYTES {
                self.tail.extend_from_slice(&data);
            } else {
                self.seal_tail();
                self.queue.push_back(data);
            }
        }
    }

    /// How many bytes were written so far.
    pub fn written_bytes(&self) -> u64 {
        self.pushed_bytes() - self.pending_bytes as u64
    }

    /// How many bytes were queued so far, written or not: where in the stream the last reply ends.
    pub fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes
    }

    /// How many bytes are still to be written.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether [`poll_flush`](Self::poll_flush) has anything to do. Bytes that the stream has taken
    /// but not sent are no pending bytes, but without another call they might never be sent.
    pub fn needs_flush(&self) -> bool {
        self.pending_bytes > 0 || self.unsent
    }

    /// The stream and nothing else: what is not written is dropped.
    pub fn into_inner(self) -> W {
        self.write
    }

    fn count(&mut self, bytes: usize) {
        self.pending_bytes += bytes;
        self.pushed_bytes += bytes as u64;
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

    /// Closes the stream in order, as far as that is possible without waiting: within TLS the client
    /// is told that nothing was cut off.
    pub fn close_now(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // A client that does not take it is closed all the same.
        let _ = Pin::new(&mut self.write).poll_shutdown(&mut cx);
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
            self.unsent = true;
        }
        ready!(Pin::new(&mut self.write).poll_flush(cx))?;
        self.unsent = false;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
