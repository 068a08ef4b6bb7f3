//! Two daemons whose configurations do not fit each other: both refuse, and both say why.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use control::{Command, Spare};
use std::path::Path;
use std::time::Duration;
use support::{Node, create_md_as, host, ports, resolved, resource};
use types::{ConnectionState, NodeId};

/// Two nodes on disks of their own.
fn nodes(dir: &Path, beta: u8) -> [Node; 2] {
    [Node::new("alpha", 0, dir), Node::new("beta", beta, dir)]
}

/// Brings both up, each with its own idea of the resource. Each must refuse, and tell it in its
/// status and in its log. `beta` is the id of the node that beta takes itself for.
fn refuse(mut nodes: [Node; 2], resources: [serde_json::Value; 2], expected: &str) {
    for (node, resource) in nodes.iter_mut().zip(resources) {
        node.start();
        node.call(Command::Up { resource, node: node.name.into(), spare: Spare::default() });
    }
    for node in &nodes {
        let mut told = None;
        for _ in 0..1000 {
            told = node.status().last_refusal;
            if told.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let told = told.unwrap_or_else(|| panic!("{}: {}", node.name, node.log()));
        assert!(told.contains(expected), "{}: {told}", node.name);
        assert!(node.log().contains(expected), "{}: {}", node.name, node.log());
        assert!(node.status().peer.connection != ConnectionState::Connected);
    }
}

#[test]
fn other_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [alpha, beta] = ports();
    let hosts = format!("{} {}", host(dir.path(), "alpha", alpha), host(dir.path(), "beta", beta));
    let with = |net: &str| resolved(dir.path(), &format!("resource r0 {{ {hosts} {net} }}"));
    let resources = [with("net { allow-two-primaries; }"), with("")];
    refuse(nodes(dir.path(), 1), resources, "allow-two-primaries");
}

#[test]
fn other_volumes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [alpha, beta] = ports();
    let hosts = [host(dir.path(), "alpha", alpha), host(dir.path(), "beta", beta)];
    let with = |second: bool| {
        let more = "volume 7 { device /dev/drbd7; disk none; }";
        let there =
            format!("volume 7 {{ device /dev/drbd7; disk {}; }}", dir.path().join("7").display());
        let mut text = String::new();
        for (host, volume) in hosts.iter().zip([more, &there]) {
            let host = host.replacen("device", "volume 0 { device", 1);
            let volume = if second { volume } else { "" };
            let host = host.replacen("; address", &format!("; }} {volume} address"), 1);
            text += &host.replacen("meta-disk internal; ", "", 1);
        }
        resolved(dir.path(), &format!("resource r0 {{ {text} }}"))
    };
    refuse(nodes(dir.path(), 1), [with(true), with(false)], "volumes");
}

#[test]
fn other_node_ids_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [alpha, beta] = ports();
    let hosts = [host(dir.path(), "alpha", alpha), host(dir.path(), "beta", beta)];
    let with = |ids: [u8; 2]| {
        let mut text = String::new();
        for (host, id) in hosts.iter().zip(ids) {
            text += &host.replacen("device", &format!("node-id {id}; device"), 1);
        }
        resolved(dir.path(), &format!("resource r0 {{ {text} }}"))
    };
    // Each takes itself for node 0.
    refuse(nodes(dir.path(), 0), [with([0, 1]), with([1, 0])], "node");
}

/// A disk that was copied with its metadata: nobody knows what the copy lacks.
#[test]
fn rs10_a_copied_disk_is_refused_and_the_log_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let resource = resource(dir.path());
    let nodes = nodes(dir.path(), 1);
    for (id, node) in (0..).zip(&nodes) {
        create_md_as(&node.dir.join("disk"), NodeId(id), 4711);
    }
    let disks = nodes.each_ref().map(|node| node.dir.join("disk").display().to_string());
    let logs = nodes.each_ref().map(|node| node.dir.join("log"));
    refuse(nodes, [resource.clone(), resource], "one is a copy of the other");
    for (disk, log) in disks.iter().zip(logs) {
        let log = std::fs::read_to_string(log).unwrap();
        let told =
            log.lines().any(|line| line.contains("a copy of the other") && line.contains(disk));
        assert!(told && log.contains("run create-md on the copy"), "{log}");
    }
}
