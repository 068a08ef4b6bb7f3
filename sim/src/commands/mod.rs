//! What the program `sim` can be told to do.

mod crash_states;
mod seeds;
mod shrink;

pub(crate) use crash_states::{CrashStates, crash_states};
pub(crate) use seeds::{Seeds, seeds};
pub(crate) use shrink::{Shrink, shrink};
