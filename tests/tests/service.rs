//! What is done at boot and at shutdown.

#[test]
fn the_service_brings_up_waits_and_promotes_and_takes_down_again() {
    tests::scenario::check("service-start");
}

#[test]
fn the_service_waits_as_long_as_the_peer_is_likely_to_come() {
    tests::scenario::check("service-waits");
}

#[test]
fn the_service_makes_nobody_primary_after_a_split_brain() {
    tests::scenario::check("service-split-brain");
}
