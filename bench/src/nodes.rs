//! Two nodes in a temporary directory. What was started ends with this program, however it ends.

use anyhow::{Context, bail, ensure};
use repadm::outcome::Exit;
use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How often, and how long, a daemon is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;
/// At the end of each disk: more than its metadata take, which is a bit for each block of 4 KiB, and a
/// little that is always there.
pub(crate) const fn metadata_bytes(disk_bytes: u64) -> u64 {
    (4 << 20) + (disk_bytes >> 15).next_multiple_of(1 << 20)
}

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Alpha,
    Beta,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Beta => "beta",
        }
    }
}

/// The ports that nodes listen on. All are below 32768, where the system takes ports for
/// connections from: one that was free a moment ago could be such a one when a daemon wants it.
const PORTS: Range<u16> = 7000..32768;

/// An address to listen on that no other node has: the loopback address is of this process, as it is
/// made of its number, and each port is given once.
fn next_address() -> anyhow::Result<SocketAddrV4> {
    static NEXT: AtomicU16 = AtomicU16::new(PORTS.start);
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    ensure!(PORTS.contains(&port), "more nodes than there are ports");
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ok(SocketAddrV4::new(Ipv4Addr::new(127, a, b, c), port))
}

/// Both nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    dir: TempDir,
    disk_bytes: u64,
    resources: usize,
    daemons: Vec<Child>,
}

impl Nodes {
    /// Disks and configuration; nothing runs yet.
    pub(crate) fn make(dir: &Path, disk_bytes: u64) -> anyhow::Result<Self> {
        let nodes = Self::sparse(dir, disk_bytes)?;
        // Written, not sparse: else the first writes would measure the file system's allocation.
        for name in [Name::Alpha, Name::Beta] {
            let file = File::options().write(true).open(nodes.path(name, "img"))?;
            for at in 0..disk_bytes >> 20 {
                file.write_all_at(&[0; 1 << 20], at << 20)?;
            }
            file.sync_all()?;
        }
        Ok(nodes)
    }

    /// The same with disks of which nothing was ever written.
    pub(crate) fn sparse(dir: &Path, disk_bytes: u64) -> anyhow::Result<Self> {
        Self::many(dir, disk_bytes, 1)
    }

    /// The same with many resources, `r0` and so on.
    pub(crate) fn many(dir: &Path, disk_bytes: u64, resources: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("repd-bench-").tempdir_in(dir)?;
        let mut text = String::new();
        for number in 0..resources {
            let mut hosts = String::new();
            for name in [Name::Alpha, Name::Beta] {
                let (name, address, minor) = (name.as_str(), next_address()?, number + 1);
                let other = if number == 0 { String::new() } else { format!("-{number}") };
                let disk = dir.path().join(format!("{name}{other}.img"));
                File::create(&disk)?.set_len(disk_bytes)?;
                let disk = disk.display();
                hosts += &format!(
                    "on {name} {{ device minor {minor}; disk \"{disk}\"; address {address}; }}\n"
                );
            }
            let net = "net { allow-two-primaries yes; verify-alg crc32c; }\n";
            text += &format!("resource r{number} {{\nmeta-disk internal;\n{net}{hosts}}}\n");
        }
        std::fs::write(dir.path().join("all.conf"), text)?;
        Ok(Self { dir, disk_bytes, resources, daemons: Vec::new() })
    }

    fn path(&self, name: Name, extension: &str) -> PathBuf {
        self.dir.path().join(name.as_str()).with_extension(extension)
    }

    /// What clients of a node call the volume.
    pub(crate) fn uri(&self, name: Name) -> String {
        format!("nbd+unix:///r0?socket={}", self.socket(name).display())
    }

    /// Both daemons, UpToDate; `alpha` is Primary.
    pub(crate) fn start_both(&mut self) -> anyhow::Result<()> {
        self.start(Name::Alpha)?;
        self.start(Name::Beta)?;
        self.repadm(Name::Alpha, &["wait-connect", "--wfc-timeout", "60", "all"])?;
        // Both disks are the same: nothing has been written to either.
        for number in 0..self.resources {
            let name = format!("r{number}");
            self.repadm(Name::Alpha, &["new-current-uuid", "--clear-bitmap", &name])?;
        }
        self.repadm(Name::Alpha, &["primary", "all"])
    }

    /// A path for a file of the measurement's own.
    pub(crate) fn scratch(&self) -> anyhow::Result<PathBuf> {
        Ok(self.dir.path().join("scratch.img"))
    }

    /// Where a node serves NBD.
    pub(crate) fn socket(&self, name: Name) -> PathBuf {
        self.path(name, "nbd")
    }

    /// How much of each disk may be used without asking.
    pub(crate) const fn data_bytes(&self) -> u64 {
        self.disk_bytes - metadata_bytes(self.disk_bytes)
    }

    /// Starts a node's daemon, with fresh metadata, and brings the resource up.
    pub(crate) fn start(&mut self, name: Name) -> anyhow::Result<()> {
        self.repadm(name, &["create-md", "all"])?;
        let log = File::create(self.path(name, "log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["__daemon", "--die-with-parent", "--", "--kernel-attach", "off"])
            .args(["--node", name.as_str()])
            .arg("--state-dir")
            .arg(self.path(name, "state"))
            .arg("--control")
            .arg(self.path(name, "sock"))
            .arg("--nbd")
            .arg(format!("unix:{}", self.socket(name).display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting a daemon")?;
        self.daemons.push(child);
        for _ in 0..LOOKS {
            if UnixStream::connect(self.path(name, "sock")).is_ok() {
                return self.repadm(name, &["up", "all"]);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let log = std::fs::read_to_string(self.path(name, "log")).unwrap_or_default();
        bail!("the daemon of {} does not start:\n{log}", name.as_str())
    }

    /// The processes of the daemons that were started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Child::id).collect()
    }

    /// Bytes that the last resync has carried, as a node counts them.
    pub(crate) fn resync_sent(&self, name: Name) -> anyhow::Result<u64> {
        let kib = self.about_peer(name, "resync-sent")?.as_u64().context("no resync-sent")?;
        Ok(kib << 10)
    }

    /// KiB that a node has marked as out-of-sync.
    pub(crate) fn out_of_sync(&self, name: Name) -> anyhow::Result<u64> {
        self.about_peer(name, "out-of-sync")?.as_u64().context("no out-of-sync")
    }

    /// When the last verify of `r0` ended, if there was one.
    pub(crate) fn last_verify(&self, name: Name) -> anyhow::Result<Option<u64>> {
        Ok(self.about_peer(name, "last-verify")?.as_u64())
    }

    /// What the status of `r0` says of the peer's copy; null if it does not.
    fn about_peer(&self, name: Name, key: &str) -> anyhow::Result<serde_json::Value> {
        let status: serde_json::Value =
            serde_json::from_slice(&self.says(name, &["--json", "status", "r0"])?)?;
        let value = status.pointer(&format!("/0/connections/0/peer_devices/0/{key}"));
        Ok(value.cloned().unwrap_or_default())
    }

    /// A command of the operator's.
    pub(crate) fn repadm(&self, name: Name, words: &[&str]) -> anyhow::Result<()> {
        self.says(name, words).map(drop)
    }

    /// The same, and what it prints.
    fn says(&self, name: Name, words: &[&str]) -> anyhow::Result<Vec<u8>> {
        let control = self.path(name, "sock");
        let config = self.dir.path().join("all.conf");
        let mut args: Vec<OsString> = ["repadm", "--node", name.as_str()].map(Into::into).into();
        args.extend(["-c".into(), config.into(), "--control".into(), control.into()]);
        args.extend(words.iter().map(Into::into));
        let mut answer = Vec::new();
        let exit = repadm::run(args, &mut answer);
        ensure!(exit == Exit::Done, "repadm {} on {}", words.join(" "), name.as_str());
        Ok(answer)
    }

    /// Whether the data on both disks are the same.
    pub(crate) fn are_equal(&self) -> anyhow::Result<bool> {
        let disks = [Name::Alpha, Name::Beta].map(|name| File::open(self.path(name, "img")));
        let [one, other] = disks;
        let (one, other) = (one?, other?);
        let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for at in 0..self.data_bytes() >> 20 {
            one.read_exact_at(&mut here, at << 20)?;
            other.read_exact_at(&mut there, at << 20)?;
            if here != there {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // It may have ended by itself: then there is nothing left to end.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
