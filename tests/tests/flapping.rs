//! A link that flaps, or is there for one node only.

#[test]
fn sb4_a_flapping_link_is_no_split_brain() {
    tests::scenario::check("sb4-flapping");
}

#[test]
fn sb4_half_open_connections_are_replaced() {
    tests::scenario::check("sb4-half-open");
}
