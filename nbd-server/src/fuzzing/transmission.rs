//! The transmission phase, fed with a client's bytes.

use super::exports;
use crate::connection::{ConnectionError, Incoming, RequestReader, VecBuffers};
use crate::context::Contexts;
use crate::negotiate::Terms;
use crate::reply::Replies;
use crate::request::{Command, Request};
use bytes::BytesMut;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// The transmission phase, fed with `bytes` behind nothing: what is read lies within the export,
/// and is the same however the bytes are cut.
///
/// # Panics
/// If not.
pub fn fuzz_transmission(bytes: &[u8]) {
    for terms in all_terms() {
        let whole = transmission(bytes, bytes.len().max(1), &terms);
        for piece in [1, 27, 28, 29, 4096] {
            let pieces = transmission(bytes, piece, &terms);
            assert_eq!(whole, pieces, "cut at {piece} bytes, other requests were read");
        }
    }
}

/// Each export in each form of replies, with all contexts where there can be any.
pub(super) fn all_terms() -> impl Iterator<Item = Terms> {
    let forms = [Replies::Simple, Replies::Structured, Replies::Extended];
    exports().into_iter().flat_map(move |export| {
        forms.map(|replies| Terms {
            export: export.clone(),
            replies,
            contexts: match replies {
                Replies::Simple => Contexts::default(),
                Replies::Structured | Replies::Extended => Contexts::ALL,
            },
        })
    })
}

/// What is read of these bytes, and how it ends.
pub(super) fn transmission(bytes: &[u8], piece: usize, terms: &Terms) -> (Vec<Incoming>, String) {
    let stream = Pieces { rest: bytes, piece };
    let mut reader = RequestReader::new(stream, terms.clone(), BytesMut::new(), VecBuffers);
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
                    assert_within(request, terms);
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

fn assert_within(request: &Request, terms: &Terms) {
    let export = &terms.export;
    let (range, writes) = match &request.command {
        Command::Read(range) | Command::Cache(range) => (range, false),
        Command::Zero { range, .. } => (range, true),
        Command::Write { range, data, .. } => {
            assert_eq!(range.len, data.len() as u64, "{request:?}: data and range differ");
            (range, true)
        }
        Command::Status { range, contexts, .. } => {
            assert!(!range.is_empty() && !contexts.is_empty(), "{request:?}: nothing is asked");
            assert!(contexts.iter().all(|context| terms.contexts.contains(context)));
            (range, false)
        }
        Command::Flush => return,
    };
    assert!(writes || !matches!(request.command, Command::Write { .. }));
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
