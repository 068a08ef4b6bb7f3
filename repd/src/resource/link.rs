//! One connection to the peer: frames in, frames out, nothing decided.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use replicator::wire::{self, HEADER_BYTES, Header, Message, WireError};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use storage::{AlignedBuf, BufferPool};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use types::{Time, VolumeId};

/// What one receive asks the socket for.
const RECEIVE_BYTES: usize = 128 << 10;
/// What one receive asks for after a payload of [`LONG_BYTES`] or more: some messages without a payload,
/// so that the next payload, likely as long, goes straight to its buffer.
const LONG_RECEIVE_BYTES: usize = 4 << 10;
/// From this length on, a copy of a payload costs more than one more receive.
const LONG_BYTES: usize = 32 << 10;
/// A payload that misses at least so much is received straight into its buffer.
const DIRECT_BYTES: usize = 16 << 10;
/// Payloads from this length on get an aligned buffer: they are on their way to a disk.
const ALIGNED_BYTES: usize = 512;
/// A payload up to this length is copied behind its header: cheaper than a slice of its own.
const COPY_BYTES: usize = 1024;
/// The most slices in one write.
const SLICES: usize = 64;

/// Why nothing more can be received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{what}: {error}")]
    Protocol { what: String, error: WireError },
}

/// Receives messages.
#[derive(Debug)]
pub(crate) struct Receiver {
    pool: BufferPool,
    /// Received and not yet understood.
    received: BytesMut,
    /// What a receive asks for while no payload is being received.
    receive_bytes: usize,
    /// The payload that is being received into its buffer.
    payload: Option<Payload>,
    /// Bytes came in since it was last asked.
    moved: bool,
}

#[derive(Debug)]
struct Payload {
    header: Header,
    buf: AlignedBuf,
    filled: usize,
}

impl Receiver {
    pub(crate) fn new(pool: BufferPool) -> Self {
        let (received, receive_bytes) = (BytesMut::new(), RECEIVE_BYTES);
        Self { pool, received, receive_bytes, payload: None, moved: false }
    }

    /// Whether bytes came in since this was last asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The next message. After an error nothing more comes.
    pub(crate) fn poll_next<R: AsyncRead + Unpin>(
        &mut self,
        read: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, ReceiveError>> {
        loop {
            if let Some(message) = self.buffered()? {
                return Poll::Ready(Ok(message));
            }
            match ready!(self.poll_receive(read, cx))? {
                0 => return Poll::Ready(Err(ReceiveError::Closed)),
                _ => self.moved = true,
            }
        }
    }

    /// The next message if all of it is there.
    fn buffered(&mut self) -> Result<Option<Message>, ReceiveError> {
        if self.payload.is_none() {
            let Some(bytes) = self.received.first_chunk::<HEADER_BYTES>() else {
                return Ok(None);
            };
            let header = Header::parse(bytes)
                .map_err(|error| ReceiveError::Protocol { what: "a header".into(), error })?;
            let len = header.payload_len();
            if len < ALIGNED_BYTES {
                if self.received.len() < HEADER_BYTES + len {
                    return Ok(None);
                }
                self.received.advance(HEADER_BYTES);
                let payload = Bytes::copy_from_slice(&self.received.split_to(len));
                return decode(header, payload).map(Some);
            }
            self.received.advance(HEADER_BYTES);
            self.receive_bytes = if len < LONG_BYTES { RECEIVE_BYTES } else { LONG_RECEIVE_BYTES };
            self.payload = Some(Payload { header, buf: self.pool.alloc(len), filled: 0 });
        }
        let payload = self.payload.as_mut().expect("it was just made if it was missing");
        let rest = &mut payload.buf[payload.filled..];
        let here = rest.len().min(self.received.len());
        self.received.copy_to_slice(&mut rest[..here]);
        payload.filled += here;
        if payload.filled < payload.buf.len() {
            return Ok(None);
        }
        let Payload { header, buf, .. } = self.payload.take().expect("it is there");
        decode(header, buf.into_bytes()).map(Some)
    }

    /// One receive, to where the bytes belong.
    fn poll_receive<R: AsyncRead + Unpin>(
        &mut self,
        read: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = self.receive_bytes;
        if let Some(payload) = &mut self.payload {
            let rest = &mut payload.buf[payload.filled..];
            room += rest.len();
            if rest.len() >= DIRECT_BYTES {
                assert!(self.received.is_empty(), "what was received before comes first");
                let mut rest = ReadBuf::new(rest);
                ready!(Pin::new(read).poll_read(cx, &mut rest))?;
                let len = rest.filled().len();
                payload.filled += len;
                return Poll::Ready(Ok(len));
            }
        }
        self.received.reserve(room);
        let mut received = (&mut self.received).limit(room);
        pin!(read.read_buf(&mut received)).poll(cx)
    }
}

fn decode(header: Header, payload: Bytes) -> Result<Message, ReceiveError> {
    wire::decode(&header, payload)
        .map_err(|error| ReceiveError::Protocol { what: header.describe(), error })
}

/// Queues messages and sends many with one write.
///
/// It has no bound of its own: what the engine sends is bounded by what clients have in flight
/// and by its own windows.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// Bytes since the beginning: queued, and taken by the socket.
    pushed: u64,
    taken: u64,
    /// Clients' writes that the socket has not taken whole: where each ends, and when it was queued.
    writes: VecDeque<(u64, VolumeId, Time)>,
    queue: VecDeque<Bytes>,
    /// Headers and short payloads behind the queue's last element.
    tail: BytesMut,
    /// The socket did not take all at the last attempt: the system's buffer is full.
    stuck: bool,
    /// A full buffer had room again since it was last asked.
    moved: bool,
}

impl Sender {
    /// Queues a message. `now` is told of a client's write when the socket has taken it.
    pub(crate) fn push(&mut self, message: &Message, now: Time) {
        let encoded = message.encode();
        self.pushed += (encoded.header.len() + encoded.payload.len()) as u64;
        if let Message::Write { stamp, .. } | Message::Zero { stamp, .. } = message {
            self.writes.push_back((self.pushed, stamp.volume, now));
        }
        self.tail.extend_from_slice(&encoded.header);
        if encoded.payload.len() <= COPY_BYTES {
            self.tail.extend_from_slice(&encoded.payload);
        } else {
            self.seal_tail();
            self.queue.push_back(encoded.payload);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.tail.is_empty()
    }

    /// The next client's write that the socket has taken, once, and when it was queued.
    pub(crate) fn next_taken(&mut self) -> Option<(VolumeId, Time)> {
        let taken = self.taken;
        let (_, volume, since) = self.writes.pop_front_if(|(end, ..)| *end <= taken)?;
        Some((volume, since))
    }

    /// Whether a backlog has moved since this was last asked: the other end has taken bytes.
    /// (Bytes that fit into the system's buffer tell nothing about the other end.)
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }

    /// Sends what is queued, as far as the socket takes it now.
    pub(crate) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        write: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.seal_tail();
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.queue.len().min(SLICES);
            for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(bytes);
            }
            let sent = Pin::new(&mut *write).poll_write_vectored(cx, &slices[..count]);
            let Poll::Ready(sent) = sent else {
                self.stuck = true;
                return Poll::Pending;
            };
            let len = sent?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved |= std::mem::take(&mut self.stuck);
            self.sent(len);
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, mut len: usize) {
        self.taken += len as u64;
        while len > 0 {
            let first = self.queue.front_mut().expect("no more is sent than was queued");
            let part = len.min(first.len());
            first.advance(part);
            len -= part;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replicator::wire::Stamp;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use types::ByteRange;

    fn write(seq: u64, len: usize) -> Message {
        let stamp = Stamp { volume: VolumeId(0), seq, seen: 0, settled_below: 0 };
        let data = Bytes::from(vec![seq as u8; len]);
        Message::Write { stamp, range: ByteRange::new(0, len as u64), data, fua: false }
    }

    fn traffic() -> Vec<Message> {
        let writes = [512, 4096, 100_000, 1 << 20].into_iter().zip(1..);
        let writes = writes.map(|(len, seq)| write(seq, len));
        [Message::Ping].into_iter().chain(writes).chain([Message::Pong, Message::Bye]).collect()
    }

    /// A pipe this narrow cuts everything everywhere.
    #[tokio::test]
    async fn messages_come_through_a_narrow_pipe_in_order() {
        for width in [1, 7, 100, 70_000, 8 << 20] {
            let (mut near, mut far) = tokio::io::duplex(width);
            let messages = if width == 1 { traffic()[..2].to_vec() } else { traffic() };
            let mut sender = Sender::default();
            for message in &messages {
                sender.push(message, Time(0));
            }
            let send = async {
                poll_fn(|cx| sender.poll_send(&mut near, cx)).await.unwrap();
                assert!(sender.is_empty());
                let fits = messages.iter().map(|message| message.encode());
                let fits = fits.map(|encoded| HEADER_BYTES + encoded.payload.len()).sum::<usize>();
                assert_eq!(sender.take_moved(), fits > width, "only a backlog counts");
                near.shutdown().await.unwrap();
            };
            let receive = async {
                let mut receiver = Receiver::new(BufferPool::default());
                for message in &messages {
                    let found = poll_fn(|cx| receiver.poll_next(&mut far, cx)).await.unwrap();
                    assert_eq!(&found, message);
                }
                assert!(receiver.take_moved() && !receiver.take_moved());
                let end = poll_fn(|cx| receiver.poll_next(&mut far, cx)).await;
                assert!(matches!(end, Err(ReceiveError::Closed)));
            };
            tokio::join!(send, receive);
        }
    }

    /// Gives what it has, and remembers how large the receives were.
    struct Asked<'a>(&'a [u8], Vec<usize>);

    impl AsyncRead for Asked<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1.push(buf.remaining());
            let (now, later) = self.0.split_at(self.0.len().min(buf.remaining()));
            buf.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn of_long_payloads_in_a_row_only_the_beginning_is_copied() {
        const LEN: usize = 256 << 10;
        let mut sender = Sender::default();
        for seq in 1..4 {
            sender.push(&write(seq, LEN), Time(0));
        }
        sender.push(&write(4, 4096), Time(0));
        let mut bytes = Vec::new();
        poll_fn(|cx| sender.poll_send(&mut bytes, cx)).await.unwrap();
        let mut read = Asked(&bytes, Vec::new());
        let mut receiver = Receiver::new(BufferPool::default());
        for _ in 1..5 {
            poll_fn(|cx| receiver.poll_next(&mut read, cx)).await.unwrap();
        }
        let rest = |received: usize| LEN + HEADER_BYTES - received;
        let first = [RECEIVE_BYTES, rest(RECEIVE_BYTES)];
        let others = [LONG_RECEIVE_BYTES, rest(LONG_RECEIVE_BYTES)];
        let asked = &read.1;
        assert_eq!(asked[..6], [first, others, others].concat());
        assert_eq!(asked[6], LONG_RECEIVE_BYTES, "it was a long one before");
        assert!(asked[7] >= RECEIVE_BYTES, "short ones come many at a time again: {asked:?}");
    }

    #[tokio::test]
    async fn payloads_for_the_disk_are_aligned() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut sender = Sender::default();
        sender.push(&write(1, 4096), Time(0));
        poll_fn(|cx| sender.poll_send(&mut near, cx)).await.unwrap();
        let mut receiver = Receiver::new(BufferPool::default());
        let message = poll_fn(|cx| receiver.poll_next(&mut far, cx)).await.unwrap();
        let Message::Write { data, .. } = message else { panic!("{message:?}") };
        assert_eq!(data.as_ptr() as usize % 4096, 0);
    }

    #[tokio::test]
    async fn damage_is_a_protocol_error() {
        let mut sender = Sender::default();
        sender.push(&write(1, 4096), Time(0));
        let mut bytes = Vec::new();
        poll_fn(|cx| sender.poll_send(&mut bytes, cx)).await.unwrap();
        for at in [0, 20, 63, 64, 3000] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let mut receiver = Receiver::new(BufferPool::default());
            let end = poll_fn(|cx| receiver.poll_next(&mut &bad[..], cx)).await;
            assert!(matches!(end, Err(ReceiveError::Protocol { .. })), "{at}: {end:?}");
        }
    }
}
