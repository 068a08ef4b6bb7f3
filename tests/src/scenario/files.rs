//! The sample files of the configuration, each from its text to data that is on both nodes: it
//! loads, its dump means the same, and it comes up between two daemons.

use super::{MIB, Report, Scale};
use crate::clock::until;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::Client;
use crate::ports::Ports;
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const DISK: u64 = 24 * MIB;
/// Room for metadata of their own, also where DRBD has many of them in slots of 128 MiB each.
const META: u64 = 128 * MIB;

/// The files, each with the ports that it uses.
const FILES: [(&str, &str, &[u16]); 6] = [
    ("acceptance", include_str!("../../../config/tests/files/acceptance.res"), &[7789]),
    ("two-volumes", include_str!("../../../config/tests/files/two-volumes.res"), &[7790]),
    ("nine", include_str!("../../../config/tests/files/nine.res"), &[7791]),
    ("eight-three", include_str!("../../../config/tests/files/eight-three.res"), &[7793]),
    ("floating", include_str!("../../../config/tests/files/floating.res"), &[7794]),
    (
        "example",
        include_str!("../../../config/tests/files/example.conf"),
        &[7800, 7801, 7802, 7803, 7804],
    ),
];

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    for (name, text, ports) in FILES {
        one(text, ports).with_context(|| format!("in {name}"))?;
        report.line(&format!("{name}: loads, comes back from its dump, and replicates"));
    }
    Ok(())
}

fn one(text: &str, ports: &[u16]) -> anyhow::Result<()> {
    let setup = Setup { direct: true, ..Setup::new(DISK) };
    let mut cluster = Cluster::new(setup)?;
    let own = Ports::take()?;
    let mut names = Vec::new();
    for (node, host) in cluster.nodes_mut().into_iter().zip([1, 2]) {
        let text = here(node, text, ports, &own)?;
        fs::write(node.config(), text)?;
        node.start()?;
        let port = own.ports[0];
        names.push(format!("127.0.0.{host}:{port}"));
    }
    let floating = text.contains("floating ");
    for (node, name) in cluster.nodes().into_iter().zip(&names) {
        let tool = Tool { node, name: floating.then_some(name.as_str()) };
        comes_back_from_its_dump(&tool)?;
        create_md(&tool, floating)?;
        tool.run(&["up", "all"])?;
    }
    let [alpha, beta] = cluster.nodes();
    let tools: Vec<Tool<'_>> = [alpha, beta]
        .into_iter()
        .zip(&names)
        .map(|(node, name)| Tool { node, name: floating.then_some(name.as_str()) })
        .collect();
    let [alpha, beta] = [&tools[0], &tools[1]];
    alpha.run(&["wait-connect", "--wfc-timeout", "60", "all"])?;
    alpha.run(&["primary", "--force", "all"])?;
    settled(alpha)?;
    let exports = alpha.exports()?;
    for (at, export) in exports.iter().enumerate() {
        write(alpha, export, at as u8 + 1)?;
    }
    alpha.run(&["secondary", "all"])?;
    beta.run(&["primary", "all"])?;
    for (at, export) in exports.iter().enumerate() {
        read(beta, export, at as u8 + 1)?;
    }
    beta.run(&["secondary", "all"])?;
    for tool in &tools {
        // Whatever was configured is what runs.
        let told = tool.run(&["-d", "adjust", "all"])?;
        anyhow::ensure!(told.is_empty(), "{told}");
        tool.run(&["down", "all"])?;
    }
    drop(tools);
    cluster.finish()
}

/// Where a host has no copy there is nothing to make, which is said, and is no success.
fn create_md(tool: &Tool<'_>, floating: bool) -> anyhow::Result<()> {
    let name = if floating { tool.name.unwrap_or_default() } else { tool.node.name() };
    let ran = tool.node.try_repadm(&["--node", name, "create-md", "--force", "all"])?;
    let diskless = ran.err.contains("has no disk");
    ran.ended_with(if diskless { 10 } else { 0 })?;
    Ok(())
}

/// The file for one node of two on this machine: its names, addresses and disks are those that
/// there are here.
fn here(node: &Node, text: &str, ports: &[u16], own: &Ports) -> anyhow::Result<String> {
    let mut text = text
        .replace("192.168.0.18", "127.0.0.1")
        .replace("192.168.0.19", "127.0.0.2")
        .replace("linux-nas01", "alpha")
        .replace("linux-nas02", "beta");
    for (old, new) in ports.iter().zip(own.ports) {
        text = text.replace(&old.to_string(), &new.to_string());
    }
    let home = node.disk().parent().context("a disk is in a directory")?.to_owned();
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
    let words = text.split(|c: char| !is_path(c));
    let paths: BTreeSet<String> = words
        .filter(|word| word.starts_with("/dev/vg0/") || word.starts_with("/dev/vda"))
        .map(ToOwned::to_owned)
        .collect();
    // The longest first: one may begin another.
    for path in paths.iter().rev() {
        let file: PathBuf = home.join(path.trim_start_matches("/dev/").replace('/', "-"));
        let bytes = if path.ends_with("-md") { META } else { DISK };
        fs::File::create(&file)?.set_len(bytes)?;
        text = text.replace(path, &file.display().to_string());
    }
    Ok(text)
}

/// `repadm` as the node that it is, by name or by address.
#[derive(Clone, Copy)]
struct Tool<'a> {
    node: &'a Node,
    name: Option<&'a str>,
}

impl Tool<'_> {
    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut all = Vec::new();
        if let Some(name) = self.name {
            all.extend(["--node", name]);
        }
        all.extend_from_slice(words);
        self.node.repadm(&all)
    }

    /// `status --json`.
    fn status(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.run(&["--json", "status"])?;
        let value: Value = serde_json::from_str(&text)?;
        value.as_array().cloned().context("a list of resources")
    }

    /// The export of each volume.
    fn exports(&self) -> anyhow::Result<Vec<String>> {
        let mut exports = Vec::new();
        for resource in self.status()? {
            let name = resource["name"].as_str().context("a name")?;
            for device in resource["devices"].as_array().context("devices")? {
                exports.push(format!("{name}/{}", device["volume"]));
            }
        }
        anyhow::ensure!(!exports.is_empty(), "nothing is up");
        Ok(exports)
    }
}

fn comes_back_from_its_dump(tool: &Tool<'_>) -> anyhow::Result<()> {
    tool.run(&["config", "check"])?;
    for words in [&["dump"][..], &["-v", "dump"]] {
        let again = tool.node.config().with_extension("dumped");
        fs::write(&again, tool.run(words)?)?;
        let again = again.display().to_string();
        let resolved = |value: &str| -> anyhow::Result<Value> {
            let mut value: Value = serde_json::from_str(value)?;
            forget_places(&mut value);
            Ok(value)
        };
        let direct = resolved(&tool.run(&["--json", "dump"])?)?;
        let dumped = resolved(&tool.run(&["--json", "-c", &again, "dump"])?)?;
        anyhow::ensure!(direct == dumped, "{words:?}: {direct}\nis not\n{dumped}");
    }
    Ok(())
}

/// Where something was written is no part of what it means.
fn forget_places(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.replace('_', "-").contains("defined-at"));
            members.values_mut().for_each(forget_places);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_places),
        _ => {}
    }
}

/// Waits until every disk that there is has everything.
fn settled(tool: &Tool<'_>) -> anyhow::Result<()> {
    let good = |state: &Value| matches!(state.as_str(), Some("UpToDate" | "Diskless"));
    until("both copies of all volumes", PATIENCE, || {
        let all = tool.status()?;
        let mut states = Vec::new();
        for resource in &all {
            let devices = resource["devices"].as_array().into_iter().flatten();
            states.extend(devices.map(|device| device["disk-state"].clone()));
            let peers = resource["connections"][0]["peer_devices"].as_array();
            states.extend(peers.into_iter().flatten().map(|peer| peer["peer-disk-state"].clone()));
        }
        Ok((!states.is_empty() && states.iter().all(good)).then_some(()))
    })?;
    Ok(())
}

fn write(tool: &Tool<'_>, export: &str, byte: u8) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut client = Client::connect(&tool.node.address(), export).await?;
        client.write(0, &[byte; 8192], false).await?;
        client.flush().await?;
        client.disconnect().await?;
        anyhow::Ok(())
    })
}

fn read(tool: &Tool<'_>, export: &str, byte: u8) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut client = Client::connect(&tool.node.address(), export).await?;
        let data = client.read(0, 8192).await?;
        anyhow::ensure!(data.iter().all(|&found| found == byte), "{export} has something else");
        client.disconnect().await?;
        Ok(())
    })
}
