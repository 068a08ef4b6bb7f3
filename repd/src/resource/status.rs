//! Pictures of a resource: the whole for `repadm`, and a glance for who waits for a state.

use control::{
    ClientStatus, Counters, FlagStatus, GenerationStatus, GenerationsStatus, PeerStatus,
    ResourceStatus, ResyncProgress, ResyncSuspended, Suspended, VerifyOutcome, VolumeStatus,
    VolumeVerify,
};
use metadata::{Flags, GenerationRecord, Generations};
use replicator::{Pauses, Status, VerifyReport};
use types::{ConnectionState, DiskState, Ledger, ReplicationState, Role, Time, VolumeId};

/// What exports, waits and watchers look at, published by the resource's thread whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) role: Role,
    pub(crate) peer_role: Role,
    pub(crate) connection: ConnectionState,
    pub(crate) established: bool,
    pub(crate) split_brain: Option<String>,
    pub(crate) last_refusal: Option<String>,
    pub(crate) lasting_refusals: u64,
    /// How many clients have its volumes open.
    pub(crate) clients: usize,
    /// This node had gone on alone when its disks were let go, the last time before they were
    /// attached.
    pub(crate) was_alone: bool,
    /// The peer's data is known to be Outdated.
    pub(crate) peer_outdated: bool,
    pub(crate) volumes: Vec<VolumeGlance>,
}

/// A volume in a [`Glance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeGlance {
    pub(crate) id: VolumeId,
    pub(crate) disk: DiskState,
    pub(crate) peer_disk: DiskState,
    pub(crate) replication: ReplicationState,
    pub(crate) size_bytes: u64,
    pub(crate) suspended: bool,
    pub(crate) pauses: Pauses,
}

impl Glance {
    /// Before the engine has said anything.
    pub(crate) const fn unknown() -> Self {
        Self {
            role: Role::Secondary,
            peer_role: Role::Unknown,
            connection: ConnectionState::StandAlone,
            established: false,
            split_brain: None,
            last_refusal: None,
            lasting_refusals: 0,
            clients: 0,
            was_alone: false,
            peer_outdated: false,
            volumes: Vec::new(),
        }
    }

    pub(crate) fn of(status: &Status, clients: usize, was_alone: bool) -> Self {
        let volumes = status.volumes.iter().map(|volume| VolumeGlance {
            id: volume.id,
            disk: volume.disk,
            peer_disk: volume.peer_disk,
            replication: volume.replication,
            size_bytes: volume.size_bytes,
            suspended: volume.suspended.any(),
            pauses: volume.pauses,
        });
        Self {
            role: status.role,
            peer_role: status.peer_role,
            connection: status.connection,
            established: status.established,
            split_brain: status.split_brain.clone(),
            last_refusal: status.last_refusal.clone(),
            lasting_refusals: status.lasting_refusals,
            clients,
            was_alone,
            peer_outdated: status.volumes.iter().any(|volume| {
                let known = volume.flags.is_some_and(|flags| flags.peer_outdated);
                known || volume.peer_disk == DiskState::Outdated
            }),
            volumes: volumes.collect(),
        }
    }

    pub(crate) fn volume(&self, id: VolumeId) -> Option<&VolumeGlance> {
        self.volumes.iter().find(|volume| volume.id == id)
    }
}

/// What the thread of a resource knows besides its engine.
pub(crate) struct Surroundings<'a> {
    pub(crate) resource: &'a config::Resource,
    pub(crate) me: &'a config::Host,
    pub(crate) peer: &'a config::Host,
    pub(crate) strangers_refused: u64,
    pub(crate) now: Time,
}

/// What it knows of a volume.
pub(crate) struct VolumeSurroundings {
    pub(crate) backend: Option<String>,
    pub(crate) lower_pending: u64,
    pub(crate) clients: Vec<ClientStatus>,
    pub(crate) ledger: Ledger,
}

/// The whole picture, but for what only the main thread knows: where it is served, and what role
/// it is meant to have.
pub(crate) fn resource_status(
    status: &Status,
    around: &Surroundings<'_>,
    volume_around: impl Fn(VolumeId) -> VolumeSurroundings,
) -> ResourceStatus {
    let Surroundings { resource, me, peer, .. } = around;
    ResourceStatus {
        name: resource.name.clone(),
        node_id: me.node_id,
        node_name: me.name.clone(),
        role: status.role,
        intended_role: status.role,
        restoring: false,
        protocol: resource.net.protocol,
        allow_two_primaries: resource.net.allow_two_primaries,
        address: me.address,
        strangers_refused: around.strangers_refused,
        peer: PeerStatus {
            name: peer.name.clone(),
            node_id: peer.node_id,
            address: peer.address,
            role: status.peer_role,
            connection: status.connection,
            established: status.established,
        },
        split_brain: status.split_brain.clone(),
        last_refusal: status.last_refusal.clone(),
        resumed: status.resumed,
        volumes: (status.volumes.iter())
            .map(|volume| volume_status(volume, around, volume_around(volume.id)))
            .collect(),
    }
}

fn volume_status(
    volume: &replicator::VolumeStatus,
    around: &Surroundings<'_>,
    own: VolumeSurroundings,
) -> VolumeStatus {
    let configured = around.me.volumes.iter().find(|configured| configured.id == volume.id);
    VolumeStatus {
        volume: volume.id,
        device: configured.and_then(|configured| configured.device.clone()),
        minor: configured.and_then(|configured| configured.minor),
        disk_path: configured.and_then(|configured| configured.disk.clone()),
        meta_disk_path: configured.and_then(|configured| match &configured.meta_disk {
            config::MetaDisk::Internal => None,
            config::MetaDisk::External(path) => Some(path.clone()),
        }),
        backend: own.backend,
        disk: volume.disk,
        peer_disk: volume.peer_disk,
        replication: volume.replication,
        size_bytes: volume.size_bytes,
        out_of_sync_blocks: volume.out_of_sync_blocks,
        undurable_writes: volume.undurable_writes,
        undurable_bytes: volume.undurable_bytes,
        suspended: Suspended {
            user: volume.suspended.by_user,
            no_data: volume.suspended.no_data,
            fencing: volume.suspended.fencing,
        },
        export: crate::exports::export_name(&around.resource.name, volume.id),
        nbd_uris: Vec::new(),
        clients: own.clients,
        resync_suspended: ResyncSuspended {
            user: volume.pauses.user,
            peer: volume.pauses.peer_user || volume.pauses.peer_dependency,
            dependency: volume.pauses.dependency,
        },
        resync: volume
            .resync
            .map(|resync| {
                let (started, now) = (resync.started.unix_millis(), around.now.unix_millis());
                ResyncProgress::new(started, now, resync.total_blocks, resync.left_blocks)
            })
            .or_else(|| {
                volume.verify.map(|verify| {
                    let (started, now) = (verify.started.unix_millis(), around.now.unix_millis());
                    ResyncProgress::new(started, now, verify.total_blocks, verify.left_blocks)
                })
            }),
        resync_bytes: volume.resync_bytes,
        verify: volume.verify_report.as_ref().map(verify_outcome),
        last_verify: volume.last_verify.map(Time::unix_millis),
        generations: volume.generations.as_ref().map(generations),
        flags: volume.flags.map(flags),
        counters: counters(&volume.counters, own.lower_pending),
        ledger: own.ledger,
    }
}

/// What verifies of a volume have found, and where it is marked out-of-sync.
pub(crate) fn volume_verify(
    volume: &replicator::VolumeStatus,
    marks: Option<&metadata::OutOfSync>,
) -> VolumeVerify {
    const PER_BLOCK: u64 = types::BLOCK_BYTES / types::SECTOR_BYTES;
    let mut ranges = Vec::new();
    let mut from = 0;
    let next = |from: &mut u64| {
        let run = marks?.next_run(*from, u64::MAX >> 13)?;
        *from = run.end;
        Some((run.start * PER_BLOCK, run.len() * PER_BLOCK))
    };
    while ranges.len() < VolumeVerify::RANGES_MAX
        && let Some(range) = next(&mut from)
    {
        ranges.push(range);
    }
    VolumeVerify {
        volume: volume.id,
        running: volume.verify.is_some(),
        last_whole: volume.last_verify.map(Time::unix_millis),
        outcome: volume.verify_report.as_ref().map(verify_outcome),
        out_of_sync_blocks: volume.out_of_sync_blocks,
        more_ranges: next(&mut from).is_some(),
        ranges,
    }
}

fn verify_outcome(report: &VerifyReport) -> VerifyOutcome {
    VerifyOutcome {
        requester: report.requester,
        started: report.started.unix_millis(),
        ended: report.ended.unix_millis(),
        complete: report.complete,
        position_sector: report.position_sector,
        compared_blocks: report.compared_blocks,
        found_blocks: report.found_blocks,
        text: report.text.clone(),
    }
}

fn generations(generations: &Generations) -> GenerationsStatus {
    GenerationsStatus {
        current: generation(&generations.current),
        bitmap: generations.bitmap.id.is_set().then(|| generation(&generations.bitmap)),
        history: generations.history.iter().map(generation).collect(),
    }
}

pub(super) fn generation(record: &GenerationRecord) -> GenerationStatus {
    GenerationStatus {
        id: record.id.to_string(),
        born: record.born.unix_millis(),
        cause: record.cause.as_str().to_owned(),
        node: record.node,
        first_solo: record.first_solo.map(Time::unix_millis),
        last_solo: record.last_solo.map(Time::unix_millis),
    }
}

const fn flags(flags: Flags) -> FlagStatus {
    FlagStatus {
        consistent: flags.consistent,
        was_up_to_date: flags.was_up_to_date,
        primary: flags.primary,
        crashed_primary: flags.crashed_primary,
        peer_outdated: flags.peer_outdated,
        full_sync: flags.full_sync,
        al_disabled: flags.al_disabled,
    }
}

const fn counters(counters: &replicator::Counters, lower_pending: u64) -> Counters {
    Counters {
        read_bytes: counters.read_bytes,
        written_bytes: counters.written_bytes,
        sent_bytes: counters.sent_bytes,
        received_bytes: counters.received_bytes,
        al_writes: counters.al_writes,
        al_hits: counters.al_hits,
        al_misses: counters.al_misses,
        read_errors: counters.read_errors,
        write_errors: counters.write_errors,
        repaired_blocks: counters.repaired_blocks,
        bm_writes: counters.bm_writes,
        conflicts_won: counters.conflicts_won,
        conflicts_lost: counters.conflicts_lost,
        superseded: counters.superseded,
        upper_pending: counters.upper_pending,
        lower_pending,
        pending: counters.pending,
        unacked: counters.unacked,
    }
}
