//! The servers that are compared. What was started ends with this program, however it ends.

use crate::nodes::{Name, Nodes};
use anyhow::{Context, bail};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often, and how long, a server's socket is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 500;
/// More connections than are ever measured at once.
const MOST_CONNECTIONS: &str = "64";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Nbdkit,
    Qemu,
}

impl Peer {
    const fn program(self) -> &'static str {
        match self {
            Self::Nbdkit => "nbdkit",
            Self::Qemu => "qemu-nbd",
        }
    }

    /// What Debian calls the package that it is in.
    const fn package(self) -> &'static str {
        match self {
            Self::Nbdkit => "nbdkit",
            Self::Qemu => "qemu-utils",
        }
    }

    /// The ways to reach the disk that it offers, the best first: not each kernel takes each.
    const fn ways(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Nbdkit => &[&[]],
            Self::Qemu => &[
                &["--cache=none", "--aio=io_uring"],
                &["--cache=none", "--aio=native"],
                &["--cache=none", "--aio=threads"],
            ],
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// How it was started, and what it does with the data.
    pub(crate) about: String,
    pub(crate) socket: PathBuf,
    pub(crate) export: &'static str,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    Ours(Nodes),
    Theirs(Running),
}

#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// One daemon, Primary, without a peer.
    pub(crate) fn alone(dir: &Path, disk_bytes: u64) -> anyhow::Result<Self> {
        let mut nodes = Nodes::make(dir, disk_bytes)?;
        nodes.start(Name::Alpha)?;
        nodes.repadm(Name::Alpha, &["primary", "--force", "r0"])?;
        Ok(Self::ours("repd", "one daemon, Primary, its peer never seen; O_DIRECT", nodes))
    }

    /// Two daemons that replicate.
    pub(crate) fn pair(dir: &Path, disk_bytes: u64) -> anyhow::Result<Self> {
        let mut nodes = Self::alone(dir, disk_bytes)?.into_nodes()?;
        nodes.start(Name::Beta)?;
        nodes.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "120", "r0"])?;
        let about = "two daemons, protocol C: each write is on both disks; both O_DIRECT";
        Ok(Self::ours("repd, pair", about, nodes))
    }

    fn ours(name: &'static str, about: &str, nodes: Nodes) -> Self {
        let socket = nodes.socket(Name::Alpha);
        Self { name, about: about.into(), socket, export: "r0", runs: Runs::Ours(nodes) }
    }

    fn into_nodes(self) -> anyhow::Result<Nodes> {
        match self.runs {
            Runs::Ours(nodes) => Ok(nodes),
            Runs::Theirs(_) => bail!("{} has no nodes", self.name),
        }
    }

    /// Another project's server, with a file of so many bytes in that directory.
    pub(crate) fn peer(peer: Peer, dir: &Path, bytes: u64) -> anyhow::Result<Self> {
        let Some(program) = found(peer.program()) else {
            bail!("{} is not installed (Debian: {})", peer.program(), peer.package());
        };
        let file = dir.join(peer.program()).with_extension("img");
        File::create(&file)?.set_len(bytes)?;
        let mut refused = String::new();
        for (at, way) in peer.ways().iter().enumerate() {
            let socket = dir.join(format!("{}-{at}.nbd", peer.program()));
            match start(peer, &program, way, &socket, &file) {
                Ok(running) => {
                    let about = format!("{}; {}", version(&program), about(peer, way));
                    let (name, runs) = (peer.program(), Runs::Theirs(running));
                    return Ok(Self { name, about, socket, export: "", runs });
                }
                Err(error) => refused = format!("{error:#}"),
            }
        }
        bail!("{} does not start: {refused}", peer.program())
    }

    /// The processor time that its processes have used.
    pub(crate) fn processor_time(&self) -> Duration {
        let pids = match &self.runs {
            Runs::Ours(nodes) => nodes.pids(),
            Runs::Theirs(running) => vec![running.0.id()],
        };
        pids.into_iter().filter_map(processor_time).sum()
    }

    /// Ends it; two that replicate are compared first.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Runs::Ours(nodes) = self.runs else { return Ok(()) };
        if nodes.pids().len() == 2 {
            for name in [Name::Alpha, Name::Beta] {
                nodes.repadm(name, &["down", "r0"])?;
            }
            if !nodes.are_equal().context("comparing the disks")? {
                bail!("the two disks differ: that is a bug, please keep the version and report it");
            }
        }
        Ok(())
    }
}

fn about(peer: Peer, way: &[&str]) -> String {
    match peer {
        Peer::Nbdkit => "file, 16 threads, the kernel's page cache (it has no O_DIRECT): a write \
            is a copy to memory, and its flush writes that out"
            .into(),
        Peer::Qemu => format!("{}: O_DIRECT", way.join(" ")),
    }
}

fn start(
    peer: Peer,
    program: &Path,
    way: &[&str],
    socket: &Path,
    file: &Path,
) -> anyhow::Result<Running> {
    let log = socket.with_extension("log");
    // qemu-nbd cannot be told to end with its parent; the kernel can, by a tool that is always there.
    let mut command = match found("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    match peer {
        Peer::Nbdkit => {
            command.args(["-f", "--exit-with-parent", "-U"]).arg(socket).arg("file").arg(file)
        }
        Peer::Qemu => command
            .args(["-t", "-f", "raw", "--discard=unmap", "-e", MOST_CONNECTIONS])
            .args(way)
            .arg("-k")
            .arg(socket)
            .arg(file),
    };
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut running = Running(child);
    for _ in 0..LOOKS {
        if UnixStream::connect(socket).is_ok() {
            return Ok(running);
        }
        if running.0.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("{}", std::fs::read_to_string(&log).unwrap_or_default().trim())
}

/// Where a program is, on the path.
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// From /proc/PID/stat: the numbers after the name, which ends with the last bracket.
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, numbers) = stat.rsplit_once(')')?;
    // The eleventh and twelfth from there: in user space, and in the kernel.
    let ticks: u64 = numbers.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}
