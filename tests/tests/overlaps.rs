//! Requests on both nodes that overlap.

#[test]
fn dp2_every_relation_of_two_writes_ends_alike_on_both_nodes() {
    tests::scenario::check("dp2-overlaps");
}

#[test]
fn dp3_every_kind_of_request_against_every_other_ends_alike_on_both_nodes() {
    tests::scenario::check("dp3-kinds");
}
