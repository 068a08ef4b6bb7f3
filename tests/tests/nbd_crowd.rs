//! Crowds of NBD clients that are no good; see the scenarios of the same names.

#[test]
fn a_daemon_stays_small_and_serves_among_clients_that_stand_still() {
    tests::scenario::check("nbd-memory");
}

#[test]
fn two_daemons_stay_small_when_both_have_such_clients() {
    tests::scenario::check("nbd-memory-of-both");
}

#[test]
fn of_clients_that_vanish_nothing_is_left() {
    tests::scenario::check("nbd-vanishing");
}
