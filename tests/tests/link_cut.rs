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

#[test]
fn dp7_writes_of_both_on_their_way_when_the_link_is_cut_are_judged_once() {
    tests::scenario::check("dp7-resumed");
}

#[test]
fn dp7_writes_of_both_that_are_answered_alone_are_marked_on_both() {
    tests::scenario::check("dp7-alone");
}
