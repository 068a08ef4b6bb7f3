//! GlusterFS with two copies, mounted by FUSE. Its daemons find everything by fixed paths and ports, so
//! they get a network, mounts and processes of their own, which end with this program.

use crate::peers::{found, spawned};
use crate::servers::Running;
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// It takes no loopback address for a volume; nobody else is on this network.
const ADDRESS: &str = "10.0.0.1";

/// A volume of two bricks that is mounted.
#[derive(Debug)]
pub(crate) struct Gluster {
    _namespaces: Running,
    /// A file in it, as seen from here.
    pub(crate) file: PathBuf,
    pub(crate) about: String,
}

impl Gluster {
    /// With both bricks in that directory.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        for (program, package) in [
            ("glusterd", "glusterfs-server"),
            ("glusterfs", "glusterfs-client"),
            ("ip", "iproute2"),
        ] {
            if found(program).is_none() {
                bail!("{program} is not installed (Debian: {package})");
            }
        }
        if !rustix::process::geteuid().is_root() {
            bail!("GlusterFS needs root, for its mount and a network of its own");
        }
        let dir = dir.join("gluster");
        std::fs::create_dir(&dir)?;
        let script = dir.join("start.sh");
        std::fs::write(&script, text(&dir)?)?;
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
        ]);
        command.arg(&script);
        let (ready, log) = (dir.join("ready"), dir.join("log"));
        let namespaces = spawned(command, &log, || ready.exists()).context("GlusterFS")?;
        // The child is the first process in there; its root is where the volume is mounted.
        let pid = namespaces.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let child = children.split_whitespace().next().context("GlusterFS has ended")?;
        let mount = dir.join("mount");
        let file = format!("/proc/{child}/root{}/disk.img", mount.display()).into();
        let version = Command::new("glusterfs").arg("--version").output()?.stdout;
        let version = String::from_utf8_lossy(&version).lines().next().unwrap_or("").to_owned();
        let about = format!("{version}; replica 2, by FUSE, O_DIRECT");
        Ok(Self { _namespaces: namespaces, file, about })
    }
}

/// What runs in there.
fn text(dir: &Path) -> anyhow::Result<String> {
    let mut text = String::from("set -e\nexec >&2\nip link set lo up\n");
    writeln!(text, "ip addr add {ADDRESS}/32 dev lo\ncd '{}'", dir.display())?;
    text += "for own in /var/lib/glusterd /var/log/glusterfs /run; do mkdir -p $own; \
        mount -t tmpfs own $own; done\n\
        mkdir -p /run/gluster one other mount\n\
        glusterd -N &\n\
        for i in $(seq 100); do gluster volume list >/dev/null 2>&1 && break; sleep 0.1; done\n";
    writeln!(
        text,
        "gluster --mode=script volume create both replica 2 {ADDRESS}:$PWD/one {ADDRESS}:$PWD/other force"
    )?;
    text += "gluster --mode=script volume start both\n";
    writeln!(text, "mount -t glusterfs {ADDRESS}:/both mount")?;
    text += "touch ready\nwait\n";
    Ok(text)
}
