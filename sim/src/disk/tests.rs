use super::*;
use crate::content::{bytes_of_tag, tags_of};
use std::collections::BTreeSet;

fn disk(seed: u64, granule: u64) -> Disk {
    Disk::new(1 << 20, granule, 1, Prng::new(seed))
}

fn write(disk: &mut Disk, sector: u64, count: u64, tag: u64, fua: bool) -> Ticket {
    let range = ByteRange::new(sector * 512, count * 512);
    let data = bytes_of_tag(tag, range.len);
    disk.start(&DiskOp::Write { range, data, fua }).unwrap().0
}

fn written(disk: &mut Disk, sector: u64, count: u64, tag: u64, fua: bool) {
    let ticket = write(disk, sector, count, tag, fua);
    disk.end(ticket).0.unwrap();
}

fn tags(disk: &Disk, sectors: std::ops::Range<u64>) -> Vec<u64> {
    sectors.map(|sector| disk.content(sector).tag().unwrap()).collect()
}

/// All that `run` leaves behind over many seeds.
fn outcomes(run: impl Fn(&mut Disk) -> Vec<u64>) -> BTreeSet<Vec<u64>> {
    (0..300).map(|seed| run(&mut disk(seed, 512))).collect()
}

#[test]
fn unflushed_sectors_survive_power_loss_or_not_each_for_itself() {
    let seen = outcomes(|disk| {
        written(disk, 0, 2, 1, false);
        written(disk, 0, 2, 2, false);
        disk.power_lost();
        tags(disk, 0..2)
    });
    assert_eq!(seen.len(), 9, "{seen:?}");
}

#[test]
fn what_had_ended_when_the_flush_began_is_durable() {
    let seen = outcomes(|disk| {
        written(disk, 0, 1, 1, false);
        let open = write(disk, 1, 1, 2, false);
        let (flush, ..) = disk.start(&DiskOp::Flush).unwrap();
        disk.end(open).0.unwrap();
        disk.end(flush).0.unwrap();
        disk.power_lost();
        tags(disk, 0..2)
    });
    assert_eq!(seen, BTreeSet::from([vec![1, 0], vec![1, 2]]));
}

#[test]
fn a_write_with_fua_is_durable_when_it_ends() {
    let seen = outcomes(|disk| {
        written(disk, 0, 1, 1, false);
        written(disk, 0, 1, 2, true);
        written(disk, 1, 1, 3, false);
        disk.power_lost();
        tags(disk, 0..2)
    });
    assert_eq!(seen, BTreeSet::from([vec![2, 0], vec![2, 3]]));
}

#[test]
fn the_death_of_a_process_loses_only_what_was_in_flight() {
    let seen = outcomes(|disk| {
        written(disk, 0, 1, 1, false);
        write(disk, 1, 2, 2, true);
        disk.process_died();
        tags(disk, 0..3)
    });
    let any = [[1, 0, 0], [1, 2, 0], [1, 0, 2], [1, 2, 2]].map(Vec::from);
    assert_eq!(seen, BTreeSet::from(any));
}

#[test]
fn a_batch_makes_itself_durable_and_nothing_else() {
    let seen = outcomes(|disk| {
        written(disk, 0, 1, 1, false);
        let batch = Batch::one(8192, vec![7; 4096]);
        let (ticket, _, _) = disk.start_batch(&batch).unwrap();
        disk.end(ticket).0.unwrap();
        disk.power_lost();
        vec![disk.content(0).tag().unwrap(), disk.content(16).tag().unwrap()]
    });
    let seven = u64::from_le_bytes([7; 8]);
    assert_eq!(seen, BTreeSet::from([vec![0, seven], vec![1, seven]]));
}

#[test]
fn overlapping_writes_in_flight_are_refused_also_within_a_granule() {
    let mut coarse = disk(1, 4096);
    write(&mut coarse, 0, 1, 1, false);
    let range = ByteRange::new(1024, 512);
    assert!(coarse.start(&DiskOp::Zero { range, unmap: true, fua: false }).is_err());
    let mut fine = disk(1, 512);
    write(&mut fine, 0, 1, 1, false);
    assert!(fine.start(&DiskOp::Zero { range, unmap: true, fua: false }).is_ok());
}

#[test]
fn a_read_sees_an_open_write_sector_by_sector() {
    let seen = outcomes(|disk| {
        let open = write(disk, 0, 2, 1, false);
        let (read, ..) = disk.start(&DiskOp::Read(ByteRange::new(0, 1024))).unwrap();
        disk.end(open).0.unwrap();
        let bytes = disk.end(read).0.unwrap();
        tags_of(&bytes).map(Option::unwrap).collect()
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn large_zeroing_is_a_write_like_any_other() {
    let seen = outcomes(|disk| {
        written(disk, 5, 1, 1, true);
        let range = ByteRange::new(0, 65536);
        let (ticket, ..) = disk.start(&DiskOp::Zero { range, unmap: true, fua: false }).unwrap();
        disk.end(ticket).0.unwrap();
        let before = disk.content(5).tag().unwrap();
        disk.power_lost();
        vec![before, disk.content(5).tag().unwrap()]
    });
    assert_eq!(seen, BTreeSet::from([vec![0, 0], vec![0, 1]]));
}

#[test]
fn a_failed_flush_drops_what_it_should_have_kept() {
    let mut disk = disk(3, 512);
    disk.faults.flush = 1000;
    written(&mut disk, 0, 1, 1, false);
    let (flush, ..) = disk.start(&DiskOp::Flush).unwrap();
    assert!(disk.end(flush).0.is_err());
    assert_eq!(tags(&disk, 0..1), [0]);
}
