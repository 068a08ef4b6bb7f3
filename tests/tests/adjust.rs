//! Changes of the configuration under clients.

#[test]
fn what_runs_becomes_what_is_configured_and_clients_do_not_notice() {
    tests::scenario::check("adjust");
}
