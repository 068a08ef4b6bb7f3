//! Clients of other people within TLS, and what those see who are not.

use super::{MIB, Report, Scale};
use crate::certificates::Authority;
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::process::{Ran, run};
use crate::{clock, disks, foreign};
use anyhow::Context;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Certificates of a server, of a client, and what a client has that has none of its own.
struct Papers {
    authority: Authority,
    server: PathBuf,
    client: PathBuf,
    anonymous: PathBuf,
    stranger: PathBuf,
}

impl Papers {
    fn new(directory: &Path) -> anyhow::Result<Self> {
        let [server, client, anonymous, stranger] =
            ["server", "client", "anonymous", "stranger"].map(|name| directory.join(name));
        let authority = Authority::new("an authority of the tests")?;
        for directory in [&server, &client, &anonymous, &stranger] {
            fs::create_dir_all(directory)?;
            authority.write_authority(directory)?;
        }
        authority.write_server(&server, "the first one")?;
        authority.write_client(&client, "a client")?;
        // By the same name: clients send no certificate of another than the server asks for.
        Authority::new("an authority of the tests")?.write_client(&stranger, "a stranger")?;
        Ok(Self { authority, server, client, anonymous, stranger })
    }

    /// What `nbd { … }` has for `require` or `allow`.
    fn options(&self, tls: &str) -> Vec<String> {
        vec![format!("tls {tls}"), format!("tls-certificates \"{}\"", self.server.display())]
    }
}

/// A URI of libnbd, with the certificates of a client.
fn uri(base: &str, papers: &Path) -> String {
    let joint = if base.contains('?') { '&' } else { '?' };
    format!("{base}{joint}tls-certificates={}", papers.display())
}

/// `qemu-io` by TCP with these certificates.
fn qemu_io(port: u16, papers: &Path, command: &str) -> anyhow::Result<Ran> {
    let object = format!("tls-creds-x509,id=t0,endpoint=client,dir={}", papers.display());
    let image = format!(
        "driver=raw,file.driver=nbd,file.host=127.0.0.1,file.port={port},file.export=r0,\
         file.tls-creds=t0"
    );
    let words = ["--object", &object, "--image-opts", &image, "-c", command];
    run(Command::new(foreign::locate("qemu-io")?).args(words), PATIENCE)
}

/// The log has a line with all these words.
fn logged(node: &Node, words: &[&str]) -> anyhow::Result<()> {
    let found = clock::until(&format!("a line with {words:?} in the log"), PATIENCE, || {
        let log = node.log();
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        Ok(log.lines().any(has_all).then_some(()))
    });
    found.map(drop)
}

fn nbdinfo(uri: &str) -> anyhow::Result<Ran> {
    run(Command::new(foreign::locate("nbdinfo")?).args(["--size", uri]), PATIENCE)
}

/// One node that is Primary alone, with these options of `nbd`.
fn one_node(setup: Setup, words: &[&str]) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new(setup)?;
    cluster.alpha.start_with(words);
    cluster.alpha.start()?;
    cluster.alpha.repadm(&["create-md", "r0"])?;
    cluster.alpha.repadm(&["up", "r0"])?;
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    Ok(cluster)
}

/// `tls require`: who is let in, and what everybody else sees.
pub(super) fn required(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let papers = Papers::new(directory.path())?;
    let mut setup = Setup::new(16 * MIB);
    setup.nbd = papers.options("require");
    // The port is the cluster's, and known only when there is one.
    let mut cluster = Cluster::new(setup)?;
    let port = cluster.spare_port();
    let alpha = &mut cluster.alpha;
    alpha.start_with(&["--nbd", &format!("tcp:127.0.0.1:{port}")]);
    alpha.start()?;
    alpha.repadm(&["create-md", "r0"])?;
    alpha.repadm(&["up", "r0"])?;
    let told = alpha.try_repadm(&["primary", "--force", "r0"])?.ended_with(0)?;
    let tcp = format!("nbds://localhost:{port}/r0");
    let unix = alpha.uri().replacen("nbd+unix", "nbds+unix", 1);
    let told = format!("{}{}", told.out, told.err);
    anyhow::ensure!(told.contains("nbds+unix://") && told.contains("nbds://"), "{told}");

    for base in [&tcp, &unix] {
        let info = nbdinfo(&uri(base, &papers.client))?.ended_with(0)?;
        anyhow::ensure!(info.out.trim().parse::<u64>().is_ok(), "{info}");
    }
    qemu_io(port, &papers.client, "write -P 0x5a 1M 3M")?.ended_with(0)?;
    let read = qemu_io(port, &papers.client, "read -P 0x5a 1M 3M")?.ended_with(0)?;
    anyhow::ensure!(!read.out.contains("failed"), "{read}");
    report.line("libnbd over TCP and the Unix socket, and qemu, are let in by their certificate");

    let kept_out = |ran: Ran| match ran.code {
        Some(0) => Err(anyhow::anyhow!("let in: {ran}")),
        _ => Ok(()),
    };
    kept_out(nbdinfo(&uri(&tcp, &papers.anonymous))?)?;
    kept_out(qemu_io(port, &papers.anonymous, "read 0 1M")?)?;
    logged(&cluster.alpha, &["WARN", "127.0.0.1:", "no certificates"])?;
    kept_out(nbdinfo(&uri(&tcp, &papers.stranger))?)?;
    logged(&cluster.alpha, &["WARN", "127.0.0.1:", "invalid peer certificate"])?;
    report
        .line("without a certificate, and with a stranger's: refused, and logged with the reason");

    nothing_in_the_clear(&cluster.alpha, port, &papers)?;
    logged(&cluster.alpha, &["INFO", "refused: TLS is required"])?;
    report.line("in the clear nothing is served or listed, and no name is told from another");
    cluster.finish()
}

/// No export is told of, whatever it is asked for by; within TLS nbd-client lists them.
fn nothing_in_the_clear(alpha: &Node, port: u16, papers: &Papers) -> anyhow::Result<()> {
    let plain = [format!("nbd://localhost:{port}"), alpha.uri().replace("r0?", "?")];
    let mut answers = Vec::new();
    for name in ["r0", "r0/0", "nothing", ""] {
        for base in &plain {
            let asked = match base.contains('?') {
                true => base.replace(":///", &format!(":///{name}")),
                false => format!("{base}/{name}"),
            };
            let ran = nbdinfo(&asked)?;
            anyhow::ensure!(ran.code != Some(0), "served in the clear: {ran}");
            answers.push(ran.err);
        }
    }
    let alike = answers.iter().all(|answer| *answer == answers[0]);
    anyhow::ensure!(alike && answers[0].contains("requires TLS"), "{answers:?}");
    let list = |more: &[&str]| {
        let mut command = Command::new(foreign::locate("nbd-client")?);
        run(command.args(["-l", "localhost", &port.to_string()]).args(more), PATIENCE)
    };
    let listed = list(&[])?;
    anyhow::ensure!(!format!("{}{}", listed.out, listed.err).contains("r0"), "{listed}");
    // It speaks TLS 1.2 only.
    let file = |name: &str| papers.client.join(name).display().to_string();
    let words = ["-cacertfile", &file("ca-cert.pem"), "-certfile", &file("client-cert.pem")];
    let more = ["-keyfile", &file("client-key.pem"), "-tlshostname", "localhost"];
    let listed = list(&[words, more].concat())?.ended_with(0)?;
    anyhow::ensure!(listed.out.contains("r0/0"), "{listed}");
    Ok(())
}

/// `tls allow`, and certificates that change under a daemon that runs.
pub(super) fn renewed(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let papers = Papers::new(directory.path())?;
    let mut setup = Setup::new(16 * MIB);
    setup.nbd = papers.options("allow");
    let mut cluster = one_node(setup, &[])?;
    let secret = |cluster: &Cluster| cluster.alpha.uri().replacen("nbd+unix", "nbds+unix", 1);
    nbdinfo(&cluster.alpha.uri())?.ended_with(0)?;
    nbdinfo(&uri(&secret(&cluster), &papers.client))?.ended_with(0)?;
    report.line("allow: in the clear and within TLS");

    // The old authority is believed no more, by either side.
    let other = Papers::new(&directory.path().join("other"))?;
    other.authority.write_authority(&papers.server)?;
    other.authority.write_server(&papers.server, "the second one")?;
    nbdinfo(&uri(&secret(&cluster), &other.client))?.ended_with(0)?;
    let old = nbdinfo(&uri(&secret(&cluster), &papers.client))?;
    anyhow::ensure!(old.code != Some(0), "{old}");
    report.line("new certificates are in force without a restart, and the old ones no more");

    fs::write(papers.server.join("server-key.pem"), "no key")?;
    nbdinfo(&uri(&secret(&cluster), &other.client))?.ended_with(0)?;
    logged(&cluster.alpha, &["WARN", "the old ones stay", "server-key.pem"])?;
    report.line("a key that is none: the old ones stay, with a warning that names the file");

    cluster.alpha.kill()?;
    cluster.alpha.start()?;
    cluster.alpha.wait_for("to be Primary again", |status| status.role() == "Primary")?;
    nbdinfo(&cluster.alpha.uri())?.ended_with(0)?;
    let early = nbdinfo(&uri(&secret(&cluster), &other.client))?;
    anyhow::ensure!(early.code != Some(0), "{early}");
    logged(&cluster.alpha, &["ERROR", "no TLS", "server-key.pem"])?;
    other.authority.write_server(&papers.server, "the third one")?;
    nbdinfo(&uri(&secret(&cluster), &other.client))?.ended_with(0)?;
    report.line("a restart with that key: up without TLS, and with it when the key is repaired");
    cluster.alpha.kill()?;
    cluster.alpha.start()?;
    nbdinfo(&uri(&secret(&cluster), &other.client))?.ended_with(0)?;
    report.line("a restart with good ones: TLS as before");
    cluster.finish()
}

/// What `up` refuses, with the way out; and exports that are read only.
pub(super) fn refused(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let papers = Papers::new(directory.path())?;
    let mut setup = Setup::new(16 * MIB);
    setup.nbd = vec!["tls require".to_owned()];
    let mut cluster = Cluster::new(setup.clone())?;
    cluster.alpha.start()?;
    cluster.alpha.repadm(&["create-md", "r0"]).err().context("loaded without certificates")?;
    setup.nbd = papers.options("require");
    setup.nbd.push("read-only yes".to_owned());
    cluster.configure(&cluster.alpha, &setup)?;
    cluster.alpha.repadm(&["create-md", "r0"])?;
    let key = papers.server.join("server-key.pem");
    fs::remove_file(&key)?;
    let ran = cluster.alpha.try_repadm(&["up", "r0"])?.ended_with(10)?;
    anyhow::ensure!(ran.err.contains(&key.display().to_string()), "{ran}");
    papers.authority.write_server(&papers.server, "again")?;
    cluster.alpha.repadm(&["up", "r0"])?;
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    report.line("without certificates, and with a key missing: 10, with the place");

    let secret = cluster.alpha.uri().replacen("nbd+unix", "nbds+unix", 1);
    let secret = uri(&secret, &papers.client);
    let info = foreign::succeed("nbdinfo", &[&secret])?;
    anyhow::ensure!(info.out.contains("is_read_only: true"), "{info}");
    let image = directory.path().join("image");
    fs::write(&image, vec![7; 1 << 20])?;
    let words = [image.display().to_string(), secret];
    let ran = run(Command::new(foreign::locate("nbdcopy")?).args(words), PATIENCE)?;
    anyhow::ensure!(ran.code != Some(0), "{ran}");
    report.line("a read-only export says so, and is not written to");
    cluster.finish()
}

/// A file system in a qcow2 image into alpha's export and out of beta's, within TLS: by qemu-img,
/// which has one connection for an image, with requests in parallel; and by nbdcopy with eight.
pub(super) fn image(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let bytes = 64 * MIB;
    let directory = tempfile::tempdir()?;
    let papers = Papers::new(directory.path())?;
    let mut setup = Setup::new(bytes + MIB);
    setup.nbd = papers.options("require");
    let cluster = Cluster::two_primaries(setup)?;
    let size = disks::data_bytes(cluster.setup().disk_bytes)?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let [raw, qcow2, by_qemu, by_nbdcopy] =
        ["in.img", "in.qcow2", "qemu.img", "nbdcopy.img"].map(path);
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    anyhow::ensure!(scale.tree_bytes > 0, "a scale without data");
    foreign::ext4_image(Path::new(&raw), bytes, &tree)?;
    // As large as the export, as qemu-img wants it.
    fs::File::options().write(true).open(&raw)?.set_len(size)?;
    foreign::succeed("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &raw, &qcow2])?;

    let object = format!("tls-creds-x509,id=t0,endpoint=client,dir={}", papers.client.display());
    let export = |node: &Node| {
        let socket = node.uri();
        let socket = socket.rsplit("socket=").next().unwrap_or_default().to_owned();
        format!(
            "driver=nbd,server.type=unix,server.path={socket},export=r0,tls-creds=t0,\
             tls-hostname=localhost"
        )
    };
    let convert = ["convert", "-m", "8", "-W", "--object", &object];
    let (alpha, beta) = (export(&cluster.alpha), export(&cluster.beta));
    let into = ["-n", "-f", "qcow2", &qcow2, "--target-image-opts", &alpha];
    let written = foreign::succeed("qemu-img", &[&convert[..], &into].concat())?;
    let out = ["--image-opts", "-O", "raw", &beta, &by_qemu];
    let read = foreign::succeed("qemu-img", &[&convert[..], &out].concat())?;
    let ours = disks::sha256(Path::new(&raw), size)?;
    let theirs = disks::sha256(Path::new(&by_qemu), size)?;
    anyhow::ensure!(ours == theirs, "SHA-256 {ours} went in, {theirs} came out");
    fs::File::options().write(true).open(&by_qemu)?.set_len(bytes)?;
    foreign::e2fsck(Path::new(&by_qemu)).context("of what came out of beta")?;
    report.line(&format!(
        "qemu-img, 8 requests at a time: qcow2 into alpha {:.1?}, out of beta {:.1?}, equal",
        written.took, read.took
    ));

    let secret =
        |node: &Node| uri(&node.uri().replacen("nbd+unix", "nbds+unix", 1), &papers.client);
    let changed = path("changed.img");
    fs::copy(&raw, &changed)?;
    fs::File::options().write(true).open(&changed)?.write_all_at(b"changed", size / 2)?;
    let many = "--connections=8";
    foreign::succeed("nbdcopy", &[many, &changed, &secret(&cluster.beta)])?;
    foreign::succeed("nbdcopy", &[many, &secret(&cluster.alpha), &by_nbdcopy])?;
    let ours = disks::sha256(Path::new(&changed), size)?;
    let theirs = disks::sha256(Path::new(&by_nbdcopy), size)?;
    anyhow::ensure!(ours == theirs, "SHA-256 {ours} went in, {theirs} came out");
    report.line("nbdcopy, 8 connections: into beta, out of alpha, equal");
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}
