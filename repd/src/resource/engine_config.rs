//! From the configuration's options to the engine's.

use config::{Host, Resource};
use replicator::{EngineConfig, OnIoError, OnNoData, Options, Secret};
use std::collections::BTreeMap;

/// What the engine of `me` is constructed with.
pub(crate) fn engine_config(resource: &Resource, me: &Host, peer: &Host) -> EngineConfig {
    let net = &resource.net;
    let options = Options {
        allow_two_primaries: net.allow_two_primaries,
        shared_secret: net.shared_secret.as_ref().map(|secret| Secret::new(secret.as_bytes())),
        timeout: net.timeout,
        ko_count: net.ko_count,
        ping_int: net.ping_int,
        ping_timeout: net.ping_timeout,
        connect_int: net.connect_int,
        must_match: must_match(resource),
        flush_interval: resource.options.durable_interval,
        flush_bytes: resource.options.durable_limit,
        on_io_error: on_io_error(me),
        on_no_data_accessible: match resource.options.on_no_data_accessible {
            config::OnNoData::IoError => OnNoData::IoError,
            config::OnNoData::SuspendIo => OnNoData::SuspendIo,
        },
        al_updates: me.volumes.iter().all(|volume| volume.disk_options.al_updates),
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

/// That of the volumes: the configuration has made sure that it is the same for all.
fn on_io_error(me: &Host) -> OnIoError {
    match me.volumes[0].disk_options.on_io_error {
        config::OnIoError::Detach => OnIoError::Detach,
        config::OnIoError::PassOn => OnIoError::PassOn,
        config::OnIoError::CallLocalIoError => OnIoError::CallLocalIoError,
    }
}

/// What the two nodes would decide differently if it were not the same on both.
fn must_match(resource: &Resource) -> BTreeMap<String, String> {
    let net = &resource.net;
    let yes_no = |value| if value { "yes" } else { "no" }.to_owned();
    [
        ("protocol", net.protocol.to_string()),
        ("allow-two-primaries", yes_no(net.allow_two_primaries)),
        ("after-sb-0pri", net.after_sb_0pri.to_string()),
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
    use types::{NodeId, Span};

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
    fn policies_about_disks_are_passed_on() {
        let mut resource = resource("r0");
        resource.options.durable_interval = Span::millis(300);
        resource.options.durable_limit = 5 << 20;
        resource.options.on_no_data_accessible = config::OnNoData::SuspendIo;
        let disk = &mut resource.hosts[0].volumes[0].disk_options;
        disk.on_io_error = config::OnIoError::PassOn;
        disk.al_updates = false;
        let (alpha, beta) = resource.host("alpha").unwrap();
        let options = engine_config(&resource, alpha, beta).options;
        assert_eq!((options.flush_interval, options.flush_bytes), (Span::millis(300), 5 << 20));
        assert_eq!(options.on_no_data_accessible, OnNoData::SuspendIo);
        assert_eq!((options.on_io_error, options.al_updates), (OnIoError::PassOn, false));
        let options = engine_config(&resource, beta, alpha).options;
        assert_eq!((options.on_io_error, options.al_updates), (OnIoError::Detach, true));
    }
}
