//! NBD clients of other people; see the scenarios of the same names.

#[test]
fn holes_and_what_is_out_of_sync_are_told_as_they_are() {
    tests::scenario::check("nbd-map");
}

#[test]
fn libnbd_gets_what_it_asks_for_and_the_errors_that_it_should() {
    tests::scenario::check("nbd-clients");
}

#[test]
fn images_go_in_at_one_node_and_come_out_at_the_other_by_every_program() {
    tests::scenario::check("nbd-images");
}
