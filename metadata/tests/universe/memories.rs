//! What each side remembers of the other's disk, and of what its own clients saw.

use super::*;

/// Sequences of a disk and what the other was told of it: unknown, never told, lower, equal, higher.
const SEQUENCES: [(u64, u64); 5] = [(0, 50), (50, 0), (49, 50), (50, 50), (51, 50)];

#[test]
fn sb1_every_pair_of_memories() {
    let started = started();
    let mut figures = Figures::default();
    for (mine, theirs) in generations::pairs() {
        let (mut one, mut other) = (side(0), side(1));
        (one.generations, other.generations) = (mine, theirs);
        for (a, b) in SEQUENCES.iter().flat_map(|a| SEQUENCES.iter().map(move |b| (a, b))) {
            (one.sequence, other.peer_sequence) = *a;
            (other.sequence, one.peer_sequence) = *b;
            // The disk that is there, another one, none.
            for names in 0..9 {
                one.peer_disk_incarnation = [0x101, 7, 0][names % 3];
                other.peer_disk_incarnation = [0x100, 7, 0][names / 3];
                for exposed in 0..16 {
                    one.newest_exposed = GenerationId([0, 0x10, 0x20, 0x30][exposed % 4]);
                    other.newest_exposed = GenerationId([0, 0x10, 0x20, 0x30][exposed / 4]);
                    for bits in 0..8u8 {
                        let inconsistent = |bit: u8| match bits & bit {
                            0 => DiskState::UpToDate,
                            _ => DiskState::Inconsistent,
                        };
                        (one.disk, other.disk) = (inconsistent(1), inconsistent(2));
                        other.full_sync = bits & 4 != 0;
                        figures.judge(&one, &other, Protocol::C);
                    }
                }
            }
        }
    }
    figures.reached(&[Rule::RolledBack, Rule::NothingMarked, Rule::OneJustCreated]);
    figures.report("memories", started);
}
