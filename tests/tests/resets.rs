//! The connection breaks under load.

#[test]
fn ten_resets_under_load_are_resumed() {
    tests::scenario::check("resets");
}
