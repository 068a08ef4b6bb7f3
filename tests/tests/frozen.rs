//! A node stands still.

#[test]
fn a_frozen_secondary_serves_nothing_old_dp8() {
    tests::scenario::check("frozen");
}
