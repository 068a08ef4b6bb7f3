//! The servers that are compared. What was started ends with this program, however it ends.

use crate::nodes::{Name, Nodes};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

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
    Theirs(Vec<Running>),
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) const fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

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

    /// Two daemons that replicate, both Primary.
    pub(crate) fn pair(dir: &Path, disk_bytes: u64) -> anyhow::Result<Self> {
        let mut nodes = Self::alone(dir, disk_bytes)?.into_nodes()?;
        nodes.start(Name::Beta)?;
        nodes.repadm(Name::Beta, &["wait-sync", "--wfc-timeout", "120", "r0"])?;
        nodes.repadm(Name::Beta, &["primary", "r0"])?;
        let about = "two daemons, protocol C: each write is on both disks; both Primary, O_DIRECT";
        Ok(Self::ours("repd, pair", about, nodes))
    }

    fn ours(name: &'static str, about: &str, nodes: Nodes) -> Self {
        let socket = nodes.socket(Name::Alpha);
        Self { name, about: about.into(), socket, export: "r0", runs: Runs::Ours(nodes) }
    }

    /// Somebody else's.
    pub(crate) const fn theirs(
        name: &'static str,
        about: String,
        socket: PathBuf,
        export: &'static str,
        processes: Vec<Running>,
    ) -> Self {
        Self { name, about, socket, export, runs: Runs::Theirs(processes) }
    }

    fn into_nodes(self) -> anyhow::Result<Nodes> {
        match self.runs {
            Runs::Ours(nodes) => Ok(nodes),
            Runs::Theirs(_) => bail!("{} has no nodes", self.name),
        }
    }

    /// What clients call it.
    pub(crate) fn uri(&self) -> String {
        format!("nbd+unix:///{}?socket={}", self.export, self.socket.display())
    }

    /// The processor time that its processes have used.
    pub(crate) fn processor_time(&self) -> Duration {
        let pids = match &self.runs {
            Runs::Ours(nodes) => nodes.pids(),
            Runs::Theirs(all) => all.iter().map(Running::id).collect(),
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

/// From /proc/PID/stat: the numbers after the name, which ends with the last bracket. The fields 14 to
/// 17 of proc_pid_stat(5): its own in user space and in the kernel, and those of its ended children.
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, numbers) = stat.rsplit_once(')')?;
    let ticks: u64 = numbers.split_whitespace().skip(11).take(4).flat_map(str::parse::<u64>).sum();
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}
