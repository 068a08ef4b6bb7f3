//! Pictures of resources in many states, for the snapshot tests of everything that is printed.

use control::{
    ClientStatus, Counters, FlagStatus, GenerationStatus, GenerationsStatus, PeerStatus,
    ResourceStatus, ResyncProgress, VolumeStatus,
};
use types::{
    ConflictCounts, ConnectionState, DiskState, Ledger, NodeId, Protocol, ReplicationState, Role,
    VolumeId,
};

/// 2026-11-21 03:07:23 UTC.
const THEN: u64 = 1_795_230_443_000;

fn generation(id: &str, cause: &str, minutes: u64) -> GenerationStatus {
    GenerationStatus {
        id: id.into(),
        born: THEN + minutes * 60_000,
        cause: cause.into(),
        node: NodeId(0),
        first_solo: None,
        last_solo: None,
    }
}

fn volume(number: u16) -> VolumeStatus {
    VolumeStatus {
        volume: VolumeId(number),
        device: Some(format!("/dev/drbd{}", number + 1)),
        minor: Some(u32::from(number) + 1),
        disk_path: Some(format!("/dev/vda{}", number + 3).into()),
        meta_disk_path: None,
        backend: Some("io_uring".into()),
        disk: DiskState::UpToDate,
        peer_disk: DiskState::UpToDate,
        replication: ReplicationState::Established,
        size_bytes: 1_048_508 << 10,
        out_of_sync_blocks: 0,
        undurable_writes: 0,
        undurable_bytes: 0,
        suspended: control::Suspended::default(),
        export: format!("r0/{number}"),
        nbd_uris: vec![format!("nbd+unix:///r0/{number}?socket=/run/repd/nbd.sock")],
        clients: Vec::new(),
        resync: None,
        resync_suspended: control::ResyncSuspended::default(),
        resync_bytes: 0,
        verify: None,
        last_verify: None,
        generations: Some(GenerationsStatus {
            current: generation("5202447251D01101", "forced Primary", 0),
            bitmap: None,
            history: vec![generation("898C25BEEE067E26", "resync", 0)],
        }),
        flags: Some(FlagStatus {
            consistent: true,
            was_up_to_date: true,
            primary: true,
            ..FlagStatus::default()
        }),
        counters: Counters {
            read_bytes: 1_048_508 << 10,
            sent_bytes: 1_048_508 << 10,
            al_writes: 8,
            al_hits: 4000,
            al_misses: 23,
            ..Counters::default()
        },
        ledger: Ledger::default(),
    }
}

/// Both Primary, nothing going on.
pub(crate) fn both_primary() -> ResourceStatus {
    ResourceStatus {
        name: "r0".into(),
        node_id: NodeId(0),
        node_name: "alpha".into(),
        role: Role::Primary,
        intended_role: Role::Primary,
        restoring: false,
        protocol: Protocol::C,
        allow_two_primaries: true,
        address: ([192, 168, 0, 18], 7789).into(),
        strangers_refused: 0,
        peer: PeerStatus {
            name: "beta".into(),
            node_id: NodeId(1),
            address: ([192, 168, 0, 19], 7789).into(),
            role: Role::Primary,
            connection: ConnectionState::Connected,
            established: true,
        },
        split_brain: None,
        last_refusal: None,
        resumed: 0,
        volumes: vec![volume(0)],
    }
}

/// Alone, seeking the peer, and writing.
pub(crate) fn connecting() -> ResourceStatus {
    let mut status = both_primary();
    status.peer.connection = ConnectionState::Connecting;
    status.peer.role = Role::Unknown;
    status.peer.established = false;
    let volume = &mut status.volumes[0];
    volume.peer_disk = DiskState::DUnknown;
    volume.replication = ReplicationState::Off;
    volume.out_of_sync_blocks = 1024;
    let mut current = generation("1C1EAF0D624115FF", "peer lost", 3);
    current.first_solo = Some(THEN + 185_000);
    current.last_solo = Some(THEN + 240_000);
    volume.generations = Some(GenerationsStatus {
        current,
        bitmap: Some(generation("5202447251D01101", "forced Primary", 0)),
        history: vec![generation("898C25BEEE067E26", "resync", 0)],
    });
    status
}

/// Both sides wrote alone.
pub(crate) fn split_brain() -> ResourceStatus {
    let mut status = connecting();
    status.peer.connection = ConnectionState::StandAlone;
    let what = "split brain on r0/0: both nodes wrote alone since 5202447251D01101; marked: 1024 \
                blocks here, 16 at the peer; after-sb-1pri leaves it to the operator; nothing is \
                discarded, both stand alone until an operator decides";
    status.split_brain = Some(what.into());
    status.last_refusal = Some(what.into());
    status
}

/// The first full resync, a little into it.
pub(crate) fn sync_source() -> ResourceStatus {
    let mut status = both_primary();
    status.peer.role = Role::Secondary;
    let volume = &mut status.volumes[0];
    volume.peer_disk = DiskState::Inconsistent;
    volume.replication = ReplicationState::SyncSource;
    volume.out_of_sync_blocks = 240_783;
    volume.resync = Some(ResyncProgress::new(THEN, THEN + 5_000, 262_127, 240_783));
    volume.resync_bytes = 85_376 << 10;
    volume.counters.sent_bytes = 85_376 << 10;
    status
}

/// The other end of it.
pub(crate) fn sync_target() -> ResourceStatus {
    let mut status = sync_source();
    status.role = Role::Secondary;
    status.peer.role = Role::Primary;
    (status.node_id, status.peer.node_id) = (NodeId(1), NodeId(0));
    status.node_name = "beta".into();
    status.peer.name = "alpha".into();
    let volume = &mut status.volumes[0];
    volume.disk = DiskState::Inconsistent;
    volume.peer_disk = DiskState::UpToDate;
    volume.replication = ReplicationState::SyncTarget;
    volume.counters = Counters {
        received_bytes: 85_376 << 10,
        written_bytes: 85_376 << 10,
        ..Counters::default()
    };
    volume.flags = Some(FlagStatus::default());
    status
}

/// Fresh metadata on both, and nobody forced yet.
pub(crate) fn just_created() -> ResourceStatus {
    let mut status = both_primary();
    status.role = Role::Secondary;
    status.peer.role = Role::Secondary;
    let volume = &mut status.volumes[0];
    volume.disk = DiskState::Inconsistent;
    volume.peer_disk = DiskState::Inconsistent;
    volume.generations = Some(GenerationsStatus {
        current: generation("0000000000000004", "created", 0),
        bitmap: None,
        history: Vec::new(),
    });
    volume.flags = Some(FlagStatus::default());
    volume.counters = Counters::default();
    status
}

/// Brought up with fresh metadata, and the peer not seen yet.
pub(crate) fn bring_up() -> ResourceStatus {
    let mut status = just_created();
    status.peer.connection = ConnectionState::Connecting;
    status.peer.role = Role::Unknown;
    status.peer.established = false;
    status.volumes[0].peer_disk = DiskState::DUnknown;
    status.volumes[0].replication = ReplicationState::Off;
    status.volumes[0].out_of_sync_blocks = 262_127;
    status
}

/// Disconnected by order, and Secondary.
pub(crate) fn stand_alone() -> ResourceStatus {
    let mut status = connecting();
    status.role = Role::Secondary;
    status.peer.connection = ConnectionState::StandAlone;
    status
}

/// Left by its Primary in order: old, and known to be.
pub(crate) fn outdated() -> ResourceStatus {
    let mut status = stand_alone();
    status.peer.connection = ConnectionState::Connecting;
    status.volumes[0].disk = DiskState::Outdated;
    status.volumes[0].out_of_sync_blocks = 0;
    status
}

/// Both nodes crashed as Primary, and what was in flight is copied; nobody is Primary yet.
pub(crate) fn crash_resync_source() -> ResourceStatus {
    let mut status = sync_source();
    status.role = Role::Secondary;
    let volume = &mut status.volumes[0];
    volume.out_of_sync_blocks = 1227;
    volume.resync = Some(ResyncProgress::new(THEN, THEN + 7_000, 6144, 1227));
    volume.counters.sent_bytes = 19_668 << 10;
    volume.counters.read_bytes = 19_668 << 10;
    volume.counters.al_writes = 0;
    volume.flags.iter_mut().for_each(|flags| flags.crashed_primary = true);
    status
}

/// The other end of it.
pub(crate) fn crash_resync_target() -> ResourceStatus {
    let mut status = sync_target();
    status.peer.role = Role::Secondary;
    let volume = &mut status.volumes[0];
    volume.out_of_sync_blocks = 1227;
    volume.resync = Some(ResyncProgress::new(THEN, THEN + 7_000, 6144, 1227));
    volume.flags.iter_mut().for_each(|flags| flags.crashed_primary = true);
    volume.counters.pending = 5;
    volume.counters.lower_pending = 1;
    status
}

/// Without a disk of its own, served by the peer.
pub(crate) fn diskless() -> ResourceStatus {
    let mut status = both_primary();
    let volume = &mut status.volumes[0];
    volume.disk = DiskState::Diskless;
    volume.backend = None;
    volume.generations = None;
    volume.flags = None;
    status
}

/// Its disk has failed, and then the peer was lost: requests wait.
pub(crate) fn suspended() -> ResourceStatus {
    let mut status = diskless();
    status.peer.connection = ConnectionState::Connecting;
    status.peer.role = Role::Unknown;
    status.peer.established = false;
    let volume = &mut status.volumes[0];
    volume.meta_disk_path = Some("/dev/vg/meta".into());
    volume.peer_disk = DiskState::DUnknown;
    volume.replication = ReplicationState::Off;
    volume.suspended.no_data = true;
    volume.undurable_writes = 12;
    volume.undurable_bytes = 48 << 10;
    volume.counters.read_errors = 1;
    volume.counters.repaired_blocks = 1;
    volume.counters.write_errors = 2;
    status
}

/// Two clients on one of two volumes, concurrent writes seen.
pub(crate) fn two_volumes() -> ResourceStatus {
    let mut status = both_primary();
    let mut second = volume(1);
    second.minor = Some(11);
    let client = |peer: &str| ClientStatus {
        peer: peer.into(),
        export: "r0/1".into(),
        since: THEN,
        in_flight: 3,
        requests: 4711,
    };
    second.clients = vec![client("process 4242"), client("10.0.0.5:40112")];
    second.counters.conflicts_won =
        ConflictCounts { same: 1, partial: 1, ..ConflictCounts::default() };
    second.counters.conflicts_lost = ConflictCounts { covered: 1, ..ConflictCounts::default() };
    status.volumes.push(second);
    status.resumed = 3;
    status
}

/// Refused by the peer, and coming back after a restart.
pub(crate) fn refused() -> ResourceStatus {
    let mut status = connecting();
    status.restoring = true;
    status.role = Role::Secondary;
    status.strangers_refused = 7;
    status.last_refusal = Some("beta has another shared secret".into());
    status
}

/// Every one of them with its name.
pub(crate) fn all() -> Vec<(&'static str, ResourceStatus)> {
    vec![
        ("both Primary", both_primary()),
        ("connecting", connecting()),
        ("split brain", split_brain()),
        ("sync source", sync_source()),
        ("sync target", sync_target()),
        ("just created", just_created()),
        ("diskless", diskless()),
        ("suspended", suspended()),
        ("two volumes", two_volumes()),
        ("refused", refused()),
        ("brought up", bring_up()),
        ("stands alone", stand_alone()),
        ("outdated", outdated()),
        ("after a crash, source", crash_resync_source()),
        ("after a crash, target", crash_resync_target()),
    ]
}
