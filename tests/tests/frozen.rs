//! A node stands still.

#[test]
fn dp8_a_frozen_secondary_serves_nothing_old() {
    tests::scenario::check("dp8-frozen-secondary");
}

#[test]
fn dp8_a_frozen_primary_serves_nothing_old() {
    tests::scenario::check("dp8-frozen-primary");
}

#[test]
fn dp8_a_frozen_primary_that_was_given_up_is_demoted_unless_it_has_clients() {
    tests::scenario::check("dp8-given-up");
}

#[test]
fn dp8_what_waits_at_a_frozen_primary_that_was_given_up_fails_and_is_no_split_brain() {
    tests::scenario::check("dp8-given-up-while-asked");
}
