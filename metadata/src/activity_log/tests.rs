use super::*;
use crate::crash::Disk;
use crate::golden;
use proptest::prelude::*;
use types::{ByteRange, Prng};

fn layout(ring: u32) -> Layout {
    Layout::external(1 << 40, 1 << 30, ring).unwrap()
}

/// A log on a disk, as `create-md` leaves it.
fn fresh(ring: u32, al_extents: u32) -> (ActivityLog, Disk) {
    let layout = layout(ring);
    let mut disk = Disk::new(layout.al_offset() + u64::from(ring) * META_BLOCK as u64);
    // What another life of the disk left there.
    disk.durable.fill(0xa5);
    let mut log = ActivityLog::new(&layout, al_extents);
    disk.apply(&log.format());
    (log, disk)
}

fn replay(disk: &Disk, ring: u32) -> Replayed {
    let offset = layout(ring).al_offset();
    ActivityLog::replay(&disk.read(ByteRange::between(offset, disk.len())), ring)
}

fn hot(disk: &Disk, ring: u32) -> Vec<u32> {
    let hot = replay(disk, ring).hot.expect("the ring is good");
    hot.into_iter().map(|extent| extent.0).collect()
}

fn extents(numbers: impl IntoIterator<Item = u32>) -> Vec<ExtentNo> {
    numbers.into_iter().map(ExtentNo).collect()
}

#[test]
fn the_golden_bytes() {
    let (mut log, mut disk) = fresh(8, 67);
    let reset = disk.read(ByteRange::new(layout(8).al_offset(), 4096));
    golden::check(
        "transaction-reset-v1.txt",
        include_str!("../../tests/golden/transaction-reset-v1.txt"),
        &reset,
    );
    disk.apply(&log.transaction(&[], &extents([7, 9])));
    let batch = log.transaction(&extents([7]), &extents([0x1234, 8]));
    assert_eq!(batch.writes.len(), 1);
    assert_eq!(batch.writes[0].offset, layout(8).al_offset() + 2 * 4096);
    golden::check(
        "transaction-v1.txt",
        include_str!("../../tests/golden/transaction-v1.txt"),
        &batch.writes[0].data,
    );
}

#[test]
fn capacity_is_what_is_asked_as_far_as_the_ring_rebuilds_it() {
    let capacity = |ring, asked| ActivityLog::new(&layout(ring), asked).capacity();
    assert_eq!(capacity(8, AL_EXTENTS_DEFAULT), 1237);
    assert_eq!(capacity(8, 0), 1);
    assert_eq!(capacity(8, 65_534), 7 * 920);
    assert_eq!(capacity(2, 65_534), 920);
    assert_eq!(capacity(73, u32::MAX), 65_534);
}

#[test]
fn eviction_begins_with_the_least_recently_used() {
    let (mut log, _) = fresh(8, 67);
    log.transaction(&[], &extents([1, 2, 3, 4]));
    log.touch(ExtentNo(2));
    log.touch(ExtentNo(1));
    log.touch(ExtentNo(1));
    assert_eq!(log.coldest().collect::<Vec<_>>(), extents([3, 4, 2, 1]));
    log.transaction(&extents([4]), &extents([9]));
    assert_eq!(log.coldest().collect::<Vec<_>>(), extents([3, 2, 1, 9]));
    assert_eq!(log.hot().collect::<Vec<_>>(), extents([1, 2, 3, 9]));
    log.transaction(&extents([3, 9, 1, 2]), &[]);
    assert_eq!(log.coldest().next(), None);
    assert_eq!((log.hot_count(), log.is_hot(ExtentNo(1))), (0, false));
}

/// A slot that is emptied and filled again in one transaction is one change.
#[test]
fn a_full_transaction_replaces_as_many_as_it_changes() {
    let (mut log, mut disk) = fresh(8, 200);
    disk.apply(&log.transaction(&[], &extents(0..64)));
    disk.apply(&log.transaction(&extents(0..64), &extents(100..164)));
    assert_eq!(hot(&disk, 8), (100..164).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "65 slots change")]
fn more_changes_than_fit_are_a_bug() {
    fresh(8, 200).0.transaction(&[], &extents(0..65));
}

#[test]
#[should_panic(expected = "no free slot")]
fn a_full_table_takes_no_more() {
    let (mut log, _) = fresh(8, 67);
    log.transaction(&[], &extents(0..64));
    log.transaction(&[], &extents(64..68));
}

#[test]
#[should_panic(expected = "not hot")]
fn a_cold_extent_cannot_cool() {
    fresh(8, 67).0.transaction(&extents([1]), &[]);
}

#[test]
#[should_panic(expected = "hot already")]
fn a_hot_extent_cannot_be_heated() {
    fresh(8, 67).0.transaction(&[], &extents([1, 1]));
}

/// The ring tolerates one bad block, the one being written, and no other.
#[test]
fn damage_elsewhere_means_that_nothing_is_known() {
    let ring = 4;
    let (mut log, mut disk) = fresh(ring, 67);
    for i in 0..10 {
        disk.apply(&log.transaction(&[], &extents([i])));
    }
    // Transactions 7 to 10 are there; 10 is the newest, at place 2. 11 would be at place 3.
    for place in 0..4u64 {
        let mut damaged = disk.clone();
        let at = layout(ring).al_offset() + place * 4096 + 2000;
        damaged.durable[at as usize] ^= 1;
        let expected = match place {
            // As if 10 had been torn.
            2 => Some(extents(0..9).into_iter().collect()),
            // The oldest, which is not needed.
            3 => Some(extents(0..10).into_iter().collect()),
            _ => None,
        };
        assert_eq!(replay(&damaged, ring).hot, expected, "place {place}");
    }
    disk.durable.fill(0);
    assert_eq!(replay(&disk, ring), Replayed { hot: None, capacity: 0, next_sequence: 0 });
}

/// Every way of losing power in every transaction of a long life: the table is the one before or
/// the one after, in rings of all lengths, with tables of one slice and of many.
#[test]
fn a_lost_transaction_leaves_the_table_before_it() {
    for (ring, al_extents) in [(2, 67), (2, 920), (3, 1237), (3, 1840), (8, 6440)] {
        let (mut log, mut disk) = fresh(ring, al_extents);
        let mut prng = Prng::new(u64::from(ring) << 16 | u64::from(al_extents));
        for step in 0..120 {
            let before: Vec<u32> = log.hot().map(|extent| extent.0).collect();
            let batch =
                if step % 40 == 39 { log.reset() } else { random_transaction(&mut log, &mut prng) };
            let after: Vec<u32> = log.hot().map(|extent| extent.0).collect();
            if step % 10 < 2 || step % 40 == 39 {
                disk.each_crash(&batch, |disk| {
                    let found = hot(&disk, ring);
                    assert!(found == before || found == after, "ring {ring}, step {step}");
                });
            }
            disk.apply(&batch);
            assert_eq!(hot(&disk, ring), after, "ring {ring}, step {step}");
        }
    }
}

/// Cools some of the coldest and heats some others, so that the table is mostly full.
fn random_transaction(log: &mut ActivityLog, prng: &mut Prng) -> Batch {
    let free = log.capacity() - log.hot_count();
    let cool = prng.below(20).min(u64::from(log.hot_count())) as usize;
    let cool: Vec<ExtentNo> = log.coldest().take(cool).collect();
    let room = (free as usize + cool.len()).min(ActivityLog::MAX_UPDATES - cool.len());
    let mut heat = BTreeSet::new();
    while heat.len() < room {
        let extent = ExtentNo(prng.below(1 << 18) as u32);
        if !log.is_hot(extent) {
            heat.insert(extent);
        }
    }
    log.transaction(&cool, &heat.into_iter().collect::<Vec<_>>())
}

proptest! {
    /// Whatever is in the ring, reading it ends with an answer.
    #[test]
    fn any_bytes_are_read(seed in any::<u64>(), flips in prop::collection::vec(0..16384usize, 0..9)) {
        let (mut log, mut disk) = fresh(4, 67);
        let mut prng = Prng::new(seed);
        for _ in 0..prng.below(9) {
            disk.apply(&random_transaction(&mut log, &mut prng));
        }
        let offset = layout(4).al_offset() as usize;
        for flip in flips {
            disk.durable[offset + flip] ^= 1 << (flip % 8);
        }
        let found = replay(&disk, 4);
        prop_assert!(found.hot.is_none_or(|hot| hot.len() <= 67));
    }
}
