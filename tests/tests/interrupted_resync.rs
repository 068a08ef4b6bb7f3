//! A resync is interrupted.

#[test]
fn an_interrupted_resync_goes_on_cr4() {
    tests::scenario::check("interrupted-resync");
}
