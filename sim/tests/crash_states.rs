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

macro_rules! crash_states {
    ($($test:ident: $operation:ident, $images:literal;)+) => {
        $(#[test]
        fn $test() {
            every_state_is_well(Operation::$operation, $images);
        })+

        /// No operation is left out.
        #[test]
        fn every_operation_has_its_test() {
            let tested = [$(Operation::$operation),+];
            assert_eq!(tested.as_slice(), Operation::ALL);
        }
    };
}

crash_states! {
    cr1_attach: Attach, 7;
    cr1_attach_after_crash: Recover, 24;
    cr1_promote: Promote, 8;
    cr1_promote_after_crash: PromoteAfterCrash, 18;
    cr1_failover: Failover, 100;
    cr1_go_solo: GoSolo, 500;
    cr1_log_transaction: LogTransaction, 300;
    cr1_mirrored_write: MirroredWrite, 300;
    cr1_evict: Evict, 32;
    cr1_evict_alone: EvictAlone, 150;
    cr1_bitmap_write_back: BitmapWriteBack, 400;
    cr1_full_sync_target: FullSyncTarget, 1000;
    cr1_full_sync_source: FullSyncSource, 47;
    cr1_resync_target: ResyncTarget, 140;
    cr1_resync_source: ResyncSource, 130;
    cr1_demote: Demote, 36;
    cr1_detach: Detach, 14;
    cr1_detach_primary: DetachPrimary, 36;
    cr1_diskless_write: DisklessWrite, 3;
    cr1_disconnect: Disconnect, 250;
    cr1_disconnected: Disconnected, 16;
    cr1_stop: Stop, 36;
}
