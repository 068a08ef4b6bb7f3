//! Protocols A, B and C.

#[test]
fn each_protocol_keeps_both_disks_equal() {
    tests::scenario::check("protocols");
}

#[test]
fn a_failover_with_protocol_a_is_named() {
    tests::scenario::check("protocol-a-failover");
}

#[test]
fn rs6_a_peer_that_is_behind_is_brought_back() {
    tests::scenario::check("pull-ahead");
}
