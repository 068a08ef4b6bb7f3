//! Maps: which bytes read as zeros, and which of those have no space.

use crate::checked::{Checked, write};
use crate::targets::Target;
use crate::{TARGETS, block_on, on_each};
use std::os::unix::fs::FileExt;
use storage::fault::{Fault, Plan, Rule};
use storage::{Backend, DeviceError, Op, OpKind};
use types::{ByteRange, EXTENT_BYTES, Prng, StatusMap};

const HOLE: u32 = StatusMap::HOLE | StatusMap::ZERO;

/// A map by request and one by plain call, which are the same while nothing is in flight; and the
/// request is compared with the model.
async fn map(checked: &mut Checked, range: ByteRange) -> Vec<(u64, u32)> {
    checked.submit(Op::Map(range)).await;
    checked.drain().await;
    let map = checked.device.map_now(range).unwrap();
    map.runs().iter().map(|run| (run.len, run.flags)).collect()
}

/// Whether the target tells data from holes at all: a block device does not.
fn tells(checked: &Checked) -> bool {
    !checked.device.describe().contains("block device")
}

#[test]
fn what_was_never_written_is_a_hole_and_what_was_is_not() {
    on_each(async |checked| {
        let all = ByteRange::new(0, checked.device.bytes());
        let fresh = if tells(checked) { HOLE } else { StatusMap::DATA };
        assert_eq!(map(checked, all).await, [(all.len, fresh)]);
        let written = ByteRange::new(1 << 20, 1 << 20);
        checked.submit(write(&mut Prng::new(1), written, false)).await;
        checked.drain().await;
        if tells(checked) {
            let runs = [(1 << 20, HOLE), (1 << 20, 0), (all.len - (2 << 20), HOLE)];
            assert_eq!(map(checked, all).await, runs);
        } else {
            assert_eq!(map(checked, all).await, [(all.len, 0)]);
        }
        // Whole, in part, and from the last byte on.
        assert_eq!(map(checked, written).await, [(1 << 20, 0)]);
        assert_eq!(map(checked, ByteRange::new((1 << 20) + 5, 7)).await, [(7, 0)]);
        let last = ByteRange::new((2 << 20) - 1, 2);
        let runs = map(checked, last).await;
        assert_eq!(runs[0].1, 0, "{runs:?}");
        assert_eq!(map(checked, ByteRange::new(77, 0)).await, []);
    });
}

#[test]
fn what_was_unmapped_is_a_hole_and_what_was_zeroed_is_not() {
    on_each(async |checked| {
        let mut prng = Prng::new(2);
        let range = ByteRange::new(1 << 20, 1 << 20);
        for unmap in [true, false] {
            checked.submit(write(&mut prng, range, true)).await;
            checked.submit(Op::Zero { range, unmap, fua: false }).await;
            checked.drain().await;
            let fast = checked.device.zeroes_fast(unmap);
            let runs = map(checked, range).await;
            assert_eq!(runs.iter().map(|(len, _)| len).sum::<u64>(), range.len);
            for (_, flags) in runs {
                match unmap {
                    true if fast && tells(checked) => assert_eq!(flags, HOLE),
                    true => {}
                    false => assert_ne!(flags, HOLE, "its space is kept"),
                }
            }
        }
    });
}

/// The edges of a range lie anywhere, and those of the data too.
#[test]
fn a_run_of_zeros_never_reaches_over_a_byte_of_data() {
    on_each(async |checked| {
        let mut prng = Prng::new(3);
        for at in [0, 1, 511, 4095, 4096, 100_001, 1 << 20, checked.device.bytes() - 1] {
            checked.submit(write(&mut prng, ByteRange::new(at, 1), false)).await;
        }
        let end = checked.device.bytes();
        for (start, stop) in [(0, end), (1, 4096), (510, 513), (4097, 100_001), (99_999, end - 1)] {
            for edge in [0, 1, 300] {
                let range = ByteRange::between(start + edge.min(stop - start), stop);
                map(checked, range).await;
            }
        }
    });
}

#[test]
fn a_map_has_a_bounded_number_of_runs() {
    on_each(async |checked| {
        let mut prng = Prng::new(4);
        let step = 16 << 10;
        for at in 0..2000 {
            checked.submit(write(&mut prng, ByteRange::new(at * step, 4096), false)).await;
        }
        let all = ByteRange::new(0, checked.device.bytes());
        let runs = map(checked, all).await;
        assert!(runs.len() <= StatusMap::RUNS_MAX, "{} runs", runs.len());
        let covered: u64 = runs.iter().map(|(len, _)| len).sum();
        assert!(covered <= all.len);
        if tells(checked) {
            assert_eq!(runs.len(), StatusMap::RUNS_MAX);
            let rest = ByteRange::between(covered, all.len);
            assert!(!map(checked, rest).await.is_empty(), "the rest can be asked for");
        }
    });
}

/// Dirty pages of the page cache are data, before anything has reached the disk.
#[test]
fn what_another_descriptor_wrote_is_data_at_once() {
    for target in TARGETS {
        let Some(made) = target.make().filter(|made| made.is_file()) else { continue };
        let other = std::fs::OpenOptions::new().write(true).open(made.path()).unwrap();
        block_on(async {
            let device = made.open().await;
            other.write_all_at(&[1; 100], 1_000_000).unwrap();
            let map = device.map_now(ByteRange::new(1_000_050, 50)).unwrap();
            assert_eq!(map, StatusMap::of(50, StatusMap::DATA), "{target:?}");
            device.close().await;
        });
    }
}

/// Space that is kept in more pieces than one question to the file system answers.
#[test]
fn space_that_is_kept_in_many_pieces_is_no_hole() {
    let made = Target::Buffered(Backend::Pool).make().unwrap();
    block_on(async {
        let mut checked = Checked::new(made.open().await);
        let piece = |at: u64| ByteRange::new(at * (128 << 10), 64 << 10);
        for at in 0..100 {
            checked.submit(Op::Zero { range: piece(at), unmap: false, fua: false }).await;
        }
        checked.drain().await;
        let runs = map(&mut checked, ByteRange::new(0, 100 * (128 << 10))).await;
        let kept =
            if checked.device.zeroes_fast(false) { StatusMap::ZERO } else { StatusMap::DATA };
        let expected: Vec<_> = [(64 << 10, kept), (64 << 10, HOLE)].repeat(100);
        assert_eq!(runs, expected);
    });
}

#[test]
fn maps_that_the_device_cannot_make_are_errors() {
    on_each(async |checked| {
        let end = checked.device.bytes();
        let range = ByteRange::new(end - 10, 11);
        checked.device.submit(1, Op::Map(range));
        checked.device.submit(2, Op::Map(ByteRange::new(u64::MAX, 2)));
        let mut out = Vec::new();
        while out.len() < 2 {
            checked.device.completions(&mut out).await;
        }
        out.sort_by_key(|completion| completion.id);
        let error = DeviceError::OutOfRange { kind: OpKind::Map, range, device_bytes: end };
        assert_eq!(out[0].result, Err(error));
        assert!(matches!(out[1].result, Err(DeviceError::OutOfRange { .. })));
    });
}

#[test]
fn a_file_cut_short_is_not_taken_for_zeros() {
    for target in TARGETS {
        let Some(made) = target.make().filter(|made| made.is_file()) else { continue };
        block_on(async {
            let device = made.open().await;
            let file = std::fs::OpenOptions::new().write(true).open(made.path()).unwrap();
            for (len, at) in [(EXTENT_BYTES, 0), (8192, 4096), (4096, 8192)] {
                file.set_len(len).unwrap();
                let range = ByteRange::between(at, EXTENT_BYTES * 2);
                let error = DeviceError::Truncated { kind: OpKind::Map, range, at: len };
                assert_eq!(device.map_now(range), Err(error), "{target:?}");
            }
            device.close().await;
        });
    }
}

/// A map changes nothing, so it fails alone, and is made also of a device that lost a flush.
#[test]
fn a_failed_map_harms_nothing() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        block_on(async {
            let plan = Plan::new();
            plan.add(Rule::new(Fault::Error(5)).on(OpKind::Map).times(1));
            plan.add(Rule::new(Fault::Error(5)).on(OpKind::Flush));
            let device = made.open().await.with_faults(&plan);
            let range = ByteRange::new(4096, 8192);
            let error = DeviceError::Io { kind: OpKind::Map, range, errno: 5 };
            assert_eq!(device.map_now(range), Err(error));
            assert!(!device.is_poisoned() && device.flush_now().is_err());
            assert_eq!(device.map_now(range).unwrap().covered(), range.len, "{target:?}");
            device.close().await;
        });
    }
}
