//! All that two copies may be by themselves.

use super::*;

const DISKS: [DiskState; 5] = [
    DiskState::Negotiating,
    DiskState::Inconsistent,
    DiskState::Outdated,
    DiskState::Consistent,
    DiskState::UpToDate,
];

/// Disk, role, crashed, full-sync, dirty and discard of one side.
fn facts() -> Vec<impl Fn(&mut Side)> {
    let mut all = Vec::new();
    for disk in DISKS {
        for bits in 0..16u8 {
            for dirty in [0, 1, 9000] {
                all.push(move |side: &mut Side| {
                    side.disk = disk;
                    side.primary = bits & 1 != 0;
                    side.crashed_primary = bits & 2 != 0;
                    side.full_sync = bits & 4 != 0;
                    side.discard_my_data = bits & 8 != 0;
                    side.dirty_blocks = dirty;
                });
            }
        }
    }
    all
}

#[test]
fn sb1_every_pair_of_copies() {
    let started = started();
    let mut figures = Figures::default();
    let facts = facts();
    for (mine, theirs) in generations::pairs() {
        let (mut one, mut other) = (side(0), side(1));
        (one.generations, other.generations) = (mine, theirs);
        for mine in &facts {
            mine(&mut one);
            for theirs in &facts {
                theirs(&mut other);
                // B is as A: `samples` has all three.
                for protocol in [Protocol::A, Protocol::C] {
                    figures.judge(&one, &other, protocol);
                }
            }
        }
    }
    figures.reached(model::OF_COPIES);
    figures.report("copies", started);
}
