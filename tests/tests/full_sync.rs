//! The first full sync of a disk without a zero.

#[test]
fn a_full_sync_copies_everything() {
    tests::scenario::check("full-sync");
}
