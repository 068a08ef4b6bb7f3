//! At least one message of each kind, with a value in every field that the kind has.

use bytes::Bytes;
use metadata::{Cause, Extent, GenerationId, GenerationRecord, Generations};
use replicator::wire::{
    AckKind, Auth, Hello, Message, Plan, Purpose, RefuseCode, ResyncStep, SideState, Stamp, State,
    VolumeHello, VolumeState,
};
use types::{ByteRange, DiskState, NodeId, Role, Time, VolumeId};

const VOLUME: VolumeId = VolumeId(3);

/// Each with the name of its golden file.
pub(crate) fn samples() -> Vec<(&'static str, Message)> {
    let mut all = handshake();
    all.extend(write_path());
    all.extend(resync());
    all.extend(states());
    all
}

fn handshake() -> Vec<(&'static str, Message)> {
    let runs = Bytes::from_static(&[5, 0x80, 0x01, 9]);
    let text = "the shared secrets differ".to_owned();
    vec![
        ("hello", Message::Hello(Box::new(hello()))),
        ("auth", Message::Auth(Auth { proof: std::array::from_fn(|i| i as u8) })),
        ("state", Message::State(Box::new(state()))),
        ("bitmap", Message::Bitmap { volume: VOLUME, from: 77, runs }),
        ("plan", Message::Plan(plans())),
        ("ready", Message::Ready),
        ("refuse", Message::Refuse { code: RefuseCode::Authentication, text }),
        ("bye", Message::Bye),
        ("ping", Message::Ping),
        ("pong", Message::Pong),
    ]
}

/// Each of them, in the order of their numbers.
fn plans() -> Vec<Plan> {
    vec![
        Plan::Resume,
        Plan::InSync,
        Plan::Source(Extent::Bitmap),
        Plan::Source(Extent::Full),
        Plan::Target(Extent::Bitmap),
        Plan::Target(Extent::Full),
        Plan::Idle,
    ]
}

fn write_path() -> Vec<(&'static str, Message)> {
    let volume = VOLUME;
    let stamp = Stamp { volume, seq: 0x1122_3344_5566, seen: 0x77, settled_below: 0x1122 };
    let range = ByteRange::new(0x0102_0304_0506_0708, 16);
    let data = Bytes::from_static(b"sixteen bytes it");
    vec![
        ("write", Message::Write { stamp, range, data: data.clone(), fua: false }),
        ("write-fua", Message::Write { stamp, range, data: data.clone(), fua: true }),
        ("zero", Message::Zero { stamp, range, unmap: false, fua: true }),
        ("zero-unmap", Message::Zero { stamp, range, unmap: true, fua: false }),
        ("ack-written", Message::Ack { volume, seq: 9, kind: AckKind::Written }),
        ("ack-superseded", Message::Ack { volume, seq: 9, kind: AckKind::Superseded }),
        ("ack-failed", Message::Ack { volume, seq: 9, kind: AckKind::Failed }),
        ("settled", Message::Settled { volume, below: 7, seqs: vec![9, 300] }),
        ("settled-below-only", Message::Settled { volume, below: 7, seqs: Vec::new() }),
        ("flush", Message::Flush { volume, id: 41 }),
        ("flush-done", Message::FlushDone { volume, id: 41, ok: true }),
        ("flush-failed", Message::FlushDone { volume, id: 41, ok: false }),
        ("durable", Message::Durable { volume, upto: 99 }),
        ("read", Message::Read { volume, id: 5, range }),
        ("read-done", Message::ReadDone { volume, id: 5, data: Some(data) }),
        ("read-failed", Message::ReadDone { volume, id: 5, data: None }),
    ]
}

fn resync() -> Vec<(&'static str, Message)> {
    let volume = VOLUME;
    let range = ByteRange::new(8192, 4096);
    let data = Bytes::from(vec![0xA5; 4096]);
    let end = |step| Message::ResyncEnd { volume, step };
    vec![
        ("resync-request", Message::ResyncRequest { volume, range }),
        ("resync-data", Message::ResyncData { volume, range, data: Some(data) }),
        ("resync-data-zero", Message::ResyncData { volume, range, data: None }),
        ("resync-failed", Message::ResyncFailed { volume, range }),
        ("in-sync", Message::InSync { volume, blocks: vec![(2, 1), (700, 256)] }),
        ("resync-end-finished", end(ResyncStep::Finished)),
        ("resync-end-confirmed", end(ResyncStep::Confirmed)),
        ("resync-end-adopted", end(ResyncStep::Adopted)),
    ]
}

fn states() -> Vec<(&'static str, Message)> {
    let text = "alpha is Primary".to_owned();
    vec![
        ("role-request", Message::RoleRequest { id: 6, role: Role::Primary }),
        ("role-reply", Message::RoleReply { id: 6, granted: true, text: String::new() }),
        ("role-reply-refused", Message::RoleReply { id: 6, granted: false, text }),
        ("role-is", Message::RoleIs(Role::Secondary)),
        ("disk-is", Message::DiskIs { volume: VOLUME, disk: DiskState::Diskless }),
        ("sequence-is", Message::SequenceIs { volume: VOLUME, sequence: 0x23 }),
        ("stand-in", Message::StandIn { volume: VOLUME, id: 0x24 }),
        ("outdate", Message::Outdate),
    ]
}

fn hello() -> Hello {
    let volumes = vec![
        VolumeHello { volume: 0, session: 0xAA, peer_incarnation: 0xBB, resumable: true },
        VolumeHello { volume: 3, session: 0, peer_incarnation: 0, resumable: false },
    ];
    Hello {
        purpose: Purpose::Replicate,
        version_min: 1,
        version_max: 2,
        features: 4,
        resource: "r0".to_owned(),
        node: 1,
        name: "beta".to_owned(),
        incarnation: 0x0123_4567_89AB_CDEF,
        nonce: std::array::from_fn(|i| 0xE0 | i as u8),
        authenticate: true,
        volumes,
    }
}

fn record(id: u64, cause: Cause) -> GenerationRecord {
    GenerationRecord {
        id: GenerationId(id),
        born: Time(1_000_000_007),
        cause,
        node: NodeId(1),
        first_solo: Some(Time(5)),
        last_solo: None,
    }
}

fn state() -> State {
    let side = SideState {
        disk: DiskState::UpToDate,
        generations: Generations {
            current: record(0x1111, Cause::PeerLost),
            bitmap: record(0x2222, Cause::Forced),
            history: vec![record(0x3333, Cause::Resync), record(0x4444, Cause::Adopted)],
        },
        crashed_primary: true,
        peer_outdated: false,
        full_sync: true,
        dirty_blocks: 12,
        discard_my_data: false,
        disk_incarnation: 0x5555,
        newest_exposed: GenerationId(0x6666),
        sequence: 0x21,
        peer_disk_incarnation: 0x8888,
        peer_sequence: 0x22,
    };
    let volume = VolumeState {
        volume: 3,
        new_session: 0x7777,
        resync_name: 0x8888,
        received: 0x9999,
        disk_bytes: 1 << 30,
        agreed_bytes: 1 << 29,
        side,
    };
    State {
        primary: true,
        in_use: true,
        idle: false,
        settings: vec![("protocol".to_owned(), "C".to_owned())],
        volumes: vec![volume],
    }
}
