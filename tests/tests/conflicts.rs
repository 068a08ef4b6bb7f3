//! Both nodes write the same blocks.

#[test]
fn a_crowd_on_three_blocks_stays_linearizable_dp1_dp4_dp6() {
    tests::scenario::check("conflicts");
}
