//! Growing in use.

#[test]
fn op4_a_volume_grows_under_load_on_both_nodes() {
    tests::scenario::check("op4-grow");
}
