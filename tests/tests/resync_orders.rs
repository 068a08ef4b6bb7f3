//! What an operator orders about resyncs, and how fast they go.

#[test]
fn rs5_resyncs_are_paused_ordered_and_left_out_by_real_daemons() {
    tests::scenario::check("resync-orders");
}

#[test]
fn a_resync_is_measured_idle_and_under_load() {
    tests::scenario::check("resync-pace");
}
