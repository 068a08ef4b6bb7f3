//! Whatever message is sent, the same one is received.

use super::{bytes_of, read};
use bytes::Bytes;
use metadata::{Cause, Extent, GenerationId, GenerationRecord, Generations, HISTORY};
use proptest::prelude::*;
use replicator::Digest;
use replicator::wire::{
    AckKind, Auth, Content, Hello, Message, PeerOrder, Plan, Purpose, RefuseCode, ResyncStep,
    SideState, Stamp, State, VolumeHello, VolumeState,
};
use types::{BLOCK_BYTES, ByteRange, DiskState, EXTENT_BYTES, NodeId, Role, Time, VolumeId};

fn data() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..300).prop_map(Bytes::from)
}

fn volume() -> impl Strategy<Value = VolumeId> {
    any::<u16>().prop_map(VolumeId)
}

fn range() -> impl Strategy<Value = ByteRange> {
    (0..u64::MAX - EXTENT_BYTES, 1..=EXTENT_BYTES).prop_map(|(at, len)| ByteRange::new(at, len))
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (volume(), 1..=u64::MAX, any::<u64>(), any::<u64>()).prop_map(|(volume, seq, seen, below)| {
        Stamp { volume, seq, seen, settled_below: below % seq }
    })
}

fn any_of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn hello() -> impl Strategy<Value = Hello> {
    let volumes = (any::<u16>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(volume, session, peer_incarnation, resumable)| VolumeHello {
            volume,
            session,
            peer_incarnation,
            resumable,
        },
    );
    let purpose = any_of(&[Purpose::Replicate, Purpose::Inspect]);
    let numbers = (any::<[u32; 2]>(), any::<[u64; 2]>(), any::<u8>(), any::<[u8; 32]>());
    let rest = (any::<String>(), any::<String>(), any::<bool>());
    (purpose, numbers, rest, prop::collection::vec(volumes, 0..5)).prop_map(
        |(purpose, (versions, [features, incarnation], node, nonce), rest, volumes)| Hello {
            purpose,
            version_min: versions[0],
            version_max: versions[1],
            features,
            resource: rest.0,
            node,
            name: rest.1,
            incarnation,
            nonce,
            authenticate: rest.2,
            volumes,
        },
    )
}

fn record() -> impl Strategy<Value = GenerationRecord> {
    let solo = any::<[Option<u64>; 2]>();
    (any::<[u64; 2]>(), any_of(&Cause::ALL), any::<u8>(), solo).prop_map(
        |([id, born], cause, node, [first, last])| GenerationRecord {
            id: GenerationId(id),
            born: Time(born),
            cause,
            node: NodeId(node),
            first_solo: first.map(Time),
            last_solo: last.map(Time),
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    let generations = (record(), record(), prop::collection::vec(record(), 0..=HISTORY));
    let volumes = (
        (any::<u16>(), any::<[u64; 8]>(), any::<[bool; 4]>()),
        generations,
        any_of(DiskState::ALL),
    );
    let volumes =
        volumes.prop_map(|((volume, numbers, flags), (current, bitmap, history), disk)| {
            VolumeState {
                volume,
                new_session: numbers[0],
                resync_name: numbers[1],
                received: numbers[2],
                disk_bytes: numbers[3],
                agreed_bytes: numbers[4],
                side: SideState {
                    disk,
                    generations: Generations { current, bitmap, history },
                    crashed_primary: flags[0],
                    peer_outdated: flags[1],
                    full_sync: flags[2],
                    dirty_blocks: numbers[5],
                    discard_my_data: flags[3],
                    disk_incarnation: numbers[6],
                    newest_exposed: GenerationId(numbers[7]),
                    sequence: numbers[0],
                    peer_disk_incarnation: numbers[1],
                    peer_sequence: numbers[2],
                },
            }
        });
    let settings = prop::collection::vec(any::<(String, String)>(), 0..4);
    (any::<bool>(), settings, prop::collection::vec(volumes, 0..3)).prop_map(
        |(primary, settings, volumes)| State {
            primary,
            in_use: primary,
            idle: !primary,
            settings,
            volumes,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    use Plan::{Idle, InSync, Resume, Source, Target};
    prop_oneof![
        Just(Resume),
        Just(InSync),
        Just(Idle),
        any::<bool>().prop_map(|full| Source(if full { Extent::Full } else { Extent::Bitmap })),
        any::<bool>().prop_map(|full| Target(if full { Extent::Full } else { Extent::Bitmap })),
    ]
}

fn handshake() -> impl Strategy<Value = Message> {
    use RefuseCode::{Authentication, Busy, Data, Mismatch, SplitBrain};
    let code = any_of(&[Mismatch, Authentication, SplitBrain, Data, Busy]);
    prop_oneof![
        hello().prop_map(|hello| Message::Hello(Box::new(hello))),
        any::<[u8; 32]>().prop_map(|proof| Message::Auth(Auth { proof })),
        state().prop_map(|state| Message::State(Box::new(state))),
        (volume(), any::<u64>(), data()).prop_map(|(volume, from, runs)| Message::Bitmap {
            volume,
            from,
            runs
        }),
        (code, any::<String>()).prop_map(|(code, text)| Message::Refuse { code, text }),
        prop::collection::vec(plan(), 0..5).prop_map(Message::Plan),
        Just(Message::Ready),
        Just(Message::Bye),
        Just(Message::Ping),
        Just(Message::Pong),
    ]
}

fn write_path() -> impl Strategy<Value = Message> {
    const KINDS: &[AckKind] =
        &[AckKind::Written, AckKind::Superseded, AckKind::Failed, AckKind::Received];
    let kind = any_of(KINDS);
    let seqs = prop::collection::vec(any::<u64>(), 0..9);
    let numbered = || (volume(), any::<u64>());
    prop_oneof![
        (stamp(), 0..u64::MAX / 2, data(), any::<bool>()).prop_map(|(stamp, at, data, fua)| {
            let range = ByteRange::new(at, data.len() as u64);
            Message::Write { stamp, range, data, fua }
        }),
        (stamp(), range(), any::<bool>(), any::<bool>())
            .prop_map(|(stamp, range, unmap, fua)| Message::Zero { stamp, range, unmap, fua }),
        (numbered(), kind).prop_map(|((volume, seq), kind)| Message::Ack { volume, seq, kind }),
        (numbered(), seqs).prop_map(|((volume, below), seqs)| Message::Settled {
            volume,
            below,
            seqs
        }),
        numbered().prop_map(|(volume, id)| Message::Flush { volume, id }),
        (numbered(), any::<bool>()).prop_map(|((volume, id), ok)| Message::FlushDone {
            volume,
            id,
            ok
        }),
        numbered().prop_map(|(volume, upto)| Message::Durable { volume, upto }),
        (numbered(), range()).prop_map(|((volume, id), range)| Message::Read { volume, id, range }),
        (numbered(), prop::option::of(data())).prop_map(|((volume, id), data)| Message::ReadDone {
            volume,
            id,
            data
        }),
    ]
}

fn resync() -> impl Strategy<Value = Message> {
    let step = any_of(&[ResyncStep::Finished, ResyncStep::Confirmed, ResyncStep::Adopted]);
    let blocks = prop::collection::vec((0..u64::MAX / 2, 0..u64::MAX / 2), 0..9);
    prop_oneof![
        (volume(), range(), known()).prop_map(|(volume, range, known)| match known {
            None => Message::ResyncRequest { volume, range, known: None },
            Some(digest) => {
                let block = range.offset / BLOCK_BYTES % (1 << 40) * BLOCK_BYTES;
                let range = ByteRange::new(block, range.len);
                let digests = vec![7; range.blocks().len() as usize * digest.size()];
                Message::ResyncRequest { volume, range, known: Some((digest, digests.into())) }
            }
        }),
        (volume(), range()).prop_map(|(volume, range)| Message::ResyncFailed { volume, range }),
        (volume(), range(), content()).prop_map(|(volume, range, content)| {
            let len = match &content {
                Content::Data(data) => data.len() as u64,
                Content::Zeros | Content::Same => range.len,
            };
            Message::ResyncData { volume, range: ByteRange::new(range.offset, len), content }
        }),
        (volume(), blocks).prop_map(|(volume, blocks)| Message::InSync { volume, blocks }),
        (volume(), step).prop_map(|(volume, step)| Message::ResyncEnd { volume, step }),
    ]
}

fn known() -> impl Strategy<Value = Option<Digest>> {
    prop::option::of(any_of(&Digest::ALL))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![data().prop_map(Content::Data), Just(Content::Zeros), Just(Content::Same)]
}

fn peer_order() -> impl Strategy<Value = PeerOrder> {
    prop_oneof![
        Just(PeerOrder::Invalidate),
        Just(PeerOrder::InvalidateMarked),
        any::<u64>().prop_map(|id| PeerOrder::SkipSync(GenerationId(id))),
    ]
}

fn verify() -> impl Strategy<Value = Message> {
    let blocks = prop::collection::vec((0..u64::MAX / 2, 0..u64::MAX / 2), 0..9);
    let numbered = || (volume(), any::<u64>());
    let digest = any_of(&Digest::ALL);
    prop_oneof![
        (numbered(), range(), any::<[u64; 2]>(), digest, any::<bool>()).prop_map(
            |((volume, id), range, [total, done], digest, locked)| Message::VerifyRequest {
                volume,
                range,
                id,
                total,
                done,
                digest,
                locked,
            }
        ),
        (numbered(), range(), prop::option::of(data())).prop_map(
            |((volume, id), range, digests)| Message::VerifyReply { volume, id, range, digests }
        ),
        (volume(), blocks).prop_map(|(volume, blocks)| Message::VerifyOutOfSync { volume, blocks }),
        (numbered(), any::<[bool; 2]>(), any::<u64>(), any::<String>()).prop_map(
            |((volume, id), [complete, whole], found, text)| Message::VerifyEnd {
                volume,
                id,
                complete,
                whole,
                found,
                text,
            }
        ),
    ]
}

fn states() -> impl Strategy<Value = Message> {
    let role = || any_of(Role::ALL);
    prop_oneof![
        (any::<u64>(), role()).prop_map(|(id, role)| Message::RoleRequest { id, role }),
        (any::<u64>(), any::<bool>(), any::<String>())
            .prop_map(|(id, granted, text)| Message::RoleReply { id, granted, text }),
        role().prop_map(Message::RoleIs),
        (volume(), any_of(DiskState::ALL))
            .prop_map(|(volume, disk)| Message::DiskIs { volume, disk }),
        (volume(), any::<u64>())
            .prop_map(|(volume, sequence)| Message::SequenceIs { volume, sequence }),
        (volume(), any::<u64>()).prop_map(|(volume, id)| Message::StandIn { volume, id }),
        (volume(), any::<bool>(), any::<bool>(), any::<u8>()).prop_map(
            |(volume, user, dependency, speed)| Message::SyncControl {
                volume,
                user,
                dependency,
                speed
            }
        ),
        (volume(), any::<u64>(), peer_order()).prop_map(|(volume, id, order)| Message::Order {
            volume,
            id,
            order
        }),
        (volume(), any::<u64>(), any::<bool>(), any::<String>())
            .prop_map(|(volume, id, done, text)| Message::OrderDone { volume, id, done, text }),
        (volume(), any::<u64>(), any::<u64>()).prop_map(|(volume, id, size)| Message::Resize {
            volume,
            id,
            size
        }),
        (volume(), any::<u64>(), any::<Result<u64, String>>())
            .prop_map(|(volume, id, result)| Message::ResizeReply { volume, id, result }),
        volume().prop_map(|volume| Message::Behind { volume }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_received(
        message in prop_oneof![handshake(), write_path(), resync(), verify(), states()],
    ) {
        prop_assert_eq!(read(&bytes_of(&message)), Ok(message));
    }
}

/// A text that is too long is cut, at a letter, rather than not sent.
#[test]
fn a_long_text_is_cut() {
    let text = "ä".repeat(5000);
    let sent = Message::RoleReply { id: 1, granted: false, text };
    let Ok(Message::RoleReply { text, .. }) = read(&bytes_of(&sent)) else { panic!("not read") };
    assert_eq!(text, "ä".repeat(2048));
}
