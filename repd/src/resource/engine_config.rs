//! From the configuration's options to the engine's.

use config::{DiskOptions, Host, Net, Resource};
use metadata::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Policies};
use replicator::{
    Digest, EngineConfig, Fencing, Handler, OnCongestion, OnIoError, OnNoData, Options, Pace,
    ReadBalancing, RrConflict, Secret, VolumeOptions,
};
use std::collections::BTreeMap;
use types::{NodeId, Span};

/// `max-buffers` counts pages.
const PAGE_BYTES: u64 = 4096;

/// What the engine of `me` is constructed with.
pub(crate) fn engine_config(resource: &Resource, me: &Host, peer: &Host) -> EngineConfig {
    let net = &resource.net;
    let options = Options {
        protocol: net.protocol,
        on_congestion: match net.on_congestion {
            config::OnCongestion::Block => OnCongestion::Block,
            config::OnCongestion::PullAhead => OnCongestion::PullAhead,
            config::OnCongestion::Disconnect => OnCongestion::Disconnect,
        },
        congestion_fill: net.congestion_fill,
        congestion_extents: net.congestion_extents,
        allow_two_primaries: net.allow_two_primaries,
        shared_secret: net.shared_secret.as_ref().map(|secret| Secret::new(secret.as_bytes())),
        timeout: net.timeout,
        ko_count: net.ko_count,
        ping_int: net.ping_int,
        ping_timeout: net.ping_timeout,
        connect_int: net.connect_int,
        must_match: must_match(resource, me),
        flush_interval: resource.options.durable_interval,
        flush_bytes: resource.options.durable_limit,
        csums_alg: net.csums_alg.map(digest),
        csums_after_crash_only: net.csums_after_crash_only,
        verify_alg: net.verify_alg.map(digest),
        verify_interval: Some(net.verify_interval).filter(|&interval| interval > Span::ZERO),
        on_io_error: on_io_error(me),
        on_no_data_accessible: match resource.options.on_no_data_accessible {
            config::OnNoData::IoError => OnNoData::IoError,
            config::OnNoData::SuspendIo => OnNoData::SuspendIo,
        },
        after_sb: policies(net, me),
        rr_conflict: match net.rr_conflict {
            config::RrConflict::Disconnect | config::RrConflict::AutoDiscard => {
                RrConflict::Disconnect
            }
            config::RrConflict::Violently => RrConflict::Violently,
            config::RrConflict::CallPriLost => RrConflict::CallPriLost,
            config::RrConflict::RetryConnect => RrConflict::RetryConnect,
        },
        fencing: match net.fencing {
            config::Fencing::DontCare => Fencing::DontCare,
            config::Fencing::ResourceOnly => Fencing::ResourceOnly,
            config::Fencing::ResourceAndStonith => Fencing::ResourceAndStonith,
        },
        resync_window: u64::from(net.max_buffers) * PAGE_BYTES,
        volumes: me.volumes.iter().map(|of| (of.id, of_volume(&of.disk_options))).collect(),
        prepares_resync: resource.handlers.contains_key(Handler::BeforeResyncTarget.as_str()),
        ..Options::default()
    };
    EngineConfig {
        resource: resource.name.clone(),
        node: me.node_id,
        node_name: me.name.clone(),
        peer_name: peer.name.clone(),
        volumes: me.volumes.iter().map(|volume| volume.id).collect(),
        options,
    }
}

fn of_volume(disk: &DiskOptions) -> VolumeOptions {
    use config::ReadBalancing as Word;
    let read_balancing = match disk.read_balancing {
        Word::PreferLocal => ReadBalancing::PreferLocal,
        Word::PreferRemote => ReadBalancing::PreferRemote,
        Word::RoundRobin => ReadBalancing::RoundRobin,
        Word::LeastPending => ReadBalancing::LeastPending,
        Word::WhenCongestedRemote => ReadBalancing::WhenCongestedRemote,
        Word::Striping32K => ReadBalancing::Striping(32 << 10),
        Word::Striping64K => ReadBalancing::Striping(64 << 10),
        Word::Striping128K => ReadBalancing::Striping(128 << 10),
        Word::Striping256K => ReadBalancing::Striping(256 << 10),
        Word::Striping512K => ReadBalancing::Striping(512 << 10),
        Word::Striping1M => ReadBalancing::Striping(1 << 20),
    };
    VolumeOptions {
        pace: pace(disk),
        disk_timeout: disk.disk_timeout,
        read_balancing,
        size: disk.size.unwrap_or(0),
    }
}

/// How fast the resync of a volume goes; the configuration counts in KiB/s.
const fn pace(disk: &DiskOptions) -> Pace {
    Pace {
        plan_ahead: disk.c_plan_ahead,
        rate: disk.resync_rate << 10,
        delay_target: disk.c_delay_target,
        fill_target: disk.c_fill_target,
        max_rate: disk.c_max_rate << 10,
        min_rate: disk.c_min_rate << 10,
    }
}

/// That of the volumes: the configuration has made sure that it is the same for all.
const fn digest(digest: config::Digest) -> Digest {
    match digest {
        config::Digest::Crc32c => Digest::Crc32c,
        config::Digest::Xxh3 => Digest::Xxh3,
        config::Digest::Sha256 => Digest::Sha256,
    }
}

fn on_io_error(me: &Host) -> OnIoError {
    match me.volumes[0].disk_options.on_io_error {
        config::OnIoError::Detach => OnIoError::Detach,
        config::OnIoError::PassOn => OnIoError::PassOn,
        config::OnIoError::CallLocalIoError => OnIoError::CallLocalIoError,
    }
}

/// What is to be done about a split brain; «local» and «remote» by the node that gives way.
fn policies(net: &Net, me: &Host) -> Policies {
    use config::{AfterSb0Pri as Zero, AfterSb1Pri as One, AfterSb2Pri as Two};
    Policies {
        zero: match net.after_sb_0pri {
            Zero::Disconnect => AfterSb0Pri::Disconnect,
            Zero::DiscardYoungerPrimary => AfterSb0Pri::DiscardYoungerPrimary,
            Zero::DiscardOlderPrimary => AfterSb0Pri::DiscardOlderPrimary,
            Zero::DiscardZeroChanges => AfterSb0Pri::DiscardZeroChanges,
            Zero::DiscardLeastChanges => AfterSb0Pri::DiscardLeastChanges,
            Zero::DiscardLocal => AfterSb0Pri::DiscardNode(me.node_id),
            Zero::DiscardRemote => AfterSb0Pri::DiscardNode(NodeId(1 - me.node_id.0)),
        },
        one: match net.after_sb_1pri {
            One::Disconnect => AfterSb1Pri::Disconnect,
            One::Consensus => AfterSb1Pri::Consensus,
            One::ViolentlyAs0p => AfterSb1Pri::ViolentlyAs0p,
            One::DiscardSecondary => AfterSb1Pri::DiscardSecondary,
            One::CallPriLostAfterSb => AfterSb1Pri::CallPriLostAfterSb,
        },
        two: match net.after_sb_2pri {
            Two::Disconnect => AfterSb2Pri::Disconnect,
            Two::ViolentlyAs0p => AfterSb2Pri::ViolentlyAs0p,
            Two::CallPriLostAfterSb => AfterSb2Pri::CallPriLostAfterSb,
        },
        always: net.always_asbp,
    }
}

/// `after-sb-0pri` as both nodes say it: what is local at one is remote at the other.
fn zero_pri_of_both(resource: &Resource, me: &Host) -> String {
    let loser = match resource.net.after_sb_0pri {
        config::AfterSb0Pri::DiscardLocal => me.node_id,
        config::AfterSb0Pri::DiscardRemote => NodeId(1 - me.node_id.0),
        same => return same.to_string(),
    };
    let host = resource.hosts.iter().find(|host| host.node_id == loser);
    format!("discard-node-{}", host.map_or("?", |host| host.name.as_str()))
}

/// What the two nodes would decide differently if it were not the same on both.
fn must_match(resource: &Resource, me: &Host) -> BTreeMap<String, String> {
    let net = &resource.net;
    let yes_no = |value| if value { "yes" } else { "no" }.to_owned();
    [
        ("allow-two-primaries", yes_no(net.allow_two_primaries)),
        ("after-sb-0pri", zero_pri_of_both(resource, me)),
        ("after-sb-1pri", net.after_sb_1pri.to_string()),
        ("after-sb-2pri", net.after_sb_2pri.to_string()),
        ("always-asbp", yes_no(net.always_asbp)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resource;
    use types::{Protocol, Span};

    #[test]
    fn both_nodes_agree_on_what_must_match() {
        let resource = resource("r0");
        let (alpha, beta) = resource.host("alpha").unwrap();
        let (one, other) =
            (engine_config(&resource, alpha, beta), engine_config(&resource, beta, alpha));
        assert_eq!((one.node, other.node), (NodeId(0), NodeId(1)));
        assert_eq!(one.options.must_match, other.options.must_match);
        assert_eq!(one.options.must_match["allow-two-primaries"], "yes");
        assert_eq!(one.volumes, other.volumes);
    }

    #[test]
    fn local_at_one_node_is_remote_at_the_other() {
        let mut resource = resource("r0");
        let config = |resource: &Resource, node: &str| {
            let (me, peer) = resource.host(node).unwrap();
            engine_config(resource, me, peer).options
        };
        resource.net.after_sb_0pri = config::AfterSb0Pri::DiscardLocal;
        let alpha = config(&resource, "alpha");
        let same = config(&resource, "beta");
        assert_ne!(alpha.must_match, same.must_match, "each would discard its own");
        resource.net.after_sb_0pri = config::AfterSb0Pri::DiscardRemote;
        let beta = config(&resource, "beta");
        assert_eq!(alpha.must_match, beta.must_match);
        assert_eq!(alpha.must_match["after-sb-0pri"], "discard-node-alpha");
        assert_eq!(alpha.after_sb.zero, AfterSb0Pri::DiscardNode(NodeId(0)));
        assert_eq!(alpha.after_sb, beta.after_sb);
    }

    /// The engine compares it by itself.
    #[test]
    fn the_protocol_and_what_it_does_on_congestion_are_passed_on() {
        let mut resource = resource("r0");
        resource.net.protocol = Protocol::A;
        resource.net.on_congestion = config::OnCongestion::PullAhead;
        resource.net.congestion_fill = 1 << 20;
        resource.net.congestion_extents = 99;
        let (alpha, beta) = resource.host("alpha").unwrap();
        let options = engine_config(&resource, alpha, beta).options;
        assert_eq!(
            (options.protocol, options.on_congestion),
            (Protocol::A, OnCongestion::PullAhead)
        );
        assert_eq!((options.congestion_fill, options.congestion_extents), (1 << 20, 99));
        assert!(!options.must_match.contains_key("protocol"));
    }

    #[test]
    fn policies_about_disks_are_passed_on() {
        let mut resource = resource("r0");
        resource.options.durable_interval = Span::millis(300);
        resource.options.durable_limit = 5 << 20;
        resource.options.on_no_data_accessible = config::OnNoData::SuspendIo;
        let disk = &mut resource.hosts[0].volumes[0].disk_options;
        disk.on_io_error = config::OnIoError::PassOn;
        let (alpha, beta) = resource.host("alpha").unwrap();
        let options = engine_config(&resource, alpha, beta).options;
        assert_eq!((options.flush_interval, options.flush_bytes), (Span::millis(300), 5 << 20));
        assert_eq!(options.on_no_data_accessible, OnNoData::SuspendIo);
        assert_eq!(options.on_io_error, OnIoError::PassOn);
        let options = engine_config(&resource, beta, alpha).options;
        assert_eq!(options.on_io_error, OnIoError::Detach);
    }
}
