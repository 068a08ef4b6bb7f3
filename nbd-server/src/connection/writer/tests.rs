use super::*;
use crate::errno::Errno;
use std::task::Waker;

/// Takes `room` bytes, then makes the writer wait.
#[derive(Default)]
struct Slow {
    taken: Vec<u8>,
    room: usize,
    calls: usize,
    /// How often it has more to send than it can.
    flushes_late: usize,
    is_shut: bool,
}

impl AsyncWrite for Slow {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.room == 0 {
            return Poll::Pending;
        }
        self.calls += 1;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let len = bytes.len().min(self.room);
        self.taken.extend_from_slice(&bytes[..len]);
        self.room -= len;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flushes_late {
            0 => Poll::Ready(Ok(())),
            _ => {
                self.flushes_late -= 1;
                Poll::Pending
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

fn poll(writer: &mut ReplyWriter<Slow>) -> Poll<io::Result<()>> {
    writer.poll_flush(&mut Context::from_waker(Waker::noop()))
}

type Reply = (Ticket, Result<Answer, Failure>);

fn ticket(cookie: u64) -> Ticket {
    Ticket { cookie, offset: 0 }
}

fn failed(errno: Errno) -> Result<Answer, Failure> {
    Err(Failure::new(errno, "no"))
}

fn data(bytes: Vec<u8>) -> Result<Answer, Failure> {
    Ok(Answer::Data(vec![bytes.into()]))
}

/// Short and long data, success and error, and what they are on the wire.
fn replies() -> (Vec<Reply>, Vec<u8>) {
    let mut wire = Vec::new();
    let mut replies = Vec::new();
    for cookie in 0..200_u64 {
        let reply = match cookie % 4 {
            0 => Ok(Answer::Done),
            1 => failed(Errno::NoSpc),
            2 => data(vec![cookie as u8; 16]),
            _ => data(vec![cookie as u8; COPY_BYTES + cookie as usize]),
        };
        let mut header = BytesMut::new();
        Replies::Simple.encode(ticket(cookie), &reply, &mut header);
        wire.extend_from_slice(&header);
        if let Ok(Answer::Data(pieces)) = &reply {
            wire.extend_from_slice(&pieces[0]);
        }
        replies.push((ticket(cookie), reply));
    }
    (replies, wire)
}

#[test]
fn nothing_is_lost_or_doubled_however_little_is_taken() {
    let (replies, wire) = replies();
    for room in [1, 15, 16, 17, 1000, 1 << 20] {
        let mut writer = ReplyWriter::new(Slow::default(), Replies::Simple);
        let mut replies = replies.iter().cloned();
        // Replies are pushed while others are half written.
        while writer.write.taken.len() < wire.len() {
            for (ticket, reply) in replies.by_ref().take(3) {
                writer.push(ticket, reply);
            }
            let before = writer.pending_bytes() + writer.write.taken.len();
            writer.write.room = room;
            let done = poll(&mut writer).is_ready();
            assert_eq!(done, writer.pending_bytes() == 0);
            assert_eq!(writer.pending_bytes() + writer.write.taken.len(), before);
        }
        assert!(writer.write.taken == wire, "room {room}");
    }
}

/// As TLS does: it takes bytes before the socket does.
#[test]
fn what_the_stream_has_taken_and_not_sent_is_flushed_later() {
    let slow = Slow { room: 1 << 20, flushes_late: 1, ..Slow::default() };
    let mut writer = ReplyWriter::new(slow, Replies::Simple);
    assert!(!writer.needs_flush());
    writer.push(ticket(1), Ok(Answer::Done));
    assert!(poll(&mut writer).is_pending() && writer.pending_bytes() == 0);
    assert!(writer.needs_flush());
    assert!(poll(&mut writer).is_ready() && !writer.needs_flush());
    writer.close_now();
    assert!(writer.write.is_shut);
}

#[test]
fn many_small_replies_are_one_write() {
    let slow = Slow { room: 1 << 20, ..Slow::default() };
    let mut writer = ReplyWriter::new(slow, Replies::Simple);
    for cookie in 0..1000 {
        writer.push(ticket(cookie), Ok(Answer::Done));
    }
    writer.push(ticket(1000), data(vec![0; 1 << 16]));
    writer.push(ticket(1001), failed(Errno::Io));
    assert!(poll(&mut writer).is_ready());
    assert_eq!(writer.write.calls, 1);
    assert_eq!(writer.write.taken.len(), 1002 * 16 + (1 << 16));
}

#[test]
fn flushing_nothing_writes_nothing() {
    let mut writer = ReplyWriter::new(Slow::default(), Replies::Simple);
    assert!(poll(&mut writer).is_ready());
    assert_eq!(writer.write.calls, 0);
}

#[test]
fn data_in_pieces_is_one_reply() {
    let slow = Slow { room: 1 << 20, ..Slow::default() };
    let mut writer = ReplyWriter::new(slow, Replies::Structured);
    let pieces = vec![vec![1; 5000].into(), vec![2; 10].into(), vec![3; 5000].into()];
    writer.push(ticket(1), Ok(Answer::Data(pieces)));
    assert_eq!(writer.pending_bytes(), 20 + 8 + 10_010);
    assert!(poll(&mut writer).is_ready());
    let taken = &writer.write.taken;
    assert_eq!(taken[16..20], 10_018_u32.to_be_bytes());
    assert_eq!(taken[28..], [vec![1; 5000], vec![2; 10], vec![3; 5000]].concat());
}
