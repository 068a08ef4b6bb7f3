//! What clients did and saw: the material of the linearizability checker.
//!
//! A history is made by whoever drives clients: the simulator, or a test of real processes. Times
//! are numbers from any one clock that all its operations share; an operation that returned at the
//! very instant at which another was invoked counts as concurrent with it.

use std::fmt;

/// The value of a block before anything was written, and after a trim or a write of zeros.
///
/// Every other value must be written at most once per block.
pub const ZERO: u64 = 0;

/// A register: a block or sector of a volume, whichever granule the history is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId {
    /// The volume.
    pub volume: u16,
    /// The number of the block within the volume.
    pub number: u64,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wrote this value.
    Write(u64),
    /// Saw this value.
    Read(u64),
}

/// One operation on one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The client.
    pub process: u64,
    /// The node that it talked to.
    pub node: u8,
    /// The block.
    pub block: BlockId,
    /// What it did.
    pub kind: Kind,
    /// When it was asked for.
    pub invoke: u64,
    /// When it was answered with success. `None`: the outcome is not known, because no answer came
    /// or the answer was an error; such a write takes effect at some time after `invoke`, or never.
    pub ret: Option<u64>,
}

impl Op {
    /// The value that was written or seen.
    pub const fn value(&self) -> u64 {
        match self.kind {
            Kind::Write(value) | Kind::Read(value) => value,
        }
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.volume, self.number)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            Kind::Write(_) => "writes",
            Kind::Read(_) => "reads",
        };
        write!(
            f,
            "node {} client {} {verb} {} of block {}",
            self.node,
            self.process,
            self.value(),
            self.block
        )?;
        match self.ret {
            Some(ret) => write!(f, " [{} .. {ret}]", self.invoke),
            None => write!(f, " [{} .. outcome unknown]", self.invoke),
        }
    }
}

/// Operations of all clients, in any order.
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
}

impl History {
    /// A history of nothing.
    pub const fn new() -> Self {
        Self { ops: Vec::new() }
    }

    /// Adds an operation. A read without an answer says nothing and is left out.
    pub fn push(&mut self, op: Op) {
        if op.ret.is_some() || matches!(op.kind, Kind::Write(_)) {
            self.ops.push(op);
        }
    }

    /// All of them.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }
}

impl FromIterator<Op> for History {
    fn from_iter<T: IntoIterator<Item = Op>>(ops: T) -> Self {
        let mut history = Self::new();
        ops.into_iter().for_each(|op| history.push(op));
        history
    }
}
