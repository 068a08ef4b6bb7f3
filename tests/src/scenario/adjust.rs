//! The configuration of a pair changes under its clients, and `adjust` makes what runs what it says.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, Setup, Status};
use crate::load::{Load, Mix, Plan};
use anyhow::Context;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const DISK: u64 = 48 * MIB;

/// Options first, then disks, addresses and sockets; a load writes on alpha all the time.
pub(super) fn under_load(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup { direct: true, two_primaries: false, ..Setup::new(DISK) };
    let mut cluster = Cluster::one_primary(setup)?;
    for node in cluster.nodes() {
        nothing_to_do(node)?;
    }
    let plan =
        Plan { mix: Mix::Everything, pace: Duration::from_millis(2), ..Plan::scattered(4, 8, 5) };
    let load = Load::start(&[cluster.alpha.address()], plan)?;
    load.wait_answered(0, 50)?;
    options(&cluster, &load)?;
    report.line("options changed on both nodes, the link stood all the time");
    one_section(&cluster)?;
    mistakes(&cluster)?;
    disks(&cluster, &load)?;
    report.line("disks attached anew, one of them another");
    address(&cluster, &load)?;
    sockets(&cluster)?;
    restart(&mut cluster)?;
    report.line("the configuration of adjust is that of a daemon that is started again");
    load.wait_answered(0, 50)?;
    let loaded = load.finish()?;
    loaded.check(&Default::default())?;
    report.line(&format!("{} requests answered without an error", loaded.answered));
    cluster.beta.repadm(&["wait-sync", "r0"])?;
    cluster.wait_settled()?;
    cluster.finish()
}

fn nothing_to_do(node: &Node) -> anyhow::Result<()> {
    for words in [&["-d", "adjust", "r0"][..], &["adjust", "r0"]] {
        let ran = node.try_repadm(words)?.ended_with(0)?;
        anyhow::ensure!(ran.out.is_empty(), "{}: {words:?} says {}", node.name(), ran.out);
    }
    Ok(())
}

fn edit(node: &Node, from: &str, to: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(node.config())?;
    anyhow::ensure!(text.contains(from), "{from} is not in\n{text}");
    fs::write(node.config(), text.replace(from, to)).context("the configuration")
}

/// Each node takes more than one kind of option; nobody is disconnected, and what they mean holds.
fn options(cluster: &Cluster, load: &Load) -> anyhow::Result<()> {
    let before = cluster.alpha.status()?;
    let log = cluster.alpha.log().len();
    let refused = cluster.beta.try_repadm(&["primary", "r0"])?.ended_with(11)?;
    anyhow::ensure!(refused.err.contains("allow-two-primaries"), "{}", refused.err);
    for node in cluster.nodes() {
        edit(
            node,
            "    timeout 10;\n",
            "    timeout 20;\n    allow-two-primaries;\n    after-sb-0pri discard-zero-changes;\n    sndbuf-size 512k;\n",
        )?;
        let told = node.repadm(&["-d", "adjust", "r0"])?;
        for change in [
            "net allow-two-primaries: no → yes",
            "net timeout: 10 → 20",
            "net after-sb-0pri: disconnect → discard-zero-changes",
            "net sndbuf-size: 0 → 524288",
        ] {
            anyhow::ensure!(told.contains(change), "{change} is not in\n{told}");
        }
        let ran = node.try_repadm(&["adjust", "r0"])?.ended_with(0)?;
        anyhow::ensure!(ran.err.contains("the same on both nodes"), "{}", ran.err);
        nothing_to_do(node)?;
    }
    cluster.beta.repadm(&["primary", "r0"])?;
    for node in cluster.nodes() {
        edit(node, "    allow-two-primaries;\n", "")?;
        let ran = node.try_repadm(&["adjust", "r0"])?.ended_with(11)?;
        anyhow::ensure!(ran.err.contains("repadm secondary r0"), "{}", ran.err);
    }
    cluster.beta.repadm(&["secondary", "r0"])?;
    for node in cluster.nodes() {
        node.repadm(&["adjust", "r0"])?;
        nothing_to_do(node)?;
    }
    load.wait_answered(0, 20)?;
    let lost = cluster.alpha.log()[log..].contains("connection Connected ->");
    let resumed = cluster.alpha.status()?.resumed() - before.resumed();
    anyhow::ensure!(!lost && resumed == 0, "the link was lost");
    Ok(())
}

/// `net-options` and its like: what is given holds until the next `adjust`.
fn one_section(cluster: &Cluster) -> anyhow::Result<()> {
    let node = &cluster.beta;
    node.repadm(&["net-options", "r0", "--ping-int=2", "--tcp-cork"])?;
    node.repadm(&["disk-options", "--on-io-error", "pass_on", "r0/0"])?;
    node.repadm(&["--", "--auto-promote=yes", "resource-options", "all"])?;
    let told = node.repadm(&["-d", "adjust", "r0"])?;
    for change in [
        "net ping-int: 2 → 3",
        "volume 0 disk on-io-error: pass_on → detach",
        "auto-promote: yes → no",
    ] {
        anyhow::ensure!(told.contains(change), "{change} is not in\n{told}");
    }
    let ran = node.try_repadm(&["net-options", "r0", "--ping-int=2", "--max-epoch-size=9"])?;
    anyhow::ensure!(ran.err.contains("`max-epoch-size` has no effect"), "{}", ran.err);
    let fixed = node.try_repadm(&["disk-options", "r0", "--al-extents=300"])?.ended_with(10)?;
    anyhow::ensure!(fixed.err.contains("repadm adjust"), "{}", fixed.err);
    let bad = node.try_repadm(&["net-options", "r0", "--ping-int=0"])?.ended_with(10)?;
    anyhow::ensure!(
        bad.err.contains("ping-int") && bad.err.contains("command line"),
        "{}",
        bad.err
    );
    node.try_repadm(&["net-options", "r0", "--nonsense=1"])?.ended_with(1)?;
    node.repadm(&["adjust", "r0"])?;
    nothing_to_do(node)
}

/// A file with a mistake changes nothing.
fn mistakes(cluster: &Cluster) -> anyhow::Result<()> {
    let node = &cluster.beta;
    edit(node, "timeout 20;", "timeout 2000;")?;
    let ran = node.try_repadm(&["adjust", "r0"])?.ended_with(10)?;
    anyhow::ensure!(ran.err.contains("timeout"), "{}", ran.err);
    edit(node, "timeout 2000;", "timeout 20;")?;
    nothing_to_do(node)
}

/// The log of both disks gets another size, and beta gets another disk.
fn disks(cluster: &Cluster, load: &Load) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        edit(node, "  net {\n", "  disk {\n    al-extents 67;\n  }\n  net {\n")?;
        let told = node.repadm(&["-v", "adjust", "r0"])?;
        anyhow::ensure!(told.contains("detach 0: al-extents 1237 → 67"), "{told}");
        node.repadm(&["wait-sync", "r0"])?;
        nothing_to_do(node)?;
        load.wait_answered(0, 20)?;
    }
    cluster.wait_settled()?;
    let beta = &cluster.beta;
    let [old, new] = [beta.disk(), cluster.directory().join("another disk")];
    fs::File::create(&new)?.set_len(DISK)?;
    for node in cluster.nodes() {
        edit(node, &old.display().to_string(), &new.display().to_string())?;
    }
    nothing_to_do(&cluster.alpha)?;
    let refused = beta.try_repadm(&["adjust", "r0"])?.ended_with(10)?;
    anyhow::ensure!(refused.err.contains("create-md"), "{}", refused.err);
    let told = beta.try_repadm(&["-d", "adjust", "r0"])?.ended_with(10)?;
    anyhow::ensure!(told.err.contains("create-md"), "{}", told.err);
    let disk = beta.status()?.disk().to_owned();
    anyhow::ensure!(
        disk == "UpToDate",
        "the old disk was let go for one that cannot be used: {disk}"
    );
    beta.repadm(&["create-md", "r0"])?;
    beta.repadm(&["adjust", "r0"])?;
    beta.repadm(&["wait-sync", "r0"])?;
    nothing_to_do(beta)?;
    let blocks = fs::metadata(&new)?.blocks();
    anyhow::ensure!(blocks > 0, "nothing was copied to the new disk");
    Ok(())
}

/// Alpha listens elsewhere.
fn address(cluster: &Cluster, load: &Load) -> anyhow::Result<()> {
    let ([old, _], [new, _]) = (cluster.listen_ports(), cluster.ports_of_cables());
    for node in cluster.nodes() {
        edit(node, &format!("127.0.0.1:{old};"), &format!("127.0.0.1:{new};"))?;
    }
    let told = cluster.alpha.repadm(&["-v", "adjust", "r0"])?;
    anyhow::ensure!(told.contains("disconnect: an address has changed"), "{told}");
    // Alpha finds beta where it was, so the link may be back before beta has heard of it.
    load.wait_answered(0, 20)?;
    cluster.beta.repadm(&["adjust", "r0"])?;
    for node in cluster.nodes() {
        node.wait_for("the other at its new address", |status| {
            status.connection() == "Connected" && status.disk() == "UpToDate"
        })?;
        nothing_to_do(node)?;
    }
    Ok(())
}

/// A socket for NBD is opened when a resource asks for it, and closed when it does no more.
fn sockets(cluster: &Cluster) -> anyhow::Result<()> {
    let node = &cluster.alpha;
    let port = cluster.spare_port();
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let section = format!("  nbd {{\n    listen 127.0.0.1:{port};\n  }}\n  net {{\n");
    edit(node, "  net {\n", &section)?;
    let ran = node.try_repadm(&["adjust", "r0"])?.ended_with(0)?;
    anyhow::ensure!(ran.err.contains("--nbd"), "{}", ran.err);
    // The daemons of tests are told on their command line where to serve, and that wins.
    anyhow::ensure!(!answers(), "--nbd does not win over the configuration");
    edit(node, &section, "  net {\n")?;
    node.repadm(&["adjust", "r0"])?;
    nothing_to_do(node)
}

/// What was taken is remembered.
fn restart(cluster: &mut Cluster) -> anyhow::Result<()> {
    cluster.beta.kill()?;
    cluster.beta.start()?;
    let is_back = |status: &Status| status.connection() == "Connected" && !status.is_restoring();
    cluster.beta.wait_for("coming back", is_back)?;
    nothing_to_do(&cluster.beta)?;
    cluster.beta.repadm(&["down", "r0"])?;
    // What is not up is brought up.
    let told = cluster.beta.repadm(&["-v", "adjust", "r0"])?;
    anyhow::ensure!(told.contains("r0: up"), "{told}");
    cluster.beta.wait_for("coming up", is_back)?;
    nothing_to_do(&cluster.beta)
}
