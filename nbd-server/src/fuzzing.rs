//! Bodies of the fuzz targets. Each takes any bytes, and panics if a rule is broken.

use crate::connection::{ConnectionError, Incoming, RequestReader, VecBuffers};
use crate::export::{ExportInfo, Refusal};
use crate::negotiate::{Negotiation, NegotiationError, OPTIONS_MAX, Question, Turn};
use crate::request::{Command, Request};
use bytes::BytesMut;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// The negotiation, fed with `bytes`: it ends the same way and answers the same, whether the
/// bytes come at once or one by one, and its answers are bounded.
///
/// # Panics
/// If not.
pub fn fuzz_negotiation(bytes: &[u8]) {
    let whole = negotiation(bytes, bytes.len().max(1));
    let pieces = negotiation(bytes, 1);
    assert_eq!(whole, pieces, "how the bytes were cut has changed what was answered");
    let (output, _) = whole;
    let bound = (OPTIONS_MAX as usize + 2) * 4096 * (exports().len() + 1);
    assert!(output.len() <= bound, "{} bytes in answer to {}", output.len(), bytes.len());
}

/// The transmission phase, fed with `bytes` behind nothing: what is read lies within the export,
/// and is the same however the bytes are cut.
///
/// # Panics
/// If not.
pub fn fuzz_transmission(bytes: &[u8]) {
    for export in exports() {
        let whole = transmission(bytes, bytes.len().max(1), &export);
        for piece in [1, 27, 28, 29, 4096] {
            let pieces = transmission(bytes, piece, &export);
            assert_eq!(whole, pieces, "cut at {piece} bytes, other requests were read");
        }
    }
}

fn exports() -> Vec<ExportInfo> {
    let blocks = ExportInfo { min_block: 4096, ..ExportInfo::new("r1/0", 1 << 40) };
    let read_only = ExportInfo { read_only: true, ..ExportInfo::new("r2/0", 12345) };
    vec![ExportInfo::new("r0/0", 1 << 20), blocks, read_only]
}

fn find(name: &str) -> Result<ExportInfo, Refusal> {
    match name {
        "secondary" => Err(Refusal::Policy("this node is Secondary".to_owned())),
        "leaving" => Err(Refusal::Shutdown("going down".to_owned())),
        name => exports().into_iter().find(|export| export.name == name).ok_or(Refusal::Unknown),
    }
}

/// What was sent, and how it ended.
fn negotiation(bytes: &[u8], piece: usize) -> (BytesMut, String) {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut machine = Negotiation::begin(&mut output);
    let mut pieces = bytes.chunks(piece);
    loop {
        let mut turn = machine.advance(&mut input, &mut output);
        if let Turn::Ask(question) = turn {
            turn = match question {
                Question::List(question) => {
                    question.answer(&exports(), &mut output);
                    Turn::Answered
                }
                Question::Find(question) => {
                    let found = find(question.name());
                    question.answer(found, &mut output);
                    Turn::Answered
                }
                Question::Open(question) => {
                    let opened = find(question.name());
                    question.answer(opened, &mut output)
                }
            };
        }
        match turn {
            Turn::NeedInput => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => return (output, NegotiationError::HungUp.to_string()),
            },
            Turn::Answered | Turn::Ask(_) => {}
            Turn::Done(export) => return (output, export.name),
            Turn::Close(error) => return (output, error.to_string()),
        }
    }
}

fn transmission(bytes: &[u8], piece: usize, export: &ExportInfo) -> (Vec<Incoming>, String) {
    let stream = Pieces { rest: bytes, piece };
    let mut reader = RequestReader::new(stream, export, BytesMut::new(), VecBuffers);
    let mut read = Vec::new();
    loop {
        let next = match reader.buffered() {
            Some(next) => next,
            None => now(reader.next()),
        };
        match next {
            Ok(Incoming::Disconnect) => return (read, "disconnect".to_owned()),
            Ok(incoming) => {
                if let Incoming::Request(request) = &incoming {
                    assert_within(request, export);
                }
                read.push(incoming);
            }
            Err(error) => {
                let again = now(reader.next());
                assert!(matches!(again, Err(ConnectionError::HungUp)), "{again:?} after the end");
                return (read, error.to_string());
            }
        }
    }
}

fn assert_within(request: &Request, export: &ExportInfo) {
    let (range, writes) = match &request.command {
        Command::Read(range) | Command::Cache(range) => (range, false),
        Command::Zero { range, .. } => (range, true),
        Command::Write { range, data, .. } => {
            assert_eq!(range.len, data.len() as u64, "{request:?}: data and range differ");
            (range, true)
        }
        Command::Flush => return,
    };
    let end = range.offset.checked_add(range.len).expect("the end of a valid range is a number");
    assert!(end <= export.size, "{range} is past the end, {} bytes", export.size);
    assert!(!(writes && export.read_only), "{request:?} to a read-only export");
    let granule = u64::from(export.min_block);
    assert!(range.offset.is_multiple_of(granule) && range.len.is_multiple_of(granule));
}

/// A stream that gives at most `piece` bytes at a time, and never makes anyone wait.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let (given, rest) =
            this.rest.split_at(this.piece.min(this.rest.len()).min(buf.remaining()));
        buf.put_slice(given);
        this.rest = rest;
        Poll::Ready(Ok(()))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the stream is always ready"),
    }
}
