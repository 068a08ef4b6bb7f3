//! The connection breaks under load.

#[test]
fn ten_resets_under_load_are_resumed() {
    tests::scenario::check("resets");
}

#[test]
fn dp7_resets_in_the_middle_of_conflicts_are_resumed() {
    tests::scenario::check("dp7-resets");
}
