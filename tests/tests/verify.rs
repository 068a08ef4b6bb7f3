//! Verify by real daemons.

#[test]
fn op7_verify_under_hot_writes_finds_all_damage_and_nothing_else() {
    tests::scenario::check("verify");
}
