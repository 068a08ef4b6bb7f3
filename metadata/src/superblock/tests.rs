use super::*;
use crate::crash::Disk;
use crate::generation::{Cause, GenerationRecord, HISTORY};
use crate::golden;
use crate::plan::Batch;

/// Every field with a value of its own.
fn sample() -> Superblock {
    let record = |id: u64, cause: Cause, n: u64| GenerationRecord {
        id: GenerationId(id),
        born: Time(1_700_000_000_000_000_000 + n),
        cause,
        node: NodeId(n as u8 % 2),
        first_solo: n.is_multiple_of(2).then_some(Time(n)),
        last_solo: n.is_multiple_of(3).then_some(Time(n + 1)),
    };
    let layout = Layout::internal(1 << 30, 8).unwrap();
    let generations = Generations {
        current: record(0x0123_4567_89ab_cdef, Cause::PeerLost, 6),
        bitmap: record(0x1111_2222_3333_4444, Cause::Created, 1),
        history: vec![
            record(0xaaaa_bbbb_cccc_dddc, Cause::Adopted, 2),
            record(0x9999_8888_7777_6666, Cause::Forced, 3),
        ],
    };
    let mut superblock = Superblock::new(&layout, "r0".to_owned(), generations);
    superblock.sequence = 0x1122;
    superblock.created = Time(1_600_000_000_000_000_000);
    superblock.disk_incarnation = 0xd15c_0000_0000_0001;
    superblock.peer_disk_incarnation = 0xd15c_0000_0000_0002;
    superblock.peer_sequence = 0x3344_5566;
    superblock.node = Some(NodeId(1));
    superblock.volume = VolumeId(7);
    superblock.agreed_bytes = 1 << 29;
    superblock.newest_exposed = GenerationId(0x0123_4567_89ab_cdee);
    superblock.role_intent = Role::Primary;
    superblock.al_extents = 1237;
    superblock.flags = Flags { consistent: true, attached: true, ..Flags::default() };
    superblock
}

#[test]
fn a_superblock_is_the_golden_bytes() {
    let golden = include_str!("../../tests/golden/superblock-v1.txt");
    golden::check("superblock-v1.txt", golden, &sample().encode());
    assert_eq!(Superblock::decode(&golden::parse(golden)), Ok(sample()));
}

/// The time of the last verify has the place that the page on the format gives it; zero is never.
#[test]
fn the_time_of_the_last_verify_comes_back() {
    let mut superblock = sample();
    assert_eq!(superblock.encode()[240..248], [0; 8]);
    superblock.last_verify = Time(0x0102_0304_0506_0708);
    let bytes = superblock.encode();
    assert_eq!(bytes[240..248], 0x0102_0304_0506_0708_u64.to_le_bytes());
    assert_eq!(Superblock::decode(&bytes), Ok(superblock));
}

#[test]
fn the_longest_name_and_history_come_back() {
    let mut superblock = sample();
    superblock.resource = "x".repeat(RESOURCE_NAME_MAX);
    let record = superblock.generations.current;
    superblock.generations.history = (0..HISTORY as u64)
        .map(|n| GenerationRecord { id: GenerationId(n << 8), ..record })
        .collect();
    superblock.node = None;
    superblock.internal = false;
    assert_eq!(Superblock::decode(&superblock.encode()), Ok(superblock));
}

#[test]
fn each_flag_has_its_bit() {
    for bit in 0..8 {
        let flags = Flags::from_bits(1 << bit).unwrap();
        let mut superblock = sample();
        superblock.flags = flags;
        let bytes = superblock.encode();
        assert_eq!(bytes[FLAGS_AT], 1 << bit);
        assert_eq!(Superblock::decode(&bytes).unwrap().flags, flags);
    }
    assert_eq!(Flags::from_bits(1 << 8), None);
}

/// Offsets of fields, by docs/ondisk.md.
const VERSION_AT: usize = 8;
const SEQUENCE_AT: usize = 16;
const FLAGS_AT: usize = 92;
const ROLE_AT: usize = 99;
const PEER_SLOTS_AT: usize = 100;
const HISTORY_LEN_AT: usize = 101;
const PLACEMENT_AT: usize = 102;
const RESOURCE_LEN_AT: usize = 103;
const CURRENT_CAUSE_AT: usize = 256 + 32;

/// Change a byte and make the checksum right again.
fn forged(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = sample().encode();
    bytes[at] = value;
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn what_is_wrong_is_named() {
    let error = |bytes: &[u8]| Superblock::decode(bytes).unwrap_err();
    assert_eq!(error(&[0; 4096]), SuperblockError::Magic);
    assert_eq!(error(&[0; 4095]), SuperblockError::Length { found: 4095 });
    assert_eq!(error(&wiped_slot()), SuperblockError::Wiped);
    assert_eq!(error(&forged(VERSION_AT, 9)), SuperblockError::Version { found: 9 });
    let field = |at, value| match error(&forged(at, value)) {
        SuperblockError::Field { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(SEQUENCE_AT + 7, 0x80), "sequence");
    assert_eq!(field(FLAGS_AT + 1, 1), "flags");
    assert_eq!(field(ROLE_AT, 3), "role_intent");
    assert_eq!(field(PEER_SLOTS_AT, 2), "peer_slots");
    assert_eq!(field(HISTORY_LEN_AT, 33), "history_len");
    assert_eq!(field(PLACEMENT_AT, 2), "placement");
    assert_eq!(field(RESOURCE_LEN_AT, 129), "resource_len");
    assert_eq!(field(104, 0xff), "resource");
    assert_eq!(field(CURRENT_CAUSE_AT, 7), "current");
}

/// No bit of the 4096 bytes can change unnoticed.
#[test]
fn every_flipped_bit_is_noticed() {
    let good = sample().encode();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::decode(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn the_newer_slot_counts_and_a_bad_one_does_not() {
    let slots = [8, 9].map(|sequence| Superblock { sequence, ..sample() }.encode());
    let sequence = |a: &[u8], b: &[u8]| newest([a, b]).map(|superblock| superblock.sequence);
    let mut bad = slots.clone();
    bad.iter_mut().for_each(|slot| slot[3000] ^= 1);
    assert_eq!(sequence(&slots[0], &slots[1]), Ok(9));
    assert_eq!(sequence(&slots[0], &bad[1]), Ok(8));
    assert_eq!(sequence(&bad[0], &slots[1]), Ok(9));
    assert_eq!(sequence(&[0; 4096], &slots[1]), Ok(9));
    assert_eq!(damaged_slot([&slots[0], &slots[1]]), None);
    assert_eq!(damaged_slot([&slots[0], &bad[1]]), Some(1));
    assert_eq!(damaged_slot([&[0; 4096], &slots[1]]), Some(0));
    assert!(matches!(sequence(&bad[0], &bad[1]), Err(SlotsError::BothBad(..))));
    assert!(matches!(sequence(&bad[0], &[0; 4096]), Err(SlotsError::BothBad(..))));
    assert_eq!(sequence(&[0; 4096], &[7; 4096]), Err(SlotsError::NoMetadata));
    // A device that has lost or gained one block.
    let moved = SuperblockError::Moved { data_bytes: sample().data_bytes };
    assert_eq!(sequence(&slots[1], &slots[0]), Err(SlotsError::BothBad(moved.clone(), moved)));
    // One of a newer program: what an older one wrote beside it is not the truth any more.
    let newer = forged(VERSION_AT, 2);
    let error = sequence(&newer, &slots[1]);
    assert_eq!(error, Err(SlotsError::Version(SuperblockError::Version { found: 2 })));
}

/// Wiping over two good slots: unless nothing at all reached the disk, nothing is left.
#[test]
fn a_wipe_is_all_or_nothing() {
    let mut disk = Disk::new(2 * 4096);
    let mut batch = Batch::default();
    for sequence in [8, 9] {
        let superblock = Superblock { sequence, ..sample() };
        disk.apply(&Batch::one(superblock.slot() as u64 * 4096, superblock.encode()));
        batch.push(superblock.slot() as u64 * 4096, wiped_slot());
    }
    let untouched = disk.durable.clone();
    disk.each_crash(&batch, |disk| {
        let found = newest([&disk.durable[..4096], &disk.durable[4096..]]);
        if disk.durable == untouched {
            assert_eq!(found.unwrap().sequence, 9);
        } else {
            assert_eq!(found, Err(SlotsError::NoMetadata));
        }
    });
}

/// A good superblock that happens to have the mark where a sector begins is not wiped.
#[test]
fn a_mark_within_a_good_superblock_means_nothing() {
    let mut superblock = Superblock { sequence: 9, ..sample() };
    superblock.disk_incarnation = 1;
    let record = superblock.generations.current;
    superblock.generations.history = vec![record; HISTORY];
    // Sector 1 begins within the history: at its record 5, byte 16, `first_solo`.
    superblock.generations.history[5].first_solo = Some(Time(u64::from_le_bytes(*WIPE_MARK)));
    let bytes = superblock.encode();
    assert_eq!(&bytes[512..520], WIPE_MARK);
    assert_eq!(newest([&[0; 4096], &bytes]), Ok(superblock));
}
