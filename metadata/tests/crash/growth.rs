//! The device has grown, and its metadata is moved to the new end.

use super::*;
use metadata::crash::{Step, each_crash, steps};
use metadata::{Growth, load_grown};

/// The least size to which a device of [`INTERNAL`] bytes can grow.
const GROWN: u64 = 13 * 4096;

/// What a start finds that remembers how large the device was.
fn find(bytes: &[u8]) -> Found {
    let mut reader =
        |range: types::ByteRange| Ok(bytes[range.offset as usize..range.end() as usize].to_vec());
    let expected =
        Expected { resource: "r0".to_owned(), volume: VolumeId(0), node: Some(NodeId(1)) };
    load_grown(&mut reader, GROWN, Placement::Internal, Some(expected), &[INTERNAL])
}

/// A disk in use that has grown to where it had metadata of its own in an earlier life: whole, in
/// sync, and with a higher sequence.
fn grown() -> (Vec<u8>, Metadata) {
    let layout = Layout::internal(GROWN, RING).unwrap();
    let mut before = Disk::of(vec![0x5a; GROWN as usize]);
    let older = CreateParams { now: Time(4), ..params(layout, 0x01e) };
    let (mut metadata, batches) = Metadata::create(older);
    batches.iter().for_each(|batch| before.apply(batch));
    (0..40).for_each(|_| before.apply(&metadata.save_superblock()));
    let (disk, metadata) = in_use(internal());
    let mut bytes = before.bytes();
    bytes[..INTERNAL as usize].copy_from_slice(&disk.bytes());
    (bytes, metadata)
}

/// Of the old place only the slots are ever read again, so only they are told apart.
fn only_slots(steps: Vec<Step>) -> Vec<Step> {
    let slots = internal().superblock_offset(0);
    let cut = |step| match step {
        Step::Write(offset, data) if offset < slots && offset + data.len() as u64 == INTERNAL => {
            Step::Write(slots, data.slice((slots - offset) as usize..))
        }
        other => other,
    };
    steps.into_iter().map(cut).collect()
}

/// Power is lost at any moment of the move: nothing of what was known is lost, and no block is
/// marked but those that were, and those of the hot extent.
#[test]
fn cr1_growth() {
    let (before, metadata) = grown();
    let data = internal().data_bytes() as usize;
    let blocks = BlockRange::new(0, metadata.bitmap.blocks());
    let expected = with_extents(&metadata.bitmap, &[0]);
    let mut moved = metadata;
    let layout = moved.larger_layout(0, GROWN).unwrap().unwrap();
    let mut growth = Growth::begin(&mut moved, layout);
    let batches: Vec<Batch> = std::iter::from_fn(|| growth.next(&mut moved)).collect();
    let (mut old, mut new) = (0, 0);
    let figures = each_crash(&before, &only_slots(steps(&batches)), |cut, state| {
        assert_eq!(state[..data], before[..data], "data changed at step {cut}");
        let found = find(state).unwrap_or_else(|error| panic!("step {cut}: {error}"));
        assert_eq!(found.metadata.superblock.disk_incarnation, 0x01d, "step {cut}");
        assert!(found.crashed && !found.log_lost && found.bad_pages == 0, "step {cut}");
        assert_eq!(found.metadata.layout, layout, "step {cut}");
        // The hot extent reaches into what is new.
        assert_eq!(found.metadata.bitmap.count(blocks), expected.weight(), "step {cut}");
        match found.moved_from {
            Some(_) => old += 1,
            None => new += 1,
        }
    });
    assert!(old > 1000 && new > 1, "{old} {new}");
    report("growth", figures);
}

/// The same for the move that a start makes because the device grew while it was not in use; and
/// the start after that comes to the same.
#[test]
fn cr1_growth_at_attach() {
    let (before, metadata) = grown();
    let expected = with_extents(&metadata.bitmap, &[0]);
    let whole = find(&before).unwrap();
    let steps = only_slots(steps(&whole.plan));
    let figures = each_crash(&before, &steps, |cut, state| {
        let found = find(state).unwrap_or_else(|error| panic!("step {cut}: {error}"));
        assert_eq!(found.metadata.superblock.disk_incarnation, 0x01d, "step {cut}");
        assert_eq!(found.metadata.bitmap.weight(), expected.weight(), "step {cut}");
        assert_eq!(found.metadata.superblock.moved_from, 0, "step {cut}");
    });
    report("growth at attach", figures);
}
