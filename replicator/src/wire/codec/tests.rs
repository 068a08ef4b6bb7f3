//! Round trips and golden bytes.
