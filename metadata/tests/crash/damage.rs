//! Superblock slots that are stale, torn or rotten.

use super::*;
use metadata::crash::each_crash;
use metadata::{Superblock, newest};

/// A disk whose slots have different things to say, and where these slots are.
fn two_slots() -> (Vec<u8>, [usize; 2], Metadata) {
    let (mut disk, mut metadata) = in_use(internal());
    // In the first sector and in another.
    metadata.superblock.agreed_bytes = 4096;
    metadata.superblock.peer_sequence = 17;
    disk.apply(&metadata.save_superblock());
    let slots = [0, 1].map(|slot| metadata.layout.superblock_offset(slot) as usize);
    (disk.bytes(), slots, metadata)
}

/// The superblock that counts, before any recovery.
fn counting(bytes: &[u8], slots: [usize; 2]) -> Result<Superblock, SlotsError> {
    newest(slots.map(|slot| &bytes[slot..][..4096]))
}

/// With one slot bad in whatever way, the other counts, and the next save goes over the bad one.
#[test]
fn cr8_one_bad_slot_leaves_the_other() {
    let (good, slots, metadata) = two_slots();
    let newest = metadata.superblock.slot();
    let damages: [fn(&mut [u8]); 4] = [
        |slot| slot[100] ^= 1,
        |slot| slot[512..].fill(0x5a),
        |slot| slot.fill(0),
        |slot| slot.fill(0xff),
    ];
    for (slot, damage) in (0..2).flat_map(|slot| damages.map(|damage| (slot, damage))) {
        let mut bytes = good.clone();
        damage(&mut bytes[slots[slot]..][..4096]);
        let found = read(&bytes).unwrap();
        let expected = if slot == newest { 0 } else { 4096 };
        assert_eq!(found.metadata.superblock.agreed_bytes, expected, "slot {slot}");
        // The recovery saves: over the bad one, or the older, and both are good after it.
        let mut disk = Disk::of(bytes);
        found.plan.iter().for_each(|batch| disk.apply(batch));
        let mut metadata = found.metadata;
        disk.apply(&metadata.save_superblock());
        let again = read(&disk.bytes()).unwrap().metadata.superblock;
        assert_eq!(again.sequence, metadata.superblock.sequence);
    }
}

/// A slot that is as it was long ago (its write was lost) does not count over a newer one.
#[test]
fn cr8_a_stale_slot_does_not_count() {
    let (good, slots, mut metadata) = two_slots();
    let stale = metadata.superblock.slot() ^ 1;
    let mut disk = Disk::of(good.clone());
    for _ in 0..4 {
        metadata.superblock.agreed_bytes += 1;
        disk.apply(&metadata.save_superblock());
    }
    let mut bytes = disk.bytes();
    bytes[slots[stale]..][..4096].copy_from_slice(&good[slots[stale]..][..4096]);
    let found = counting(&bytes, slots).unwrap();
    let newest = metadata.superblock.slot();
    let expected = metadata.superblock.sequence - u64::from(newest == stale);
    assert_eq!(found.sequence, expected);
}

/// Both bad: refused, with the command that helps; never a mixture of both.
#[test]
fn cr8_both_slots_bad_is_refused_with_the_way_out() {
    let (good, slots, _) = two_slots();
    let mut bytes = good.clone();
    slots.iter().for_each(|slot| bytes[slot + 100] ^= 1);
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, LoadError::Slots(SlotsError::BothBad(..))), "{error}");
    let text = error.to_string();
    assert!(text.contains("both superblock slots are bad"), "{text}");
    assert!(text.contains("create-md") && text.contains("synchronise"), "{text}");

    // Sectors of both slots exchanged in every way are no superblock, unless none or all are.
    let mut exchanged = Disk::of(good.clone());
    for sector in 0..8 {
        let [first, second] = slots.map(|slot| super::sector(&good[slot..][..4096], sector));
        exchanged.write((slots[0] + sector * 512) as u64, &second);
        exchanged.write((slots[1] + sector * 512) as u64, &first);
    }
    let (mut refused, mut read_back) = (0, 0);
    let states = exchanged.each_state(|state| match counting(state, slots) {
        Err(SlotsError::BothBad(..)) => refused += 1,
        Err(error) => panic!("{error}"),
        Ok(found) => {
            let counts = slots[found.slot()];
            assert_eq!(state[counts..][..4096], good[counts..][..4096], "a mixture is believed");
            read_back += 1;
        }
    });
    assert!(refused > 0 && read_back > 0);
    report("two slots mixed", Figures { cuts: 1, states });
}

/// A superblock is being written while the other slot is bad already: the one fault more than the
/// format bears is refused, not believed.
#[test]
fn cr8_a_torn_save_over_a_bad_disk_is_refused_or_whole() {
    let (mut bytes, slots, mut metadata) = two_slots();
    let before = metadata.superblock.slot();
    bytes[slots[before] + 40] ^= 1;
    metadata.superblock.agreed_bytes = 8192;
    metadata.superblock.peer_sequence = 18;
    let steps = metadata::crash::steps(&[metadata.save_superblock()]);
    let mut seen = [0; 3];
    each_crash(&bytes, &steps, |cut, state| match counting(state, slots) {
        Ok(found) if found.agreed_bytes == 8192 => seen[0] += 1,
        Ok(_) => {
            assert!(cut < 2, "the write is durable, and lost");
            seen[1] += 1;
        }
        Err(SlotsError::BothBad(..)) => seen[2] += 1,
        Err(error) => panic!("{error}"),
    });
    assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
}
