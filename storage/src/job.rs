//! One request as a series of steps, each of which is one system call.
//!
//! Here is everything that a request may need beyond the call of its name: reading around what is
//! smaller than a sector, going on after a short transfer, trying again after an interruption, the
//! ways to zero and what to do without them. A [`Job`] does no I/O: it says the next [`Step`] and is
//! told how it went. So plain calls and the ring follow the same rules, and the rules are tested
//! without either.
//!
//! ```text
//! pieces of the request, one after another:
//!   read        Reading → done
//!   overwrite   [Filling (first sector) → Filling (last sector)] → Writing → next piece
//!   deallocate  Zeroing → next piece, or else overwrites with zeros
//!   flush       Flushing → next piece
//! ```
//!
//! A map ([`Op::Map`]) is none: no ring knows its calls, see [`map`](crate::map).

use crate::shared::{Shared, ZeroWay};
use crate::{AlignedBuf, BufferPool, DeviceError, Op, OpKind};
use bytes::Bytes;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::Arc;
use types::ByteRange;

/// Zeros are written in pieces of this many bytes, where a device knows no better way.
const ZERO_PIECE_BYTES: u64 = 1 << 20;

/// How often one request is interrupted, or told to try again, before that is its error.
const MAX_RETRIES: u32 = 100;

/// What is to be done next. The slices stay where they are, in memory that the job owns or holds a
/// share of, until the step is answered, also when the job itself is moved.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Read {
        into: &'a mut [u8],
        at: u64,
    },
    /// `dsync`: it must be durable when it returns.
    Write {
        from: &'a [u8],
        at: u64,
        dsync: bool,
    },
    Zero {
        range: ByteRange,
        way: ZeroWay,
    },
    Flush,
    Done(Result<Bytes, DeviceError>),
}

/// A part of a request.
#[derive(Debug)]
enum Piece {
    Read(ByteRange),
    /// Write data, or zeros if there is none.
    Overwrite {
        range: ByteRange,
        data: Option<Bytes>,
        dsync: bool,
    },
    /// Zero whole units without sending zeros, if the device can.
    Deallocate {
        range: ByteRange,
        unmap: bool,
    },
    Flush,
}

/// What is being written.
#[derive(Debug)]
enum Source {
    /// The client's own bytes.
    Shared(Bytes),
    /// A copy, aligned or with what lies around.
    Own(AlignedBuf),
}

/// The step under way.
#[derive(Debug)]
enum Now {
    /// None: the next piece is to be taken.
    Idle,
    Reading {
        buf: AlignedBuf,
        wide: ByteRange,
        want: ByteRange,
        done: usize,
    },
    /// Reading the sectors at the edges of `wide`, of which `range` covers a part only.
    Filling {
        buf: AlignedBuf,
        wide: ByteRange,
        range: ByteRange,
        data: Option<Bytes>,
        dsync: bool,
        /// Where in `buf` the edges to read begin; each is one granule long.
        edges: Vec<usize>,
        done: usize,
    },
    Writing {
        source: Source,
        at: u64,
        done: usize,
        dsync: bool,
    },
    Zeroing {
        range: ByteRange,
        unmap: bool,
        way: ZeroWay,
    },
    Flushing,
    Finished(Result<Bytes, DeviceError>),
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Job {
    kind: OpKind,
    range: ByteRange,
    shared: Arc<Shared>,
    pool: BufferPool,
    todo: VecDeque<Piece>,
    now: Now,
    retries: u32,
}

impl Job {
    pub(crate) fn new(op: Op, shared: &Arc<Shared>, pool: &BufferPool) -> Self {
        let geometry = shared.geometry;
        let now = match op.check(shared.bytes(), geometry.read_only) {
            Ok(()) => Now::Idle,
            Err(error) => Now::Finished(Err(error)),
        };
        let (kind, range) = (op.kind(), op.range());
        let todo = if matches!(now, Now::Idle) { pieces(op, shared) } else { VecDeque::new() };
        Self { kind, range, shared: shared.clone(), pool: pool.clone(), todo, now, retries: 0 }
    }

    /// What is to be done. The same again until [`Job::answer`] is called.
    pub(crate) fn step(&mut self) -> Step<'_> {
        while matches!(self.now, Now::Idle) {
            self.begin_next();
        }
        let granule = self.shared.geometry.granule;
        match &mut self.now {
            Now::Idle => unreachable!("the loop ends when something was begun"),
            Now::Reading { buf, wide, done, .. } => {
                Step::Read { at: wide.offset + *done as u64, into: &mut buf[*done..] }
            }
            Now::Filling { buf, wide, edges, done, .. } => {
                let from = edges[0] + *done;
                let to = edges[0] + granule as usize;
                Step::Read { at: wide.offset + from as u64, into: &mut buf[from..to] }
            }
            Now::Writing { source, at, done, dsync } => {
                let from: &[u8] = match source {
                    Source::Shared(data) => data,
                    Source::Own(buf) => buf,
                };
                Step::Write { from: &from[*done..], at: *at + *done as u64, dsync: *dsync }
            }
            Now::Zeroing { range, way, .. } => Step::Zero { range: *range, way: *way },
            Now::Flushing => Step::Flush,
            Now::Finished(result) => Step::Done(result.clone()),
        }
    }

    /// How the step went: bytes transferred (of a read or a write), or the error.
    pub(crate) fn answer(&mut self, result: Result<usize, Errno>) {
        if let Err(Errno::INTR | Errno::AGAIN) = result
            && self.retries < MAX_RETRIES
        {
            self.retries += 1;
            return;
        }
        let now = std::mem::replace(&mut self.now, Now::Idle);
        self.now = match (now, result) {
            (now @ (Now::Reading { .. } | Now::Filling { .. }), Ok(n)) => self.has_read(now, n),
            (Now::Writing { source, at, done, dsync }, Ok(n)) => {
                self.has_written(source, at, done, n, dsync)
            }
            (Now::Zeroing { .. }, Ok(_)) => Now::Idle,
            (Now::Flushing, outcome) => match self.shared.judge_flush(outcome.map(|_| ())) {
                Ok(()) => Now::Idle,
                Err(error) => Now::Finished(Err(error)),
            },
            (now, Err(errno)) => self.has_failed(now, errno),
            (Now::Idle | Now::Finished(_), Ok(_)) => unreachable!("no step was under way"),
        };
    }

    fn begin_next(&mut self) {
        let Some(piece) = self.todo.pop_front() else {
            self.now = Now::Finished(Ok(Bytes::new()));
            return;
        };
        if !matches!(piece, Piece::Read(_)) && self.shared.is_poisoned() {
            self.now = Now::Finished(Err(DeviceError::Poisoned));
            return;
        }
        self.now = match piece {
            Piece::Read(want) => {
                let wide = want.widen(self.shared.geometry.granule);
                Now::Reading { buf: self.pool.alloc(wide.len as usize), wide, want, done: 0 }
            }
            Piece::Overwrite { range, data, dsync } => self.overwrite(range, data, dsync),
            Piece::Deallocate { range, unmap } => self.deallocate(range, unmap),
            Piece::Flush => Now::Flushing,
        };
    }

    fn overwrite(&mut self, range: ByteRange, data: Option<Bytes>, dsync: bool) -> Now {
        let geometry = self.shared.geometry;
        if let Some(data) = data.as_ref().filter(|data| geometry.takes(data, range)) {
            let source = Source::Shared(data.clone());
            return Now::Writing { source, at: range.offset, done: 0, dsync };
        }
        let wide = range.widen(geometry.granule);
        let buf = self.pool.alloc(wide.len as usize);
        let mut edges = Vec::new();
        if wide.offset < range.offset {
            edges.push(0);
        }
        let last = (wide.len - geometry.granule) as usize;
        if range.end() < wide.end() && !edges.contains(&last) {
            edges.push(last);
        }
        if edges.is_empty() {
            return overlaid(buf, wide, range, data, dsync);
        }
        Now::Filling { buf, wide, range, data, dsync, edges, done: 0 }
    }

    fn deallocate(&mut self, range: ByteRange, unmap: bool) -> Now {
        if let Some(way) = self.shared.zero_way(unmap) {
            return Now::Zeroing { range, unmap, way };
        }
        let first = ByteRange::new(range.offset, range.len.min(ZERO_PIECE_BYTES));
        let rest = ByteRange::between(first.end(), range.end());
        if !rest.is_empty() {
            self.todo.push_front(Piece::Deallocate { range: rest, unmap });
        }
        self.overwrite(first, None, false)
    }

    fn has_read(&self, mut now: Now, n: usize) -> Now {
        let granule = self.shared.geometry.granule as usize;
        let (done, length, at) = match &mut now {
            Now::Reading { buf, wide, done, .. } => (done, buf.len(), wide.offset),
            Now::Filling { wide, edges, done, .. } => {
                (done, granule, wide.offset + edges[0] as u64)
            }
            _ => unreachable!("called for reads only"),
        };
        let before = *done;
        *done = self.progress(before, n, length);
        if *done == before {
            let at = at + (before + n) as u64;
            let (kind, range) = (self.kind, self.range);
            return Now::Finished(Err(DeviceError::Truncated { kind, range, at }));
        }
        if *done < length {
            return now;
        }
        match now {
            Now::Reading { buf, wide, want, .. } => {
                let from = (want.offset - wide.offset) as usize;
                let data = buf.into_bytes().slice(from..from + want.len as usize);
                Now::Finished(Ok(data))
            }
            Now::Filling { buf, wide, range, data, dsync, mut edges, .. } => {
                edges.remove(0);
                if edges.is_empty() {
                    overlaid(buf, wide, range, data, dsync)
                } else {
                    Now::Filling { buf, wide, range, data, dsync, edges, done: 0 }
                }
            }
            now => now,
        }
    }

    fn has_written(&self, source: Source, at: u64, before: usize, n: usize, dsync: bool) -> Now {
        let length = match &source {
            Source::Shared(data) => data.len(),
            Source::Own(buf) => buf.len(),
        };
        let done = self.progress(before, n, length);
        if done == length {
            Now::Idle
        } else if done == before {
            self.failed(Errno::IO)
        } else {
            Now::Writing { source, at, done, dsync }
        }
    }

    /// How far a transfer is after `n` bytes more: whole units only, so that the rest of it is
    /// aligned as the device wants it.
    fn progress(&self, before: usize, n: usize, length: usize) -> usize {
        let geometry = self.shared.geometry;
        let unit = geometry.memory_align.max(geometry.granule as usize);
        let done = (before + n).min(length);
        if done == length { done } else { done - done % unit }
    }

    fn has_failed(&mut self, now: Now, errno: Errno) -> Now {
        const UNSUPPORTED: [Errno; 4] =
            [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::NODEV];
        match now {
            Now::Zeroing { range, unmap, way } if UNSUPPORTED.contains(&errno) => {
                tracing::debug!(?way, %errno, "the device cannot zero in this way");
                self.shared.lacks_zero_way(way);
                self.todo.push_front(Piece::Deallocate { range, unmap });
                Now::Idle
            }
            Now::Writing { source, at, done, dsync: true } if errno == Errno::OPNOTSUPP => {
                self.shared.lacks_dsync();
                self.todo.push_back(Piece::Flush);
                Now::Writing { source, at, done, dsync: false }
            }
            // The error may be that of the flush within the write. Not so without space: that was
            // found out before anything was written.
            Now::Writing { dsync: true, .. } if ![Errno::NOSPC, Errno::DQUOT].contains(&errno) => {
                self.shared.poison();
                Now::Finished(Err(DeviceError::FlushFailed { errno: errno.raw_os_error() }))
            }
            _ => self.failed(errno),
        }
    }

    fn failed(&self, errno: Errno) -> Now {
        let errno = errno.raw_os_error();
        Now::Finished(Err(DeviceError::Io { kind: self.kind, range: self.range, errno }))
    }
}

/// What a request consists of.
fn pieces(op: Op, shared: &Shared) -> VecDeque<Piece> {
    let range = op.range();
    let mut todo = VecDeque::new();
    if range.is_empty() && !matches!(op, Op::Flush) {
        return todo;
    }
    match op {
        Op::Read(range) => todo.push_back(Piece::Read(range)),
        Op::Write { range, data, fua } => {
            let dsync = fua && shared.has_dsync();
            todo.push_back(Piece::Overwrite { range, data: Some(data), dsync });
            if fua && !dsync {
                todo.push_back(Piece::Flush);
            }
        }
        Op::Zero { range, unmap, fua } => {
            let whole = range.shrink(shared.geometry.zero_granule);
            if !whole.is_empty() {
                todo.push_back(Piece::Deallocate { range: whole, unmap });
            }
            for range in range.subtract(whole).filter(|edge| !edge.is_empty()) {
                todo.push_back(Piece::Overwrite { range, data: None, dsync: false });
            }
            if fua {
                todo.push_back(Piece::Flush);
            }
        }
        Op::Flush => todo.push_back(Piece::Flush),
        Op::Map(_) => unreachable!("a map is not done by a job"),
    }
    todo
}

/// The write of a buffer whose edges hold what lies around, once the data is laid over it.
fn overlaid(
    mut buf: AlignedBuf,
    wide: ByteRange,
    range: ByteRange,
    data: Option<Bytes>,
    dsync: bool,
) -> Now {
    let from = (range.offset - wide.offset) as usize;
    let place = &mut buf[from..from + range.len as usize];
    match data {
        Some(data) => place.copy_from_slice(&data),
        None => place.fill(0),
    }
    Now::Writing { source: Source::Own(buf), at: wide.offset, done: 0, dsync }
}

#[cfg(test)]
mod tests;
