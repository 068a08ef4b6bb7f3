//! `status --json`: the keys of `drbdsetup status --json`, and ours beside them.
//!
//! Sizes are in KiB, as there. Ours are: on a resource `split-brain`, `restoring`, `node-name`,
//! `resumed`, `strangers-refused`, `last-refusal`, `protocol`, `conflicts`; on a device
//! `backing-dev`, `meta-disk`, `backend`, `generation` (the current identifier), `generations` (all
//! of them), `conflicts`, `conflicts-by-kind` (how this node's write lies to the peer's), `clients`, `nbd-uris`, `suspended`, `al-hits`, `al-misses`,
//! `read-errors`, `write-errors`, `repaired-blocks`, `latency` (of each stage of requests how many, and
//! their mean, 50th and 99th percentile in microseconds, since the resource came up); on a peer device `resync-sent`, `undurable`
//! and `undurable-writes`: what the peer has answered and is not known durable there.

use super::{blocks_kib, kib};
use control::{GenerationStatus, ResourceStatus, ResyncProgress, Suspended, VolumeStatus};
use serde_json::{Value, json};
use std::net::SocketAddr;
use types::{ConnectionState, Stage, VolumeId};

/// All of them as one array. `only` tells which volumes of a resource are shown.
pub fn array(resources: &[(ResourceStatus, Option<VolumeId>)]) -> Value {
    resources.iter().map(|(status, only)| resource(status, *only)).collect()
}

/// Text of JSON for people and programs, with a line end.
pub fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn resource(status: &ResourceStatus, only: Option<VolumeId>) -> Value {
    let shown = |volume: &&VolumeStatus| only.is_none_or(|only| volume.volume == only);
    let volumes = || status.volumes.iter().filter(shown);
    let suspended =
        |why: fn(&Suspended) -> bool| status.volumes.iter().any(|volume| why(&volume.suspended));
    json!({
        "name": status.name,
        "node-id": status.node_id,
        "node-name": status.node_name,
        "role": status.role,
        "suspended": super::status::is_suspended(status),
        "suspended-user": suspended(|why| why.user),
        "suspended-no-data": suspended(|why| why.no_data),
        "suspended-fencing": suspended(|why| why.fencing),
        "suspended-quorum": false,
        "force-io-failures": false,
        "write-ordering": "flush",
        "protocol": status.protocol,
        "restoring": status.restoring,
        "split-brain": status.split_brain,
        "last-refusal": status.last_refusal,
        "resumed": status.resumed,
        "strangers-refused": status.strangers_refused,
        "conflicts": status.volumes.iter().map(conflicts).sum::<u64>(),
        "devices": volumes().map(device).collect::<Value>(),
        "connections": [connection(status, volumes().map(peer_device).collect())],
    })
}

fn device(volume: &VolumeStatus) -> Value {
    let counters = &volume.counters;
    json!({
        "volume": volume.volume,
        "minor": volume.minor,
        "disk-state": volume.disk,
        "client": volume.disk_path.is_none(),
        "open": super::status::is_open(volume),
        "quorum": true,
        "size": kib(volume.size_bytes),
        "read": kib(counters.read_bytes),
        "written": kib(counters.written_bytes),
        "al-writes": counters.al_writes,
        "al-hits": counters.al_hits,
        "al-misses": counters.al_misses,
        "read-errors": counters.read_errors,
        "write-errors": counters.write_errors,
        "repaired-blocks": counters.repaired_blocks,
        "bm-writes": counters.bm_writes,
        "upper-pending": counters.upper_pending,
        "lower-pending": counters.lower_pending,
        "device": volume.device,
        "backing-dev": volume.disk_path,
        "meta-disk": volume.meta_disk_path,
        "suspended": volume.suspended.any(),
        "backend": volume.backend,
        "generation": volume.generations.as_ref().map(|generations| &generations.current.id),
        "generations": generations(volume),
        "conflicts": conflicts(volume),
        "conflicts-won": counters.conflicts_won.total(),
        "conflicts-lost": counters.conflicts_lost.total(),
        "conflicts-by-kind": { "won": counters.conflicts_won, "lost": counters.conflicts_lost },
        "superseded": counters.superseded,
        "latency": latency(volume),
        "clients": volume.clients,
        "nbd-uris": volume.nbd_uris,
    })
}

/// Of each stage that any request has been through.
fn latency(volume: &VolumeStatus) -> Value {
    let stages = Stage::ALL.into_iter().filter_map(|stage| {
        let histogram = volume.ledger.of(stage);
        let mean = histogram.mean_micros()?;
        let told = json!({
            "count": histogram.count(),
            "mean-us": mean,
            "p50-us": histogram.percentile_micros(50),
            "p99-us": histogram.percentile_micros(99),
        });
        Some((stage.as_str().to_owned(), told))
    });
    Value::Object(stages.collect())
}

/// How often both nodes' clients wrote one place at once.
const fn conflicts(volume: &VolumeStatus) -> u64 {
    volume.counters.conflicts_won.total() + volume.counters.conflicts_lost.total()
}

/// The identifiers and flags, or null without a disk.
fn generations(volume: &VolumeStatus) -> Value {
    let Some(generations) = &volume.generations else { return Value::Null };
    let one = |generation: &GenerationStatus| json!(generation);
    json!({
        "current": one(&generations.current),
        "bitmap": generations.bitmap.as_ref().map(one),
        "history": generations.history,
        "flags": volume.flags,
    })
}

fn connection(status: &ResourceStatus, peer_devices: Value) -> Value {
    let peer = &status.peer;
    let connected = peer.connection == ConnectionState::Connected;
    let sum = |count: fn(&VolumeStatus) -> u64| status.volumes.iter().map(count).sum::<u64>();
    json!({
        "peer-node-id": peer.node_id,
        "name": peer.name,
        "connection-state": peer.connection,
        "congested": false,
        "peer-role": peer.role,
        "tls": false,
        "ap-in-flight": sum(|volume| volume.counters.pending),
        "rs-in-flight": 0,
        "paths": [{
            "this_host": host(status.address),
            "remote_host": host(peer.address),
            "established": connected,
        }],
        "established": peer.established,
        "peer_devices": peer_devices,
    })
}

fn host(address: SocketAddr) -> Value {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    json!({ "address": address.ip(), "port": address.port(), "family": family })
}

fn peer_device(volume: &VolumeStatus) -> Value {
    let counters = &volume.counters;
    let total = kib(volume.size_bytes).max(1) as f64;
    let out_of_sync = blocks_kib(volume.out_of_sync_blocks);
    let mut value = json!({
        "volume": volume.volume,
        "replication-state": volume.replication,
        "peer-disk-state": volume.peer_disk,
        "peer-client": false,
        "resync-suspended": volume.resync_suspended.words(),
        "received": kib(counters.received_bytes),
        "sent": kib(counters.sent_bytes),
        "out-of-sync": out_of_sync,
        "pending": counters.pending,
        "unacked": counters.unacked,
        "undurable": kib(volume.undurable_bytes),
        "undurable-writes": volume.undurable_writes,
        "has-sync-details": volume.resync.is_some(),
        "has-online-verify-details": super::progress::is_verify(volume),
        "percent-in-sync": percent((100.0 - out_of_sync as f64 * 100.0 / total).max(0.0)),
        "resync-sent": kib(volume.resync_bytes),
    });
    if let Some(at) = volume.last_verify {
        value["last-verify"] = json!(at);
    }
    if let Some(outcome) = &volume.verify {
        value["verify"] = json!(outcome);
    }
    if let Some(resync) = &volume.resync {
        for (key, detail) in sync_details(resync) {
            value[key] = detail;
        }
    }
    value
}

fn sync_details(resync: &ResyncProgress) -> [(&'static str, Value); 7] {
    const MIB: f64 = 1024.0 * 1024.0;
    // One speed is known, that since the beginning: it stands for the recent one too.
    let speed = json!(percent(resync.bytes_per_second as f64 / MIB));
    [
        ("rs-total", json!(blocks_kib(resync.total_blocks))),
        ("rs-left", json!(blocks_kib(resync.left_blocks))),
        ("rs-dt-start-ms", json!(resync.elapsed_ms)),
        ("db0/dt0 [MiB/s]", speed.clone()),
        ("db/dt [MiB/s]", speed),
        ("estimated-seconds-to-finish", json!(resync.seconds_left)),
        ("percent-resync-done", json!(percent(resync.percent))),
    ]
}

/// Two decimals, and not a hundred before it is.
fn percent(value: f64) -> f64 {
    (value * 100.0).floor() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_quiet_resource_whole() {
        insta::assert_snapshot!(pretty(&array(&[(samples::both_primary(), None)])));
    }

    #[test]
    fn a_resync_whole() {
        insta::assert_snapshot!(pretty(&array(&[(samples::sync_target(), None)])));
    }

    #[test]
    fn every_state_on_one_line() {
        let line = |(name, status)| format!("# {name}\n{}", array(&[(status, None)]));
        let lines: Vec<String> = samples::all().into_iter().map(line).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_split_brain_and_its_generations() {
        let value = array(&[(samples::split_brain(), None)]);
        assert!(value[0]["split-brain"].as_str().is_some_and(|text| text.contains("both nodes")));
        insta::assert_snapshot!(pretty(&value[0]["devices"][0]["generations"]));
    }

    #[test]
    fn one_volume_of_several() {
        let value = array(&[(samples::two_volumes(), Some(VolumeId(1)))]);
        assert_eq!(value[0]["devices"].as_array().map(Vec::len), Some(1));
        assert_eq!(value[0]["connections"][0]["peer_devices"][0]["volume"], 1);
        assert_eq!(value[0]["devices"][0]["clients"].as_array().map(Vec::len), Some(2));
        assert_eq!(value[0]["devices"][0]["conflicts"], 3);
        assert_eq!(value[0]["conflicts"], 3);
    }

    #[test]
    fn nothing_is_an_empty_array() {
        assert_eq!(array(&[]), json!([]));
    }
}
