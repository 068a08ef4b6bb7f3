//! The control socket, and who does not speak as `repadm` does.

#[test]
fn abuse_of_the_control_socket_does_no_harm() {
    tests::scenario::check("control-abuse");
}
