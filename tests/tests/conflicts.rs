//! Both nodes write the same blocks.

#[test]
fn dp1_two_writers_of_one_block_agree_and_count_alike() {
    tests::scenario::check("dp1-one-block");
}

#[test]
fn dp4_what_one_node_has_answered_the_other_reads() {
    tests::scenario::check("dp4-read-after-ack");
}

#[test]
fn dp6_a_storm_on_one_block_is_answered_and_counted_exactly() {
    tests::scenario::check("dp6-storm");
}
