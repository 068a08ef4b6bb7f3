//! The first full sync, and what a plain copy of the same files takes.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::{clock, foreign};
use anyhow::Context;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use types::Prng;

pub(super) fn show(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut setup = Setup::new(scale.full_sync_bytes);
    setup.direct = true;
    let mut cluster = Cluster::new(setup)?;
    fill(&cluster.alpha.disk(), scale.full_sync_bytes)?;
    for node in cluster.nodes_mut() {
        node.start()?;
        // Its data are no file system that could reach into the metadata.
        node.repadm(&["create-md", "r0"])?;
        node.repadm(&["up", "r0"])?;
    }
    for node in cluster.nodes() {
        node.repadm(&["wait-connect", "--wfc-timeout", "60", "r0"])?;
    }
    let start = clock::now();
    cluster.alpha.repadm(&["primary", "--force", "r0"])?;
    cluster.beta.repadm(&["wait-sync", "--wfc-timeout", "110", "r0"])?;
    let sync = start.elapsed();
    let sent_kib = cluster.beta.status()?.resync_sent_kib();
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    let copy = copy_by_nbdkit(&cluster)?;
    let rate = |took: Duration| scale.full_sync_bytes as f64 / MIB as f64 / took.as_secs_f64();
    report.line(&format!(
        "full sync of {} MiB ({sent_kib} KiB sent): {sync:.1?} ({:.0} MiB/s); nbdcopy between two \
         nbdkit file: {copy:.1?} ({:.0} MiB/s)",
        scale.full_sync_bytes / MIB,
        rate(sync),
        rate(copy)
    ));
    cluster.finish()
}

/// Random bytes, so that nothing is zero anywhere.
pub(super) fn fill(disk: &Path, bytes: u64) -> anyhow::Result<()> {
    let file = File::options().write(true).open(disk)?;
    let mut prng = Prng::new(6);
    for at in (0..bytes).step_by(MIB as usize) {
        let len = MIB.min(bytes - at);
        let piece: Vec<u8> = (0..len / 8).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        file.write_all_at(&piece, at)?;
    }
    file.sync_all()?;
    Ok(())
}

/// The same files behind the plainest NBD server there is.
pub(super) fn copy_by_nbdkit(cluster: &Cluster) -> anyhow::Result<Duration> {
    // The target starts as blank as beta's disk did.
    let blank = File::create(cluster.beta.disk())?;
    blank.set_len(cluster.setup().disk_bytes)?;
    let mut servers = Vec::new();
    for node in cluster.nodes() {
        servers.push(Server::start(&cluster.directory().join(node.name()), &node.disk())?);
    }
    let start = clock::now();
    foreign::succeed("nbdcopy", &["--flush", &servers[0].uri, &servers[1].uri])?;
    Ok(start.elapsed())
}

struct Server {
    process: Child,
    uri: String,
}

impl Server {
    fn start(home: &Path, file: &Path) -> anyhow::Result<Self> {
        let socket = home.join("nbdkit.sock");
        let mut command = Command::new(foreign::locate("nbdkit")?);
        command.arg("-f").arg("-U").arg(&socket).arg("file").arg(file);
        // It complains of the one who looks whether it is there; a real failure shows in nbdcopy.
        let process =
            command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("nbdkit")?;
        let server = Self { process, uri: format!("nbd+unix:///?socket={}", socket.display()) };
        clock::until("nbdkit's socket", crate::cluster::PATIENCE, || {
            Ok(std::os::unix::net::UnixStream::connect(&socket).ok())
        })?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
