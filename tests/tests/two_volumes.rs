//! One resource with two volumes.

#[test]
fn two_volumes_have_one_link_and_one_role_and_each_its_own_disk_generations_and_verdict() {
    tests::scenario::check("two-volumes");
}
