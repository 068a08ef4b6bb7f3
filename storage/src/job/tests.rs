//! Rules of a request, without any I/O: a disk in memory that does what disks may do.

use super::*;
use crate::shared::Geometry;
use proptest::prelude::*;
use types::Prng;

const BYTES: u64 = 64 << 10;

/// A disk that takes whole sectors only, transfers as little as it likes, and is interrupted.
struct Disk {
    contents: Vec<u8>,
    granule: u64,
    memory_align: usize,
    prng: Prng,
    /// The error numbers of the next steps, before the disk does anything.
    errors: VecDeque<Option<Errno>>,
    /// The names of the steps that it was given.
    steps: Vec<&'static str>,
}

impl Disk {
    fn new(granule: u64, seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let contents = (0..BYTES).map(|_| prng.below(256) as u8).collect();
        let memory_align = granule.min(512) as usize;
        Self { contents, granule, memory_align, prng, errors: VecDeque::new(), steps: Vec::new() }
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::new(Shared::new(Geometry {
            bytes: BYTES,
            granule: self.granule,
            memory_align: self.memory_align,
            zero_granule: self.granule.max(4096),
            read_only: false,
            offloads_zeros: true,
        }))
    }

    /// Do all steps of a request.
    fn run(&mut self, op: Op, shared: &Arc<Shared>) -> Result<Bytes, DeviceError> {
        let mut job = Job::new(op, shared, &BufferPool::default());
        loop {
            let step = job.step();
            if let Step::Done(result) = step {
                return result;
            }
            let outcome = self.take(step);
            job.answer(outcome);
        }
    }

    fn take(&mut self, step: Step<'_>) -> Result<usize, Errno> {
        self.steps.push(match &step {
            Step::Read { .. } => "read",
            Step::Write { dsync: false, .. } => "write",
            Step::Write { dsync: true, .. } => "durable write",
            Step::Zero { way: ZeroWay::PunchHole, .. } => "punch",
            Step::Zero { way: ZeroWay::ZeroRange, .. } => "zero range",
            Step::Flush => "flush",
            Step::Done(_) => "done",
        });
        if let Some(Some(errno)) = self.errors.pop_front() {
            return Err(errno);
        }
        match step {
            Step::Read { into, at } => {
                let n = self.transfer(into, at);
                into[..n].copy_from_slice(&self.contents[at as usize..at as usize + n]);
                Ok(n)
            }
            Step::Write { from, at, .. } => {
                let n = self.transfer(from, at);
                self.contents[at as usize..at as usize + n].copy_from_slice(&from[..n]);
                Ok(n)
            }
            Step::Zero { range, .. } => {
                assert_eq!(range, range.widen(4096), "never less than the file system's block");
                self.contents[range.offset as usize..range.end() as usize].fill(0);
                Ok(0)
            }
            Step::Flush | Step::Done(_) => Ok(0),
        }
    }

    /// How much of a transfer is done, after a look at its alignment.
    fn transfer(&mut self, data: &[u8], at: u64) -> usize {
        assert_eq!(data.as_ptr().addr() % self.memory_align, 0, "address");
        assert_eq!(at % self.granule, 0, "offset {at}");
        assert_eq!(data.len() as u64 % self.granule, 0, "length {}", data.len());
        assert!(!data.is_empty(), "a transfer of nothing never ends");
        if self.prng.chance(1, 2) {
            return data.len();
        }
        // Whole sectors, or more than one with a bit of the next that counts for nothing.
        let least = (self.granule.max(self.memory_align as u64)).min(data.len() as u64);
        self.prng.between(least, data.len() as u64) as usize
    }
}

fn write(offset: u64, data: Bytes, fua: bool) -> Op {
    Op::Write { range: ByteRange::new(offset, data.len() as u64), data, fua }
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..BYTES, 0..20_000u64, prop_oneof![Just(1u64), Just(512), Just(4096)]).prop_map(
        |(offset, len, unit)| {
            let offset = offset / unit * unit;
            ByteRange::new(offset, len.min(BYTES - offset) / unit * unit)
        },
    );
    (range, 0..4u8, any::<(u8, bool, bool)>()).prop_map(|(range, kind, (byte, a, b))| match kind {
        0 => Op::Read(range),
        1 => write(range.offset, Bytes::from(vec![byte; range.len as usize]), a),
        2 => Op::Zero { range, unmap: a, fua: b },
        _ => Op::Flush,
    })
}

proptest! {
    #[test]
    fn requests_do_exactly_what_they_say(
        ops in proptest::collection::vec(op(), 1..20),
        granule in prop_oneof![Just(1u64), Just(512), Just(4096)],
        seed: u64,
        lacking: (bool, bool, bool),
    ) {
        let mut disk = Disk::new(granule, seed);
        let shared = disk.shared();
        if lacking.0 {
            shared.lacks_zero_way(ZeroWay::PunchHole);
        }
        if lacking.1 {
            shared.lacks_zero_way(ZeroWay::ZeroRange);
        }
        if lacking.2 {
            shared.lacks_dsync();
        }
        let mut model = disk.contents.clone();
        for op in ops {
            disk.steps.clear();
            let at = op.range().offset as usize..op.range().end() as usize;
            match &op {
                Op::Read(_) | Op::Flush | Op::Map(_) => {}
                Op::Write { data, .. } => model[at.clone()].copy_from_slice(data),
                Op::Zero { .. } => model[at.clone()].fill(0),
            }
            // Interrupted now and then: that must change nothing.
            disk.errors = (0..8).map(|_| disk.prng.chance(1, 4).then_some(Errno::INTR)).collect();
            let (is_read, is_durable) = (matches!(op, Op::Read(_)), op.fua() || op == Op::Flush);
            let is_empty = op.range().is_empty() && op != Op::Flush;
            let data = disk.run(op, &shared);
            prop_assert_eq!(&disk.contents, &model);
            let expected = if is_read { &model[at] } else { &[] };
            prop_assert_eq!(data.as_deref(), Ok(expected));
            let last = disk.steps.last().copied();
            prop_assert!(
                is_empty || is_durable == matches!(last, Some("flush" | "durable write")),
                "durable: {is_durable}, steps {:?}", disk.steps
            );
        }
    }
}

fn aligned(len: usize) -> Bytes {
    BufferPool::default().zeroed(len).into_bytes()
}

#[test]
fn an_aligned_write_is_one_step_on_the_clients_own_bytes() {
    let mut disk = Disk::new(512, 1);
    let shared = disk.shared();
    let data = aligned(4096);
    let mut job = Job::new(write(512, data.clone(), false), &shared, &BufferPool::default());
    let Step::Write { from, at: 512, dsync: false } = job.step() else { panic!("{job:?}") };
    assert_eq!(from.as_ptr(), data.as_ptr());
    assert!(matches!(job.step(), Step::Write { .. }), "the same until it is answered");
    job.answer(Ok(4096));
    assert!(matches!(job.step(), Step::Done(Ok(_))));
    disk.run(write(100, aligned(50), false), &shared).unwrap();
    assert_eq!(disk.steps, ["read", "write"], "within one sector, it is read once");
}

#[test]
fn a_device_without_a_way_to_zero_is_asked_once() {
    let mut disk = Disk::new(512, 1);
    let shared = disk.shared();
    disk.errors = [Some(Errno::OPNOTSUPP), Some(Errno::OPNOTSUPP)].into();
    let zero = || Op::Zero { range: ByteRange::new(4096, 4096), unmap: true, fua: false };
    assert_eq!(disk.run(zero(), &shared), Ok(Bytes::new()));
    assert_eq!(disk.steps[..3], ["punch", "zero range", "write"]);
    disk.steps.clear();
    assert_eq!(disk.run(zero(), &shared), Ok(Bytes::new()));
    assert!(disk.steps.iter().all(|step| *step == "write"), "{:?}", disk.steps);
}

#[test]
fn a_device_without_durable_writes_is_flushed() {
    let mut disk = Disk::new(512, 3);
    let shared = disk.shared();
    disk.errors = [Some(Errno::OPNOTSUPP)].into();
    assert_eq!(disk.run(write(0, aligned(512), true), &shared), Ok(Bytes::new()));
    assert_eq!(disk.steps, ["durable write", "write", "flush"]);
    disk.steps.clear();
    assert_eq!(disk.run(write(0, aligned(512), true), &shared), Ok(Bytes::new()));
    assert_eq!(disk.steps, ["write", "flush"]);
}

#[test]
fn a_durable_write_that_fails_may_have_failed_to_flush() {
    let mut disk = Disk::new(512, 1);
    let shared = disk.shared();
    disk.errors = [Some(Errno::NOSPC), Some(Errno::IO)].into();
    let mut run = |fua| disk.run(write(0, aligned(512), fua), &shared);
    assert!(run(true).is_err_and(|error| error.is_no_space()));
    assert_eq!(run(true), Err(DeviceError::FlushFailed { errno: Errno::IO.raw_os_error() }));
    assert_eq!(run(false), Err(DeviceError::Poisoned));
}

/// The kernel tells an error to one of two flushes: the other must not be believed.
#[test]
fn a_flush_that_runs_while_another_fails_has_failed() {
    let disk = Disk::new(512, 1);
    let shared = disk.shared();
    let pool = BufferPool::default();
    let [mut first, mut second] = [(); 2].map(|()| Job::new(Op::Flush, &shared, &pool));
    assert!(matches!((first.step(), second.step()), (Step::Flush, Step::Flush)));
    first.answer(Err(Errno::IO));
    second.answer(Ok(0));
    let Step::Done(first) = first.step() else { panic!("{first:?}") };
    let Step::Done(second) = second.step() else { panic!("{second:?}") };
    assert_eq!(first, Err(DeviceError::FlushFailed { errno: Errno::IO.raw_os_error() }));
    assert_eq!(second, Err(DeviceError::Poisoned));
}

#[test]
fn interruptions_without_end_are_an_error() {
    let mut disk = Disk::new(512, 1);
    let shared = disk.shared();
    disk.errors = std::iter::repeat_n(Some(Errno::AGAIN), 1000).collect();
    let range = ByteRange::new(0, 512);
    let error = DeviceError::Io { kind: OpKind::Read, range, errno: Errno::AGAIN.raw_os_error() };
    assert_eq!(disk.run(Op::Read(range), &shared), Err(error));
}

#[test]
fn the_end_of_the_file_is_no_data() {
    let disk = Disk::new(512, 1);
    let shared = disk.shared();
    let mut job = Job::new(Op::Read(ByteRange::new(0, 2048)), &shared, &BufferPool::default());
    for answer in [1024 + 100, 100] {
        assert!(matches!(job.step(), Step::Read { .. }), "{job:?}");
        job.answer(Ok(answer));
    }
    let range = ByteRange::new(0, 2048);
    let error = DeviceError::Truncated { kind: OpKind::Read, range, at: 1124 };
    assert!(matches!(job.step(), Step::Done(Err(found)) if found == error), "{job:?}");
}
