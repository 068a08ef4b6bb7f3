//! Nobody writes while the cable is out.

#[test]
fn idle_primaries_whose_cable_was_pulled_have_not_diverged() {
    tests::scenario::check("idle-primaries");
}
