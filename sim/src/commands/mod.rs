//! What the program `sim` can be told to do.

mod seeds;
mod shrink;

pub(crate) use seeds::{Seeds, seeds};
pub(crate) use shrink::{Shrink, shrink};
