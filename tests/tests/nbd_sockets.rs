//! The sockets of NBD; see the scenarios of the same names.

#[test]
fn sockets_that_are_passed_are_served() {
    tests::scenario::check("passed-sockets");
}

#[test]
fn a_socket_has_the_permissions_that_are_asked_for() {
    tests::scenario::check("socket-permissions");
}

#[test]
fn silent_clients_keep_nobody_out() {
    tests::scenario::check("silent-clients");
}
