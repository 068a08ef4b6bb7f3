//! A disk in use: attach, the activity log, the bitmap; and recovery after it.

use super::*;
use metadata::crash::{each_crash, steps};

/// What the first recovery finds is what every later one finds, wherever it was cut off, even if
/// that one is cut off again.
fn check_recovery(operation: &str, before: &[u8]) {
    let first = read(before).unwrap();
    let goal = &first.metadata;
    let mut nested = Figures::default();
    let mut figures = each_crash(before, &steps(&first.plan), |cut, state| {
        let again = read(state).unwrap();
        assert!(!again.log_lost, "step {cut}: a full resync for nothing");
        assert!(covers(&again.metadata.bitmap, &goal.bitmap), "step {cut}: a mark is lost");
        assert!(again.bad_pages > 0 || again.metadata.bitmap.weight() == goal.bitmap.weight());
        assert_eq!(again.metadata.superblock.flags, goal.superblock.flags, "step {cut}");
        nested += each_crash(state, &steps(&again.plan), |second, state| {
            let last = read(state).unwrap();
            assert!(covers(&last.metadata.bitmap, &goal.bitmap), "steps {cut}, {second}");
            assert_eq!(last.metadata.superblock.flags, goal.superblock.flags);
            if second == steps(&again.plan).len() {
                assert!(!last.crashed && last.plan.is_empty() && last.bad_pages == 0);
                assert_eq!(last.metadata.bitmap, again.metadata.bitmap);
            }
        });
    });
    figures += nested;
    report(operation, figures);
}

#[test]
fn cr1_recovery_at_attach() {
    let (disk, metadata) = in_use(internal());
    check_recovery("recovery at attach, internal", &disk.bytes());
    let found = read(&disk.bytes()).unwrap();
    assert!(found.crashed && found.metadata.superblock.flags.crashed_primary);
    assert_eq!(found.metadata.bitmap.weight(), metadata.bitmap.blocks());
}

/// `apply-al` is this recovery and nothing else: the same batches, with no engine there.
#[test]
fn cr1_apply_al_offline() {
    let (mut disk, mut metadata) = in_use(external());
    disk.apply(&metadata.al.transaction(&[ExtentNo(0)], &[ExtentNo(5)]));
    check_recovery("apply-al, external", &disk.bytes());
    let found = read(&disk.bytes()).unwrap();
    assert_eq!((found.marked_blocks, found.metadata.bitmap.weight()), (5, 6));
}

/// After a torn page and a lost log there is more to do, and it ends as well.
#[test]
fn cr1_recovery_of_a_damaged_disk() {
    let (disk, _) = in_use(external());
    let mut bytes = disk.bytes();
    bytes[external().bitmap_offset() as usize + 30] ^= 1;
    check_recovery("recovery with a bad page of bitmap", &bytes);
}

/// Attach, then detach in order: crashed exactly while `attached` may be on the disk.
#[test]
fn cr1_attach_and_detach() {
    let (disk, mut metadata) = created(internal());
    metadata.bitmap.set(BlockRange::new(2, 3));
    let marks = metadata.bitmap.save_some(1);
    let mut disk = disk;
    disk.apply(&marks);
    metadata.superblock.flags.attached = true;
    metadata.superblock.flags.primary = true;
    let attach = metadata.save_superblock();
    let hot = metadata.al.transaction(&[], &[ExtentNo(0)]);
    let reset = metadata.al.reset();
    metadata.superblock.flags.attached = false;
    metadata.superblock.flags.primary = false;
    let detach = metadata.save_superblock();
    let steps = steps(&[attach, hot, reset, detach]);
    let figures = each_crash(&disk.bytes(), &steps, |cut, state| {
        let found = read(state).unwrap();
        let flags = found.metadata.superblock.flags;
        assert!(!flags.attached && !found.log_lost && found.bad_pages == 0);
        assert_eq!(found.crashed, flags.crashed_primary);
        match cut {
            0 | 8 => assert!(!found.crashed),
            1 | 7 => {}
            _ => assert!(found.crashed, "step {cut}: an unclean stop passes as an orderly one"),
        }
        // Between the transaction's flush and the reset's write, the extent is hot for sure.
        assert!(cut != 4 || found.metadata.bitmap.weight() == 3);
        assert!(covers(&found.metadata.bitmap, &metadata.bitmap), "step {cut}: a mark is lost");
    });
    assert_eq!(steps.len(), 8);
    report("attach, first write, detach", figures);
}

/// A write to a cold extent starts after its transaction; all others stay hot throughout.
#[test]
fn cr1_log_transaction() {
    let (mut disk, mut metadata) = in_use(external());
    let mut figures = Figures::default();
    // As many as the ring is long, and one more: each place is written over.
    for heated in [1u64, 2] {
        let hot: Vec<u64> = metadata.al.hot().map(|extent| u64::from(extent.0)).collect();
        let before = with_extents(&metadata.bitmap, &hot);
        let after = with_extents(&before, &[heated]);
        let batch = metadata.al.transaction(&[], &[ExtentNo(heated as u32)]);
        let steps = steps(&[batch]);
        figures += each_crash(&disk.bytes(), &steps, |cut, state| {
            let found = read(state).unwrap();
            let weight = found.metadata.bitmap.weight();
            assert!(found.crashed && !found.log_lost);
            assert!(covers(&found.metadata.bitmap, &before), "step {cut}: a hot extent is lost");
            assert!(weight == before.weight() || weight == after.weight());
            assert!(cut < 2 || weight == after.weight(), "the transaction is durable, and lost");
        });
        steps.iter().for_each(|step| disk.step(step));
    }
    report("log transactions", figures);
}

/// An extent goes cold when its unsettled blocks are durably marked; another takes its slot in the
/// same transaction. In no state is there an unsettled block that neither the log nor a mark tells.
fn eviction(marks_first: bool, mut look: impl FnMut(usize, bool)) -> Figures {
    let (disk, mut metadata) = in_use(external());
    let unsettled = BlockRange::new(3, 6);
    metadata.bitmap.set(unsettled);
    let marks = metadata.bitmap.save(unsettled);
    let evict = metadata.al.transaction(&[ExtentNo(0)], &[ExtentNo(1)]);
    let batches = if marks_first { [marks, evict] } else { [evict, marks] };
    each_crash(&disk.bytes(), &steps(&batches), |cut, state| {
        let found = read(state).unwrap();
        look(cut, found.metadata.bitmap.count(unsettled) == unsettled.len());
    })
}

#[test]
fn cr1_eviction() {
    let figures = eviction(true, |cut, told| assert!(told, "step {cut}: an extent is cold early"));
    report("eviction", figures);
    // In the other order it would be wrong, and this test would see it.
    let mut lost = 0;
    eviction(false, |_, told| lost += u32::from(!told));
    assert!(lost > 0);
}

/// Marks come and go page by page: in each state what was marked before and is marked after is
/// marked, and a page that is torn is all marked.
#[test]
fn cr1_bitmap_write_back() {
    let (mut disk, mut metadata) = created(external());
    metadata.superblock.flags.attached = true;
    disk.apply(&metadata.save_superblock());
    let mut figures = Figures::default();
    // Bits in the first sector of the page, then in others; then all but one are cleared.
    let changes: [fn(&mut OutOfSync); 4] = [
        |map| _ = map.set(BlockRange::new(0, 3)),
        |map| _ = map.set(BlockRange::new(3000, 5125)),
        |map| _ = map.clear(BlockRange::new(1, 4500)),
        |map| map.clear_all(),
    ];
    for change in changes {
        let before = metadata.bitmap.clone();
        change(&mut metadata.bitmap);
        let after = metadata.bitmap.clone();
        let mut kept = before.clone();
        let mut at = 0;
        while let Some(run) = before.next_run(at, 1) {
            if !after.get(run.start) {
                kept.clear(run);
            }
            at = run.end;
        }
        let steps = steps(&[metadata.bitmap.save_some(1)]);
        figures += each_crash(&disk.bytes(), &steps, |cut, state| {
            let found = read(state).unwrap();
            let map = &found.metadata.bitmap;
            let torn = found.bad_pages == 1 && map.weight() == map.blocks();
            assert!(torn || map.weight() == before.weight() || map.weight() == after.weight());
            assert!(covers(map, &kept), "step {cut}: a mark is lost");
            assert!(cut < 2 || !torn && map.weight() == after.weight());
        });
        steps.iter().for_each(|step| disk.step(step));
    }
    report("bitmap write-back", figures);
}

/// A new generation is durable before the first solo write is answered: the superblock is the one
/// before or the new one, never a mixture.
#[test]
fn cr1_going_solo() {
    let (mut disk, mut metadata) = in_use(internal());
    let mut figures = Figures::default();
    for id in [0x30, 0x40, 0x50] {
        let before = metadata.superblock.clone();
        let id = metadata::GenerationId(id);
        let cause = metadata::Cause::PeerLost;
        metadata.superblock.generations.go_solo(id, cause, NodeId(1), Time(8));
        metadata.superblock.newest_exposed = id;
        let steps = steps(&[metadata.save_superblock()]);
        figures += each_crash(&disk.bytes(), &steps, |cut, state| {
            let found = read(state).unwrap().metadata.superblock;
            let as_before = found.generations == before.generations;
            let as_after = found.generations == metadata.superblock.generations;
            assert!(as_before || as_after);
            assert_eq!(found.newest_exposed == id, as_after, "step {cut}: a mixture");
            assert!(cut < 2 || as_after, "the new generation is lost");
        });
        steps.iter().for_each(|step| disk.step(step));
    }
    report("going solo", figures);
}

/// The parts may share a flush: whatever order the disk puts their writes in, and even if newer
/// bytes arrive where older ones were asked for, every mark and every hot extent is there.
#[test]
fn cr5_no_order_between_flushes_is_assumed() {
    let (disk, mut metadata) = in_use(external());
    let before = with_extents(&metadata.bitmap, &[0]);
    metadata.bitmap.set(BlockRange::new(4 * EXTENT_BLOCKS, 4 * EXTENT_BLOCKS + 1));
    metadata.superblock.agreed_bytes = 4096;
    let batch = together([
        metadata.save_superblock(),
        metadata.al.transaction(&[], &[ExtentNo(2)]),
        metadata.bitmap.save_some(1),
    ]);
    let steps = steps(&[batch]);
    let mut torn = 0;
    let figures = each_crash(&disk.bytes(), &steps, |cut, state| {
        let found = read(state).unwrap();
        assert!(found.crashed && !found.log_lost);
        assert!(covers(&found.metadata.bitmap, &before), "step {cut}: a mark is lost");
        torn += found.bad_pages;
    });
    assert!(torn > 0, "no page was ever torn");
    report("three parts under one flush", figures);
}

/// The disk mixes versions of one page that was written again and again before the flush.
#[test]
fn cr5_versions_of_a_page_are_mixed() {
    let (disk, mut metadata) = created(external());
    let mut batches = Vec::new();
    for block in [0, 4000, 4500] {
        metadata.bitmap.set(BlockRange::new(block, block + 1));
        batches.push(metadata.bitmap.save_some(1));
    }
    let steps = steps(&[together(batches)]);
    let mut mixed = 0;
    let figures = each_crash(&disk.bytes(), &steps, |cut, state| {
        let found = read(state).unwrap();
        let weight = found.metadata.bitmap.weight();
        assert!(weight <= 3 || found.bad_pages == 1, "a mixture of pages is believed");
        assert!(cut < steps.len() || weight == 3);
        mixed += found.bad_pages;
    });
    assert!(mixed > 0);
    report("versions of a page", figures);
}
