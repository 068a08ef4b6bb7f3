//! create-md and wipe-md, over whatever was there.

use super::*;
use metadata::crash::{each_crash, steps};

/// What was there, or nothing, or all of the new metadata; and never a byte of data changed.
fn check_creation(operation: &str, before: &[u8]) {
    let was_there = read(before).is_ok();
    let (metadata, batches) = Metadata::create(params(internal(), 0x2e3));
    let steps = steps(&batches);
    // Wipe marks, log, bitmap and superblocks: the metadata is new after a write of the last.
    let last = steps.len() - 3;
    let data = metadata.layout.data_bytes() as usize;
    let (mut old, mut none, mut new) = (0, 0, 0);
    let figures = each_crash(before, &steps, |cut, state| {
        assert_eq!(state[..data], before[..data], "data changed at step {cut}");
        let found = read(state);
        match &found {
            Ok(found) if found.metadata.superblock.disk_incarnation == 0x2e3 => {
                assert!(cut > last, "new at step {cut}, before all of it is there");
                assert!(!found.crashed && found.plan.is_empty());
                assert_eq!(found.metadata.bitmap.weight(), 0);
                new += 1;
            }
            Ok(_) => {
                assert!(was_there && state == before, "half of the old is left at step {cut}");
                old += 1;
            }
            Err(_) => {
                assert!(has_none(&found), "step {cut}: {found:?}");
                assert!(cut < steps.len() && (state != before || !was_there), "step {cut}");
                none += 1;
            }
        }
    });
    assert!(new > 1 && none > 1 && (old > 0) == was_there, "{old}, {none}, {new}");
    report(operation, figures);
}

#[test]
fn cr1_create_md_fresh() {
    check_creation("create-md on an empty disk", &[0; INTERNAL as usize]);
    check_creation("create-md over foreign bytes", &[0x5a; INTERNAL as usize]);
}

#[test]
fn cr1_create_md_over_older_metadata() {
    check_creation("create-md over metadata in use", &in_use(internal()).0.bytes());
}

/// Metadata with a longer log is elsewhere, but its superblocks are in the same place.
#[test]
fn cr1_create_md_over_metadata_of_another_layout() {
    let layout = Layout::internal(INTERNAL, RING + 2).unwrap();
    check_creation("create-md over metadata of another layout", &created(layout).0.bytes());
}

#[test]
fn cr1_wipe_md() {
    let before = in_use(internal()).0.bytes();
    let steps = steps(&[metadata::wipe(&internal())]);
    let figures = each_crash(&before, &steps, |cut, state| {
        let found = read(state);
        if state == before {
            assert!(found.is_ok() && cut < steps.len());
        } else {
            assert!(has_none(&found), "step {cut}: {found:?}");
        }
    });
    report("wipe-md", figures);
}
