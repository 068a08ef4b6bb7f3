//! Clients of other people, in the clear: what they are told, and images in at one node and out of
//! the other. The same within TLS is `nbd_tls`.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::process::run;
use crate::{disks, foreign};
use anyhow::Context;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The program for libnbd.
const COMMANDS: &str = include_str!("nbd_clients.py");
const IMAGE_BYTES: u64 = 64 * MIB;

/// `nbdinfo`, `nbd-client -l`, and every command and error by libnbd.
pub(super) fn told(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(IMAGE_BYTES))?;
    let port = cluster.spare_port();
    cluster.alpha.start_with(&["--nbd", &format!("tcp:127.0.0.1:{port}")]);
    cluster.bring_up()?;
    cluster.first_sync()?;
    cluster.beta.repadm(&["primary", "r0"])?;
    let size = disks::data_bytes(cluster.setup().disk_bytes)?;
    for node in cluster.nodes() {
        info(node, size)?;
    }
    let tcp = format!("nbd://127.0.0.1:{port}");
    for base in [tcp.clone(), cluster.alpha.uri().replacen("///r0", "///", 1)] {
        let ran = foreign::succeed("nbdinfo", &["--list", "--json", &base])?;
        let listed: Value = serde_json::from_str(&ran.out).context("nbdinfo --list")?;
        let exports = listed["exports"].as_array().with_context(|| ran.to_string())?;
        let names: Vec<_> = exports.iter().map(|export| &export["export-name"]).collect();
        anyhow::ensure!(names == ["r0/0"], "{ran}");
    }
    let ran = foreign::succeed("nbd-client", &["-l", "127.0.0.1", &port.to_string()])?;
    anyhow::ensure!(ran.out.lines().any(|line| line.starts_with("r0/0: ")), "{ran}");
    report.line("nbdinfo --json, nbdinfo --list and nbd-client -l: size, flags, contexts, names");

    let (alpha, beta) = (cluster.alpha.uri(), cluster.beta.uri());
    for pair in [[&alpha, &beta], [&format!("{tcp}/r0/0"), &beta]] {
        let mut command = foreign::nbd_python(COMMANDS, &pair.map(String::as_str))?;
        run(&mut command, PATIENCE)?.ended_with(0)?;
    }
    report.line(
        "libnbd: every command, flag and error, with simple and structured replies, many \
                 in flight behind a good-bye; by a Unix socket and TCP",
    );
    cluster.wait_settled()?;
    read_only(&mut cluster)?;
    report.line("libnbd on a read-only export: EPERM for all that would change it");
    cluster.down_and_compare()?;
    cluster.finish()
}

/// What `nbdinfo --json` says of an export.
fn info(node: &Node, size: u64) -> anyhow::Result<()> {
    let ran = foreign::succeed("nbdinfo", &["--json", &node.uri()])?;
    let told: Value = serde_json::from_str(&ran.out).context("nbdinfo --json")?;
    anyhow::ensure!(told["protocol"] == "newstyle-fixed" && told["structured"] == true, "{ran}");
    let export = &told["exports"][0];
    anyhow::ensure!(export["export-size"] == size, "{ran}");
    let can = ["flush", "fua", "trim", "zero", "fast_zero", "df", "cache", "multi_conn"];
    for flag in can {
        anyhow::ensure!(export[format!("can_{flag}")] == true, "no {flag}: {ran}");
    }
    for flag in ["is_read_only", "is_rotational"] {
        anyhow::ensure!(export[flag] == false, "{flag}: {ran}");
    }
    let block = |which: &str| export[format!("block_size_{which}")].as_u64();
    let sizes = ["minimum", "preferred", "maximum"].map(block);
    anyhow::ensure!(sizes == [Some(1), Some(4096), Some(32 * MIB)], "{sizes:?}: {ran}");
    let contexts = export["contexts"].as_array().with_context(|| ran.to_string())?;
    for context in ["base:allocation", "x-repd:out-of-sync"] {
        anyhow::ensure!(contexts.iter().any(|one| one == context), "no {context}: {ran}");
    }
    Ok(())
}

/// Alpha's export with `read-only yes`.
fn read_only(cluster: &mut Cluster) -> anyhow::Result<()> {
    let alpha = &cluster.alpha;
    let mut setup = cluster.setup().clone();
    setup.nbd = vec!["read-only yes".to_owned()];
    alpha.repadm(&["down", "r0"])?;
    cluster.configure(alpha, &setup)?;
    alpha.repadm(&["up", "r0"])?;
    cluster.wait_settled()?;
    alpha.repadm(&["primary", "r0"])?;
    let mut command = foreign::nbd_python(COMMANDS, &["--read-only", &alpha.uri()])?;
    run(&mut command, PATIENCE)?.ended_with(0).map(drop)
}

/// A file system in a qcow2 image into alpha and out of beta, by `qemu-img` and by `nbdcopy` with
/// eight connections; `qemu-io` with every kind of request; `fio`.
pub(super) fn images(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cluster = Cluster::two_primaries(Setup::new(IMAGE_BYTES + MIB))?;
    let size = disks::data_bytes(cluster.setup().disk_bytes)?;
    let (alpha, beta) = (cluster.alpha.uri(), cluster.beta.uri());
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let [raw, qcow2, by_qemu, by_nbdcopy] =
        ["in.img", "in.qcow2", "qemu.img", "nbdcopy.img"].map(path);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    foreign::ext4_image(Path::new(&raw), IMAGE_BYTES, &tree)?;
    // As large as the export, as qemu-img wants it.
    fs::File::options().write(true).open(&raw)?.set_len(size)?;
    let expected = disks::sha256(Path::new(&raw), size)?;
    foreign::succeed("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &raw, &qcow2])?;

    let into = ["convert", "-n", "-m", "8", "-W", "-f", "qcow2", "-O", "raw", &qcow2, &alpha];
    let written = foreign::succeed("qemu-img", &into)?;
    let out = ["convert", "-m", "8", "-W", "-f", "raw", "-O", "raw", &beta, &by_qemu];
    let read = foreign::succeed("qemu-img", &out)?;
    for node in [&alpha, &beta] {
        foreign::succeed("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", &qcow2, node])?;
    }
    foreign::e2fsck(Path::new(&by_qemu))?;
    report.line(&format!(
        "qemu-img convert of a qcow2 image of {} MiB into alpha {:.1?}, out of beta {:.1?}; \
         compare finds both nodes the same",
        IMAGE_BYTES / MIB,
        written.took,
        read.took
    ));

    // Another content first, so that nothing is there by the way before.
    foreign::qemu_io(&beta, &["write -P 0x77 0 32M", "write -P 0x78 32M 32M"])?;
    let eight = ["--connections=8", "--requests=32"];
    let written = foreign::succeed("nbdcopy", &[&eight[..], &[&raw, &alpha]].concat())?;
    let read = foreign::succeed("nbdcopy", &[&eight[..], &[&beta, &by_nbdcopy]].concat())?;
    for image in [&by_qemu, &by_nbdcopy] {
        let found = disks::sha256(Path::new(image), size)?;
        anyhow::ensure!(found == expected, "{image} differs from what went in");
    }
    report.line(&format!(
        "nbdcopy --connections=8 --requests=32 into alpha {:.1?}, out of beta {:.1?}: SHA-256 \
         equal",
        written.took, read.took
    ));
    requests(&alpha, &beta)?;
    report.line("qemu-io: writes with and without FUA, discard, zeros kept and unmapped, flush");
    let fio = foreign::fio_verify(&beta, 0, scale.fio_bytes.min(IMAGE_BYTES))?;
    report.line(&format!("fio verify=crc32c by beta: {:.1?}", fio.took));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// By `qemu-io`: what the one asks for, the other sees.
fn requests(alpha: &str, beta: &str) -> anyhow::Result<()> {
    let asked = [
        "write -P 0x11 0 8M",
        "write -f -P 0x12 1000 3000",
        "discard 1M 1M",
        "write -z 2M 1M",
        "write -z -u 3M 1M",
        "write -z -f 4M 1M",
        "write -P 0x13 4609k 511",
        "aio_write -P 0x14 5M 64k",
        "aio_write -P 0x15 6M 64k",
        "aio_flush",
        "flush",
    ];
    let seen = [
        "read -P 0x11 0 1000",
        "read -P 0x12 1000 3000",
        "read -P 0x11 4000 1044576",
        "read -P 0 1M 3M",
        "read -P 0 4M 513k",
        "read -P 0x13 4609k 511",
        "read -P 0 4720127 522753",
        "read -P 0x14 5M 64k",
        "read -P 0x11 5184k 960k",
        "read -P 0x15 6M 64k",
        "read -P 0x11 6208k 1984k",
    ];
    for (one, other) in [(alpha, beta), (beta, alpha)] {
        foreign::qemu_io(one, &asked)?;
        foreign::qemu_io(other, &seen)?;
    }
    Ok(())
}
