//! What a node is doing when its power goes: one short script for each operation.
//!
//! A script brings two nodes to where the operation begins, says [`Bench::record`], and carries it
//! out. It has few sectors of data in doubt at a time. Each write has a tag of its own.

use super::bench::{Bench, Pace};
use super::platter::{Image, Platter};
use super::{Operation, RESOURCE, VOLUME};
use crate::content::Content;
use metadata::{
    AL_BLOCKS_MIN, Cause, CreateParams, GenerationId, GenerationRecord, Layout, Metadata,
};
use replicator::{Command, Resize};
use types::{BLOCK_BYTES, EXTENT_BYTES, NodeId, SECTOR_BYTES, Span, Time};

/// The smallest device with three blocks of data: two slots, two blocks of log, a page of bitmap.
const DEVICE_BYTES: u64 = 64 * SECTOR_BYTES;
/// The same with room for the metadata to move to its end, and for one block more than that.
const GROWN_BYTES: u64 = DEVICE_BYTES + 48 * SECTOR_BYTES;
/// A device with three extents, for a log that holds one of them. Most of it is never used.
const SPARSE_BYTES: u64 = 2 * EXTENT_BYTES + 64 * SECTOR_BYTES;
/// Sectors from one extent to the next.
const EXTENT: u64 = EXTENT_BYTES / SECTOR_BYTES;
/// Sectors from one block to the next.
const BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;
/// Longer than a lost peer may take to come back.
pub(super) const LONG: Span = Span::secs(20);
/// Longer than what nobody waits for is put off.
const AFTERWARDS: Span = Span::millis(2500);

/// The nodes of a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// The one whose power goes.
    pub(super) victim: usize,
    /// How long things take.
    pub(super) pace: Pace,
}

/// Two nodes that are off, with disks that are right for the operation.
pub(super) fn set(operation: Operation, cast: Cast) -> Bench {
    let evicts = matches!(operation, Operation::Evict | Operation::EvictAlone);
    let device_bytes = if evicts { SPARSE_BYTES } else { DEVICE_BYTES };
    let layout = Layout::internal(device_bytes, AL_BLOCKS_MIN).expect("there is room");
    let fresh = match operation {
        Operation::FullSyncTarget => Some(cast.victim),
        Operation::FullSyncSource => Some(1 - cast.victim),
        _ => None,
    };
    let before: Image = (0..3).map(|block| (block * BLOCK, Content::Tag(1000 + block))).collect();
    let images = [0, 1].map(|node| {
        let mut platter = Platter::of(match fresh {
            Some(target) if target == node => litter(),
            _ => before.clone(),
        });
        create(&mut platter, layout, node, fresh.is_some());
        platter.durable_image().clone()
    });
    let mut bench = Bench::new(images, layout, device_bytes, cast.pace);
    bench.ledger.before = before;
    bench.defined = fresh.is_none();
    if evicts {
        bench.resync_request = EXTENT_BYTES;
    }
    bench
}

/// What a used disk may hold; nobody must ever read it.
fn litter() -> Image {
    (0..3).map(|block| (block * BLOCK + 1, Content::Tag(u64::MAX - block))).collect()
}

fn create(platter: &mut Platter, layout: Layout, node: usize, fresh: bool) {
    let id = NodeId(node as u8);
    let (mut metadata, batches) = Metadata::create(CreateParams {
        layout,
        resource: RESOURCE.into(),
        volume: VOLUME,
        node: Some(id),
        disk_incarnation: 0x1001 + node as u64,
        al_extents: 1,
        now: Time(0),
    });
    batches.iter().for_each(|batch| platter.preset(batch));
    if !fresh {
        let common = GenerationId(0x1000);
        let superblock = &mut metadata.superblock;
        superblock.generations.current =
            GenerationRecord::new(common, Cause::Forced, NodeId(0), Time(0));
        superblock.newest_exposed = common;
        superblock.agreed_bytes = layout.data_bytes();
        superblock.flags.consistent = true;
        superblock.flags.was_up_to_date = true;
        platter.preset(&metadata.save_superblock());
    }
}

/// Carries the operation out, or as much of it as the bench lets happen.
pub(super) fn play(operation: Operation, bench: &mut Bench, victim: usize) {
    let peer = 1 - victim;
    match operation {
        Operation::Attach => attach(bench, victim),
        Operation::Recover => recover(bench, victim),
        Operation::Promote => {
            together(bench);
            bench.record();
            promote(bench, victim, false);
            bench.run_for(AFTERWARDS);
        }
        Operation::PromoteAfterCrash => promote_after_crash(bench, victim),
        Operation::GoSolo => go_solo(bench, victim),
        Operation::LogTransaction => log_transaction(bench, victim),
        Operation::MirroredWrite => log_transaction(bench, peer),
        Operation::Evict => evict(bench, victim),
        Operation::EvictAlone => evict_alone(bench, victim),
        Operation::BitmapWriteBack => bitmap_write_back(bench, victim),
        Operation::FullSyncTarget => full_sync(bench, peer, victim),
        Operation::FullSyncSource => full_sync(bench, victim, peer),
        Operation::ResyncTarget => resync(bench, peer),
        Operation::ResyncSource => resync(bench, victim),
        Operation::Demote => demote(bench, victim),
        Operation::Detach => detach(bench, victim, peer),
        Operation::DetachPrimary => detach(bench, victim, victim),
        Operation::DisklessWrite => diskless_write(bench, victim),
        Operation::Failover => failover(bench, victim),
        Operation::Disconnect => disconnect(bench, victim, victim),
        Operation::Disconnected => disconnect(bench, peer, peer),
        Operation::Stop => stop(bench, victim),
        Operation::Grow => grow(bench, victim, false),
        Operation::Grown => grow(bench, peer, false),
        Operation::GrowAlone => grow(bench, victim, true),
    }
}

/// Both nodes are up and connected.
fn together(bench: &mut Bench) {
    bench.start(0, true);
    bench.start(1, true);
    bench.run_until("both nodes are connected", Bench::at_rest);
}

fn promote(bench: &mut Bench, node: usize, force: bool) {
    if let Err(refusal) = bench.obey(node, Command::Promote { force }) {
        bench.fail(format!("node {node} is not promoted: {}", refusal.text));
    }
    bench.open(node, true);
}

fn must_obey(bench: &mut Bench, node: usize, command: Command) {
    if let Err(refusal) = bench.obey(node, command) {
        bench.fail(format!("node {node} refuses an order: {}", refusal.text));
    }
}

fn write(bench: &mut Bench, node: usize, sectors: std::ops::Range<u64>) {
    bench.write(node, sectors, false);
    bench.settle();
}

fn flush(bench: &mut Bench, node: usize) {
    bench.flush(node);
    bench.settle();
}

/// Nobody seeks the other any more.
fn part(bench: &mut Bench) {
    must_obey(bench, 0, Command::Disconnect);
    must_obey(bench, 1, Command::Disconnect);
    bench.settle();
}

/// A disk of a node that was stopped in order comes to a Primary that is idle.
fn attach(bench: &mut Bench, victim: usize) {
    let peer = 1 - victim;
    together(bench);
    promote(bench, peer, false);
    write(bench, peer, 0..2);
    flush(bench, peer);
    must_obey(bench, victim, Command::Stop);
    let image = bench.nodes[victim].platter.newest_image();
    bench.cut_power(victim, image, true);
    bench.settle();
    bench.record();
    bench.start(victim, true);
    bench.run_until("the node is back", Bench::at_rest);
    bench.run_for(AFTERWARDS);
}

/// A node that crashed as Primary starts again: its log is applied, and what it marks copied.
fn recover(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    write(bench, victim, 8..10);
    bench.write(victim, 16..18, false);
    let image = bench.nodes[victim].platter.newest_image();
    bench.ledger.lose_cache(victim);
    bench.cut_power(victim, image, false);
    bench.run_for(LONG);
    bench.record();
    bench.start(victim, true);
    bench.run_until("the node is back", Bench::at_rest);
    bench.run_for(AFTERWARDS);
}

/// A Primary is lost, and its peer takes its place with what it has in its cache.
fn failover(bench: &mut Bench, victim: usize) {
    let peer = 1 - victim;
    together(bench);
    promote(bench, peer, false);
    write(bench, peer, 0..2);
    flush(bench, peer);
    write(bench, peer, 1..3);
    write(bench, peer, 16..18);
    let image = bench.nodes[peer].platter.newest_image();
    bench.ledger.lose_cache(peer);
    bench.cut_power(peer, image, false);
    bench.run_for(Span::millis(100));
    bench.record();
    promote(bench, victim, false);
    bench.run_for(LONG);
    write(bench, victim, 17..19);
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// A node that crashed as Primary serves again without its peer.
fn promote_after_crash(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    write(bench, victim, 8..10);
    let image = bench.nodes[victim].platter.newest_image();
    bench.cut_wire();
    // What it serves from now on is what survived here.
    bench.ledger.overruled(1 - victim);
    bench.cut_power(victim, image, false);
    bench.start(victim, true);
    bench.settle();
    bench.record();
    promote(bench, victim, false);
    write(bench, victim, 16..18);
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// The link breaks under a write; the node waits, goes on alone, and answers.
fn go_solo(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    write(bench, victim, 1..3);
    bench.write(victim, 8..9, false);
    bench.record();
    bench.cut_wire();
    bench.write(victim, 16..18, false);
    bench.run_for(LONG);
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// The first writes to a cold extent.
fn log_transaction(bench: &mut Bench, primary: usize) {
    together(bench);
    promote(bench, primary, false);
    bench.run_for(AFTERWARDS);
    bench.record();
    write(bench, primary, 0..2);
    write(bench, primary, 1..4);
    bench.write(primary, 8..10, true);
    bench.settle();
    write(bench, primary, 16..18);
    flush(bench, primary);
}

/// The log is full: an extent goes cold, so that another one can be written.
fn evict(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    bench.record();
    write(bench, victim, EXTENT..EXTENT + 2);
    bench.write(victim, 8..10, false);
    bench.write(victim, 2 * EXTENT..2 * EXTENT + 2, false);
    bench.settle();
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// The same without the peer: the marks of the extent are durable before it goes cold.
fn evict_alone(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    part(bench);
    bench.record();
    write(bench, victim, 8..10);
    write(bench, victim, EXTENT..EXTENT + 2);
    bench.write(victim, 2 * EXTENT..2 * EXTENT + 2, false);
    bench.settle();
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// Marks of writes alone become durable by and by.
fn bitmap_write_back(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    part(bench);
    write(bench, victim, 0..2);
    bench.record();
    for block in [2, 1, 0] {
        write(bench, victim, block * BLOCK..block * BLOCK + 2);
        bench.run_for(AFTERWARDS);
    }
}

/// A new disk gets everything, while its source is written to.
fn full_sync(bench: &mut Bench, source: usize, target: usize) {
    bench.start(source, false);
    bench.start(target, false);
    bench.settle();
    promote(bench, source, true);
    write(bench, source, 2..4);
    flush(bench, source);
    bench.record();
    for node in [source, target] {
        must_obey(bench, node, Command::Connect { discard_my_data: false });
    }
    bench.run_until("the resync has begun", |bench| {
        bench.engine(source).is_some_and(|engine| engine.status().volumes[0].resync.is_some())
    });
    bench.write(source, 18..19, false);
    bench.run_until("the resync is done", Bench::at_rest);
    flush(bench, source);
    bench.run_for(AFTERWARDS);
}

/// A node comes back to one that went on alone, and is still written to.
fn resync(bench: &mut Bench, source: usize) {
    together(bench);
    promote(bench, source, false);
    part(bench);
    for block in [2, 0] {
        write(bench, source, block * BLOCK..block * BLOCK + 2);
        flush(bench, source);
    }
    bench.run_for(AFTERWARDS);
    bench.record();
    for node in [0, 1] {
        must_obey(bench, node, Command::Connect { discard_my_data: false });
    }
    bench.run_until("the resync has begun", |bench| {
        bench.engine(source).is_some_and(|engine| engine.status().volumes[0].resync.is_some())
    });
    bench.write(source, 17..19, false);
    bench.write(source, 8..9, false);
    bench.run_until("the resync is done", Bench::at_rest);
    bench.run_for(AFTERWARDS);
}

/// A Primary becomes Secondary after writes that nobody flushed.
fn demote(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    write(bench, victim, 1..3);
    write(bench, victim, 16..18);
    bench.record();
    bench.open(victim, false);
    must_obey(bench, victim, Command::Demote);
    bench.run_for(AFTERWARDS);
}

/// A node lets its disk go, while the Primary (it, or the other) goes on.
fn detach(bench: &mut Bench, victim: usize, primary: usize) {
    together(bench);
    promote(bench, primary, false);
    write(bench, primary, 0..2);
    flush(bench, primary);
    write(bench, primary, 1..3);
    bench.record();
    bench.write(primary, 16..18, false);
    must_obey(bench, victim, Command::Detach { volume: VOLUME });
    bench.settle();
    if primary != victim {
        write(bench, primary, 8..10);
        flush(bench, primary);
    }
    bench.run_for(AFTERWARDS);
}

/// A Primary without a disk writes to the disk of its peer.
fn diskless_write(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    must_obey(bench, victim, Command::Detach { volume: VOLUME });
    bench.settle();
    bench.record();
    write(bench, victim, 8..10);
    write(bench, victim, 16..18);
    flush(bench, victim);
    bench.run_for(AFTERWARDS);
}

/// The Primary (the victim, or its peer) says good-bye and goes on alone.
fn disconnect(bench: &mut Bench, primary: usize, orders: usize) {
    together(bench);
    promote(bench, primary, false);
    write(bench, primary, 0..2);
    flush(bench, primary);
    write(bench, primary, 1..3);
    bench.record();
    bench.write(primary, 16..17, false);
    must_obey(bench, orders, Command::Disconnect);
    write(bench, primary, 8..10);
    flush(bench, primary);
    bench.run_for(AFTERWARDS);
}

/// A Primary ends in order.
fn stop(bench: &mut Bench, victim: usize) {
    together(bench);
    promote(bench, victim, false);
    write(bench, victim, 0..2);
    flush(bench, victim);
    write(bench, victim, 1..3);
    write(bench, victim, 16..18);
    bench.record();
    bench.open(victim, false);
    must_obey(bench, victim, Command::Stop);
    bench.settle();
}

/// Both disks are larger than they were, and the volume grows, between writes. The metadata have moved
/// before: of that every state is tried where they are (`metadata`), for it is too many sectors here.
fn grow(bench: &mut Bench, primary: usize, alone: bool) {
    bench.grown = Some(GROWN_BYTES);
    together(bench);
    promote(bench, primary, false);
    write(bench, primary, 0..2);
    if alone {
        part(bench);
        write(bench, primary, 2..3);
    }
    bench.record();
    let order =
        Resize { volume: VOLUME, size: None, assume_clean: false, assume_peer_has_space: alone };
    must_obey(bench, primary, Command::Resize(order));
    write(bench, primary, 8..10);
    flush(bench, primary);
    bench.run_for(AFTERWARDS);
}
