//! One suite for every kind of backing device: what the crate promises, each of them must keep.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod checked;
mod faults;
mod maps;
mod opening;
mod targets;

use checked::{Checked, write};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use storage::{Backend, BufferPool, Device, DeviceError, Op, OpKind};
use targets::{BYTES, Target};
use types::{ByteRange, MAX_REQUEST_BYTES, Prng};

const TARGETS: [Target; 12] = [
    Target::Memory,
    Target::File(Backend::Auto),
    Target::File(Backend::Uring),
    Target::File(Backend::Pool),
    Target::File(Backend::Inline),
    Target::Buffered(Backend::Uring),
    Target::Buffered(Backend::Pool),
    Target::Buffered(Backend::Inline),
    Target::Shm(Backend::Auto),
    Target::Shm(Backend::Uring),
    Target::Loop(512),
    Target::Loop(4096),
];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs a case against each target that this machine has.
fn on_each(case: impl AsyncFn(&mut Checked)) {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        block_on(async {
            println!("{target:?}");
            let device = made.open().await;
            println!("  {}", device.describe());
            let mut checked = Checked::new(device);
            case(&mut checked).await;
            checked.compare_all().await;
            checked.device.close().await;
        });
    }
}

/// A request of a random sequence, as numbers that any size of device can be scaled to.
#[derive(Clone, Copy, Debug)]
struct Draw {
    kind: u8,
    offset: u64,
    len: u64,
    flags: (bool, bool),
}

/// What the requests of [`draw`] can reach.
const REACHED: ByteRange = ByteRange { offset: 0, len: 7 << 20 };

fn draw() -> impl Strategy<Value = Draw> {
    let unit = prop_oneof![Just(1u64), Just(512), Just(4096)];
    let len = prop_oneof![4 => 0..10_000u64, 2 => 0..300_000u64, 1 => 0..3_000_000u64];
    // A small part of the device, so that requests meet.
    (0..5u8, 0..4_000_000u64, len, unit, any::<(bool, bool)>()).prop_map(
        |(kind, offset, len, unit, flags)| Draw {
            kind,
            offset: offset / unit * unit,
            len: len / unit * unit,
            flags,
        },
    )
}

impl Draw {
    fn op(self, prng: &mut Prng) -> Op {
        let range = ByteRange::new(self.offset, self.len);
        match self.kind {
            0 => Op::Read(range),
            1 => write(prng, range, self.flags.0),
            2 => Op::Zero { range, unmap: self.flags.0, fua: self.flags.1 },
            3 => Op::Map(range),
            _ => Op::Flush,
        }
    }
}

#[test]
fn random_requests_of_any_alignment_match_a_model() {
    let strategy = proptest::collection::vec(draw(), 1..60);
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) };
        let result = TestRunner::new(config).run(&strategy, |draws| {
            block_on(async {
                let device = made.open().await;
                device.zero_now(REACHED).unwrap();
                let mut checked = Checked::new(device);
                let mut prng = Prng::new(1);
                for draw in draws {
                    checked.submit(draw.op(&mut prng)).await;
                }
                checked.compare(REACHED).await;
                checked.device.close().await;
            });
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{target:?}: {error}"));
    }
}

#[test]
fn small_requests_around_sector_borders_leave_their_neighbours_alone() {
    on_each(async |checked| {
        let mut prng = Prng::new(2);
        let whole = ByteRange::new(0, 64 << 10);
        checked.submit(write(&mut prng, whole, false)).await;
        for border in [512, 1024, 4096, 8192, 12_288, checked.device.bytes() - 4096] {
            for (before, after) in [(1, 0), (0, 1), (1, 1), (511, 513), (300, 4000), (4096, 1)] {
                if before <= border && border + after <= checked.device.bytes() {
                    let range = ByteRange::between(border - before, border + after);
                    checked.submit(write(&mut prng, range, false)).await;
                    checked.submit(Op::Read(range)).await;
                    let inner = ByteRange::new(range.offset, range.len.div_ceil(2));
                    checked.submit(Op::Zero { range: inner, unmap: true, fua: false }).await;
                    checked.submit(Op::Read(range)).await;
                }
            }
        }
    });
}

#[test]
fn the_largest_requests_are_taken_at_any_offset() {
    on_each(async |checked| {
        let mut prng = Prng::new(3);
        for offset in [0, 4096, 12_345] {
            let range = ByteRange::new(offset, MAX_REQUEST_BYTES);
            checked.submit(write(&mut prng, range, false)).await;
            checked.submit(Op::Read(range)).await;
        }
    });
}

#[test]
fn what_was_zeroed_reads_as_zeros() {
    on_each(async |checked| {
        let mut prng = Prng::new(4);
        for (unmap, fua) in [(false, false), (true, false), (false, true), (true, true)] {
            let whole = ByteRange::new(0, 12 << 20);
            checked.submit(write(&mut prng, whole, false)).await;
            let odd = ByteRange::new(1_000_001, 5_000_001);
            let even = ByteRange::new(8 << 20, 1 << 20);
            let small = ByteRange::new(10_000_000, 3);
            for range in [odd, even, small] {
                checked.submit(Op::Zero { range, unmap, fua }).await;
            }
            checked.submit(Op::Read(whole)).await;
        }
        let all = ByteRange::new(0, checked.device.bytes());
        checked.submit(Op::Zero { range: all, unmap: true, fua: true }).await;
    });
}

#[test]
fn an_unmapped_range_gives_its_space_back() {
    let made = Target::File(Backend::Auto).make().unwrap();
    block_on(async {
        let mut checked = Checked::new(made.open().await);
        let range = ByteRange::new(0, 8 << 20);
        checked.submit(write(&mut Prng::new(5), range, true)).await;
        checked.drain().await;
        let blocks = || std::os::unix::fs::MetadataExt::blocks(&made.path().metadata().unwrap());
        let full = blocks();
        checked.submit(Op::Zero { range, unmap: true, fua: true }).await;
        checked.compare_all().await;
        assert!(blocks() * 4 < full, "{} blocks of {full} are left", blocks());
    });
}

/// More than a ring holds, so they queue; and each is answered once.
#[test]
fn many_requests_are_in_flight_at_once() {
    on_each(async |checked| {
        let mut prng = Prng::new(6);
        let blocks = 2000;
        for block in 0..blocks {
            // In no order, as clients are: 7 is prime to the number of blocks.
            let range = ByteRange::new(block * 7 % blocks * 4096, 4096);
            checked.submit(write(&mut prng, range, block % 50 == 0)).await;
            if block % 100 == 0 {
                checked.submit(Op::Flush).await;
            }
        }
        checked.drain().await;
        for block in 0..blocks {
            checked.submit(Op::Read(ByteRange::new(block * 4096, 4096))).await;
        }
        assert_eq!(checked.device.in_flight(), blocks as usize);
    });
}

#[test]
fn requests_that_the_device_cannot_do_are_refused_and_harm_nothing() {
    on_each(async |checked| {
        let end = checked.device.bytes();
        let device = &mut checked.device;
        let over = ByteRange::new(end - 10, 11);
        let far = ByteRange::new(u64::MAX - 1, 100);
        let long = ByteRange::new(0, MAX_REQUEST_BYTES + 1);
        let data = BufferPool::default().zeroed(11).into_bytes();
        device.submit(0, Op::Read(over));
        device.submit(1, Op::Write { range: over, data, fua: false });
        device.submit(2, Op::Zero { range: far, unmap: true, fua: false });
        device.submit(3, Op::Read(long));
        device.submit(4, Op::Read(ByteRange::new(end, 0)));
        let mut out = Vec::new();
        while out.len() < 5 {
            device.completions(&mut out).await;
        }
        out.sort_by_key(|completion| completion.id);
        let error = |kind, range| DeviceError::OutOfRange { kind, range, device_bytes: end };
        assert_eq!(out[0].result, Err(error(OpKind::Read, over)));
        assert_eq!(out[1].result, Err(error(OpKind::Write, over)));
        assert_eq!(out[2].result, Err(error(OpKind::Zero, far)));
        let too_long = DeviceError::TooLong { kind: OpKind::Read, range: long };
        assert_eq!(out[3].result, Err(too_long));
        assert!(out[4].result.as_ref().is_ok_and(|data| data.is_empty()), "nothing is nothing");
    });
}

#[test]
fn plain_calls_and_queued_requests_see_each_other() {
    on_each(async |checked| {
        let device = &checked.device;
        device.write_now(1000, b"by a plain call").unwrap();
        checked.model[1000..1015].copy_from_slice(b"by a plain call");
        device.flush_now().unwrap();
        checked.submit(Op::Read(ByteRange::new(990, 100))).await;
        let range = ByteRange::new(1003, 5);
        checked.submit(write(&mut Prng::new(7), range, false)).await;
        checked.drain().await;
        assert_eq!(&checked.device.read_now(range).unwrap()[..], &checked.model[1003..1008]);
        checked.device.zero_now(range).unwrap();
        checked.model[1003..1008].fill(0);
    });
}

#[test]
fn dropping_a_wait_loses_no_completion() {
    on_each(async |checked| {
        let device = &mut checked.device;
        let mut out = Vec::new();
        for id in 0..50 {
            device.submit(id, Op::Read(ByteRange::new(id * 10_000, 5000)));
            // Polled once and dropped, unless it is ready at once.
            tokio::select! {
                biased;
                () = device.completions(&mut out) => {}
                () = std::future::ready(()) => {}
            }
        }
        while device.in_flight() > 0 {
            device.completions(&mut out).await;
        }
        let mut ids: Vec<_> = out.iter().map(|completion| completion.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..50).collect::<Vec<_>>());
    });
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A wait that is woken again and again would take a whole processor from everybody else.
#[test]
fn waiting_for_nothing_costs_nothing() {
    on_each(async |checked| {
        checked.submit(Op::Read(ByteRange::new(0, 4096))).await;
        checked.drain().await;
        let woken = Arc::new(Woken(true.into()));
        let waker = Waker::from(woken.clone());
        let mut out = Vec::new();
        let mut wait = pin!(checked.device.completions(&mut out));
        let mut polls = 0;
        for _ in 0..1000 {
            if woken.0.swap(false, Ordering::SeqCst) {
                polls += 1;
                assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            tokio::task::yield_now().await;
        }
        assert!(polls < 20, "polled {polls} times");
    });
}

#[test]
fn closing_finishes_what_was_submitted() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        if target == Target::Memory {
            continue;
        }
        block_on(async {
            let mut device = made.open().await;
            for id in 0..300 {
                let range = ByteRange::new(id * 4096, 4096);
                let data = BufferPool::default().copy_of(&[id as u8; 4096]).into_bytes();
                device.submit(id, Op::Write { range, data, fua: false });
            }
            let answered = device.close().await;
            assert_eq!(answered.len(), 300);
            assert!(answered.iter().all(|completion| completion.result.is_ok()));
            let device = made.open().await;
            for id in 0..300 {
                let data = device.read_now(ByteRange::new(id * 4096, 4096)).unwrap();
                assert!(data.iter().all(|byte| *byte == id as u8), "{target:?}: block {id}");
            }
        });
    }
}

/// The memory of the requests is freed with the device: the kernel must be done with it.
#[test]
fn dropping_a_busy_device_waits_for_the_kernel() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        block_on(async {
            for round in 0..20 {
                let mut device = made.open().await;
                for id in 0..200 {
                    device.submit(id, Op::Read(ByteRange::new(id * 100_000, 64 << 10)));
                }
                device.kick();
                assert!(device.in_flight() > 0, "{target:?} in round {round}");
                drop(device);
            }
        });
    }
}

#[test]
fn the_backend_is_chosen_by_what_the_file_takes() {
    let backend_of = |target: Target| {
        target.make().map(|made| {
            block_on(async {
                let device: Device = made.open().await;
                assert_eq!(device.bytes(), BYTES);
                (device.backend(), device.granule())
            })
        })
    };
    if let Some(shm) = backend_of(Target::Shm(Backend::Auto)) {
        assert_eq!(shm, ("inline", 1));
    }
    assert_eq!(backend_of(Target::Buffered(Backend::Auto)).unwrap().1, 1);
    if let Some((_, granule)) = backend_of(Target::Loop(4096)) {
        assert_eq!(granule, 4096);
    }
    if let Some((_, granule)) = backend_of(Target::Loop(512)) {
        assert_eq!(granule, 512);
    }
}
