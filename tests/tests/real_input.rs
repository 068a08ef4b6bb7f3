//! Clients of other people on two nodes; see the scenarios of the same names.

#[test]
fn an_image_goes_in_at_one_node_and_comes_out_at_the_other() {
    tests::scenario::check("real-input");
}

#[test]
fn both_nodes_write_and_each_reads_the_other() {
    tests::scenario::check("both-write");
}
