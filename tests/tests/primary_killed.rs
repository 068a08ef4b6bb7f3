//! A Primary's daemon is killed under load.

#[test]
fn nothing_answered_is_lost() {
    tests::scenario::check("primary-killed");
}
