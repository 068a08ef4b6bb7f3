//! One request of a client on its way through the engine: in one step mostly, in several where it is
//! longer than the engine takes at once, or asks for several things.

use bytes::Bytes;
use nbd_server::{Answer, Command, Context, Errno, Extents, Failure};
use replicator::{ClientOp, IoError};
use std::collections::VecDeque;
use types::{ByteRange, MAX_REQUEST_BYTES, StatusMap};

/// The most that is zeroed in one step. The engine cuts it at extents of 4 MiB, all of which are queued
/// at once: a request over the whole of a large device would be millions of them.
const ZERO_STEP_BYTES: u64 = 1 << 30;

/// What is left to do of a request, and what is known of its answer.
#[derive(Debug)]
pub(super) struct Steps {
    next: Option<ClientOp>,
    /// Behind the next; of few requests only.
    rest: VecDeque<ClientOp>,
    /// Behind that, what is still to be zeroed.
    zeros: ByteRange,
    gathered: Gathered,
}

#[derive(Debug)]
enum Gathered {
    /// Nothing is told.
    Nothing,
    /// The data that was read, so far.
    Data(Vec<Bytes>),
    /// The maps of contexts, so far, and of which more are to come.
    Status { known: Vec<Extents>, asked: VecDeque<Context>, one: bool },
}

impl Steps {
    /// Of a request that is valid. `zeroes_fast` says whether zeroing, with or without `unmap`, is
    /// faster than writing.
    pub(super) fn of(
        command: Command,
        zeroes_fast: impl Fn(bool) -> bool,
    ) -> Result<Self, Failure> {
        let just = |op, gathered| Ok(Self { next: Some(op), ..Self::done(gathered) });
        match command {
            Command::Read(range) if range.is_empty() => Ok(Self::done(Gathered::Data(Vec::new()))),
            Command::Read(range) if range.len <= MAX_REQUEST_BYTES => {
                just(ClientOp::Read(range), Gathered::Data(Vec::with_capacity(1)))
            }
            Command::Read(range) => {
                let parts = range.split(MAX_REQUEST_BYTES).map(ClientOp::Read);
                Ok(Self::several(parts.collect(), Gathered::Data(Vec::new())))
            }
            Command::Write { range, .. } if range.is_empty() => Ok(Self::done(Gathered::Nothing)),
            Command::Write { range, data, fua } => {
                just(ClientOp::Write { range, data, fua }, Gathered::Nothing)
            }
            Command::Zero { fast: true, unmap, .. } if !zeroes_fast(unmap) => {
                let why = "zeros would be written here, which is as slow as a WRITE of them";
                Err(Failure::new(Errno::NotSup, why))
            }
            Command::Zero { range, .. } if range.is_empty() => Ok(Self::done(Gathered::Nothing)),
            Command::Zero { range, unmap, fua, .. } => {
                let (range, zeros) = cut_zeros(range);
                let next = Some(ClientOp::Zero { range, unmap, fua });
                Ok(Self { next, zeros, ..Self::done(Gathered::Nothing) })
            }
            Command::Flush => just(ClientOp::Flush, Gathered::Nothing),
            Command::Cache(_) => Ok(Self::done(Gathered::Nothing)),
            Command::Status { range, contexts, one } => {
                let asked: VecDeque<Context> = contexts.iter().collect();
                let steps = asked.iter().map(|context| status_op(*context, range)).collect();
                Ok(Self::several(steps, Gathered::Status { known: Vec::new(), asked, one }))
            }
        }
    }

    const fn done(gathered: Gathered) -> Self {
        let zeros = ByteRange { offset: 0, len: 0 };
        Self { next: None, rest: VecDeque::new(), zeros, gathered }
    }

    fn several(mut steps: VecDeque<ClientOp>, gathered: Gathered) -> Self {
        Self { next: steps.pop_front(), rest: steps, ..Self::done(gathered) }
    }

    /// What the engine is to be asked next; nothing if all is done.
    pub(super) fn next(&mut self) -> Option<ClientOp> {
        let next = self.next.take();
        self.next = self.rest.pop_front();
        if let Some(ClientOp::Zero { unmap, fua, .. }) = next
            && !self.zeros.is_empty()
        {
            let (range, zeros) = cut_zeros(self.zeros);
            self.next = Some(ClientOp::Zero { range, unmap, fua });
            self.zeros = zeros;
        }
        next
    }

    /// What the engine has answered to the last of them.
    pub(super) fn take(&mut self, bytes: Bytes) {
        match &mut self.gathered {
            Gathered::Nothing => {}
            Gathered::Data(pieces) => pieces.push(bytes),
            Gathered::Status { known, asked, one } => {
                let context = asked.pop_front().expect("one answer to each question");
                let map = StatusMap::decode(&bytes).expect("the engine answers with a map");
                known.push(Extents { context, map: if *one { first_of(&map) } else { map } });
            }
        }
    }

    /// The answer, when all is done.
    pub(super) fn answer(self) -> Answer {
        assert!(self.next.is_none(), "a request is answered when all of it is done");
        match self.gathered {
            Gathered::Nothing => Answer::Done,
            Gathered::Data(pieces) => Answer::Data(pieces),
            Gathered::Status { known, .. } => Answer::Status(known),
        }
    }
}

/// The first step of zeroing a range, and what is left of it.
fn cut_zeros(range: ByteRange) -> (ByteRange, ByteRange) {
    let first = range.split(ZERO_STEP_BYTES).next().unwrap_or(range);
    (first, ByteRange::between(first.end(), range.end()))
}

const fn status_op(context: Context, range: ByteRange) -> ClientOp {
    match context {
        Context::Allocation => ClientOp::Allocation(range),
        Context::OutOfSync => ClientOp::OutOfSync(range),
    }
}

/// The first run alone.
fn first_of(map: &StatusMap) -> StatusMap {
    let first = map.runs().first().expect("a map says something of its range");
    StatusMap::of(first.len, first.flags)
}

/// What a client is told of an error of the engine.
pub(super) fn failure(error: IoError) -> Failure {
    match error {
        IoError::Io => Failure::new(Errno::Io, "no disk that has these blocks can do it"),
        IoError::NoSpace => Failure::new(Errno::NoSpc, "a backing device is full"),
        IoError::NotPrimary => Failure::new(Errno::Perm, "this node is not Primary any more"),
        IoError::Shutdown => going_away(),
    }
}

/// What a client is told whose device is taken from it by order.
pub(super) fn going_away() -> Failure {
    Failure::new(Errno::Shutdown, "the device is being taken away by order of the operator")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nbd_server::Contexts;

    const MIB: u64 = 1 << 20;

    fn steps(command: Command) -> Steps {
        Steps::of(command, |_| true).unwrap()
    }

    #[test]
    fn a_long_read_is_put_together() {
        let mut steps = steps(Command::Read(ByteRange::new(5, 40 * MIB)));
        let first = steps.next();
        assert!(matches!(first, Some(ClientOp::Read(range)) if range.len <= 32 * MIB), "{first:?}");
        let mut covered = 0;
        let mut next = first;
        while let Some(ClientOp::Read(range)) = next {
            assert_eq!(range.offset, 5 + covered);
            covered += range.len;
            steps.take(vec![7; range.len as usize].into());
            next = steps.next();
        }
        let Answer::Data(pieces) = steps.answer() else { panic!("data was read") };
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>() as u64, 40 * MIB);
    }

    #[test]
    fn a_tebibyte_is_zeroed_step_by_step() {
        let range = ByteRange::new(0, 1 << 40);
        let mut steps = steps(Command::Zero { range, unmap: true, fua: false, fast: false });
        let mut covered = 0;
        while let Some(ClientOp::Zero { range, unmap: true, fua: false }) = steps.next() {
            assert!(range.len <= ZERO_STEP_BYTES && range.offset == covered);
            covered += range.len;
            steps.take(Bytes::new());
        }
        assert_eq!((covered, steps.answer()), (1 << 40, Answer::Done));
    }

    #[test]
    fn zeros_that_must_be_fast_are_refused_where_they_are_not() {
        let zero = |fast, unmap| {
            let range = ByteRange::new(0, 4096);
            Steps::of(Command::Zero { range, unmap, fua: false, fast }, |unmap| unmap)
        };
        assert!(zero(true, true).is_ok() && zero(false, false).is_ok());
        assert_eq!(zero(true, false).unwrap_err().errno, Errno::NotSup);
    }

    #[test]
    fn each_context_is_asked_for_and_answered_in_its_turn() {
        let range = ByteRange::new(0, MIB);
        for one in [false, true] {
            let status = Command::Status { range, contexts: Contexts::ALL, one };
            let mut steps = steps(status);
            assert!(matches!(steps.next(), Some(ClientOp::Allocation(asked)) if asked == range));
            let mut map = StatusMap::of(4096, StatusMap::DATA);
            map.push(8192, StatusMap::HOLE | StatusMap::ZERO);
            steps.take(map.encode().into());
            assert!(matches!(steps.next(), Some(ClientOp::OutOfSync(asked)) if asked == range));
            let whole = StatusMap::of(MIB, 0);
            steps.take(whole.encode().into());
            assert!(steps.next().is_none());
            let map = if one { StatusMap::of(4096, StatusMap::DATA) } else { map };
            let holes = Extents { context: Context::Allocation, map };
            let marks = Extents { context: Context::OutOfSync, map: whole };
            assert_eq!(steps.answer(), Answer::Status(vec![holes, marks]));
        }
    }

    #[test]
    fn what_touches_nothing_is_done_at_once() {
        let empty = ByteRange::new(9, 0);
        let write = Command::Write { range: empty, data: Bytes::new(), fua: true };
        let zero = Command::Zero { range: empty, unmap: true, fua: false, fast: false };
        for (command, answer) in [
            (Command::Read(empty), Answer::Data(vec![])),
            (write, Answer::Done),
            (zero, Answer::Done),
            (Command::Cache(ByteRange::new(0, 5)), Answer::Done),
        ] {
            let mut steps = steps(command);
            assert!(steps.next().is_none());
            assert_eq!(steps.answer(), answer);
        }
    }
}
