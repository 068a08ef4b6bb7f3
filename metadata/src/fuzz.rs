//! The bodies of the fuzz targets for what is on disk.
//!
//! No fuzzer guesses a checksum: so blocks are looked at as they are, and again with their checksums
//! made right.

use crate::activity_log::{ActivityLog, ExtentNo};
use crate::bitmap::{OutOfSync, PAGE_BLOCKS};
use crate::crash::Disk;
use crate::layout::{Layout, Placement};
use crate::plan::META_BLOCK;
use crate::recovery::{Recovered, load};
use crate::rle;
use crate::superblock::{Superblock, newest};
use crate::volume::{CreateParams, Metadata};
use std::convert::Infallible;
use types::{BLOCK_BYTES, BlockRange, ByteRange, EXTENT_BYTES, NodeId, Time, VolumeId};

/// Six extents, and a device for their metadata: two slots, two blocks of log, a page of bitmap.
const DATA: u64 = 5 * EXTENT_BYTES + 5 * BLOCK_BYTES;
const RING: u32 = 2;
const BLOCKS: usize = 5;

/// Two superblock slots of any bytes, and a good disk with any bytes changed and the checksums
/// made right: what is read is written again as it was read, and a disk that is accepted recovers
/// to one that needs no recovery, with every mark kept.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_superblock(bytes: &[u8]) {
    let mut slots = [vec![0; META_BLOCK], vec![0; META_BLOCK]];
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (slot, bytes) in slots.iter_mut().zip([first, second]) {
        let len = bytes.len().min(META_BLOCK);
        slot[..len].copy_from_slice(&bytes[..len]);
    }
    slots_are_read(&slots);
    slots.iter_mut().for_each(|slot| seal(slot, 12));
    slots_are_read(&slots);
    let mut disk = good_disk();
    change(&mut disk.durable, bytes);
    disk_is_read(disk.clone());
    for (block, crc_at) in disk.durable.chunks_mut(META_BLOCK).zip([12, 12, 4, 4, 4]) {
        seal(block, crc_at);
    }
    disk_is_read(disk);
}

/// A good ring of the log with any bytes changed and the checksums made right: it is read, a log
/// that goes on from there says what it holds, and no table is larger than its slots.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_activity_log(bytes: &[u8]) {
    let Some((&ring, changes)) = bytes.split_first() else { return };
    let ring = 2 + u32::from(ring % 4);
    let layout = Layout::external(1 << 40, 1 << 30, ring).expect("there is room");
    let offset = layout.al_offset();
    let mut disk = Disk::new(offset + u64::from(ring) * META_BLOCK as u64);
    let mut log = ActivityLog::new(&layout, 1000);
    disk.apply(&log.format());
    for extent in 0..u32::from(changes.len() as u16 % 9) {
        disk.apply(&log.transaction(&[], &[ExtentNo(3 * extent), ExtentNo(3 * extent + 1)]));
    }
    let whole = log.hot().collect();
    assert_eq!(ActivityLog::replay(&disk.durable[offset as usize..], ring).hot, Some(whole));
    change(&mut disk.durable[offset as usize..], changes);
    log_is_read(&layout, disk.clone());
    disk.durable[offset as usize..].chunks_mut(META_BLOCK).for_each(|block| seal(block, 4));
    log_is_read(&layout, disk);
}

/// A piece of run-length code of any bytes: refused, or runs in order within the volume, which
/// are written again as the very bytes that they were read from.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_rle(bytes: &[u8]) {
    let Some((numbers, code)) = bytes.split_first_chunk::<4>() else { return };
    let number = |at: usize| u64::from(u16::from_le_bytes([numbers[at], numbers[at + 1]]));
    let blocks = number(0) * (3 * PAGE_BLOCKS) / u64::from(u16::MAX);
    let from = number(2);
    let Ok((runs, next)) = rle::decode(code, from, blocks) else { return };
    assert!(from <= next && next <= blocks && runs.len() <= code.len() / 2);
    let mut map = OutOfSync::new(blocks * BLOCK_BYTES);
    let mut last = from;
    for &run in &runs {
        assert!(last <= run.start && !run.is_empty() && run.end <= next, "{run:?} in {runs:?}");
        assert_eq!(map.set(run), run.len());
        last = run.end;
    }
    let (again, _) = rle::encode(&map, from, code.len() + rle::MIN_BYTES);
    // A code may end before the volume does; then what follows is in sync.
    assert!(next < blocks || next == from || again == code, "{code:?} became {again:?}");
    let (same, _) = rle::decode(&again, from, blocks).expect("what is encoded is a code");
    assert_eq!(same, runs);
}

fn slots_are_read(slots: &[Vec<u8>; 2]) {
    let good = [&slots[0], &slots[1]].map(|slot| Superblock::decode(slot));
    for superblock in good.iter().flatten() {
        assert_eq!(Superblock::decode(&superblock.encode()).as_ref(), Ok(superblock));
    }
    if let Ok(counts) = newest([&slots[0], &slots[1]]) {
        let slot = good[counts.slot()].as_ref().expect("the slot that counts is good");
        assert_eq!(*slot, counts);
        let other = good[1 - counts.slot()].as_ref();
        assert!(
            other.is_err()
                || other.is_ok_and(
                    |other| other.sequence < counts.sequence || other.slot() == counts.slot()
                )
        );
    }
}

/// Metadata in use: two extents hot, some blocks marked.
fn good_disk() -> Disk {
    let bytes = BLOCKS as u64 * BLOCK_BYTES;
    let mut disk = Disk::new(bytes);
    let (mut metadata, batches) = Metadata::create(CreateParams {
        layout: Layout::external(DATA, bytes, RING).expect("there is room"),
        resource: "r0".to_owned(),
        volume: VolumeId(0),
        node: Some(NodeId(1)),
        disk_incarnation: 9,
        al_extents: 67,
        now: Time(5),
    });
    batches.iter().for_each(|batch| disk.apply(batch));
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    metadata.bitmap.set(BlockRange::new(7, 30));
    disk.apply(&metadata.bitmap.save_some(1));
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(1), ExtentNo(5)]));
    disk
}

fn disk_is_read(mut disk: Disk) {
    let Some(mut found) = recovered(&disk) else { return };
    found.plan.iter().for_each(|batch| disk.apply(batch));
    let again = recovered(&disk).expect("what was accepted and recovered is accepted");
    assert!(!again.crashed && again.bad_pages == 0 && again.plan.is_empty(), "{again:?}");
    assert_eq!(again.metadata.bitmap, found.metadata.bitmap);
    assert_eq!(again.metadata.superblock, found.metadata.superblock);
    disk.apply(&found.metadata.save_superblock());
    let last = recovered(&disk).expect("a saved superblock is accepted");
    assert_eq!(last.metadata.superblock, found.metadata.superblock);
}

fn recovered(disk: &Disk) -> Option<Recovered> {
    let placement = Placement::External { data_device_bytes: DATA };
    let mut read = |range: ByteRange| Ok::<_, Infallible>(disk.read(range));
    load(&mut read, disk.len(), placement, None).ok()
}

fn log_is_read(layout: &Layout, mut disk: Disk) {
    let ring = layout.al_blocks();
    let replay =
        |disk: &Disk| ActivityLog::replay(&disk.durable[layout.al_offset() as usize..], ring);
    let found = replay(&disk);
    assert!(found.hot.is_none_or(|hot| hot.len() <= found.capacity as usize));
    let mut log = ActivityLog::with_sequence(layout, found.capacity, found.next_sequence);
    disk.apply(&log.reset());
    assert_eq!(replay(&disk).hot.map(|hot| hot.len()), Some(0));
    for extent in [1, 2, 3] {
        let oldest = log.coldest().next().filter(|_| log.hot_count() == log.capacity());
        let cool: Vec<ExtentNo> = oldest.into_iter().collect();
        disk.apply(&log.transaction(&cool, &[ExtentNo(extent)]));
        assert_eq!(replay(&disk).hot, Some(log.hot().collect()));
    }
}

/// Bytes in threes: a place, in two, and what is there now.
fn change(target: &mut [u8], bytes: &[u8]) {
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % target.len();
        target[at] = change[2];
    }
}

/// The checksum at that place, made right.
fn seal(block: &mut [u8], at: usize) {
    block[at..at + 4].fill(0);
    let crc = crc32c::crc32c(block);
    block[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn replay_corpus(name: &str, body: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&corpus).unwrap() {
            body(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", corpus.display());
    }

    #[test]
    fn the_fuzz_corpora_are_read() {
        replay_corpus("superblock", fuzz_superblock);
        replay_corpus("activity_log", fuzz_activity_log);
        replay_corpus("rle", fuzz_rle);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz_superblock(&bytes);
            fuzz_activity_log(&bytes);
            fuzz_rle(&bytes);
        }

        /// Changes in the fields of each block.
        #[test]
        fn changed_fields_do_no_harm(
            changes in prop::collection::vec((0..BLOCKS as u16, 0..300u16, any::<u8>()), 1..9),
        ) {
            let bytes = |(block, at, value): (u16, u16, u8)| {
                let [low, high] = (block * META_BLOCK as u16 + at).to_le_bytes();
                [low, high, value]
            };
            let bytes: Vec<u8> = changes.into_iter().flat_map(bytes).collect();
            fuzz_superblock(&bytes);
            fuzz_activity_log(&bytes);
        }
    }
}
