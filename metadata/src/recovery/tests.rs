use super::*;
use crate::activity_log::ExtentNo;
use crate::crash::Disk;
use crate::superblock::SuperblockError;
use crate::volume::CreateParams;
use proptest::prelude::*;
use std::convert::Infallible;
use types::Time;

/// Whole extents and a bit of another; two pages of bitmap.
const DATA: u64 = 45 * EXTENT_BYTES + 5 * 4096;
const RING: u32 = 4;
const PER_EXTENT: u64 = EXTENT_BYTES / types::BLOCK_BYTES;

const EXTERNAL: Placement = Placement::External { data_device_bytes: DATA };

fn expected() -> Expected {
    Expected { resource: "r0".to_owned(), volume: VolumeId(3), node: Some(NodeId(1)) }
}

fn read(disk: &Disk) -> Result<Recovered, LoadError<Infallible>> {
    load(&mut |range| Ok(disk.read(range)), disk.len(), EXTERNAL, Some(expected()))
}

fn created() -> (Disk, Metadata) {
    let layout = Layout::external(DATA, 1 << 20, RING).unwrap();
    let mut disk = Disk::new(layout.md_range().end());
    let (metadata, batches) = Metadata::create(CreateParams {
        layout,
        resource: "r0".to_owned(),
        volume: VolumeId(3),
        node: Some(NodeId(1)),
        disk_incarnation: 9,
        al_extents: 67,
        now: Time(0),
    });
    batches.iter().for_each(|batch| disk.apply(batch));
    (disk, metadata)
}

/// A disk that was in use when the node stopped: extents 2 and 45 (the last, in part) hot,
/// extent 7 cold again, and a few blocks marked, one of them in a hot extent.
fn in_use(primary: bool, al_disabled: bool) -> (Disk, Metadata) {
    let (mut disk, mut metadata) = created();
    metadata.superblock.flags.attached = true;
    metadata.superblock.flags.primary = primary;
    metadata.superblock.flags.al_disabled = al_disabled;
    disk.apply(&metadata.save_superblock());
    metadata.bitmap.set(BlockRange::new(10, 20));
    metadata.bitmap.set(BlockRange::new(2 * PER_EXTENT, 2 * PER_EXTENT + 1));
    disk.apply(&metadata.bitmap.save_some(9));
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(7), ExtentNo(2)]));
    disk.apply(&metadata.al.transaction(&[ExtentNo(7)], &[ExtentNo(45)]));
    (disk, metadata)
}

fn run(disk: &mut Disk, recovered: &Recovered) {
    recovered.plan.iter().for_each(|batch| disk.apply(batch));
}

#[test]
fn hot_extents_are_marked_after_an_unclean_stop() {
    let (mut disk, before) = in_use(true, false);
    let found = read(&disk).unwrap();
    assert!(found.crashed && !found.log_lost);
    assert_eq!(found.marked_blocks, PER_EXTENT + 5 - 1);
    let mut marks = before.bitmap;
    marks.set(BlockRange::new(2 * PER_EXTENT, 3 * PER_EXTENT));
    marks.set(BlockRange::new(45 * PER_EXTENT, 45 * PER_EXTENT + 5));
    assert_eq!(found.metadata.bitmap.weight(), marks.weight());
    let flags = found.metadata.superblock.flags;
    assert!(flags.crashed_primary && !flags.primary && !flags.attached);
    assert_eq!(found.metadata.al.hot_count(), 0);
    assert_eq!(found.plan.len(), 3);

    run(&mut disk, &found);
    let again = read(&disk).unwrap();
    assert!(!again.crashed && again.plan.is_empty() && again.marked_blocks == 0);
    assert_eq!(again.metadata.superblock, found.metadata.superblock);
    assert_eq!(again.metadata.bitmap, found.metadata.bitmap);
}

/// The flag says that all blocks count as marked; whoever reads the marks alone must see it too.
#[test]
fn a_crash_before_the_marks_of_a_full_sync_marks_everything() {
    let (mut disk, mut metadata) = in_use(false, false);
    metadata.superblock.flags.full_sync = true;
    disk.apply(&metadata.save_superblock());
    let found = read(&disk).unwrap();
    assert_eq!(found.metadata.bitmap.weight(), found.metadata.bitmap.blocks());
    run(&mut disk, &found);
    let again = read(&disk).unwrap();
    assert_eq!(again.metadata.bitmap, found.metadata.bitmap);
    assert!(again.metadata.superblock.flags.full_sync);
}

/// A Secondary's own hot extents count too, and it is no crashed Primary for it.
#[test]
fn a_secondary_is_no_crashed_primary() {
    let found = read(&in_use(false, false).0).unwrap();
    assert!(found.crashed && !found.metadata.superblock.flags.crashed_primary);
    assert_eq!(found.marked_blocks, PER_EXTENT + 5 - 1);
}

#[test]
fn without_a_log_a_crashed_primary_marks_everything() {
    let found = read(&in_use(true, true).0).unwrap();
    assert_eq!(found.metadata.bitmap.weight(), found.metadata.bitmap.blocks());
    let found = read(&in_use(false, true).0).unwrap();
    assert_eq!(found.marked_blocks, PER_EXTENT + 5 - 1);
}

#[test]
fn a_log_that_cannot_be_read_marks_everything_after_a_crash_only() {
    let (mut disk, mut metadata) = in_use(true, false);
    let log = metadata.layout.al_offset() as usize;
    disk.durable[log..log + RING as usize * META_BLOCK].fill(0);
    let found = read(&disk).unwrap();
    assert!(found.log_lost);
    assert_eq!(found.metadata.bitmap.weight(), found.metadata.bitmap.blocks());

    metadata.superblock.flags.attached = false;
    disk.apply(&metadata.save_superblock());
    let found = read(&disk).unwrap();
    assert!(!found.log_lost && !found.crashed);
    assert_eq!((found.marked_blocks, found.metadata.bitmap.weight()), (0, 11));
    // The log is started over before it is used.
    run(&mut disk, &found);
    assert!(read(&disk).unwrap().plan.is_empty());
}

/// A clean stop leaves what was hot in the ring; it means nothing, and does not come back.
#[test]
fn after_a_clean_stop_nothing_is_marked() {
    let (mut disk, mut metadata) = in_use(true, false);
    metadata.superblock.flags.attached = false;
    metadata.superblock.flags.primary = false;
    disk.apply(&metadata.save_superblock());
    let found = read(&disk).unwrap();
    assert_eq!((found.crashed, found.marked_blocks), (false, 0));
    run(&mut disk, &found);
    let mut metadata = found.metadata;
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(1)]));
    assert_eq!(read(&disk).unwrap().marked_blocks, PER_EXTENT);
}

/// Power lost in every way at every step of the recovery: the next one comes to the same marks,
/// or to more where a page of bitmap was torn, and to the same superblock.
#[test]
fn recovery_cut_off_anywhere_comes_to_the_same_end() {
    let (mut disk, _) = in_use(true, false);
    let first = read(&disk).unwrap();
    let mut torn = 0;
    for batch in &first.plan {
        disk.each_crash(batch, |mut disk| {
            let again = read(&disk).unwrap();
            assert!(!again.log_lost, "a full resync for nothing");
            check_marks(&first, &again);
            torn += again.bad_pages;
            run(&mut disk, &again);
            let settled = read(&disk).unwrap();
            assert!(!settled.crashed && settled.plan.is_empty());
            assert_eq!(settled.metadata.bitmap, again.metadata.bitmap);
            assert_eq!(settled.metadata.superblock.flags, first.metadata.superblock.flags);
        });
        disk.apply(batch);
    }
    assert!(torn > 0, "no page was ever torn");
}

fn check_marks(first: &Recovered, again: &Recovered) {
    let (marks, found) = (&first.metadata.bitmap, &again.metadata.bitmap);
    assert!(found.weight() == marks.weight() || again.bad_pages > 0);
    let mut at = 0;
    while let Some(run) = marks.next_run(at, u64::MAX) {
        assert_eq!(found.count(run), run.len(), "a mark is lost");
        at = run.end;
    }
}

#[test]
fn a_bad_page_is_all_marked_and_written_anew() {
    let (mut disk, metadata) = created();
    let at = metadata.layout.bitmap_offset() as usize + META_BLOCK + 100;
    disk.durable[at] ^= 1;
    let found = read(&disk).unwrap();
    assert!(found.bad_pages == 1 && !found.crashed && found.plan.len() == 1);
    assert_eq!(found.metadata.bitmap.weight(), metadata.bitmap.blocks() - crate::PAGE_BLOCKS);
    run(&mut disk, &found);
    let again = read(&disk).unwrap();
    assert_eq!((again.bad_pages, again.plan.len()), (0, 0));
    assert_eq!(again.metadata.bitmap, found.metadata.bitmap);
}

fn refusal(disk: &Disk, placement: Placement, expected: Expected) -> LoadError<Infallible> {
    load(&mut |range| Ok(disk.read(range)), disk.len(), placement, Some(expected)).unwrap_err()
}

/// Disks that were exchanged between resources, volumes or nodes.
#[test]
fn rs12_a_disk_of_another_volume_or_node_is_refused() {
    let (disk, _) = created();
    let other = |resource: &str, volume| Expected {
        resource: resource.to_owned(),
        volume: VolumeId(volume),
        ..expected()
    };
    let error = refusal(&disk, EXTERNAL, other("r1", 3));
    assert_eq!(
        error.to_string(),
        "the metadata belongs to volume r0/3, not to r1/3; correct `disk`, or run create-md to \
         use the disk for another volume"
    );
    assert!(matches!(refusal(&disk, EXTERNAL, other("r0", 4)), LoadError::OtherVolume { .. }));
    let node = Expected { node: Some(NodeId(0)), ..expected() };
    assert_eq!(
        refusal(&disk, EXTERNAL, node),
        LoadError::OtherNode { found: NodeId(1), expected: NodeId(0) }
    );
}

#[test]
fn refusals_name_what_is_in_the_way() {
    let (disk, metadata) = created();
    let recorded = metadata.layout.data_bytes();
    let smaller = Placement::External { data_device_bytes: recorded - 4096 };
    assert_eq!(
        refusal(&disk, smaller, expected()),
        LoadError::SizeShrunk { recorded, found: recorded - 4096 }
    );
    let larger = Placement::External { data_device_bytes: recorded + (1 << 30) };
    let found = load(&mut |range| Ok::<_, ()>(disk.read(range)), disk.len(), larger, None);
    assert_eq!(found.unwrap().metadata.layout.data_bytes(), recorded);

    let empty = refusal(&Disk::new(disk.len()), EXTERNAL, expected());
    assert_eq!(empty, LoadError::Slots(SlotsError::NoMetadata));
    let error = refusal(&Disk::new(4096), EXTERNAL, expected());
    assert!(matches!(error, LoadError::Layout(LayoutError::TooSmall { .. })));
    let mut bad = disk;
    bad.durable[100] ^= 1;
    bad.durable[4096 + 100] ^= 1;
    assert!(matches!(
        refusal(&bad, EXTERNAL, expected()),
        LoadError::Slots(SlotsError::BothBad(
            SuperblockError::Checksum { .. },
            SuperblockError::Checksum { .. }
        ))
    ));
}

/// Internal metadata on a device that has changed its size: found only where it does not belong.
#[test]
fn internal_metadata_on_a_device_of_another_size_is_refused() {
    const DEVICE: u64 = 100 * 4096;
    let mut disk = Disk::new(DEVICE + 20 * 4096);
    let (_, batches) = Metadata::create(CreateParams {
        layout: Layout::internal(DEVICE, RING).unwrap(),
        resource: "r0".to_owned(),
        volume: VolumeId(3),
        node: None,
        disk_incarnation: 9,
        al_extents: 67,
        now: Time(0),
    });
    batches.iter().for_each(|batch| disk.apply(batch));
    let read = |bytes: u64| {
        let placement = Placement::Internal;
        load(&mut |range| Ok::<_, Infallible>(disk.read(range)), bytes, placement, None)
    };
    assert!(read(DEVICE).is_ok() && read(DEVICE + 4095).is_ok());
    for blocks in 3..120 {
        if blocks != 100 {
            let error = read(blocks * 4096).unwrap_err();
            assert!(matches!(error, LoadError::Slots(_)), "{blocks}: {error}");
        }
    }
    let external = Placement::External { data_device_bytes: 4096 };
    let moved = |range: ByteRange| {
        Ok::<_, Infallible>(disk.read(ByteRange::new(range.offset + DEVICE - 8192, range.len)))
    };
    let error = load(&mut { moved }, 1 << 20, external, None).unwrap_err();
    assert!(matches!(error, LoadError::OtherPlacement { found: "internal", .. }), "{error}");
}

#[test]
fn a_read_error_is_passed_on() {
    let (disk, _) = created();
    for fails_at in 0..3 {
        let mut reads = 0;
        let error = load(
            &mut |range| {
                reads += 1;
                if reads > fails_at { Err("broken") } else { Ok(disk.read(range)) }
            },
            disk.len(),
            EXTERNAL,
            None,
        );
        let Err(LoadError::Read { error, .. }) = error else { panic!("read {fails_at}") };
        assert_eq!(error, "broken");
    }
}

/// The bitmap of a large volume is asked for in pieces.
#[test]
fn wants_are_bounded() {
    let data = 1 << 40;
    let layout = Layout::external(data, 1 << 30, 8).unwrap();
    let (metadata, _) = Metadata::create(CreateParams {
        layout,
        resource: "r".to_owned(),
        volume: VolumeId(0),
        node: None,
        disk_incarnation: 1,
        al_extents: 67,
        now: Time(0),
    });
    let mut slots = vec![0; META_BLOCK];
    slots.extend(metadata.superblock.encode());
    let placement = Placement::External { data_device_bytes: data };
    let mut loader = Loader::new::<Infallible>(1 << 30, placement, None).unwrap();
    loader = loader.feed::<Infallible>(&slots).unwrap();
    assert_eq!(loader.superblock(), Some(&metadata.superblock));
    let mut pages = 0;
    while let Some(range) = loader.wants() {
        assert!(range.len <= 1 << 20);
        pages += range.len / 4096;
        loader = loader.feed::<Infallible>(&vec![0; range.len as usize]).unwrap();
    }
    let found = loader.finish();
    assert_eq!(pages, u64::from(layout.bitmap_pages()) + 8);
    assert_eq!(found.bad_pages, layout.bitmap_pages());
    assert!(found.plan.iter().all(|batch| batch.writes.len() <= PAGES_PER_BATCH));
}

proptest! {
    /// A disk with a few sectors of rubbish is refused, or read with no mark lost.
    #[test]
    fn rubbish_never_loses_a_mark(
        places in prop::collection::vec((0..64usize, any::<u8>()), 0..4),
        primary in any::<bool>(),
    ) {
        let (mut disk, before) = in_use(primary, false);
        for (sector, rubbish) in places {
            let sectors = disk.durable.len() / 512;
            // Only one of the slots, and not the newest: the other would be an older state.
            let at = (8 + sector % (sectors - 8)) * 512;
            let in_log = (16..48).contains(&(at / 512));
            if !in_log {
                disk.durable[at..at + 512].fill(rubbish);
            }
        }
        if let Ok(found) = read(&disk) {
            let mut at = 0;
            while let Some(run) = before.bitmap.next_run(at, u64::MAX) {
                prop_assert_eq!(found.metadata.bitmap.count(run), run.len());
                at = run.end;
            }
        }
    }
}
