//! A client of both nodes.

#[test]
fn dp11_a_flush_on_either_node_is_for_both_and_either_may_die() {
    tests::scenario::check("dp11-multi-conn");
}
