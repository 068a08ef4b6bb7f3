//! Is every block of a history a linearizable register?
//!
//! Values are unique per block, so each read names the write that it saw. A write and its reads
//! form a *cluster*. One cluster must come wholly before another if one of its operations returned
//! before one of the other's was invoked. Let `f` be the earliest return in a cluster and `s` the
//! latest invocation; then cluster 1 must come before cluster 2 iff `f1 < s2`, and a block is
//! linearizable iff no read returned before its write was invoked and no two clusters must each
//! come before the other: `f1 < s2` and `f2 < s1` (Gibbons and Korach, «Testing shared memories»,
//! 1997; a longer cycle always contains one of two). That takes n log n steps per block.
//!
//! **Zeros are not unique**: every trim and every write of zeros writes [`ZERO`], and so is the
//! value before all writes. Which one a read of zero saw is not known. The check is exact while a
//! block has one source of zeros. With several, it looks for each read of zero which of them it
//! can have seen without contradicting a cluster that is certain; none is a violation, exactly one
//! makes that choice certain, and so on until nothing new becomes certain. It never gives a false
//! alarm, and may miss a violation that only several reads of zero together show.

use crate::history::{BlockId, History, Kind, Op, ZERO};
use std::collections::BTreeMap;
use std::fmt;

#[cfg(test)]
mod tests;

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The block.
    pub block: BlockId,
    /// What kind of wrong.
    pub kind: ViolationKind,
    /// The operations that cannot all be true, in order of invocation.
    pub ops: Vec<Op>,
}

/// The kinds of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// A read saw a value that nobody ever wrote to the block.
    NeverWritten,
    /// A read returned a value before its write was even asked for.
    FromTheFuture,
    /// Two values must each have come before the other: one was seen after it had been replaced.
    Order {
        /// One of them.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A read saw zeros where no zeroing, and not the beginning either, can explain them.
    Zeros,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.block;
        match self.kind {
            ViolationKind::NeverWritten => write!(f, "block {block}: a value never written")?,
            ViolationKind::FromTheFuture => {
                write!(f, "block {block}: a value was read before it was written")?;
            }
            ViolationKind::Order { first, second } => write!(
                f,
                "block {block}: not linearizable: value {first} is replaced by {second}, and \
                 {second} by {first}"
            )?,
            ViolationKind::Zeros => {
                write!(f, "block {block}: zeros were read that no zeroing can explain")?;
            }
        }
        self.ops.iter().try_for_each(|op| write!(f, "\n    {op}"))
    }
}

/// Checks every block of a history; before it, every block had the value [`ZERO`].
///
/// # Errors
/// The first violation found, of the lowest block.
///
/// # Panics
/// If a value other than [`ZERO`] was written twice to one block: then the history cannot tell.
pub fn check(history: &History) -> Result<(), Box<Violation>> {
    check_from(history, |_| ZERO)
}

/// As [`check`], where the value before the history is told for each block.
///
/// # Errors
/// As [`check`].
///
/// # Panics
/// As [`check`].
pub fn check_from(
    history: &History,
    initial: impl Fn(BlockId) -> u64,
) -> Result<(), Box<Violation>> {
    let mut blocks: BTreeMap<BlockId, Vec<&Op>> = BTreeMap::new();
    for op in history.ops() {
        blocks.entry(op.block).or_default().push(op);
    }
    blocks.into_iter().try_for_each(|(block, ops)| check_block(block, &ops, initial(block)))
}

/// A point in time, with room before all and after all.
type Point = i128;
const BEFORE_ALL: Point = -1;
const AFTER_ALL: Point = Point::MAX;

fn returned(op: &Op) -> Point {
    op.ret.map_or(AFTER_ALL, Point::from)
}

/// A write (or what was there before all writes) and what certainly read it.
#[derive(Clone)]
struct Cluster<'a> {
    value: u64,
    write: Option<&'a Op>,
    /// The earliest return, and whose.
    f: (Point, Option<&'a Op>),
    /// The latest invocation, and whose.
    s: (Point, Option<&'a Op>),
    read: bool,
}

impl<'a> Cluster<'a> {
    fn initial(value: u64) -> Self {
        Self { value, write: None, f: (BEFORE_ALL, None), s: (BEFORE_ALL, None), read: false }
    }

    fn of_write(write: &'a Op) -> Self {
        Self {
            value: write.value(),
            write: Some(write),
            f: (returned(write), Some(write)),
            s: (Point::from(write.invoke), Some(write)),
            read: false,
        }
    }

    fn add(&mut self, read: &'a Op) {
        self.read = true;
        if returned(read) < self.f.0 {
            self.f = (returned(read), Some(read));
        }
        if Point::from(read.invoke) > self.s.0 {
            self.s = (Point::from(read.invoke), Some(read));
        }
    }

    fn with(&self, read: &'a Op) -> Self {
        let mut both = self.clone();
        both.add(read);
        both
    }

    /// Whether the write was asked for before that read ended.
    fn begun_before_end_of(&self, read: &Op) -> bool {
        self.write.is_none_or(|write| Point::from(write.invoke) <= returned(read))
    }

    /// Whether it must have a place in the order: a write without an answer that nobody saw may
    /// never have happened.
    fn certain(&self) -> bool {
        self.read || self.write.is_none_or(|write| write.ret.is_some())
    }
}

/// Answers, for a cluster, whether it and one of a set must each come before the other.
struct Index {
    /// (s, the two smallest f among those with s at least this, and whose), by s.
    rows: Vec<(Point, [(Point, usize); 2])>,
}

impl Index {
    fn new(clusters: &[Cluster<'_>]) -> Self {
        let mut order: Vec<usize> = (0..clusters.len()).collect();
        order.sort_by_key(|&i| clusters[i].s.0);
        let mut least = [(AFTER_ALL, usize::MAX); 2];
        let mut rows: Vec<_> = order
            .into_iter()
            .rev()
            .map(|i| {
                let f = (clusters[i].f.0, i);
                if f.0 < least[0].0 || least[0].1 == usize::MAX {
                    least = [f, least[0]];
                } else if f.0 < least[1].0 || least[1].1 == usize::MAX {
                    least[1] = f;
                }
                (clusters[i].s.0, least)
            })
            .collect();
        rows.reverse();
        Self { rows }
    }

    /// One that conflicts with `cluster` and is not number `itself`.
    fn conflict(&self, cluster: &Cluster<'_>, itself: usize) -> Option<usize> {
        let at = self.rows.partition_point(|(s, _)| *s <= cluster.f.0);
        let (_, least) = self.rows.get(at)?;
        least
            .iter()
            .find(|(_, i)| *i != itself && *i != usize::MAX)
            .filter(|(f, _)| *f < cluster.s.0)
            .map(|(_, i)| *i)
    }
}

fn check_block(block: BlockId, ops: &[&Op], initial: u64) -> Result<(), Box<Violation>> {
    let mut clusters = vec![Cluster::initial(initial)];
    let mut by_value: BTreeMap<u64, usize> = BTreeMap::new();
    if initial != ZERO {
        by_value.insert(initial, 0);
    }
    for write in ops.iter().filter(|op| matches!(op.kind, Kind::Write(_))) {
        let value = write.value();
        if value != ZERO {
            let old = by_value.insert(value, clusters.len());
            assert!(old.is_none(), "value {value} is written twice to block {block}");
        }
        clusters.push(Cluster::of_write(write));
    }
    let mut zero_reads = Vec::new();
    for read in ops.iter().filter(|op| matches!(op.kind, Kind::Read(_)) && op.ret.is_some()) {
        if read.value() == ZERO {
            zero_reads.push(*read);
            continue;
        }
        let Some(&at) = by_value.get(&read.value()) else {
            return Err(violation(block, ViolationKind::NeverWritten, [Some(*read)]));
        };
        if !clusters[at].begun_before_end_of(read) {
            let ops = [Some(*read), clusters[at].write];
            return Err(violation(block, ViolationKind::FromTheFuture, ops));
        }
        clusters[at].add(read);
    }
    let zeros: Vec<usize> = (0..clusters.len()).filter(|&i| clusters[i].value == ZERO).collect();
    check_order(block, &clusters)?;
    place_zero_reads(block, &mut clusters, &zeros, zero_reads)?;
    check_order(block, &clusters)
}

/// Gives every read of zero to the zeroing that it must have seen, where only one is possible.
fn place_zero_reads<'a>(
    block: BlockId,
    clusters: &mut [Cluster<'a>],
    zeros: &[usize],
    mut reads: Vec<&'a Op>,
) -> Result<(), Box<Violation>> {
    // Each round that changes anything makes at least one read certain; the bound keeps long
    // histories cheap, and stopping early only makes the check more lenient.
    const ROUNDS: usize = 8;
    for _ in 0..ROUNDS {
        let certain: Vec<usize> = (0..clusters.len()).filter(|&i| clusters[i].certain()).collect();
        let fixed: Vec<Cluster<'a>> = certain.iter().map(|&i| clusters[i].clone()).collect();
        let index = Index::new(&fixed);
        let before = reads.len();
        let mut open = Vec::new();
        for read in reads {
            let mut possible = zeros.iter().copied().filter(|&i| {
                let itself = certain.binary_search(&i).unwrap_or(usize::MAX);
                clusters[i].begun_before_end_of(read)
                    && index.conflict(&clusters[i].with(read), itself).is_none()
            });
            match (possible.next(), possible.next()) {
                (None, _) if zeros.len() == 1 => {
                    // The only source of zeros: say what contradicts it.
                    clusters[zeros[0]].add(read);
                    check_order(block, clusters)?;
                    return Err(violation(block, ViolationKind::Zeros, [Some(read)]));
                }
                (None, _) => {
                    let ops = zeros.iter().map(|&i| clusters[i].write).chain([Some(read)]);
                    return Err(violation(block, ViolationKind::Zeros, ops));
                }
                (Some(only), None) => clusters[only].add(read),
                _ => open.push(read),
            }
        }
        reads = open;
        if reads.is_empty() || reads.len() == before {
            break;
        }
    }
    Ok(())
}

fn check_order(block: BlockId, clusters: &[Cluster<'_>]) -> Result<(), Box<Violation>> {
    let certain: Vec<Cluster<'_>> = clusters.iter().filter(|c| c.certain()).cloned().collect();
    let index = Index::new(&certain);
    for (i, one) in certain.iter().enumerate() {
        if let Some(other) = index.conflict(one, i).map(|at| &certain[at]) {
            let kind = ViolationKind::Order { first: one.value, second: other.value };
            let ops = [one.write, other.write, one.f.1, one.s.1, other.f.1, other.s.1];
            return Err(violation(block, kind, ops));
        }
    }
    Ok(())
}

fn violation<'a>(
    block: BlockId,
    kind: ViolationKind,
    ops: impl IntoIterator<Item = Option<&'a Op>>,
) -> Box<Violation> {
    let mut ops: Vec<Op> = ops.into_iter().flatten().copied().collect();
    ops.sort_by_key(|op| (op.invoke, op.ret.unwrap_or(u64::MAX), op.process, op.value()));
    ops.dedup();
    Box::new(Violation { block, kind, ops })
}
