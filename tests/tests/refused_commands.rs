//! What repadm refuses, and how.

#[test]
fn refusals_before_anything_replicates() {
    tests::scenario::check("refused-commands");
}

#[test]
fn refusals_of_roles() {
    tests::scenario::check("refused-roles");
}
