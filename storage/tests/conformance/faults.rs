//! Failures, on every kind of device: what follows from them is the device's own doing.

use crate::{TARGETS, block_on};
use bytes::Bytes;
use storage::fault::{Fault, Plan, Rule};
use storage::{Completion, Device, DeviceError, Op, OpKind};
use types::ByteRange;

const EIO: i32 = 5;

fn write(offset: u64, fua: bool) -> Op {
    Op::Write { range: ByteRange::new(offset, 4), data: Bytes::from_static(b"data"), fua }
}

async fn answer(device: &mut Device, op: Op) -> Result<Bytes, DeviceError> {
    let mut out = Vec::new();
    device.submit(0, op);
    device.completions(&mut out).await;
    let [Completion { id: 0, result }] = &out[..] else { panic!("one answer for one: {out:?}") };
    result.clone()
}

#[test]
fn after_a_failed_flush_nothing_is_written_any_more() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        block_on(async {
            let plan = Plan::new();
            plan.add(Rule::new(Fault::Error(EIO)).on(OpKind::Flush).times(1));
            let mut device = made.open().await.with_faults(&plan);
            assert_eq!(answer(&mut device, write(0, false)).await, Ok(Bytes::new()));
            let failed = answer(&mut device, Op::Flush).await;
            assert_eq!(failed, Err(DeviceError::FlushFailed { errno: EIO }), "{target:?}");
            // From here on the plan lets everything pass: it is the device that refuses.
            let zero = Op::Zero { range: ByteRange::new(0, 8192), unmap: true, fua: false };
            for op in [Op::Flush, write(0, false), write(0, true), zero, Op::Flush] {
                assert_eq!(answer(&mut device, op).await, Err(DeviceError::Poisoned), "{target:?}");
            }
            assert_eq!(device.write_now(0, b"data"), Err(DeviceError::Poisoned));
            assert_eq!(device.flush_now(), Err(DeviceError::Poisoned));
            let data = answer(&mut device, Op::Read(ByteRange::new(0, 4))).await.unwrap();
            assert_eq!(&data[..], b"data", "{target:?}: what is there can still be read");
            assert_eq!(plan.hits(), 1);
        });
    }
}

#[test]
fn completions_come_in_any_order() {
    for target in TARGETS {
        let Some(made) = target.make() else { continue };
        block_on(async {
            let plan = Plan::new();
            plan.add(Rule::new(Fault::HoldAnswer).touching(ByteRange::new(0, 1)));
            let mut device = made.open().await.with_faults(&plan);
            for id in 0..10 {
                device.submit(id, write(id * 4096, false));
            }
            let mut out = Vec::new();
            while out.len() < 9 {
                device.completions(&mut out).await;
            }
            assert!(out.iter().all(|completion| completion.id != 0), "{target:?}");
            plan.release();
            let last = device.close().await;
            assert_eq!(last, [Completion { id: 0, result: Ok(Bytes::new()) }], "{target:?}");
        });
    }
}
