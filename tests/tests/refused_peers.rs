//! Who may connect.

#[test]
fn a_wrong_secret_is_refused() {
    tests::scenario::check("wrong-secret");
}

#[test]
fn another_resource_is_refused() {
    tests::scenario::check("other-resource");
}

#[test]
fn strangers_are_refused_and_learn_nothing() {
    tests::scenario::check("strangers");
}

#[test]
fn settings_that_differ_are_refused_with_both_values_on_both_nodes() {
    tests::scenario::check("different-settings");
}
