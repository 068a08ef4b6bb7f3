use super::*;
use crate::activity_log::ExtentNo;
use crate::recovery::{Recovered, load, load_grown};
use crate::{AL_BLOCKS_DEFAULT, CreateParams, LoadError, Placement, SlotsError, crash::Disk};
use std::convert::Infallible;
use types::{BlockRange, NodeId, Time, VolumeId};

const MIB: u64 = 1 << 20;

fn create(layout: Layout) -> (Metadata, Vec<Batch>) {
    Metadata::create(CreateParams {
        layout,
        resource: "r0".into(),
        volume: VolumeId(0),
        node: Some(NodeId(0)),
        disk_incarnation: 7,
        al_extents: 67,
        now: Time(5),
    })
}

/// A disk of that size with internal metadata, in use: blocks marked, extents hot.
fn in_use(bytes: u64) -> (Disk, Metadata) {
    let (mut metadata, batches) = create(Layout::internal(bytes, AL_BLOCKS_DEFAULT).unwrap());
    let mut disk = Disk::new(bytes);
    batches.iter().for_each(|batch| disk.apply(batch));
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    metadata.bitmap.set(BlockRange::new(3000, 3010));
    disk.apply(&metadata.bitmap.save_some(9));
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(0), ExtentNo(1)]));
    (disk, metadata)
}

/// The device is larger now.
fn enlarge(disk: &mut Disk, bytes: u64) {
    let mut all = disk.bytes();
    all.resize(bytes as usize, 0x5a);
    *disk = Disk::of(all);
}

fn grow(disk: &mut Disk, metadata: &mut Metadata, layout: Layout) {
    let mut growth = Growth::begin(metadata, layout);
    while let Some(batch) = growth.next(metadata) {
        disk.apply(&batch);
    }
}

type Found = Result<Recovered, LoadError<Infallible>>;

fn find(disk: &Disk, was: &[u64]) -> Found {
    let mut read = |range| Ok(disk.read(range));
    load_grown(&mut read, disk.len(), Placement::Internal, None, was)
}

#[test]
fn everything_is_at_the_new_end_and_nothing_at_the_old_one() {
    let (mut disk, mut metadata) = in_use(16 * MIB);
    enlarge(&mut disk, 300 * MIB);
    let layout = metadata.larger_layout(0, 300 * MIB).unwrap().unwrap();
    let old = metadata.layout.md_range();
    grow(&mut disk, &mut metadata, layout);
    assert!(disk.read(old).iter().all(|&byte| byte == 0));
    let found = find(&disk, &[]).unwrap();
    let superblock = &found.metadata.superblock;
    assert_eq!((superblock.moved_from, superblock.data_bytes), (0, layout.data_bytes()));
    assert_eq!(found.metadata.layout, layout);
    assert!(!found.log_lost && found.bad_pages == 0 && found.moved_from.is_none());
    // What was marked, and the two extents that were hot.
    assert_eq!(found.metadata.bitmap.weight(), 10 + 2 * 1024);
    assert_eq!(metadata.larger_layout(0, 300 * MIB), Ok(None));
    // A device that is given its old size back holds no metadata, rather than old ones.
    let shrunk = Disk::of(disk.bytes()[..16 * MIB as usize].to_vec());
    assert_eq!(find(&shrunk, &[]).unwrap_err(), LoadError::Slots(SlotsError::NoMetadata));
}

#[test]
fn a_device_that_grew_while_nobody_used_it_is_found_by_the_size_that_it_had() {
    let (mut disk, _) = in_use(16 * MIB);
    enlarge(&mut disk, 64 * MIB);
    assert_eq!(find(&disk, &[]).unwrap_err(), LoadError::Slots(SlotsError::NoMetadata));
    let found = find(&disk, &[16 * MIB]).unwrap();
    assert_eq!(found.moved_from, Some(16 * MIB));
    assert_eq!(found.metadata.bitmap.weight(), 10 + 2 * 1024);
    found.plan.iter().for_each(|batch| disk.apply(batch));
    let again = find(&disk, &[]).unwrap();
    assert!(again.plan.is_empty() && !again.crashed);
    assert_eq!(again.metadata.bitmap.weight(), 10 + 2 * 1024);
    assert_eq!(again.metadata.superblock, found.metadata.superblock);
    // It grows again, and what is remembered is what was remembered before the move, and its goal.
    enlarge(&mut disk, 65 * MIB);
    let (before, _) = found.ends();
    assert_eq!(find(&disk, &before).unwrap().moved_from, Some(64 * MIB));
    let disk = Disk::of(disk.bytes()[..64 * MIB as usize].to_vec());
    // A size that is remembered and no longer true does no harm.
    assert_eq!(find(&disk, &[16 * MIB]).unwrap().metadata.layout, again.metadata.layout);
    assert_eq!(find(&disk, &[90 * MIB]).unwrap().metadata.layout, again.metadata.layout);
}

/// The device had that size before, with metadata that nobody has cleared away.
#[test]
fn what_an_earlier_life_left_at_the_new_end_does_not_count() {
    let (_, batches) = create(Layout::internal(64 * MIB, AL_BLOCKS_DEFAULT).unwrap());
    let mut disk = Disk::new(64 * MIB);
    batches.iter().for_each(|batch| disk.apply(batch));
    let (small, metadata) = in_use(16 * MIB);
    let mut younger = metadata.superblock.clone();
    younger.created = Time(6);
    let mut bytes = disk.bytes();
    bytes[..16 * MIB as usize].copy_from_slice(&small.bytes());
    let at = metadata.layout.superblock_offset(younger.slot()) as usize;
    bytes[at..at + META_BLOCK].copy_from_slice(&younger.encode());
    let found = find(&Disk::of(bytes), &[16 * MIB]).unwrap();
    assert_eq!(found.moved_from, Some(16 * MIB));
    assert!(found.crashed, "what was left over was not");
}

#[test]
fn a_device_that_grew_too_little_says_what_it_needs() {
    let (mut disk, metadata) = in_use(16 * MIB);
    let error = metadata.larger_layout(0, 16 * MIB + 4096).unwrap_err();
    let GrowError::TooLittle { found, needed } = error else { panic!("{error}") };
    assert_eq!(found, 16 * MIB + 4096);
    assert!(metadata.larger_layout(0, needed).unwrap().is_some());
    assert!(metadata.larger_layout(0, needed - 4096).is_err());
    // Nor is it moved when it is found; it is used where it is.
    enlarge(&mut disk, 16 * MIB + 4096);
    let found = find(&disk, &[16 * MIB]).unwrap();
    assert_eq!((found.metadata.layout, found.moved_from), (metadata.layout, None));
    let error = metadata.larger_layout(0, 15 * MIB).unwrap_err();
    assert!(error.to_string().contains("shrinking is not done"), "{error}");
}

#[test]
fn external_metadata_stays_and_its_bitmap_grows() {
    let (mut metadata, batches) = create(Layout::external(16 * MIB, 64 * 1024, 8).unwrap());
    let mut disk = Disk::new(64 * 1024);
    batches.iter().for_each(|batch| disk.apply(batch));
    metadata.bitmap.set(BlockRange::new(7, 9));
    disk.apply(&metadata.bitmap.save_some(9));
    let layout = metadata.larger_layout(700 * MIB, 64 * 1024).unwrap().unwrap();
    grow(&mut disk, &mut metadata, layout);
    let mut read = |range| Ok::<_, Infallible>(disk.read(range));
    let placement = Placement::External { data_device_bytes: 700 * MIB };
    let found = load(&mut read, disk.len(), placement, None).unwrap();
    assert_eq!(found.metadata.layout.data_bytes(), 700 * MIB);
    assert_eq!((found.metadata.bitmap.weight(), found.bad_pages), (2, 0));
    let error = metadata.larger_layout(1 << 40, 64 * 1024).unwrap_err();
    let GrowError::Layout(LayoutError::TooSmall { device, needed, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(device, "metadata device");
    assert!(metadata.larger_layout(1 << 40, needed).unwrap().is_some());
}
