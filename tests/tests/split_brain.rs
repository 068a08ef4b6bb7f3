//! Both nodes have written alone.

#[test]
fn sb3_policies_without_a_primary() {
    tests::scenario::check("sb3-no-primary");
}

#[test]
fn sb3_policies_with_one_primary() {
    tests::scenario::check("sb3-one-primary");
}

#[test]
fn sb3_policies_with_two_primaries() {
    tests::scenario::check("sb3-two-primaries");
}

#[test]
fn a_split_brain_is_settled_by_hand_from_either_side() {
    tests::scenario::check("split-brain-by-hand");
}
