//! Many resources on one daemon.

#[test]
fn many_resources_on_one_daemon_each_work_within_bounded_memory_and_threads() {
    tests::scenario::check("many-resources");
}
