//! Daemons that end under NBD clients; see the scenarios of the same names.

#[test]
fn a_restart_is_a_pause_for_clients_that_come_back() {
    tests::scenario::check("nbd-restart");
}

#[test]
fn what_comes_late_is_refused_by_an_order_and_left_alone_by_a_restart() {
    tests::scenario::check("nbd-taken-away");
}
