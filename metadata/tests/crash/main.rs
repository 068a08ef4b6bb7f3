//! Power is lost at every write and flush of every operation on the metadata, and every state that
//! the disk may be in then is looked at: any version of any sector since the last flush. The
//! devices have at most 64 sectors. `cargo test -p metadata --test crash -- --nocapture cr1` prints
//! how many states each operation has.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod create;
mod damage;
mod growth;
mod running;

use bytes::Bytes;
use metadata::crash::{Disk, Figures};
use metadata::{
    Batch, CreateParams, Expected, ExtentNo, Layout, LoadError, Metadata, OutOfSync, Placement,
    Recovered, SlotsError, load,
};
use std::convert::Infallible;
use types::{BlockRange, EXTENT_BYTES, NodeId, Time, VolumeId};

/// 64 sectors: 3 blocks of data, one page of bitmap, the smallest log, two superblocks.
const INTERNAL: u64 = 8 * 4096;
/// Six extents, the last of them not whole: one page of bitmap, with bits in two of its sectors.
const DATA: u64 = 5 * EXTENT_BYTES + 5 * 4096;
const EXTENT_BLOCKS: u64 = EXTENT_BYTES / types::BLOCK_BYTES;
const RING: u32 = 2;

fn params(layout: Layout, incarnation: u64) -> CreateParams {
    CreateParams {
        layout,
        resource: "r0".to_owned(),
        volume: VolumeId(0),
        node: Some(NodeId(1)),
        disk_incarnation: incarnation,
        al_extents: 920,
        now: Time(5),
    }
}

fn internal() -> Layout {
    Layout::internal(INTERNAL, RING).unwrap()
}

fn external() -> Layout {
    Layout::external(DATA, 6 * 4096, RING).unwrap()
}

type Found = Result<Recovered, LoadError<Infallible>>;

/// Reads what is on a disk, with the metadata where its size says.
fn read(bytes: &[u8]) -> Found {
    let placement = match bytes.len() as u64 {
        INTERNAL => Placement::Internal,
        _ => Placement::External { data_device_bytes: DATA },
    };
    let mut reader =
        |range: types::ByteRange| Ok(bytes[range.offset as usize..range.end() as usize].to_vec());
    let expected =
        Expected { resource: "r0".to_owned(), volume: VolumeId(0), node: Some(NodeId(1)) };
    load(&mut reader, bytes.len() as u64, placement, Some(expected))
}

fn has_none(found: &Found) -> bool {
    matches!(found, Err(LoadError::Slots(SlotsError::NoMetadata)))
}

/// A disk with new metadata, and the metadata.
fn created(layout: Layout) -> (Disk, Metadata) {
    let bytes = if layout.is_internal() { INTERNAL } else { layout.md_range().end() };
    let mut disk = Disk::of(vec![0x5a; bytes as usize]);
    let (metadata, batches) = Metadata::create(params(layout, 0x01d));
    batches.iter().for_each(|batch| disk.apply(batch));
    (disk, metadata)
}

/// A disk in use by a Primary: two generations old, a block marked, an extent hot.
fn in_use(layout: Layout) -> (Disk, Metadata) {
    let (mut disk, mut metadata) = created(layout);
    let superblock = &mut metadata.superblock;
    superblock.flags.consistent = true;
    superblock.flags.attached = true;
    superblock.flags.primary = true;
    superblock.peer_disk_incarnation = 7;
    superblock.generations.force(metadata::GenerationId(0x10), NodeId(1), Time(6));
    disk.apply(&metadata.save_superblock());
    let cause = metadata::Cause::PeerLost;
    metadata.superblock.generations.go_solo(
        metadata::GenerationId(0x20),
        cause,
        NodeId(1),
        Time(7),
    );
    disk.apply(&metadata.save_superblock());
    metadata.bitmap.set(BlockRange::new(1, 2));
    disk.apply(&metadata.bitmap.save_some(1));
    disk.apply(&metadata.al.transaction(&[], &[ExtentNo(0)]));
    (disk, metadata)
}

/// Every mark of the one is a mark of the other.
fn covers(marks: &OutOfSync, other: &OutOfSync) -> bool {
    let mut at = 0;
    while let Some(run) = other.next_run(at, u64::MAX) {
        if marks.count(run) != run.len() {
            return false;
        }
        at = run.end;
    }
    true
}

/// The blocks of these extents, and those that are marked.
fn with_extents(marks: &OutOfSync, extents: &[u64]) -> OutOfSync {
    let mut marks = marks.clone();
    for extent in extents {
        let start = extent * EXTENT_BLOCKS;
        marks.set(BlockRange::new(start, (start + EXTENT_BLOCKS).min(marks.blocks())));
    }
    marks
}

/// All writes of both, under one flush.
fn together(batches: impl IntoIterator<Item = Batch>) -> Batch {
    let mut all = Batch::default();
    batches.into_iter().for_each(|batch| all.extend(batch));
    all
}

fn report(operation: &str, figures: Figures) {
    println!("{operation}: {figures}");
}

fn sector(bytes: &[u8], number: usize) -> Bytes {
    Bytes::copy_from_slice(&bytes[number * 512..][..512])
}
