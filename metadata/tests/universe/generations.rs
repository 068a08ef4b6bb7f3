//! All pairs of sets of generations, up to renaming.

use metadata::{Cause, GenerationId, GenerationRecord, Generations};
use std::collections::BTreeSet;
use types::{NodeId, Time};

/// The names: more tell no relation that four do not tell.
const NAMES: [u64; 4] = [0x10, 0x20, 0x30, 0x40];
const JUST_CREATED: u64 = 4;

fn record(id: u64) -> GenerationRecord {
    GenerationRecord::new(GenerationId(id), Cause::Created, NodeId(0), Time(0))
}

pub(crate) fn of(current: u64, bitmap: u64, history: &[u64]) -> Generations {
    Generations {
        current: record(current),
        bitmap: record(bitmap),
        history: history.iter().map(|&id| record(id)).collect(),
    }
}

/// Current, bitmap, and the former ones in ascending order: their order tells nothing.
type Ids = (u64, u64, Vec<u64>);

/// What one copy may have: no name twice. A forced copy has the just created one as bitmap id.
fn of_one_copy() -> Vec<Ids> {
    let mut all = vec![(0, 0, vec![]), (JUST_CREATED, 0, vec![])];
    for current in NAMES {
        for bitmap in [0, JUST_CREATED].into_iter().chain(NAMES).filter(|&id| id != current) {
            let former: Vec<u64> =
                NAMES.into_iter().filter(|&id| id != current && id != bitmap).collect();
            all.push((current, bitmap, vec![]));
            for (i, &first) in former.iter().enumerate() {
                all.push((current, bitmap, vec![first]));
                all.extend(
                    former[i + 1..].iter().map(|&next| (current, bitmap, vec![first, next])),
                );
            }
        }
    }
    all
}

/// All orders of the names.
fn renamings() -> Vec<[u64; 4]> {
    let mut all = Vec::new();
    for a in 0..4 {
        for b in (0..4).filter(|&b| b != a) {
            for c in (0..4).filter(|&c| c != a && c != b) {
                all.push([NAMES[a], NAMES[b], NAMES[c], NAMES[6 - a - b - c]]);
            }
        }
    }
    all
}

fn renamed((current, bitmap, history): &Ids, names: &[u64; 4]) -> Ids {
    let name = |id: u64| NAMES.iter().position(|&name| name == id).map_or(id, |i| names[i]);
    let mut history: Vec<u64> = history.iter().map(|&id| name(id)).collect();
    history.sort_unstable();
    (name(*current), name(*bitmap), history)
}

/// One pair of each kind, in both directions.
pub(crate) fn pairs() -> Vec<(Generations, Generations)> {
    let copies = of_one_copy();
    let renamings = renamings();
    let mut kinds = BTreeSet::new();
    for one in &copies {
        for other in &copies {
            let names = renamings.iter();
            let kind = names.map(|names| (renamed(one, names), renamed(other, names))).min();
            kinds.insert(kind.unwrap());
        }
    }
    let generations = |ids: Ids| of(ids.0, ids.1, &ids.2);
    kinds.into_iter().map(|(one, other)| (generations(one), generations(other))).collect()
}
