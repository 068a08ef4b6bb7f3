//! Whoever may open the control socket, and does not speak as `repadm` does.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Node, PATIENCE, Setup};
use crate::process::run;
use crate::programs::programs;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use types::Prng;

/// Connections that are open at once.
const CROWD: usize = 300;
/// The user `nobody`.
const NOBODY: u32 = 65534;

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Setup::new(16 * MIB))?;
    let alpha = &mut cluster.alpha;
    alpha.start()?;
    alpha.repadm(&["create-md", "r0"])?;
    alpha.repadm(&["up", "r0"])?;
    let alpha = &cluster.alpha;

    let mut prng = Prng::new(8);
    for _ in 0..50 {
        let len = prng.between(1, 4000);
        let garbage: Vec<u8> = (0..len).map(|_| prng.next_u64() as u8).collect();
        said(alpha, &garbage)?;
    }
    report.line("garbage: answered or closed, 50 times");
    for len in [u32::MAX, 16 << 20 | 1] {
        let heard = said(alpha, &len.to_le_bytes())?;
        anyhow::ensure!(heard.is_empty(), "a frame of {len} bytes was answered: {heard:?}");
    }
    report.line("a frame that is too long: closed before it is read");
    for text in [&b"{}"[..], b"[1,2", b"{\"command\":\"frobnicate\"}", b"\xff\xfe"] {
        let heard = said(alpha, &[&(text.len() as u32).to_le_bytes()[..], text].concat())?;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        anyhow::ensure!(heard.contains("ailed"), "{text:?} was answered with {heard:?}");
    }
    report.line("a frame that is no request: told so");

    let mut crowd = Vec::new();
    for at in 0..CROWD {
        let mut stream = UnixStream::connect(alpha.control())?;
        // Some say nothing, some begin a frame and never end it.
        stream.write_all([&[9, 0, 0][..], &[200, 0, 0, 0, b'{'], &[]][at % 3])?;
        crowd.push(stream);
    }
    let status = alpha.status()?;
    anyhow::ensure!(status.disk() == "Inconsistent", "{}", status.brief());
    drop(crowd);
    report.line(&format!("{CROWD} connections that never end their frames: others are served"));
    stranger(&cluster, report)?;
    anyhow::ensure!(!cluster.alpha.log().contains("panicked"), "{}", cluster.alpha.end_of_log());
    cluster.finish()
}

/// Says something, ends, and hears what comes until the connection is closed.
fn said(node: &Node, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(node.control())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // It may be closed before all of it is taken.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => anyhow::bail!("{bytes:?} was neither answered nor closed: {error}"),
    }
    Ok(heard)
}

/// Another user, though somebody has opened the socket's permissions.
fn stranger(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        report.line("SKIPPED: another user's connection, which only root can try");
        return Ok(());
    }
    let alpha = &cluster.alpha;
    let program = cluster.directory().join("repadm");
    fs::copy(&programs()?.repadm, &program)?;
    let home = alpha.config().parent().map(ToOwned::to_owned).unwrap_or_default();
    for path in [cluster.directory(), &home, &program] {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
    }
    let ask = || -> anyhow::Result<String> {
        let mut command = Command::new(&program);
        command.env_clear().env("REPD_CONFIG", alpha.config()).env("REPD_NODE", alpha.name());
        command.env("REPD_CONTROL", alpha.control()).current_dir("/");
        let command = command.args(["status", "r0"]).uid(NOBODY).gid(NOBODY);
        Ok(run(command, PATIENCE)?.ended_with(20)?.err)
    };
    let refused = ask()?;
    anyhow::ensure!(refused.contains("ermission denied"), "{refused}");
    fs::set_permissions(alpha.control(), Permissions::from_mode(0o666))?;
    let refused = ask()?;
    anyhow::ensure!(refused.contains("the daemon obeys root"), "{refused}");
    anyhow::ensure!(alpha.log().contains("a stranger's control connection"), "it is not logged");
    report
        .line("another user: refused by the socket's permissions, and by the daemon without them");
    Ok(())
}
