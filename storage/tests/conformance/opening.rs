//! Opening: locks, and what is refused with which words.

use crate::targets::{BYTES, Target};
use crate::{TARGETS, block_on};
use bytes::Bytes;
use rustix::fs::OFlags;
use std::os::unix::fs::OpenOptionsExt;
use storage::{Backend, Device, DeviceError, Op, OpKind, OpenError, OpenOptions};
use types::{ByteRange, Span};

#[test]
fn a_second_opener_is_refused_while_the_first_has_it() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        if target == Target::Memory {
            continue;
        }
        block_on(async {
            let device = made.open().await;
            let options = || OpenOptions { lock_wait: Span::ZERO, ..made.options() };
            let error = Device::open(made.path(), options()).await.unwrap_err();
            assert!(matches!(error, OpenError::InUse { .. }), "{target:?}: {error}");
            if made.is_file() {
                let said = error.to_string();
                assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
            }
            device.close().await;
            made.open().await;
        });
    }
}

#[test]
fn an_opener_waits_for_a_device_that_is_being_closed() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        if target == Target::Memory {
            continue;
        }
        block_on(async {
            let device = made.open().await;
            let second = Device::open(made.path(), made.options());
            // The second is polled first, so it finds the lock taken.
            let (second, _) = tokio::join!(biased; second, device.close());
            assert_eq!(second.unwrap().bytes(), BYTES, "{target:?}");
        });
    }
}

#[test]
fn a_block_device_that_another_program_has_to_itself_is_refused() {
    let Some(made) = Target::Loop(512).make() else { return };
    // As a mount has it: without a lock of ours.
    let exclusive = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::EXCL.bits().cast_signed())
        .open(made.path())
        .unwrap();
    let options = OpenOptions { lock_wait: Span::ZERO, ..made.options() };
    let error = block_on(Device::open(made.path(), options)).unwrap_err();
    assert!(error.to_string().contains("in use: it is mounted"), "{error}");
    drop(exclusive);
}

#[test]
fn readers_share_and_cannot_write() {
    let made = Target::File(Backend::Auto).make().unwrap();
    block_on(async {
        let options = || OpenOptions { read_only: true, lock_wait: Span::ZERO, ..made.options() };
        let mut device = Device::open(made.path(), options()).await.unwrap();
        let _other = Device::open(made.path(), options()).await.unwrap();
        let writer = OpenOptions { read_only: false, ..options() };
        let error = Device::open(made.path(), writer).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        let range = ByteRange::new(0, 4);
        device.submit(1, Op::Write { range, data: Bytes::from_static(b"data"), fua: false });
        device.submit(2, Op::Zero { range, unmap: true, fua: false });
        let out = device.close().await;
        let error = |kind| Err(DeviceError::ReadOnly { kind, range });
        assert_eq!(out[0].result, error(OpKind::Write));
        assert_eq!(out[1].result, error(OpKind::Zero));
    });
}

#[test]
fn what_cannot_be_a_backing_device_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let path = dir.path().join(name);
        block_on(Device::open(&path, OpenOptions::default())).unwrap_err()
    };
    let missing = open("missing");
    assert!(matches!(missing, OpenError::NotFound { .. }), "{missing}");
    assert!(missing.to_string().contains("missing: no such file"), "{missing}");
    assert!(matches!(open("."), OpenError::NotAFileOrBlockDevice { .. }));
    std::fs::write(dir.path().join("small"), [0; 4095]).unwrap();
    let small = open("small");
    assert!(matches!(small, OpenError::TooSmall { bytes: 4095, needed: 4096, .. }), "{small}");
    let null = block_on(Device::open("/dev/null".as_ref(), OpenOptions::default())).unwrap_err();
    assert!(matches!(null, OpenError::NotAFileOrBlockDevice { .. }), "{null}");
}

#[test]
fn a_file_of_an_odd_size_is_used_up_to_its_last_sector() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd");
    std::fs::write(&path, [7; 10_000]).unwrap();
    block_on(async {
        let device = Device::open(&path, OpenOptions::default()).await.unwrap();
        assert_eq!(device.bytes(), 9728);
        device.write_now(9727, &[8]).unwrap();
        device.close().await;
    });
    let left = std::fs::read(&path).unwrap();
    assert_eq!((left.len(), left[9726], left[9727], left[9728]), (10_000, 7, 8, 7));
}

#[test]
fn a_file_cut_short_gives_an_error_and_no_stale_bytes() {
    for target in TARGETS {
        let Some(made) = target.make().filter(|made| made.is_file()) else { continue };
        block_on(async {
            let mut device = made.open().await;
            std::fs::OpenOptions::new()
                .write(true)
                .open(made.path())
                .unwrap()
                .set_len(8192)
                .unwrap();
            let range = ByteRange::new(4096, 8192);
            device.submit(1, Op::Read(range));
            let out = device.close().await;
            let error = DeviceError::Truncated { kind: OpKind::Read, range, at: 8192 };
            assert_eq!(out[0].result, Err(error), "{target:?}");
        });
    }
}
