use super::*;
use crate::errno::Errno;
use crate::export::ExportInfo;
use crate::fuzzing::fuzz_transmission;
use crate::proto::{REQUEST_MAGIC, RequestHeader, command};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;
use zerocopy::IntoBytes;

const SIZE: u64 = 1 << 30;

fn terms() -> Terms {
    Terms::simple(ExportInfo::new("r0/0", SIZE))
}

fn ticket(cookie: u64, offset: u64) -> Ticket {
    Ticket { cookie, offset }
}

fn request(command: u16, flags: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    let header = RequestHeader {
        magic: REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: command.into(),
        cookie: cookie.into(),
        offset: offset.into(),
        len: len.into(),
    };
    header.as_bytes().to_vec()
}

fn write(cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    [&request(command::WRITE, 0, cookie, offset, data.len() as u32)[..], data].concat()
}

fn written(cookie: u64, offset: u64, data: &[u8]) -> Incoming {
    let range = ByteRange::new(offset, data.len() as u64);
    let data = Bytes::copy_from_slice(data);
    let command = Command::Write { range, data, fua: false };
    Incoming::Request(Request { ticket: ticket(cookie, offset), command })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// A socket that gives what was put into it, remembers how large the receives were, and makes
/// the reader wait when it is empty.
#[derive(Default)]
struct Socket {
    rest: VecDeque<u8>,
    asked: Vec<usize>,
    ended: bool,
}

impl AsyncRead for &mut Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() && !self.ended {
            return Poll::Pending;
        }
        self.asked.push(buf.remaining());
        let given: Vec<u8> = {
            let len = self.rest.len().min(buf.remaining());
            self.rest.drain(..len).collect()
        };
        buf.put_slice(&given);
        Poll::Ready(Ok(()))
    }
}

fn poll<R: AsyncRead + Unpin, P: PayloadBuffers>(
    reader: &mut RequestReader<R, P>,
) -> Poll<Result<Incoming, ConnectionError>> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn ready<R: AsyncRead + Unpin, P: PayloadBuffers>(reader: &mut RequestReader<R, P>) -> Incoming {
    match poll(reader) {
        Poll::Ready(Ok(incoming)) => incoming,
        other => panic!("{other:?}"),
    }
}

fn over<'a>(bytes: &[u8], socket: &'a mut Socket) -> RequestReader<&'a mut Socket> {
    socket.rest.extend(bytes);
    RequestReader::new(socket, terms(), BytesMut::new(), VecBuffers)
}

#[test]
fn one_receive_brings_many_requests() {
    let mut bytes = Vec::new();
    for cookie in 0..100 {
        bytes.extend(request(command::READ, 0, cookie, cookie * 4096, 4096));
        bytes.extend(write(cookie + 1000, 0, &pattern(100)));
    }
    bytes.extend(&request(command::FLUSH, 0, 5, 0, 0)[..20]);
    let mut socket = Socket::default();
    let mut reader = over(&bytes, &mut socket);
    assert!(reader.buffered().is_none(), "nothing is received unasked");
    let first = ready(&mut reader);
    assert!(matches!(first, Incoming::Request(Request { ticket: Ticket { cookie: 0, .. }, .. })));
    for cookie in 0..100 {
        if cookie > 0 {
            let read = reader.buffered().expect("it is there").expect("it is valid");
            let range = ByteRange::new(cookie * 4096, 4096);
            let expected = Incoming::Request(Request {
                ticket: ticket(cookie, cookie * 4096),
                command: Command::Read(range),
            });
            assert_eq!(read, expected);
        }
        let write = reader.buffered().expect("it is there").expect("it is valid");
        assert_eq!(write, written(cookie + 1000, 0, &pattern(100)));
    }
    assert!(reader.buffered().is_none(), "a part of a header is not a request");
    assert!(reader.is_mid_request());
    assert_eq!(reader.read.asked.len(), 1);
}

#[test]
fn a_large_payload_goes_straight_into_its_buffer() {
    const LEN: usize = 32 << 20;
    let data = pattern(LEN);
    let bytes = [write(1, 4096, &data), request(command::FLUSH, 0, 2, 0, 0)].concat();
    let mut socket = Socket::default();
    let mut reader = over(&bytes, &mut socket);
    assert!(ready(&mut reader) == written(1, 4096, &data));
    let there = RECEIVE_BYTES - size_of::<RequestHeader>();
    assert_eq!(reader.read.asked, [RECEIVE_BYTES, LEN - there]);
    assert!(matches!(
        ready(&mut reader),
        Incoming::Request(Request { ticket: Ticket { cookie: 2, .. }, .. })
    ));
}

#[test]
fn of_long_payloads_in_a_row_only_the_beginning_is_copied() {
    const LEN: usize = 128 << 10;
    let payload = pattern(LEN);
    let mut bytes: Vec<u8> = (0..3).flat_map(|cookie| write(cookie, 0, &payload)).collect();
    bytes.extend(request(command::READ, 0, 3, 0, 4096));
    let mut socket = Socket::default();
    let mut reader = over(&bytes, &mut socket);
    for cookie in 0..3 {
        assert_eq!(ready(&mut reader), written(cookie, 0, &payload));
    }
    assert!(matches!(ready(&mut reader), Incoming::Request(_)));
    let (header, beginning) = (size_of::<RequestHeader>(), LONG_RECEIVE_BYTES);
    let rest = |received: usize| LEN + header - received;
    let first = [RECEIVE_BYTES, rest(RECEIVE_BYTES)];
    let others = [beginning, rest(beginning)];
    assert_eq!(reader.read.asked, [&first[..], &others, &others, &[beginning]].concat());
    // Short requests come many at a time again.
    reader.read.rest.extend(request(command::READ, 0, 4, 0, 4096));
    ready(&mut reader);
    assert_eq!(reader.read.asked.last(), Some(&RECEIVE_BYTES));
}

#[test]
fn the_receive_buffer_does_not_grow() {
    let mut socket = Socket::default();
    let mut reader = over(&[], &mut socket);
    for cookie in 0..2000 {
        let bytes = write(cookie, 0, &pattern(4096 + cookie as usize % 900));
        reader.read.rest.extend(&bytes);
        assert_eq!(ready(&mut reader), written(cookie, 0, &bytes[28..]));
        assert!(reader.received.capacity() <= 2 * RECEIVE_BYTES);
    }
    assert!(reader.read.asked.iter().all(|asked| *asked <= 2 * RECEIVE_BYTES));
}

#[test]
fn a_refused_write_leaves_the_stream_in_step() {
    let past = write(1, SIZE, &pattern(200_000));
    let bytes = [past, request(command::READ, 0, 2, 0, 512)].concat();
    let mut socket = Socket::default();
    let mut reader = over(&bytes, &mut socket);
    let Incoming::Reject {
        ticket: Ticket { cookie: 1, .. },
        failure: Failure { errno: Errno::NoSpc, why },
    } = ready(&mut reader)
    else {
        panic!("a write past the end is refused");
    };
    assert!(why.contains("past the end"), "{why}");
    assert!(matches!(
        ready(&mut reader),
        Incoming::Request(Request { ticket: Ticket { cookie: 2, .. }, .. })
    ));
}

#[test]
fn a_write_over_the_limit_is_drained_and_refused() {
    let long = write(1, 0, &vec![9; (65 << 20) + 5]);
    let bytes = [long, request(command::READ, 0, 2, 0, 512)].concat();
    let mut socket = Socket::default();
    let mut reader = over(&bytes, &mut socket);
    assert!(matches!(
        ready(&mut reader),
        Incoming::Reject { failure: Failure { errno: Errno::Inval, .. }, .. }
    ));
    assert!(matches!(
        ready(&mut reader),
        Incoming::Request(Request { ticket: Ticket { cookie: 2, .. }, .. })
    ));
}

#[test]
fn after_the_end_it_stays_ended() {
    let mut socket = Socket::default();
    let bytes = [request(command::DISC, 0, 1, 0, 0), vec![0xff; 100]].concat();
    let mut reader = over(&bytes, &mut socket);
    for _ in 0..3 {
        assert_eq!(ready(&mut reader), Incoming::Disconnect);
    }

    let mut socket = Socket::default();
    let mut reader = over(&[0xff; 100], &mut socket);
    assert!(matches!(poll(&mut reader), Poll::Ready(Err(ConnectionError::Protocol(_)))));
    assert!(matches!(poll(&mut reader), Poll::Ready(Err(ConnectionError::HungUp))));
    assert!(matches!(reader.buffered(), Some(Err(ConnectionError::HungUp))));
}

#[test]
fn hanging_up_is_told_from_hanging_up_in_a_request() {
    let whole = write(1, 0, &pattern(50_000));
    for cut in [0, 1, 27, 28, 29, 40_000, whole.len() - 1, whole.len()] {
        let mut socket = Socket { ended: true, ..Socket::default() };
        let mut reader = over(&whole[..cut], &mut socket);
        if cut == whole.len() {
            assert_eq!(ready(&mut reader), written(1, 0, &whole[28..]));
        }
        let end = poll(&mut reader);
        if cut == 0 || cut == whole.len() {
            assert!(matches!(end, Poll::Ready(Err(ConnectionError::HungUp))), "{cut}: {end:?}");
        } else {
            assert!(matches!(end, Poll::Ready(Err(ConnectionError::Truncated))), "{cut}: {end:?}");
        }
    }
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let data = pattern(100_000);
    let bytes = [write(1, 0, &data), request(command::READ, 0, 2, 0, 512)].concat();
    let mut socket = Socket::default();
    let mut reader = over(&[], &mut socket);
    let mut read = Vec::new();
    for piece in bytes.chunks(777) {
        reader.read.rest.extend(piece);
        // Each of these futures is polled once and dropped.
        while let Poll::Ready(next) = poll(&mut reader) {
            read.push(next.expect("it is valid"));
        }
    }
    let command = Command::Read(ByteRange::new(0, 512));
    let next = Incoming::Request(Request { ticket: ticket(2, 0), command });
    assert!(read == [written(1, 0, &data), next]);
}

/// A budget that is used up until it is granted.
#[derive(Default)]
struct Budget {
    granted: Cell<bool>,
    taken: Cell<usize>,
}

impl PayloadBuffers for Budget {
    type Buf = Vec<u8>;

    fn poll_ready(&self, _: &mut Context<'_>, _: usize) -> Poll<()> {
        if self.granted.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn take(&self, len: usize) -> Vec<u8> {
        assert!(self.granted.get(), "not taken before it is ready");
        self.taken.set(self.taken.get() + len);
        vec![0; len]
    }

    fn finish(&self, buf: Vec<u8>) -> Bytes {
        buf.into()
    }
}

#[test]
fn without_a_buffer_nothing_more_is_read() {
    let mut socket = Socket::default();
    socket.rest.extend(write(1, 0, &pattern(1 << 20)));
    let budget = Budget::default();
    let mut reader = RequestReader::new(&mut socket, terms(), BytesMut::new(), &budget);
    assert!(poll(&mut reader).is_pending());
    assert!(reader.buffered().is_none());
    assert_eq!(reader.read.asked.len(), 1, "the receive that brought the header");
    assert_eq!(budget.taken.get(), 0);
    budget.granted.set(true);
    assert!(ready(&mut reader) == written(1, 0, &pattern(1 << 20)));
    assert_eq!(budget.taken.get(), 1 << 20);
}

#[test]
fn an_empty_write_needs_no_buffer() {
    let mut socket = Socket::default();
    socket.rest.extend(write(1, SIZE, &[]));
    let budget = Budget::default();
    let mut reader = RequestReader::new(&mut socket, terms(), BytesMut::new(), &budget);
    assert_eq!(ready(&mut reader), written(1, SIZE, &[]));
}

#[test]
fn what_the_negotiation_received_comes_first() {
    let bytes = [write(1, 0, b"abc"), write(2, 3, b"def")].concat();
    let mut socket = Socket::default();
    socket.rest.extend(&bytes[30..]);
    let leftover = BytesMut::from(&bytes[..30]);
    let mut reader = RequestReader::new(&mut socket, terms(), leftover, VecBuffers);
    assert_eq!(ready(&mut reader), written(1, 0, b"abc"));
    assert_eq!(ready(&mut reader), written(2, 3, b"def"));
}

/// Requests that are mostly near the truth.
fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
    let offset = prop_oneof![
        3 => (0u64..300).prop_map(|block| block * 4096),
        1 => any::<u64>(),
        1 => 0u64..(1 << 20),
    ];
    let len = prop_oneof![Just(0u32), Just(512), Just(4096), 0u32..20_000];
    let flags = prop_oneof![4 => Just(0u16), 1 => 0u16..64];
    let command = prop_oneof![1 => Just(command::WRITE), 1 => 0u16..10];
    let one = (command, flags, any::<u64>(), offset, len).prop_map(
        |(command, flags, cookie, offset, len)| {
            let mut bytes = request(command, flags, cookie, offset, len);
            if command == command::WRITE {
                bytes.extend(pattern(len as usize));
            }
            bytes
        },
    );
    let garbage = proptest::collection::vec(any::<u8>(), 0..60);
    let part = prop_oneof![12 => one, 1 => garbage];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_transmission(&bytes);
    }

    #[test]
    fn how_the_bytes_are_cut_changes_nothing(bytes in client_bytes()) {
        fuzz_transmission(&bytes);
    }
}
