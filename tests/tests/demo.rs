//! The demo.

#[test]
fn the_demo_works_without_root() {
    tests::scenario::check("demo");
}
