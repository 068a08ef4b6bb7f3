//! One request on each node at the same moment, and what became of the two.

use super::{EXTENT_BYTES, EXTENTS};
use crate::cluster::PATIENCE;
use crate::load::registers::{self, PER_SECTOR};
use crate::load::runtime;
use crate::nbd_client::{Address, Client, Operation};
use anyhow::Context;
use std::collections::BTreeSet;
use std::ops::Range;
use tokio::runtime::Runtime;
use types::{Prng, SECTOR_BYTES};

/// Two intervals on a line of six points: where alpha's begins and ends, and beta's.
pub(super) type Relation = [u64; 4];

/// The first of [`RELATIONS`] have nothing in common.
pub(super) const APART: usize = 4;

/// All that two intervals can be to each other.
pub(super) const RELATIONS: [Relation; 13] = [
    // Before, meets, and the inverse of each.
    [0, 2, 3, 5],
    [3, 5, 0, 2],
    [0, 2, 2, 4],
    [2, 4, 0, 2],
    // Overlaps, starts, during, finishes, and the inverse of each.
    [0, 3, 2, 5],
    [2, 5, 0, 3],
    [0, 2, 0, 4],
    [0, 4, 0, 2],
    [1, 3, 0, 4],
    [0, 4, 1, 3],
    [2, 4, 0, 4],
    [0, 4, 2, 4],
    // Equals.
    [0, 4, 0, 4],
];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    WriteFua,
    Trim,
    TrimFua,
    Zeroes,
    ZeroesNoHole,
    Flush,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
        Self::Write,
        Self::WriteFua,
        Self::Trim,
        Self::TrimFua,
        Self::Zeroes,
        Self::ZeroesNoHole,
        Self::Flush,
    ];

    fn operation(self, range: &Range<u64>, value: u64) -> Operation {
        let (offset, len) = registers::bytes(range);
        match self {
            Self::Write | Self::WriteFua => {
                let data = registers::filled(range, value);
                Operation::Write { offset, data, fua: self == Self::WriteFua }
            }
            Self::Trim | Self::TrimFua => {
                Operation::Trim { offset, len, fua: self == Self::TrimFua }
            }
            Self::Zeroes | Self::ZeroesNoHole => {
                let no_hole = self == Self::ZeroesNoHole;
                Operation::WriteZeroes { offset, len, no_hole, fua: false }
            }
            Self::Flush => Operation::Flush,
        }
    }

    /// What it leaves, if anything.
    const fn leaves(self, value: u64) -> Option<u64> {
        match self {
            Self::Write | Self::WriteFua => Some(value),
            Self::Trim | Self::TrimFua | Self::Zeroes | Self::ZeroesNoHole => Some(0),
            Self::Flush => None,
        }
    }
}

/// A client at each node.
pub(super) struct Pair {
    runtime: Runtime,
    clients: [Client; 2],
    /// Grows: no value is written twice.
    value: u64,
}

impl Pair {
    pub(super) fn new(addresses: &[Address; 2]) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let clients = runtime.block_on(async {
            let [alpha, beta] = addresses;
            anyhow::Ok([Client::connect(alpha, "r0").await?, Client::connect(beta, "r0").await?])
        })?;
        Ok(Self { runtime, clients, value: 0 })
    }

    /// Both go away.
    pub(super) fn part(self) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            for client in self.clients {
                client.disconnect().await?;
            }
            Ok(())
        })
    }

    /// Both ask at once, somewhere at a multiple of `granule` registers, with `unit` registers
    /// between two points. Fails unless both nodes show the same then, and each sector what one of
    /// the two has left there.
    pub(super) fn meet(
        &mut self,
        prng: &mut Prng,
        relation: Relation,
        unit: u64,
        granule: u64,
        kinds: [Kind; 2],
    ) -> anyhow::Result<()> {
        // One extent: a request is not cut, and so there is one verdict for each pair.
        let extent = EXTENT_BYTES / SECTOR_BYTES * PER_SECTOR;
        let room = extent - 7 * unit - 2 * granule;
        let start = (prng.below(EXTENTS) * extent) + unit + granule * prng.below(room / granule);
        let window = start - unit..start + 6 * unit;
        let [a, b, c, d] = relation.map(|point| start + point * unit);
        self.value += 3;
        let round = Round {
            window,
            ranges: [a..b, c..d],
            kinds,
            values: [self.value, self.value + 1],
            old: self.value + 2,
        };
        let first = prng.below(2) as usize;
        let runtime = &self.runtime;
        let met = runtime.block_on(async {
            let met = round.play(&mut self.clients, first);
            tokio::time::timeout(PATIENCE, met).await.context("no answer")?
        });
        met.with_context(|| format!("{round:?}"))
    }
}

/// One pair of requests.
#[derive(Debug)]
struct Round {
    /// What is looked at, around both.
    window: Range<u64>,
    ranges: [Range<u64>; 2],
    kinds: [Kind; 2],
    values: [u64; 2],
    /// What was there before.
    old: u64,
}

impl Round {
    async fn play(&self, clients: &mut [Client; 2], first: usize) -> anyhow::Result<()> {
        let (offset, len) = registers::bytes(&self.window);
        clients[0].write(offset, &registers::filled(&self.window, self.old), false).await?;
        let cookies = [0, 1].map(|node| {
            let operation = self.kinds[node].operation(&self.ranges[node], self.values[node]);
            clients[node].submit(operation)
        });
        for node in [first, 1 - first] {
            clients[node].send().await?;
        }
        for (client, cookie) in clients.iter_mut().zip(cookies) {
            let answer = client.wait(cookie).await?;
            anyhow::ensure!(answer.is_ok(), "answered with {answer:?}");
        }
        let ours = clients[0].read(offset, len).await?;
        let theirs = clients[1].read(offset, len).await?;
        anyhow::ensure!(ours == theirs, "the nodes show different bytes");
        self.judge(&registers::values(&self.window, &ours)?)
    }

    fn judge(&self, found: &[u64]) -> anyhow::Result<()> {
        // The sides that a sector with several registers can be of.
        let mut sector = (u64::MAX, BTreeSet::new());
        for (register, &value) in self.window.clone().zip(found) {
            let left: Vec<(usize, u64)> = [0, 1]
                .into_iter()
                .filter(|&node| self.ranges[node].contains(&register))
                .filter_map(|node| Some((node, self.kinds[node].leaves(self.values[node])?)))
                .collect();
            if left.is_empty() {
                let at = registers::start(register);
                anyhow::ensure!(value == self.old, "{value} at byte {at}, which nobody wrote");
                continue;
            }
            let sides: BTreeSet<usize> =
                left.iter().filter(|(_, left)| *left == value).map(|(node, _)| *node).collect();
            let at = registers::start(register);
            anyhow::ensure!(!sides.is_empty(), "{value} at byte {at}, of {left:?}");
            if left.len() < 2 {
                continue;
            }
            // Where both have written all of a sector, one has.
            if sector.0 == register / PER_SECTOR {
                let both: BTreeSet<usize> = sector.1.intersection(&sides).copied().collect();
                anyhow::ensure!(!both.is_empty(), "the sector of byte {at} is a mixture");
            }
            sector = (register / PER_SECTOR, sides);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(found: &[u64]) -> anyhow::Result<()> {
        let kinds = [Kind::Write, Kind::Trim];
        let (window, ranges) = (0..8, [1..6, 2..7]);
        Round { window, ranges, kinds, values: [7, 8], old: 9 }.judge(found)
    }

    #[test]
    fn mixtures_and_strangers_are_found() {
        round(&[9, 7, 7, 7, 0, 0, 0, 9]).unwrap();
        round(&[9, 7, 0, 0, 7, 7, 0, 9]).unwrap();
        assert!(round(&[9, 7, 7, 0, 0, 0, 0, 9]).unwrap_err().to_string().contains("mixture"));
        assert!(round(&[9, 7, 7, 7, 8, 8, 0, 9]).is_err(), "a trim leaves zeros");
        assert!(round(&[7, 7, 7, 7, 7, 7, 0, 9]).is_err(), "beyond both");
        assert!(round(&[9, 0, 7, 7, 7, 7, 0, 9]).is_err(), "beyond the trim");
    }

    #[test]
    fn relations_are_all_different_and_the_first_are_apart() {
        let all: BTreeSet<_> = RELATIONS.iter().collect();
        assert_eq!(all.len(), RELATIONS.len());
        for (at, [a, b, c, d]) in RELATIONS.into_iter().enumerate() {
            assert!(a < b && c < d);
            assert_eq!(at < APART, b <= c || d <= a, "relation {at}");
        }
    }
}
