//! Configurations as people bring them.

#[test]
fn every_sample_file_comes_up_between_two_daemons() {
    tests::scenario::check("sample-files");
}
