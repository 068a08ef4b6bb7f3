//! A Primary loses its peer, with `fencing resource-and-stonith`.

#[test]
fn a_link_that_will_not_stay_fences_nobody() {
    tests::scenario::check("stonith-resets");
}

#[test]
fn qf2_every_way_that_fence_peer_can_end() {
    tests::scenario::check("qf2-fence-peer");
}

#[test]
fn sb4_links_that_are_neither_there_nor_gone() {
    tests::scenario::check("sb4-bad-links");
}
