//! What must be true of a world: always, at certain events, and at its end.
//!
//! | oracle | what it says | when |
//! |---|---|---|
//! | bounds | what waits is bounded: undurable writes, queues of the link | after every step |
//! | verdict | nothing is marked where a verdict says in sync | at every verdict |
//! | suspended | nothing is answered while I/O is suspended | at every answer |
//! | coverage | a block that differs is marked, or would be | after every event |
//! | disk order | overlapping writes are not in flight together | at every disk operation |
//! | answers | every request and order is answered once, and fairly | at every answer |
//! | events | no split brain, generation or resync that the class does not explain | at every event |
//! | convergence | both disks are equal | at the end |
//! | durability | what was flushed is durable at both nodes | at the end |
//! | linearizability | each sector is a register; answered writes survive | at the end |
//! | liveness | all comes to rest | within a bounded time |
//! | verify | without damage no difference; what is through has looked at all (see `verify`) | at its end |

mod bounds;
mod coverage;
mod end;
mod events;
mod liveness;
mod views;

pub(crate) use coverage::Coverage;
use std::fmt;
use types::Time;
pub(crate) use views::View;

/// What an oracle has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which oracle.
    pub oracle: &'static str,
    /// What is wrong.
    pub text: String,
    /// When.
    pub at: Time,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} ms: {}", self.oracle, self.at.0 as f64 / 1e6, self.text)
    }
}

#[cfg(test)]
mod tests;
