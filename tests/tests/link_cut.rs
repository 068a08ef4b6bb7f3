//! The other node is away, and comes back.

#[test]
fn a_cut_link_is_resynced() {
    tests::scenario::check("link-cut");
}

#[test]
fn a_silent_link_is_noticed_and_resynced() {
    tests::scenario::check("link-silent");
}

#[test]
fn a_killed_secondary_is_resynced() {
    tests::scenario::check("secondary-killed");
}
