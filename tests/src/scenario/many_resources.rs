//! Many resources on one daemon: what they cost, and that each works.

use super::{MIB, Report, Scale};
use crate::clock::{self, until};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::load::runtime;
use crate::nbd_client::Client;
use crate::process::Ran;
use crate::{disks, process};
use anyhow::Context;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The size of each disk.
const DISK_BYTES: u64 = 4 * MIB;
/// Longer than anything takes for hundreds of resources on a busy machine.
const LONG: Duration = Duration::from_secs(600);
/// What a daemon may ever have in memory: so much, and so much for each resource. That is less than is
/// promised: nobody here writes as much at once as `nbd-memory` does.
const BASE_KIB: u64 = 192 << 10;
const EACH_KIB: u64 = 768;
/// Each has one thread of its own; these are for the rest.
const THREADS_BASE: usize = 4;
/// Threads of the kernel that block for a ring.
const WORKERS_EACH: usize = 16;
/// Its address, its disk's file and ring, its link, and what the runtime of its thread needs.
const DESCRIPTORS_EACH: usize = 16;
/// A large write at each resource, one after the other: what is kept for the next must not add up.
const LARGE: u64 = 2 * MIB;

/// All resources come up, serve, survive a crash of a daemon, and go down, and neither memory nor
/// threads grow beyond what is promised.
pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let count = scale.resources;
    let mut cluster = Cluster::new(Setup { direct: true, ..Setup::new(MIB) })?;
    configure(&cluster, count)?;
    for node in cluster.nodes_mut() {
        node.start()?;
    }
    for node in cluster.nodes() {
        repadm(node, &["create-md", "all"])?;
    }
    let bare = Cost::of(&cluster.alpha)?;
    let mut took = Duration::ZERO;
    for node in cluster.nodes() {
        took += repadm(node, &["up", "all"])?.took;
    }
    report.line(&format!("{count} resources: up on both nodes in {took:.1?}"));
    let begun = clock::now();
    for node in cluster.nodes() {
        repadm(node, &["wait-connect", "--wfc-timeout", "600", "all"])?;
    }
    report.line(&format!("all connected {:.1?} later", begun.elapsed()));
    let begun = clock::now();
    repadm(&cluster.alpha, &["primary", "--force", "all"])?;
    for node in cluster.nodes() {
        repadm(node, &["wait-sync", "--wfc-timeout", "600", "all"])?;
    }
    repadm(&cluster.beta, &["primary", "all"])?;
    settled(&cluster, count)?;
    report.line(&format!(
        "both Primary everywhere, after {} first syncs of {} MiB: {:.1?}",
        count,
        DISK_BYTES / MIB,
        begun.elapsed()
    ));
    write_everywhere(&cluster, count)?;
    for node in cluster.nodes() {
        is_bounded(node, count, &bare, report)?;
    }
    looks(&cluster, report)?;
    come_back(&mut cluster, count, report)?;
    go_down(&cluster, count, &bare, report)?;
    cluster.finish()
}

fn name(at: usize) -> String {
    format!("m{at:03}")
}

fn disk(node: &Node, at: usize) -> PathBuf {
    node.disk().with_file_name(format!("disk.{at:03}"))
}

/// The same file for both. All of 127.0.0.0/8 is this machine's: two addresses that belong to this
/// cluster alone, by the port that does, so that the resources' ports are in nobody's way.
fn configure(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let [high, low] = cluster.spare_port().to_be_bytes();
    let mut text =
        "common { net { allow-two-primaries; timeout 100; ping-int 10; connect-int 1; } }\n"
            .to_owned();
    for at in 0..count {
        let _ = writeln!(text, "resource {} {{", name(at));
        for (last, node) in (1..).zip(cluster.nodes()) {
            fs::File::create(disk(node, at))?.set_len(DISK_BYTES)?;
            let _ = writeln!(
                text,
                "  on {} {{ device /dev/drbd{at}; disk {}; address 127.{high}.{low}.{last}:{}; }}",
                node.name(),
                disk(node, at).display(),
                7000 + at
            );
        }
        text += "}\n";
    }
    for node in cluster.nodes() {
        fs::write(node.config(), &text)?;
    }
    Ok(())
}

fn repadm(node: &Node, words: &[&str]) -> anyhow::Result<Ran> {
    let ran = process::run(&mut node.repadm_command(words)?, LONG)?;
    ran.ended_with(0).with_context(|| format!("on {}", node.name()))
}

/// What a daemon has of the system.
struct Cost {
    peak_kib: u64,
    resident_kib: u64,
    /// Its own.
    threads: usize,
    /// Those of the kernel that work for its rings: they have no memory of their own.
    workers: usize,
    descriptors: usize,
}

impl Cost {
    fn of(node: &Node) -> anyhow::Result<Self> {
        let pid = node.pid()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            let number = word.and_then(|word| word.parse::<u64>().ok());
            number.with_context(|| format!("no {name} in {status}"))
        };
        let (mut threads, mut workers) = (0, 0);
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // One that has just ended is none.
            let Ok(name) = fs::read_to_string(task?.path().join("comm")) else { continue };
            let of = if name.starts_with("iou-") { &mut workers } else { &mut threads };
            *of += 1;
        }
        Ok(Self {
            peak_kib: number("VmHWM:")?,
            resident_kib: number("VmRSS:")?,
            threads,
            workers,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

/// Every resource of both nodes is connected, in sync, and has that role on both.
fn settled(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let mut last = String::new();
    let seen = until("every resource in sync and Primary on both nodes", LONG, || {
        for node in cluster.nodes() {
            let all = repadm(node, &["--json", "status"])?.out;
            let all: Value = serde_json::from_str(&all)?;
            let all = all.as_array().context("no list")?;
            if let Some(why) = unsettled(all, count) {
                last = format!("{}: {why}", node.name());
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    seen.map(drop).with_context(|| last)
}

fn unsettled(all: &[Value], count: usize) -> Option<String> {
    if all.len() != count {
        return Some(format!("{} resources", all.len()));
    }
    let expected = [
        ("/role", "Primary"),
        ("/connections/0/peer-role", "Primary"),
        ("/connections/0/peer_devices/0/replication-state", "Established"),
        ("/connections/0/peer_devices/0/peer-disk-state", "UpToDate"),
        ("/devices/0/disk-state", "UpToDate"),
    ];
    all.iter().find_map(|resource| {
        expected.iter().find_map(|(pointer, expected)| {
            let found = resource.pointer(pointer).and_then(Value::as_str);
            (found != Some(expected)).then(|| format!("{}: {pointer} {found:?}", resource["name"]))
        })
    })
}

/// What is written at one node is read at the other, through both exports of each resource.
fn write_everywhere(cluster: &Cluster, count: usize) -> anyhow::Result<()> {
    let (from, to) = (cluster.alpha.address(), cluster.beta.address());
    runtime()?.block_on(async {
        for at in 0..count {
            let exchange = async {
                let data = vec![at as u8 + 1; usize::try_from(LARGE)?];
                let mut client = Client::connect(&from, &name(at)).await?;
                client.write(0, &data, false).await?;
                client.flush().await?;
                client.disconnect().await?;
                let mut client = Client::connect(&to, &name(at)).await?;
                let read = client.read(0, u32::try_from(LARGE)?).await?;
                anyhow::ensure!(read == data, "the other node has something else");
                client.disconnect().await?;
                Ok(())
            };
            let exchanged = tokio::time::timeout(PATIENCE, exchange).await;
            exchanged.context("no answer").flatten().with_context(|| name(at))?;
        }
        Ok(())
    })
}

fn is_bounded(node: &Node, count: usize, bare: &Cost, report: &mut Report) -> anyhow::Result<()> {
    let busy = Cost::of(node)?.threads;
    let most = count + THREADS_BASE;
    // Those that have looked for holes are idle, and end by themselves.
    let idle = until("idle threads to end", PATIENCE, || {
        let cost = Cost::of(node)?;
        Ok((cost.threads <= most).then_some(cost))
    });
    let (cost, _) = idle.with_context(|| format!("{busy} threads, {most} are promised"))?;
    report.line(&format!(
        "{}: {} MiB in memory, {} at most, {} threads ({busy} at work, and {} of the kernel's), {} \
         descriptors (with none up: {} MiB, {} threads, {} descriptors)",
        node.name(),
        cost.resident_kib >> 10,
        cost.peak_kib >> 10,
        cost.threads,
        cost.workers,
        cost.descriptors,
        bare.resident_kib >> 10,
        bare.threads,
        bare.descriptors
    ));
    let most = BASE_KIB + EACH_KIB * count as u64;
    anyhow::ensure!(cost.peak_kib < most, "{} KiB, {most} are promised", cost.peak_kib);
    let most = WORKERS_EACH * count;
    anyhow::ensure!(cost.workers <= most, "{} of the kernel's, {most}", cost.workers);
    let most = bare.descriptors + DESCRIPTORS_EACH * count;
    let descriptors = cost.descriptors;
    anyhow::ensure!(descriptors <= most, "{descriptors} descriptors, {most} are promised");
    Ok(())
}

/// How long it takes to look at all of them.
fn looks(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for words in [&["status"][..], &["--json", "status"], &["overview"], &["events2", "--now"]] {
        let took = repadm(&cluster.alpha, words)?.took;
        times.push(format!("{} {took:.1?}", words.join(" ")));
    }
    report.line(&times.join(", "));
    Ok(())
}

/// A crash of one daemon: started again, it has everything as it was.
fn come_back(cluster: &mut Cluster, count: usize, report: &mut Report) -> anyhow::Result<()> {
    cluster.alpha.kill()?;
    let begun = clock::now();
    cluster.alpha.start()?;
    let answers = begun.elapsed();
    settled(cluster, count)?;
    report.line(&format!(
        "killed and started again: it answers after {answers:.1?}, everything is as it was after \
         {:.1?}",
        begun.elapsed()
    ));
    Ok(())
}

fn go_down(
    cluster: &Cluster,
    count: usize,
    bare: &Cost,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for (node, words) in cluster.nodes().into_iter().zip([&["down", "all"], &["service", "stop"]]) {
        let took = repadm(node, words)?.took;
        times.push(format!("{} {took:.1?}", words.join(" ")));
    }
    report.line(&times.join(", "));
    for node in cluster.nodes() {
        let gone = until("threads to be gone", PATIENCE, || {
            let cost = Cost::of(node)?;
            let is_bare = cost.threads <= bare.threads && cost.descriptors <= bare.descriptors;
            Ok(is_bare.then_some(()))
        });
        gone.with_context(|| node.name())?;
    }
    let len = disks::data_bytes(DISK_BYTES)?;
    for at in 0..count {
        let [one, other] = cluster.nodes().map(|node| disk(node, at));
        let difference = disks::first_difference(&one, &other, len)?;
        anyhow::ensure!(difference.is_none(), "{}: they differ at {difference:?}", name(at));
    }
    Ok(())
}
