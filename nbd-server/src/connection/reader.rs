//! Reads requests: many small ones with one receive, large payloads straight into their buffers.

use super::buffers::{PayloadBuffers, VecBuffers};
use crate::negotiate::Terms;
use crate::proto::ExtendedRequestHeader;
use crate::reply::{Failure, Ticket};
use crate::request::{BrokenRequest, Command, FILTER_MAX_BYTES, Fields, Header, Request, judge};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use types::ByteRange;

/// So much of a payload, or all of it, must be there before a buffer is taken for it: a client that
/// announces a long WRITE and falls silent holds no memory.
const CLAIM_BYTES: usize = 32 << 10;
/// What one receive asks the socket for: room for hundreds of headers, or some small writes.
const RECEIVE_BYTES: usize = 64 << 10;
/// What a receive asks for while long payloads come: enough to claim the next one's buffer, so that most
/// of it goes there directly.
const LONG_RECEIVE_BYTES: usize = CLAIM_BYTES + size_of::<ExtendedRequestHeader>();
/// A payload that misses at least so much is received straight into its buffer. One that misses
/// less comes through the receive buffer, with the requests behind it.
const DIRECT_BYTES: usize = 16 << 10;

/// What may be there of a request that cannot be judged yet, and one byte more.
const HEADER_MAX_BYTES: usize = size_of::<ExtendedRequestHeader>() + FILTER_MAX_BYTES;

/// What the client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A request to be done and answered.
    Request(Request),
    /// A request that breaks a rule; to be answered with `failure`. The connection goes on.
    Reject {
        /// The request's.
        ticket: Ticket,
        /// What the client is told.
        failure: Failure,
    },
    /// The client goes away in order: what is in flight is finished and answered, then the
    /// connection is closed. There is no reply to this.
    Disconnect,
}

/// Why no more requests can be read.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The client has closed its side between two requests without saying so. It may still
    /// listen for the replies to what is in flight.
    #[error("the client has hung up")]
    HungUp,
    /// The client has closed its side in the middle of a request, which is dropped.
    #[error("the client has hung up in the middle of a request")]
    Truncated,
    /// The client has broken the protocol; the rest cannot be understood.
    #[error("the client has broken the protocol: {0}")]
    Protocol(#[from] BrokenRequest),
    /// The socket failed.
    #[error("the connection failed while reading")]
    Io(#[from] io::Error),
}

/// Reads the requests of one connection. See [`PayloadBuffers`] for the payloads' memory.
///
/// Backpressure is the caller's: nothing is read while [`next`](Self::next) is not polled, and
/// what is read ahead is bounded.
#[derive(Debug)]
pub struct RequestReader<R, P: PayloadBuffers = VecBuffers> {
    read: R,
    terms: Terms,
    buffers: P,
    /// Received and not yet understood.
    received: BytesMut,
    received_bytes: u64,
    /// What a receive asks for while no payload is being received.
    receive_bytes: usize,
    state: State<P::Buf>,
}

#[derive(Debug)]
enum State<B> {
    /// A request begins.
    Header,
    /// A WRITE was announced, and there is no buffer for it yet.
    Claim(Write),
    /// A WRITE is being received; `filled` bytes of `buf` are there.
    Payload { write: Write, buf: B, filled: usize },
    /// The payload of a refused request is thrown away; `left` bytes are still to come.
    Drain { left: u64, reject: Incoming },
    /// The client has said that it goes.
    Disconnected,
    /// The stream is at its end or out of step.
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    ticket: Ticket,
    range: ByteRange,
    fua: bool,
}

impl Write {
    fn len(&self) -> usize {
        usize::try_from(self.range.len).expect("a payload is bounded")
    }

    fn with(self, data: Bytes) -> Incoming {
        let Self { ticket, range, fua } = self;
        assert_eq!(data.len() as u64, range.len, "the buffer of a WRITE is as long as the WRITE");
        Incoming::Request(Request { ticket, command: Command::Write { range, data, fua } })
    }
}

impl<R, P: PayloadBuffers> RequestReader<R, P> {
    /// A reader of `read`, which carries on after the bytes of `leftover`.
    ///
    /// # Panics
    /// If the terms are for an export that breaks a rule which clients rely on.
    pub fn new(read: R, terms: Terms, leftover: BytesMut, buffers: P) -> Self {
        terms.export.assert_valid();
        let received_bytes = leftover.len() as u64;
        let (state, receive_bytes) = (State::Header, RECEIVE_BYTES);
        Self { read, terms, buffers, received: leftover, received_bytes, receive_bytes, state }
    }

    /// The next request if it has wholly been received already, so that a turn of a loop takes
    /// all that one receive brought. Reads nothing.
    pub fn buffered(&mut self) -> Option<Result<Incoming, ConnectionError>> {
        // Nobody is woken: a caller that gets nothing here goes on with `next`.
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_buffered(&mut cx) {
            Poll::Ready(Ok(Some(incoming))) => Some(Ok(incoming)),
            Poll::Ready(Err(error)) => Some(Err(error)),
            Poll::Ready(Ok(None)) | Poll::Pending => None,
        }
    }

    /// Whether it holds a buffer for a payload that is not all there.
    pub fn is_receiving(&self) -> bool {
        matches!(self.state, State::Payload { .. })
    }

    /// The export has grown to so many bytes: requests may use them from now on.
    pub fn grow(&mut self, size: u64) {
        self.terms.export.size = self.terms.export.size.max(size);
    }

    /// Whether the beginning of a payload is there, and it waits for a buffer.
    pub fn waits_for_buffer(&self) -> bool {
        match &self.state {
            State::Claim(write) => self.received.len() >= write.len().min(CLAIM_BYTES),
            _ => false,
        }
    }

    /// How many bytes have come in so far: a client that sends moves it.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The stream that it reads from.
    pub fn get_ref(&self) -> &R {
        &self.read
    }

    /// Whether the last request read from the wire is still incomplete.
    pub fn is_mid_request(&self) -> bool {
        match self.state {
            State::Header => !self.received.is_empty(),
            State::Claim(_) | State::Payload { .. } | State::Drain { .. } => true,
            State::Disconnected | State::Broken => false,
        }
    }

    /// `Ready(None)`: more bytes are needed. `Pending`: a buffer is needed.
    fn poll_buffered(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Incoming>, ConnectionError>> {
        loop {
            match &mut self.state {
                State::Header => match self.header() {
                    Ok(None) => return Poll::Ready(Ok(None)),
                    Ok(Some(Some(incoming))) => return Poll::Ready(Ok(Some(incoming))),
                    Ok(Some(None)) => {}
                    Err(error) => return Poll::Ready(Err(self.broken(error.into()))),
                },
                State::Claim(write) => {
                    let write = *write;
                    if self.received.len() < write.len().min(CLAIM_BYTES) {
                        return Poll::Ready(Ok(None));
                    }
                    ready!(self.buffers.poll_ready(cx, write.len()));
                    let mut buf = self.buffers.take(write.len());
                    assert_eq!(buf.as_mut().len(), write.len(), "a buffer is as long as asked for");
                    self.state = State::Payload { write, buf, filled: 0 };
                }
                State::Payload { write, buf, filled } => {
                    let rest = &mut buf.as_mut()[*filled..];
                    let here = rest.len().min(self.received.len());
                    self.received.copy_to_slice(&mut rest[..here]);
                    *filled += here;
                    if *filled < write.len() {
                        return Poll::Ready(Ok(None));
                    }
                    return Poll::Ready(Ok(Some(self.finish_write())));
                }
                State::Drain { left, .. } => {
                    let here =
                        self.received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.received.advance(here);
                    *left -= here as u64;
                    if *left > 0 {
                        return Poll::Ready(Ok(None));
                    }
                    let drained = std::mem::replace(&mut self.state, State::Header);
                    let State::Drain { reject, .. } = drained else {
                        unreachable!("the state was just looked at");
                    };
                    return Poll::Ready(Ok(Some(reject)));
                }
                State::Disconnected => return Poll::Ready(Ok(Some(Incoming::Disconnect))),
                State::Broken => return Poll::Ready(Err(ConnectionError::HungUp)),
            }
        }
    }

    /// Takes one header from what was received. `None`: it is not all there. `Some(None)`: the
    /// state says what follows.
    fn header(&mut self) -> Result<Option<Option<Incoming>>, BrokenRequest> {
        let Some((fields, header_len)) = Fields::read(&self.received, self.terms.replies)? else {
            return Ok(None);
        };
        let whole = header_len + fields.filter_bytes();
        let Some(filter) = self.received.get(header_len..whole) else { return Ok(None) };
        let header = judge(&fields, filter, &self.terms)?;
        self.received.advance(whole);
        Ok(Some(match header {
            Header::Ready(request) => {
                self.receive_bytes = RECEIVE_BYTES;
                Some(Incoming::Request(request))
            }
            Header::Write { ticket, range, fua } if range.is_empty() => {
                Some(Write { ticket, range, fua }.with(Bytes::new()))
            }
            Header::Write { ticket, range, fua } => {
                let write = Write { ticket, range, fua };
                let is_long = write.len() >= RECEIVE_BYTES;
                self.receive_bytes = if is_long { LONG_RECEIVE_BYTES } else { RECEIVE_BYTES };
                self.state = State::Claim(write);
                None
            }
            Header::Refused { ticket, failure, payload } => {
                let reject = Incoming::Reject { ticket, failure };
                self.receive_bytes = RECEIVE_BYTES;
                self.state = State::Drain { left: payload, reject };
                None
            }
            Header::Disconnect => {
                self.state = State::Disconnected;
                None
            }
        }))
    }

    fn finish_write(&mut self) -> Incoming {
        let State::Payload { write, buf, filled } =
            std::mem::replace(&mut self.state, State::Header)
        else {
            unreachable!("only a payload is finished");
        };
        assert_eq!(filled, write.len(), "a WRITE is handed on when it is all there");
        write.with(self.buffers.finish(buf))
    }

    fn broken(&mut self, error: ConnectionError) -> ConnectionError {
        self.state = State::Broken;
        self.received = BytesMut::new();
        error
    }
}

impl<R: AsyncRead + Unpin, P: PayloadBuffers> RequestReader<R, P> {
    /// The next thing that the client has sent. After [`Incoming::Disconnect`] it is that again;
    /// after an error it is [`ConnectionError::HungUp`]. Cancel-safe.
    ///
    /// # Errors
    /// When nothing more can be read; close the connection then.
    pub async fn next(&mut self) -> Result<Incoming, ConnectionError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for a caller with a poll loop of its own.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ConnectionError>> {
        loop {
            if let Some(incoming) = ready!(self.poll_buffered(cx))? {
                return Poll::Ready(Ok(incoming));
            }
            match ready!(self.poll_receive(cx)) {
                Ok(0) => {
                    let cut = self.is_mid_request();
                    let error =
                        if cut { ConnectionError::Truncated } else { ConnectionError::HungUp };
                    return Poll::Ready(Err(self.broken(error)));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.broken(error.into()))),
            }
        }
    }

    /// One receive, to where the bytes belong.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let State::Payload { buf, filled, .. } = &mut self.state {
            let rest = &mut buf.as_mut()[*filled..];
            if rest.len() >= DIRECT_BYTES {
                assert!(self.received.is_empty(), "what was received before comes first");
                let mut rest = ReadBuf::new(rest);
                ready!(Pin::new(&mut self.read).poll_read(cx, &mut rest))?;
                *filled += rest.filled().len();
                self.received_bytes += rest.filled().len() as u64;
                return Poll::Ready(Ok(rest.filled().len()));
            }
        }
        assert!(
            self.received.len() < HEADER_MAX_BYTES.max(CLAIM_BYTES),
            "what is there is taken first"
        );
        let room = self.receive_bytes.saturating_sub(self.received.len()).max(HEADER_MAX_BYTES);
        self.received.reserve(room);
        let mut received = (&mut self.received).limit(room);
        let len = ready!(pin!(self.read.read_buf(&mut received)).poll(cx))?;
        self.received_bytes += len as u64;
        Poll::Ready(Ok(len))
    }
}

#[cfg(test)]
mod tests;
