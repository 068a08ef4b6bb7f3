use super::*;
use crate::golden;
use proptest::prelude::*;

const PAGE_BYTES: u64 = PAGE_BLOCKS * types::BLOCK_BYTES;

fn range(start: u64, end: u64) -> BlockRange {
    BlockRange::new(start, end)
}

/// One page as `docs/ondisk.md` describes it: the second of a volume of two.
#[test]
fn a_page_is_the_golden_bytes() {
    let golden = include_str!("../../tests/golden/bitmap-page-v1.txt");
    let mut map = OutOfSync::new(2 * PAGE_BYTES);
    map.set(range(PAGE_BLOCKS, PAGE_BLOCKS + 3));
    map.set(range(PAGE_BLOCKS + 70, PAGE_BLOCKS + 71));
    map.set(range(2 * PAGE_BLOCKS - 1, 2 * PAGE_BLOCKS));
    golden::check("bitmap-page-v1.txt", golden, &map.encode_page(1));

    let mut read = OutOfSync::new(2 * PAGE_BYTES);
    assert!(read.load_page(1, &golden::parse(golden)));
    assert_eq!((read.weight(), read.unsaved_pages()), (5, 0));
    assert!(read.get(PAGE_BLOCKS + 70) && !read.get(PAGE_BLOCKS + 71));
}

#[test]
fn a_damaged_page_counts_as_all_out_of_sync() {
    let mut map = OutOfSync::new(2 * PAGE_BYTES);
    map.set(range(5, 9));
    let good = map.encode_page(0);
    let other_place = map.encode_page(1);
    let mut damage: Vec<Vec<u8>> = vec![vec![0; 4096], other_place, good[..4095].to_vec()];
    for at in [0, 4, 8, 12, 16, 2000, 4095] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        damage.push(bytes);
    }
    for bytes in damage {
        let mut read = OutOfSync::new(2 * PAGE_BYTES);
        assert!(!read.load_page(0, &bytes));
        assert_eq!(read.weight(), PAGE_BLOCKS);
        assert!(!read.is_durable(range(0, 1)), "what stands for a bad page must be written");
        assert!(read.is_durable(range(PAGE_BLOCKS, 2 * PAGE_BLOCKS)));
    }
}

/// Nothing writes a bit past the end, so a page with one was written for another size.
#[test]
fn a_bit_past_the_end_makes_a_page_bad() {
    let mut longer = OutOfSync::new(1001 * types::BLOCK_BYTES);
    longer.set(range(1000, 1001));
    let page = longer.encode_page(0);
    assert!(!OutOfSync::new(1000 * types::BLOCK_BYTES).load_page(0, &page));
    assert!(OutOfSync::new(1001 * types::BLOCK_BYTES).load_page(0, &page));
}

#[test]
fn loading_a_page_replaces_what_was_there() {
    let empty = OutOfSync::new(2 * PAGE_BYTES);
    let mut map = OutOfSync::new(2 * PAGE_BYTES);
    map.set_all();
    assert!(map.load_page(0, &empty.encode_page(0)));
    assert_eq!((map.weight(), map.unsaved_pages()), (PAGE_BLOCKS, 1));
    map.save_some(1);
    // Bad, and all set already: what is on disk is still to be replaced.
    assert!(!map.load_page(1, &empty.encode_page(0)));
    assert_eq!((map.weight(), map.unsaved_pages()), (PAGE_BLOCKS, 1));
    assert_eq!(map.next_run(0, u64::MAX), Some(range(PAGE_BLOCKS, 2 * PAGE_BLOCKS)));
}

#[test]
fn a_change_is_durable_only_when_its_page_is_saved() {
    let mut map = OutOfSync::new(3 * PAGE_BYTES);
    assert_eq!(map.set(range(PAGE_BLOCKS - 1, PAGE_BLOCKS + 1)), 2);
    assert_eq!(map.unsaved_pages(), 2);
    assert!(map.is_durable(range(2 * PAGE_BLOCKS, 3 * PAGE_BLOCKS)));
    let batch = map.save(range(0, 1));
    assert_eq!(batch.writes.iter().map(|write| write.offset).collect::<Vec<_>>(), [0]);
    assert!(map.is_durable(range(0, PAGE_BLOCKS)));
    assert!(!map.is_durable(range(0, PAGE_BLOCKS + 1)));
    // Nothing changes, so nothing is to be saved.
    assert_eq!(map.set(range(0, 0)) + map.clear(range(0, 5)), 0);
    assert!(map.save(range(0, PAGE_BLOCKS)).is_empty());
    map.set_all();
    assert_eq!(map.save_some(2).writes.len(), 2);
    assert_eq!(map.save_some(2).writes.len(), 1);
    assert_eq!(map.unsaved_pages(), 0);
}

/// Runs go on over the pages' edges, and are cut at the length asked for.
#[test]
fn a_run_crosses_pages() {
    let mut map = OutOfSync::new(4 * PAGE_BYTES);
    let run = range(PAGE_BLOCKS - 7, 3 * PAGE_BLOCKS + 5);
    map.set(run);
    assert_eq!(map.next_run(0, u64::MAX), Some(run));
    assert_eq!(map.next_run(0, 8), Some(range(run.start, run.start + 8)));
    assert_eq!(map.next_run(2 * PAGE_BLOCKS, u64::MAX), Some(range(2 * PAGE_BLOCKS, run.end)));
    assert_eq!(map.next_run(run.end, u64::MAX), None);
    assert_eq!(map.next_run(0, 0), None);
    assert_eq!(map.next_run(4 * PAGE_BLOCKS, 1), None);
}

/// Sixteen tebibytes: 512 MiB of bits, in which searching looks at weights only.
#[test]
fn sixteen_tebibytes_work() {
    let mut map = OutOfSync::new(16 << 40);
    assert_eq!(map.blocks(), 1 << 32);
    let last = map.blocks() - 1;
    map.set(range(last, last + 1));
    assert_eq!(map.next_run(0, 10), Some(range(last, last + 1)));
    assert_eq!(map.count(range(0, last)), 0);
    let write = map.save_some(usize::MAX).writes.remove(0);
    assert_eq!(write.offset, last / PAGE_BLOCKS * 4096);
}

#[test]
#[should_panic(expected = "past the end")]
fn a_range_past_the_end_is_a_bug() {
    OutOfSync::new(4096).set(range(0, 2));
}

#[derive(Clone, Debug)]
enum Op {
    Set(u64, u64),
    Clear(u64, u64),
    Save(u64, u64),
    SaveSome(usize),
}

const BLOCKS: u64 = 2 * PAGE_BLOCKS + 100;

fn op() -> impl Strategy<Value = Op> {
    // Most ranges begin near an edge: of words, of pages, of the volume.
    let edge = prop_oneof![Just(0), Just(64), Just(PAGE_BLOCKS), Just(2 * PAGE_BLOCKS), 0..BLOCKS];
    let length = prop_oneof![0..70u64, 0..BLOCKS];
    let span = (edge, 0..70u64, length).prop_map(|(edge, back, length)| {
        let start = edge.saturating_sub(back);
        (start, (start + length).min(BLOCKS))
    });
    prop_oneof![
        3 => span.clone().prop_map(|(start, end)| Op::Set(start, end)),
        3 => span.clone().prop_map(|(start, end)| Op::Clear(start, end)),
        1 => span.prop_map(|(start, end)| Op::Save(start, end)),
        1 => (0..4usize).prop_map(Op::SaveSome),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A set of numbers does the same; and what is saved, read back, is the map.
    #[test]
    fn behaves_as_a_set_of_numbers(ops in prop::collection::vec(op(), 1..20)) {
        let mut map = OutOfSync::new(BLOCKS * types::BLOCK_BYTES);
        let mut model = vec![false; BLOCKS as usize];
        let mut disk: Vec<Vec<u8>> = (0..map.pages()).map(|page| map.encode_page(page)).collect();
        for op in ops {
            let mut save = |batch: Batch| for write in batch.writes {
                disk[(write.offset / 4096) as usize] = write.data.to_vec();
            };
            match op {
                Op::Set(start, end) | Op::Clear(start, end) => {
                    let value = matches!(op, Op::Set(..));
                    let target = &mut model[start as usize..end as usize];
                    let changed = target.iter().filter(|&&bit| bit != value).count() as u64;
                    target.fill(value);
                    let r = range(start, end);
                    prop_assert_eq!(if value { map.set(r) } else { map.clear(r) }, changed);
                    prop_assert_eq!(map.count(r), if value { r.len() } else { 0 });
                    prop_assert_eq!(map.any(r), value && !r.is_empty());
                }
                Op::Save(start, end) => {
                    save(map.save(range(start, end)));
                    prop_assert!(map.is_durable(range(start, end)));
                }
                Op::SaveSome(max) => save(map.save_some(max)),
            }
            prop_assert_eq!(map.weight(), model.iter().filter(|&&bit| bit).count() as u64);
        }
        let mut runs = vec![false; BLOCKS as usize];
        let mut at = 0;
        while let Some(run) = map.next_run(at, 1000) {
            prop_assert!(run.start >= at && !run.is_empty() && run.len() <= 1000);
            runs[run.start as usize..run.end as usize].fill(true);
            at = run.end;
        }
        prop_assert_eq!(&runs, &model);
        prop_assert!((0..BLOCKS).all(|block| map.get(block) == model[block as usize]));

        let mut read = OutOfSync::new(BLOCKS * types::BLOCK_BYTES);
        for page in 0..map.pages() {
            prop_assert!(read.load_page(page, &disk[page as usize]));
            let blocks = map.page_range(page as usize);
            if map.is_durable(blocks) {
                prop_assert_eq!(read.slice(blocks), map.slice(blocks));
            }
        }
        map.save_some(usize::MAX).writes.iter().for_each(|write| {
            read.load_page((write.offset / 4096) as u32, &write.data);
        });
        prop_assert_eq!(read, map);
    }
}
