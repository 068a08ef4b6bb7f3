//! The bodies of handshake and state messages: the only place that knows bincode.
//!
//! bincode 2.0.1 is the last version that works (RUSTSEC-2025-0141: no longer maintained); it is
//! fenced in here, with a size limit, and golden bytes in the tests, so that another codec can
//! take its place in this one file. Nothing is decoded before its checksum has matched.

use super::header::WireError;
use bincode::{Decode, Encode};
use bytes::Bytes;
use metadata::{Cause, Extent, GenerationId, GenerationRecord, Generations, HISTORY};
use types::{DiskState, NodeId, Time};

/// No body is longer.
const BODY_LIMIT: usize = 256 << 10;
/// No handshake speaks of more volumes: what fits in the body's limit with room to spare.
pub(crate) const VOLUMES_MAX: usize = 128;

/// Random bytes that a proof is made over.
pub type NonceBytes = [u8; 32];

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Purpose {
    /// To replicate.
    Replicate,
    /// To look only (the split-brain report).
    Inspect,
}

/// Who is there. Shown before any proof, so it holds nothing about data.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// The oldest protocol version spoken.
    pub version_min: u32,
    /// The newest protocol version spoken.
    pub version_max: u32,
    /// Features that can be used if both have them; none are defined yet.
    pub features: u64,
    /// The resource.
    pub resource: String,
    /// The sender.
    pub node: u8,
    /// The sender's name.
    pub name: String,
    /// The sender's incarnation: new at every start of its engine.
    pub incarnation: u64,
    /// Fresh random bytes.
    pub nonce: NonceBytes,
    /// Whether the sender wants a proof of the shared secret (and will give one).
    pub authenticate: bool,
    /// The sessions that could be resumed.
    pub volumes: Vec<VolumeHello>,
}

/// The session of one volume, as one node remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VolumeHello {
    /// The volume.
    pub volume: u16,
    /// The session's id, zero without one.
    pub session: u64,
    /// The incarnation of the peer in it.
    pub peer_incarnation: u64,
    /// Whether this node could go on in it: no solo write answered, no new disk.
    pub resumable: bool,
}

/// The proof of the shared secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Auth {
    /// HMAC-SHA-256, see docs/protocol.md.
    pub proof: [u8; 32],
}

/// What follows from the verdict, for one volume of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Go on in the session.
    Resume,
    /// The copies are equal.
    InSync,
    /// A resync from here.
    Source(Extent),
    /// A resync to here.
    Target(Extent),
    /// Connected, with a disk on one side only, or none that is of use.
    Idle,
}

impl Plan {
    /// Every plan, by its number on the wire.
    const ALL: [Self; 7] = [
        Self::Resume,
        Self::InSync,
        Self::Source(Extent::Bitmap),
        Self::Source(Extent::Full),
        Self::Target(Extent::Bitmap),
        Self::Target(Extent::Full),
        Self::Idle,
    ];

    /// What the other node must have found.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Source(extent) => Self::Target(extent),
            Self::Target(extent) => Self::Source(extent),
            Self::Resume | Self::InSync | Self::Idle => self,
        }
    }
}

/// What the handshake decides on.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Whether the sender is Primary.
    pub primary: bool,
    /// Whether clients of the sender have a device open now.
    pub in_use: bool,
    /// Whether no client of the sender has had the device open since the link was lost.
    pub idle: bool,
    /// Options that must be equal, by name.
    pub settings: Vec<(String, String)>,
    /// Each volume.
    pub volumes: Vec<VolumeState>,
}

/// One volume in the handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeState {
    /// The volume.
    pub volume: u16,
    /// A session id that the sender proposes; the arbiter's counts.
    pub new_session: u64,
    /// A generation id that the sender proposes: it names what a target of a full resync from
    /// here has, so that the resync can go on from the bits when it is interrupted.
    pub resync_name: u64,
    /// The highest number of the receiver's writes that the sender has received in the session.
    pub received: u64,
    /// Usable bytes of the sender's disk, zero without one.
    pub disk_bytes: u64,
    /// The size that clients of the sender see, zero if not yet agreed.
    pub agreed_bytes: u64,
    /// What the verdict needs.
    pub side: SideState,
}

/// The part of [`metadata::Side`] that travels.
#[derive(Clone, Debug, PartialEq)]
pub struct SideState {
    /// The state of the disk.
    pub disk: DiskState,
    /// The identifiers.
    pub generations: Generations,
    /// Primary when it crashed, and has not met the peer since.
    pub crashed_primary: bool,
    /// Knows the receiver's data to be outdated.
    pub peer_outdated: bool,
    /// Everything must be copied.
    pub full_sync: bool,
    /// Blocks marked out-of-sync.
    pub dirty_blocks: u64,
    /// The operator has given this side's changes up.
    pub discard_my_data: bool,
    /// The identity of the disk.
    pub disk_incarnation: u64,
    /// The newest generation that the disk ever exposed.
    pub newest_exposed: GenerationId,
    /// The sequence of its durable superblock; at the first handshake after an attach, as it was
    /// found.
    pub sequence: u64,
    /// The identity of the receiver's disk, as the sender remembers it.
    pub peer_disk_incarnation: u64,
    /// The highest sequence that the receiver told of that disk.
    pub peer_sequence: u64,
}

/// How a mirrored write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// It is on the disk.
    Written,
    /// A concurrent write of the arbiter prevailed where they overlap; that one and the rest of
    /// this one are on the disk.
    Superseded,
    /// The disk failed; the block is not what was written.
    Failed,
    /// It has come in and is not yet on the disk; one of the other answers follows. (Protocol B.)
    Received,
}

#[derive(Encode, Decode)]
struct RawRecord {
    id: u64,
    born: u64,
    cause: u8,
    node: u8,
    first_solo: Option<u64>,
    last_solo: Option<u64>,
}

#[derive(Encode, Decode)]
struct RawVolume {
    volume: u16,
    new_session: u64,
    resync_name: u64,
    received: u64,
    disk_bytes: u64,
    agreed_bytes: u64,
    disk: u8,
    current: RawRecord,
    bitmap: RawRecord,
    history: Vec<RawRecord>,
    crashed_primary: bool,
    peer_outdated: bool,
    full_sync: bool,
    dirty_blocks: u64,
    discard_my_data: bool,
    disk_incarnation: u64,
    newest_exposed: u64,
    sequence: u64,
    peer_disk_incarnation: u64,
    peer_sequence: u64,
}

#[derive(Encode, Decode)]
struct RawState {
    primary: bool,
    in_use: bool,
    idle: bool,
    settings: Vec<(String, String)>,
    volumes: Vec<RawVolume>,
}

impl RawRecord {
    fn of(record: &GenerationRecord) -> Self {
        Self {
            id: record.id.0,
            born: record.born.0,
            cause: record.cause.to_u8(),
            node: record.node.0,
            first_solo: record.first_solo.map(|time| time.0),
            last_solo: record.last_solo.map(|time| time.0),
        }
    }

    fn record(self) -> Result<GenerationRecord, &'static str> {
        Ok(GenerationRecord {
            id: GenerationId(self.id),
            born: Time(self.born),
            cause: Cause::from_u8(self.cause).ok_or("unknown cause of a generation")?,
            node: NodeId(self.node),
            first_solo: self.first_solo.map(Time),
            last_solo: self.last_solo.map(Time),
        })
    }
}

impl RawVolume {
    fn of(state: &VolumeState) -> Self {
        let side = &state.side;
        Self {
            volume: state.volume,
            new_session: state.new_session,
            resync_name: state.resync_name,
            received: state.received,
            disk_bytes: state.disk_bytes,
            agreed_bytes: state.agreed_bytes,
            disk: side.disk.to_u8(),
            current: RawRecord::of(&side.generations.current),
            bitmap: RawRecord::of(&side.generations.bitmap),
            history: side.generations.history.iter().map(RawRecord::of).collect(),
            crashed_primary: side.crashed_primary,
            peer_outdated: side.peer_outdated,
            full_sync: side.full_sync,
            dirty_blocks: side.dirty_blocks,
            discard_my_data: side.discard_my_data,
            disk_incarnation: side.disk_incarnation,
            newest_exposed: side.newest_exposed.0,
            sequence: side.sequence,
            peer_disk_incarnation: side.peer_disk_incarnation,
            peer_sequence: side.peer_sequence,
        }
    }

    fn state(self) -> Result<VolumeState, &'static str> {
        if self.history.len() > HISTORY {
            return Err("history too long");
        }
        let history: Result<Vec<_>, _> = self.history.into_iter().map(RawRecord::record).collect();
        Ok(VolumeState {
            volume: self.volume,
            new_session: self.new_session,
            resync_name: self.resync_name,
            received: self.received,
            disk_bytes: self.disk_bytes,
            agreed_bytes: self.agreed_bytes,
            side: SideState {
                disk: DiskState::from_u8(self.disk).ok_or("unknown disk state")?,
                generations: Generations {
                    current: self.current.record()?,
                    bitmap: self.bitmap.record()?,
                    history: history?,
                },
                crashed_primary: self.crashed_primary,
                peer_outdated: self.peer_outdated,
                full_sync: self.full_sync,
                dirty_blocks: self.dirty_blocks,
                discard_my_data: self.discard_my_data,
                disk_incarnation: self.disk_incarnation,
                newest_exposed: GenerationId(self.newest_exposed),
                sequence: self.sequence,
                peer_disk_incarnation: self.peer_disk_incarnation,
                peer_sequence: self.peer_sequence,
            },
        })
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<BODY_LIMIT>()
}

fn encode(body: impl Encode) -> Bytes {
    bincode::encode_to_vec(body, config()).expect("a body of bounded parts encodes").into()
}

fn decode<T: Decode<()>>(kind: &'static str, bytes: &[u8]) -> Result<T, WireError> {
    let (body, used) = bincode::decode_from_slice(bytes, config())
        .map_err(|error| WireError::Body { kind, why: error.to_string() })?;
    if used != bytes.len() {
        return Err(WireError::Body { kind, why: "bytes are left over".into() });
    }
    Ok(body)
}

pub(super) fn encode_hello(hello: &Hello) -> Bytes {
    encode(hello)
}

pub(super) fn decode_hello(bytes: &[u8]) -> Result<Hello, WireError> {
    let hello: Hello = decode("Hello", bytes)?;
    if hello.volumes.len() > VOLUMES_MAX {
        return Err(WireError::Body { kind: "Hello", why: "too many volumes".into() });
    }
    Ok(hello)
}

pub(super) fn encode_auth(auth: &Auth) -> Bytes {
    encode(auth)
}

pub(super) fn decode_auth(bytes: &[u8]) -> Result<Auth, WireError> {
    decode("Auth", bytes)
}

pub(super) fn encode_state(state: &State) -> Bytes {
    encode(RawState {
        primary: state.primary,
        in_use: state.in_use,
        idle: state.idle,
        settings: state.settings.clone(),
        volumes: state.volumes.iter().map(RawVolume::of).collect(),
    })
}

pub(super) fn decode_state(bytes: &[u8]) -> Result<State, WireError> {
    let raw: RawState = decode("State", bytes)?;
    let wrong = |why: &str| WireError::Body { kind: "State", why: why.into() };
    if raw.volumes.len() > VOLUMES_MAX {
        return Err(wrong("too many volumes"));
    }
    let volumes: Result<Vec<_>, _> = raw.volumes.into_iter().map(RawVolume::state).collect();
    Ok(State {
        primary: raw.primary,
        in_use: raw.in_use,
        idle: raw.idle,
        settings: raw.settings,
        volumes: volumes.map_err(wrong)?,
    })
}

pub(super) fn encode_plans(plans: &[Plan]) -> Bytes {
    let number = |plan: &Plan| Plan::ALL.iter().position(|known| known == plan);
    let number = |plan| number(plan).expect("every plan has a number") as u8;
    encode(plans.iter().map(number).collect::<Vec<u8>>())
}

pub(super) fn decode_plans(bytes: &[u8]) -> Result<Vec<Plan>, WireError> {
    let numbers: Vec<u8> = decode("Plan", bytes)?;
    if numbers.len() > VOLUMES_MAX {
        return Err(WireError::Body { kind: "Plan", why: "too many volumes".into() });
    }
    let plan = |number: u8| Plan::ALL.get(usize::from(number)).copied();
    let plans: Option<Vec<Plan>> = numbers.into_iter().map(plan).collect();
    plans.ok_or_else(|| WireError::Body { kind: "Plan", why: "unknown plan".into() })
}

pub(super) fn encode_numbers(numbers: &[u64]) -> Bytes {
    encode(numbers)
}

pub(super) fn decode_numbers(kind: &'static str, bytes: &[u8]) -> Result<Vec<u64>, WireError> {
    decode(kind, bytes)
}

pub(super) fn encode_pairs(pairs: &[(u64, u64)]) -> Bytes {
    encode(pairs)
}

pub(super) fn decode_pairs(kind: &'static str, bytes: &[u8]) -> Result<Vec<(u64, u64)>, WireError> {
    decode(kind, bytes)
}
