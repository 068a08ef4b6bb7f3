//! Round trips. (Golden bytes stand in replicator/tests/golden.rs.)
use super::*;

#[test]
fn kinds_are_found_by_their_numbers() {
    for &kind in Kind::ALL {
        assert_eq!(Kind::from_u16(kind as u16), Some(kind));
    }
}
