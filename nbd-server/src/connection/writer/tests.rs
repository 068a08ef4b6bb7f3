use super::*;
use std::task::Waker;

/// Takes `room` bytes, then makes the writer wait.
#[derive(Default)]
struct Slow {
    taken: Vec<u8>,
    room: usize,
    calls: usize,
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll(writer: &mut ReplyWriter<Slow>) -> Poll<io::Result<()>> {
    writer.poll_flush(&mut Context::from_waker(Waker::noop()))
}

type Reply = (u64, Result<Bytes, Errno>);

/// Short and long data, success and error, and what they are on the wire.
fn replies() -> (Vec<Reply>, Vec<u8>) {
    let mut wire = Vec::new();
    let mut replies = Vec::new();
    for cookie in 0..200_u64 {
        let reply = match cookie % 4 {
            0 => Ok(Bytes::new()),
            1 => Err(Errno::NoSpc),
            2 => Ok(Bytes::from(vec![cookie as u8; 16])),
            _ => Ok(Bytes::from(vec![cookie as u8; COPY_BYTES + cookie as usize])),
        };
        wire.extend_from_slice(&simple_header(cookie, reply.as_ref().err().copied()));
        wire.extend_from_slice(reply.as_ref().map_or(&[][..], |data| data));
        replies.push((cookie, reply));
    }
    (replies, wire)
}

#[test]
fn nothing_is_lost_or_doubled_however_little_is_taken() {
    let (replies, wire) = replies();
    for room in [1, 15, 16, 17, 1000, 1 << 20] {
        let mut writer = ReplyWriter::new(Slow::default());
        let mut replies = replies.iter().cloned();
        // Replies are pushed while others are half written.
        while writer.write.taken.len() < wire.len() {
            for (cookie, reply) in replies.by_ref().take(3) {
                writer.push(cookie, reply);
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

#[test]
fn many_small_replies_are_one_write() {
    let mut writer = ReplyWriter::new(Slow { room: 1 << 20, ..Slow::default() });
    for cookie in 0..1000 {
        writer.push(cookie, Ok(Bytes::new()));
    }
    writer.push(1000, Ok(Bytes::from(vec![0; 1 << 16])));
    writer.push(1001, Err(Errno::Io));
    assert!(poll(&mut writer).is_ready());
    assert_eq!(writer.write.calls, 1);
    assert_eq!(writer.write.taken.len(), 1002 * 16 + (1 << 16));
}

#[test]
fn flushing_nothing_writes_nothing() {
    let mut writer = ReplyWriter::new(Slow::default());
    assert!(poll(&mut writer).is_ready());
    assert_eq!(writer.write.calls, 0);
}
