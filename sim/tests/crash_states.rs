//! Every state that a loss of power can leave, for each operation of the engine: see
//! `sim::crash_states`. The numbers are the least of different disks that must have been tried: an
//! operation that writes less than that is not the one that is meant.

use sim::crash_states::{Operation, explore};

fn every_state_is_well(operation: Operation, images: u64) {
    let row = explore(operation);
    if let Some(text) = row.failure {
        panic!("{text}");
    }
    assert!(row.images >= images, "{row:?}");
    assert!(row.states >= row.images && row.starts >= 4 * row.images, "{row:?}");
}

#[test]
fn cr1_attach() {
    every_state_is_well(Operation::Attach, 7);
}

#[test]
fn cr1_attach_after_crash() {
    every_state_is_well(Operation::Recover, 24);
}

#[test]
fn cr1_promote() {
    every_state_is_well(Operation::Promote, 8);
}

#[test]
fn cr1_promote_after_crash() {
    every_state_is_well(Operation::PromoteAfterCrash, 18);
}

#[test]
fn cr1_failover() {
    every_state_is_well(Operation::Failover, 100);
}

#[test]
fn cr1_go_solo() {
    every_state_is_well(Operation::GoSolo, 200);
}

#[test]
fn cr1_log_transaction() {
    every_state_is_well(Operation::LogTransaction, 300);
}

#[test]
fn cr1_mirrored_write() {
    every_state_is_well(Operation::MirroredWrite, 300);
}

#[test]
fn cr1_evict() {
    every_state_is_well(Operation::Evict, 32);
}

#[test]
fn cr1_evict_alone() {
    every_state_is_well(Operation::EvictAlone, 150);
}

#[test]
fn cr1_bitmap_write_back() {
    every_state_is_well(Operation::BitmapWriteBack, 400);
}

#[test]
fn cr1_full_sync_target() {
    every_state_is_well(Operation::FullSyncTarget, 1000);
}

#[test]
fn cr1_full_sync_source() {
    every_state_is_well(Operation::FullSyncSource, 47);
}

#[test]
fn cr1_resync_target() {
    every_state_is_well(Operation::ResyncTarget, 140);
}

#[test]
fn cr1_resync_source() {
    every_state_is_well(Operation::ResyncSource, 130);
}

#[test]
fn cr1_demote() {
    every_state_is_well(Operation::Demote, 36);
}

#[test]
fn cr1_detach() {
    every_state_is_well(Operation::Detach, 14);
}

#[test]
fn cr1_detach_primary() {
    every_state_is_well(Operation::DetachPrimary, 36);
}

#[test]
fn cr1_diskless_write() {
    every_state_is_well(Operation::DisklessWrite, 3);
}

#[test]
fn cr1_disconnect() {
    every_state_is_well(Operation::Disconnect, 150);
}

#[test]
fn cr1_disconnected() {
    every_state_is_well(Operation::Disconnected, 16);
}

#[test]
fn cr1_stop() {
    every_state_is_well(Operation::Stop, 36);
}

/// No operation is left out.
#[test]
fn every_operation_has_its_test() {
    for operation in Operation::ALL {
        let name = format!("fn cr1_{}()", operation.as_str().replace('-', "_"));
        assert!(include_str!("crash_states.rs").contains(&name), "{name}");
    }
}

#[test]
fn cr1_grow() {
    every_state_is_well(Operation::Grow, 200);
}

#[test]
fn cr1_grown() {
    every_state_is_well(Operation::Grown, 100);
}

#[test]
fn cr1_grow_alone() {
    every_state_is_well(Operation::GrowAlone, 60);
}
