//! At least one message of each kind, with a value in every field that the kind has.

use bytes::Bytes;
use metadata::{Cause, Extent, GenerationId, GenerationRecord, Generations};
use replicator::Digest;
use replicator::wire::{
    AckKind, Auth, Content, Hello, Message, PeerOrder, Plan, Purpose, RefuseCode, ResyncStep,
    SideState, Stamp, State, VolumeHello, VolumeState,
};
use types::{ByteRange, DiskState, NodeId, Role, Time, VolumeId};

const VOLUME: VolumeId = VolumeId(3);

/// Each with the name of its golden file.
pub(crate) fn samples() -> Vec<(&'static str, Message)> {
    let mut all = handshake();
    all.extend(write_path());
    all.extend(resync());
    all.extend(verify());
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
        ("ack-received", Message::Ack { volume, seq: 9, kind: AckKind::Received }),
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
    let known = Some((Digest::Xxh3, Bytes::from_static(b"sixteen bytes it")));
    let content = |content| Message::ResyncData { volume, range, content };
    let end = |step| Message::ResyncEnd { volume, step };
    vec![
        ("resync-request", Message::ResyncRequest { volume, range, known: None }),
        ("resync-request-known", Message::ResyncRequest { volume, range, known }),
        ("resync-data", content(Content::Data(data))),
        ("resync-data-zero", content(Content::Zeros)),
        ("resync-data-same", content(Content::Same)),
        ("resync-failed", Message::ResyncFailed { volume, range }),
        ("in-sync", Message::InSync { volume, blocks: vec![(2, 1), (700, 256)] }),
        ("resync-end-finished", end(ResyncStep::Finished)),
        ("resync-end-confirmed", end(ResyncStep::Confirmed)),
        ("resync-end-adopted", end(ResyncStep::Adopted)),
        ("sync-control", Message::SyncControl { volume, user: true, dependency: true, speed: 9 }),
    ]
}

fn verify() -> Vec<(&'static str, Message)> {
    let volume = VOLUME;
    let (range, id) = (ByteRange::new(8192, 8192), 0x0102_0304_0506);
    let request = |digest, locked| Message::VerifyRequest {
        volume,
        range,
        id,
        total: 1000,
        done: 300,
        digest,
        locked,
    };
    let digests = Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let end = |complete, whole, found, text: &str| Message::VerifyEnd {
        volume,
        id,
        complete,
        whole,
        found,
        text: text.to_owned(),
    };
    vec![
        ("verify-request", request(Digest::Crc32c, false)),
        ("verify-request-xxh3", request(Digest::Xxh3, false)),
        ("verify-request-locked", request(Digest::Sha256, true)),
        ("verify-reply", Message::VerifyReply { volume, id, range, digests: Some(digests) }),
        ("verify-reply-failed", Message::VerifyReply { volume, id, range, digests: None }),
        ("verify-out-of-sync", Message::VerifyOutOfSync { volume, blocks: vec![(2, 1), (700, 3)] }),
        ("verify-end-whole", end(true, true, 4, "")),
        ("verify-end-failed", end(false, false, 1, "the disk is gone")),
    ]
}

fn states() -> Vec<(&'static str, Message)> {
    let text = "alpha is Primary".to_owned();
    let (why, volume) = (text.clone(), VOLUME);
    let order = |order| Message::Order { volume, id: 0x25, order };
    let no = Err("a resync runs".to_owned());
    vec![
        ("role-request", Message::RoleRequest { id: 6, role: Role::Primary }),
        ("role-reply", Message::RoleReply { id: 6, granted: true, text: String::new() }),
        ("role-reply-refused", Message::RoleReply { id: 6, granted: false, text }),
        ("role-is", Message::RoleIs(Role::Secondary)),
        ("disk-is", Message::DiskIs { volume: VOLUME, disk: DiskState::Diskless }),
        ("sequence-is", Message::SequenceIs { volume: VOLUME, sequence: 0x23 }),
        ("stand-in", Message::StandIn { volume: VOLUME, id: 0x24 }),
        ("outdate", Message::Outdate),
        ("order-invalidate", order(PeerOrder::Invalidate)),
        ("order-invalidate-marked", order(PeerOrder::InvalidateMarked)),
        ("order-skip-sync", order(PeerOrder::SkipSync(GenerationId(0xABCD_0006)))),
        ("order-done", Message::OrderDone { volume, id: 0x25, done: true, text: String::new() }),
        ("order-refused", Message::OrderDone { volume, id: 0x25, done: false, text: why }),
        ("resize", Message::Resize { volume: VOLUME, id: 0x25, size: 0x4000_0000 }),
        ("resize-reply", Message::ResizeReply { volume: VOLUME, id: 0x25, result: Ok(0x5000) }),
        ("resize-reply-refused", Message::ResizeReply { volume: VOLUME, id: 0x25, result: no }),
        ("behind", Message::Behind { volume: VOLUME }),
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
