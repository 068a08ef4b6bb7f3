//! Disks that are damaged, exchanged, full or read-only, and what the operator is told.

#[test]
fn cr8_damaged_metadata_are_survived_or_refused_with_the_way_out() {
    tests::scenario::check("cr8-damaged-metadata");
}

#[test]
fn rs11_an_older_disk_is_never_taken_for_a_new_one() {
    tests::scenario::check("rs11-older-disk");
}

#[test]
fn rs12_a_foreign_disk_is_refused_by_name() {
    tests::scenario::check("rs12-foreign-disk");
}

#[test]
fn io5_a_full_disk_is_let_go_and_nobody_notices() {
    tests::scenario::check("io5-full-disk");
}

#[test]
fn a_read_only_disk_is_refused() {
    tests::scenario::check("read-only-disk");
}
