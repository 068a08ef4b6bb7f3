use super::*;
use crate::activity_log::ExtentNo;
use crate::crash::Disk;
use crate::generation::GenerationId;
use crate::layout::Placement;
use crate::recovery::{LoadError, Recovered, load};
use crate::superblock::SlotsError;
use std::convert::Infallible;
use types::BlockRange;

const DEVICE: u64 = 40 * META_BLOCK as u64;
const RING: u32 = 4;

fn params(incarnation: u64) -> CreateParams {
    CreateParams {
        layout: Layout::internal(DEVICE, RING).unwrap(),
        resource: "r0".to_owned(),
        volume: VolumeId(0),
        node: Some(NodeId(1)),
        disk_incarnation: incarnation,
        al_extents: 67,
        now: Time(5),
    }
}

fn read(disk: &Disk) -> Result<Recovered, LoadError<Infallible>> {
    load(&mut |range| Ok(disk.read(range)), disk.len(), Placement::Internal, None)
}

fn none(disk: &Disk) -> bool {
    matches!(read(disk), Err(LoadError::Slots(SlotsError::NoMetadata)))
}

/// A disk in use: attached, with a mark and a hot extent.
fn old_disk() -> Disk {
    let mut disk = Disk::new(DEVICE);
    let (mut metadata, batches) = Metadata::create(params(0x01d));
    batches.iter().for_each(|batch| disk.apply(batch));
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    metadata.bitmap.set(BlockRange::new(3, 5));
    disk.apply(&metadata.bitmap.save_some(9));
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(0)]));
    disk
}

#[test]
fn what_is_created_is_read_back() {
    let mut disk = Disk::new(DEVICE + 1234);
    let (metadata, batches) = Metadata::create(params(77));
    assert!(none(&disk));
    batches.iter().for_each(|batch| disk.apply(batch));
    let found = read(&disk).unwrap();
    assert_eq!(found.metadata.superblock, metadata.superblock);
    assert_eq!(found.metadata.layout, metadata.layout);
    assert_eq!(found.metadata.bitmap, metadata.bitmap);
    assert!(!found.crashed && found.plan.is_empty() && found.bad_pages == 0);
    let superblock = &found.metadata.superblock;
    assert_eq!(superblock.generations.current.id, GenerationId::JUST_CREATED);
    assert_eq!((superblock.disk_incarnation, superblock.al_extents), (77, 67));
    // Data is where it was: nothing below the bitmap is touched.
    assert!(disk.durable[..metadata.layout.data_bytes() as usize].iter().all(|&byte| byte == 0));
}

#[test]
fn a_superblock_cut_off_leaves_the_one_before() {
    let mut disk = old_disk();
    let recovered = read(&disk).unwrap();
    recovered.plan.iter().for_each(|batch| disk.apply(batch));
    let mut metadata = recovered.metadata;
    let mut before = metadata.superblock.sequence;
    for round in 1..5 {
        metadata.superblock.agreed_bytes = round;
        let batch = metadata.save_superblock();
        let after = metadata.superblock.sequence;
        disk.each_crash(&batch, |disk| {
            let found = read(&disk).unwrap().metadata.superblock;
            assert!(found.sequence == before || found.sequence == after);
            assert_eq!(found.agreed_bytes == round, found.sequence == after);
        });
        disk.apply(&batch);
        before = after;
    }
}

#[test]
fn wiped_metadata_is_gone_and_creation_works_after_it() {
    let mut disk = old_disk();
    disk.apply(&wipe(&params(0).layout));
    assert!(none(&disk));
    Metadata::create(params(3)).1.iter().for_each(|batch| disk.apply(batch));
    assert_eq!(read(&disk).unwrap().metadata.superblock.disk_incarnation, 3);
}

/// After the number of hot extents has changed, transactions and the ring count alike.
#[test]
fn another_number_of_hot_extents_starts_the_log_over() {
    let mut disk = old_disk();
    let recovered = read(&disk).unwrap();
    recovered.plan.iter().for_each(|batch| disk.apply(batch));
    let mut metadata = recovered.metadata;
    disk.apply(&metadata.set_al_extents(2000));
    assert_eq!((metadata.al.capacity(), metadata.superblock.al_extents), (2000, 2000));
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    for extent in 0..9 {
        disk.apply(&metadata.al.transaction(&[], &[ExtentNo(extent)]));
    }
    let found = read(&disk).unwrap();
    assert!(found.crashed && !found.log_lost);
    assert_eq!(found.metadata.al.capacity(), 2000);
}

/// The log has started over with another number of slots, and the superblock does not know it.
#[test]
fn a_log_of_another_size_than_the_superblock_says_starts_over() {
    let mut disk = old_disk();
    let recovered = read(&disk).unwrap();
    recovered.plan.iter().for_each(|batch| disk.apply(batch));
    let mut metadata = recovered.metadata;
    disk.apply(&metadata.set_al_extents(2000));

    let recovered = read(&disk).unwrap();
    recovered.plan.iter().for_each(|batch| disk.apply(batch));
    let mut metadata = recovered.metadata;
    assert_eq!(metadata.al.capacity(), 67);
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(0)]));
    assert!(!read(&disk).unwrap().log_lost);
}
