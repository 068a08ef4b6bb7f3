//! Who is there, with which disk, in which session.

use super::*;

#[test]
fn sb1_every_pair_of_presences() {
    let started = started();
    let mut figures = Figures::default();
    for (mine, theirs) in generations::pairs() {
        let (mut one, mut other) = (side(0), side(1));
        (one.generations, other.generations) = (mine, theirs);
        for disks in DiskState::ALL.iter().flat_map(|a| DiskState::ALL.iter().map(move |b| (a, b)))
        {
            (one.disk, other.disk) = (*disks.0, *disks.1);
            // Who, session, identity (none, one, another) and marks of both, as bits.
            for bits in 0..16u8 {
                one.node = NodeId(bits & 1);
                other.node = NodeId(bits >> 1 & 1);
                one.resumable = bits & 4 != 0;
                other.resumable = bits & 8 != 0;
                for names in 0..9 {
                    one.disk_incarnation = [0, 7, 8][names % 3];
                    other.disk_incarnation = [0, 7, 8][names / 3];
                    for marks in [(0, 0), (1, 0), (1, 1)] {
                        (one.dirty_blocks, other.dirty_blocks) = marks;
                        figures.judge(&one, &other, Protocol::C);
                    }
                }
            }
        }
    }
    figures.reached(&[
        Rule::BothDiskless,
        Rule::OneDiskless,
        Rule::SessionResumed,
        Rule::SameNode,
        Rule::SameDisk,
    ]);
    figures.report("presences", started);
}
