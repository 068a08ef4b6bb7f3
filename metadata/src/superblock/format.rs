//! The 4096 bytes of a superblock. All numbers are little-endian.

use super::{Flags, RESOURCE_NAME_MAX, Superblock, SuperblockError, VERSION, WIPE_MARK};
use crate::generation::{Cause, GenerationId, GenerationRecord, Generations, HISTORY};
use crate::plan::{META_BLOCK, counted};
use types::{NodeId, Role, SECTOR_BYTES, Time, VolumeId};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: &[u8; 8] = b"REPD-MD\0";
/// Room for peers in the format; one is used.
const PEER_SLOTS: usize = 31;
/// The number of a node that is not known.
const NO_NODE: u8 = 0xff;

//= docs/ondisk.md#superblock
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Block {
    magic: [u8; 8],
    version: U32,
    /// CRC-32C of the block with this field zero.
    crc: U32,
    sequence: U64,
    created: U64,
    disk_incarnation: U64,
    data_bytes: U64,
    agreed_bytes: U64,
    newest_exposed: U64,
    al_offset: U64,
    bitmap_offset: U64,
    al_blocks: U32,
    bitmap_pages: U32,
    al_extents: U32,
    flags: U32,
    volume: U16,
    node: u8,
    role_intent: u8,
    peer_slots: u8,
    history_len: u8,
    placement: u8,
    resource_len: u8,
    resource: [u8; RESOURCE_NAME_MAX],
    moved_from: U64,
    last_verify: U64,
    reserved: [u8; 8],
    current: Record,
    history: [Record; HISTORY],
    peers: [Peer; PEER_SLOTS],
    tail: [u8; 536],
}

/// A generation record.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    id: U64,
    born: U64,
    first_solo: U64,
    last_solo: U64,
    cause: u8,
    node: u8,
    /// Bit 0: `first_solo` counts. Bit 1: `last_solo` counts.
    solo: u8,
    reserved: [u8; 5],
}

/// What is kept for one peer.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Peer {
    bitmap: Record,
    disk_incarnation: U64,
    sequence: U64,
    reserved: [u8; 8],
}

const _: () = assert!(size_of::<Record>() == 40);
const _: () = assert!(size_of::<Peer>() == 64);
const _: () = assert!(std::mem::offset_of!(Block, current) == 256);
const _: () = assert!(std::mem::offset_of!(Block, history) == 296);
const _: () = assert!(std::mem::offset_of!(Block, peers) == 1576);
const _: () = assert!(size_of::<Block>() == META_BLOCK);

pub(super) fn encode(superblock: &Superblock) -> Vec<u8> {
    let name = superblock.resource.as_bytes();
    let generations = &superblock.generations;
    assert!(name.len() <= RESOURCE_NAME_MAX, "resource name of {} bytes", name.len());
    assert!(generations.history.len() <= HISTORY, "history of {}", generations.history.len());
    let mut block = Block::new_zeroed();
    block.magic = *MAGIC;
    block.version = VERSION.into();
    block.sequence = superblock.sequence.into();
    block.created = superblock.created.0.into();
    block.last_verify = superblock.last_verify.0.into();
    block.disk_incarnation = superblock.disk_incarnation.into();
    block.data_bytes = superblock.data_bytes.into();
    block.agreed_bytes = superblock.agreed_bytes.into();
    block.newest_exposed = superblock.newest_exposed.0.into();
    block.al_offset = superblock.al_offset.into();
    block.bitmap_offset = superblock.bitmap_offset.into();
    block.al_blocks = superblock.al_blocks.into();
    block.bitmap_pages = superblock.bitmap_pages.into();
    block.al_extents = superblock.al_extents.into();
    block.flags = superblock.flags.to_bits().into();
    block.volume = superblock.volume.0.into();
    block.node = superblock.node.map_or(NO_NODE, |node| node.0);
    block.role_intent = superblock.role_intent.to_u8();
    block.peer_slots = superblock.peer_slots;
    block.history_len = generations.history.len() as u8;
    block.placement = u8::from(!superblock.internal);
    block.resource_len = name.len() as u8;
    block.moved_from = superblock.moved_from.into();
    block.resource[..name.len()].copy_from_slice(name);
    block.current = Record::of(&generations.current);
    for (target, record) in block.history.iter_mut().zip(&generations.history) {
        *target = Record::of(record);
    }
    block.peers[0].bitmap = Record::of(&generations.bitmap);
    block.peers[0].disk_incarnation = superblock.peer_disk_incarnation.into();
    block.peers[0].sequence = superblock.peer_sequence.into();
    block.crc = crc32c::crc32c(block.as_bytes()).into();
    block.as_bytes().to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Superblock, SuperblockError> {
    let mut block = Block::read_from_bytes(bytes)
        .map_err(|_| SuperblockError::Length { found: bytes.len() })?;
    if block.magic != *MAGIC {
        let wiped = bytes.chunks(SECTOR_BYTES as usize).any(|sector| sector.starts_with(WIPE_MARK));
        return Err(if wiped { SuperblockError::Wiped } else { SuperblockError::Magic });
    }
    // Magic, version and checksum have these places in every version, so that a damaged block is
    // not taken for one of another version.
    let found = block.crc.get();
    block.crc = U32::ZERO;
    let computed = crc32c::crc32c(block.as_bytes());
    if found != computed {
        return Err(SuperblockError::Checksum { found, computed });
    }
    if block.version != VERSION {
        return Err(SuperblockError::Version { found: block.version.get() });
    }
    block.to_superblock()
}

impl Block {
    fn to_superblock(&self) -> Result<Superblock, SuperblockError> {
        let role_intent = Role::from_u8(self.role_intent);
        let internal = match self.placement {
            0 => true,
            1 => false,
            other => return Err(bad("placement", u64::from(other))),
        };
        if self.peer_slots != 1 {
            return Err(bad("peer_slots", u64::from(self.peer_slots)));
        }
        Ok(Superblock {
            sequence: counted(self.sequence.get())
                .ok_or_else(|| bad("sequence", self.sequence.get()))?,
            created: Time(self.created.get()),
            last_verify: Time(self.last_verify.get()),
            disk_incarnation: self.disk_incarnation.get(),
            peer_disk_incarnation: self.peers[0].disk_incarnation.get(),
            peer_sequence: self.peers[0].sequence.get(),
            node: (self.node != NO_NODE).then_some(NodeId(self.node)),
            resource: self.resource()?,
            volume: VolumeId(self.volume.get()),
            data_bytes: self.data_bytes.get(),
            agreed_bytes: self.agreed_bytes.get(),
            generations: self.generations()?,
            newest_exposed: GenerationId(self.newest_exposed.get()),
            flags: Flags::from_bits(self.flags.get())
                .ok_or_else(|| bad("flags", u64::from(self.flags.get())))?,
            role_intent: role_intent
                .ok_or_else(|| bad("role_intent", u64::from(self.role_intent)))?,
            al_extents: self.al_extents.get(),
            peer_slots: self.peer_slots,
            al_offset: self.al_offset.get(),
            al_blocks: self.al_blocks.get(),
            bitmap_offset: self.bitmap_offset.get(),
            bitmap_pages: self.bitmap_pages.get(),
            internal,
            moved_from: self.moved_from.get(),
        })
    }

    fn resource(&self) -> Result<String, SuperblockError> {
        let error = bad("resource_len", u64::from(self.resource_len));
        let name = self.resource.get(..usize::from(self.resource_len)).ok_or(error)?;
        String::from_utf8(name.to_vec()).map_err(|_| bad("resource", u64::from(name[0])))
    }

    fn generations(&self) -> Result<Generations, SuperblockError> {
        let error = bad("history_len", u64::from(self.history_len));
        let history = self.history.get(..usize::from(self.history_len)).ok_or(error)?;
        Ok(Generations {
            current: self.current.to_record("current")?,
            bitmap: self.peers[0].bitmap.to_record("peers[0].bitmap")?,
            history: history
                .iter()
                .map(|record| record.to_record("history"))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Record {
    fn of(record: &GenerationRecord) -> Self {
        let time = |solo: Option<Time>| U64::new(solo.unwrap_or_default().0);
        Self {
            id: record.id.0.into(),
            born: record.born.0.into(),
            first_solo: time(record.first_solo),
            last_solo: time(record.last_solo),
            cause: record.cause.to_u8(),
            node: record.node.0,
            solo: u8::from(record.first_solo.is_some()) | u8::from(record.last_solo.is_some()) << 1,
            reserved: [0; 5],
        }
    }

    fn to_record(self, field: &'static str) -> Result<GenerationRecord, SuperblockError> {
        let cause = Cause::from_u8(self.cause).ok_or_else(|| bad(field, u64::from(self.cause)))?;
        let time = |bit: u8, time: U64| (self.solo & bit != 0).then_some(Time(time.get()));
        Ok(GenerationRecord {
            id: GenerationId(self.id.get()),
            born: Time(self.born.get()),
            cause,
            node: NodeId(self.node),
            first_solo: time(1, self.first_solo),
            last_solo: time(2, self.last_solo),
        })
    }
}

impl Flags {
    /// Bit 0 is `consistent`; the others follow as declared.
    fn to_bits(self) -> u32 {
        let Self {
            consistent,
            was_up_to_date,
            primary,
            crashed_primary,
            peer_outdated,
            full_sync,
            attached,
            al_disabled,
        } = self;
        [
            consistent,
            was_up_to_date,
            primary,
            crashed_primary,
            peer_outdated,
            full_sync,
            attached,
            al_disabled,
        ]
        .into_iter()
        .enumerate()
        .fold(0, |bits, (bit, set)| bits | u32::from(set) << bit)
    }

    /// None if a bit is set that has no meaning: it may be one that must not be ignored.
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        let is_set = |bit: u32| bits & 1 << bit != 0;
        (bits >> 8 == 0).then(|| Self {
            consistent: is_set(0),
            was_up_to_date: is_set(1),
            primary: is_set(2),
            crashed_primary: is_set(3),
            peer_outdated: is_set(4),
            full_sync: is_set(5),
            attached: is_set(6),
            al_disabled: is_set(7),
        })
    }
}

const fn bad(field: &'static str, value: u64) -> SuperblockError {
    SuperblockError::Field { field, value }
}
