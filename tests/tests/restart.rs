//! Daemons that are started again within the boot.

#[test]
fn a_crashed_daemon_brings_back_what_was_up() {
    tests::scenario::check("restart-crash");
}

#[test]
fn an_orderly_end_keeps_what_clients_need() {
    tests::scenario::check("restart-order");
}
