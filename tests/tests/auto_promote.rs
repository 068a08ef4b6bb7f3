//! A node that is Primary for its clients' sake.

#[test]
fn a_node_is_primary_as_long_as_it_has_clients() {
    tests::scenario::check("auto-promote");
}
