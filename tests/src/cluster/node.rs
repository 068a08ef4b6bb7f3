//! One node: its daemon as a process, and `repadm` beside it.

use super::{PATIENCE, Status};
use crate::clock::until;
use crate::nbd_client::Address;
use crate::process::{Ran, run};
use crate::programs::{DIES_WITH, programs};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lines of a log that are shown when a test fails.
const LINES: usize = 60;

/// A node. Dropping it kills its daemon.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    home: PathBuf,
    daemon: Option<Child>,
    /// More words for its command line.
    words: Vec<String>,
}

impl Node {
    pub(super) fn new(directory: &Path, name: &'static str) -> anyhow::Result<Self> {
        let home = directory.join(name);
        fs::create_dir(&home)?;
        Ok(Self { name, home, daemon: None, words: Vec::new() })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// From its next start on its daemon has these words on its command line, too.
    pub fn start_with(&mut self, words: &[&str]) {
        self.words = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Its backing file.
    pub fn disk(&self) -> PathBuf {
        self.home.join("disk")
    }

    /// The backing file of a volume.
    pub fn disk_of(&self, volume: u16) -> PathBuf {
        match volume {
            0 => self.disk(),
            more => self.home.join(format!("disk.{more}")),
        }
    }

    /// Where a small file system for its disk is, if it has one.
    pub fn small_mount(&self) -> PathBuf {
        self.home.join("small")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.home.join("repd.conf")
    }

    /// Its daemon's control socket.
    pub fn control(&self) -> PathBuf {
        self.home.join("control.sock")
    }

    /// Where its daemon serves NBD.
    pub fn address(&self) -> Address {
        Address::Unix(self.home.join("nbd.sock"))
    }

    /// The URI of its export.
    pub fn uri(&self) -> String {
        format!("nbd+unix:///r0?socket={}", self.home.join("nbd.sock").display())
    }

    /// What its daemons have said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// The last lines of it.
    pub fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Starts its daemon, and waits until it answers.
    ///
    /// # Errors
    /// If it ends instead.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = self.daemon_command()?;
        command.arg("--nbd").arg(format!("unix:{}", self.home.join("nbd.sock").display()));
        self.start_by(command)
    }

    /// The command line of its daemon, but for where it serves NBD.
    ///
    /// # Errors
    /// If the programs are not there.
    pub fn daemon_command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(&programs()?.repd);
        command.args(["--kernel-attach", "off", "--node", self.name, "--control"]);
        command.arg(self.control()).arg("--state-dir").arg(self.home.join("state"));
        command.args(&self.words);
        Ok(command)
    }

    /// Starts its daemon by this command, and waits until it answers.
    ///
    /// # Errors
    /// If it ends instead.
    pub fn start_by(&mut self, mut command: Command) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.home.join("log"))?;
        command.env(DIES_WITH, std::process::id().to_string());
        forget_environment(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut child = child.context("cannot start repd")?;
        let control = self.control();
        let ready = until(&format!("{}'s daemon to answer", self.name), PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("{}'s daemon ended: {status}", self.name);
            }
            answers(&control)
        });
        self.daemon = child.try_wait()?.is_none().then_some(child);
        ready.map(drop)
    }

    /// Its daemon's process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.daemon.as_ref().context("no daemon runs")?.id())
    }

    /// Whether its daemon was started and not ended.
    pub fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let daemon = self.daemon.as_ref().context("no daemon runs")?;
        kill_process(Pid::from_child(daemon), signal).context("kill")
    }

    /// SIGKILL: a crash.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.daemon.take().context("no daemon runs")?.wait()?;
        Ok(())
    }

    /// SIGTERM: an orderly end, which must come and be a good one. Nothing if it does not run.
    ///
    /// # Errors
    /// If it does not end, or with anything but zero.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if self.daemon.is_none() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        let what = format!("the end of {}'s daemon", self.name);
        let ended = until(&what, PATIENCE, || Ok(daemon.try_wait()?));
        if ended.is_err() {
            daemon.kill()?;
            daemon.wait()?;
        }
        let (status, _) = ended?;
        anyhow::ensure!(status.success(), "{}'s daemon ended with {status}", self.name);
        Ok(())
    }

    /// SIGSTOP: it stands still, its connections stay. The signal is only the order: a thread that
    /// runs goes on until it sees it, and could still answer. So this waits until none does.
    ///
    /// # Errors
    /// If it does not run, or does not stop.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()?));
        until(&format!("{}: stopped", self.name), PATIENCE, || {
            Ok(all_stopped(&tasks)?.then_some(()))
        })?;
        Ok(())
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// `repadm` with these words, however it ends.
    ///
    /// # Errors
    /// If it cannot be started, or does not end.
    pub fn try_repadm(&self, words: &[&str]) -> anyhow::Result<Ran> {
        run(&mut self.repadm_command(words)?, PATIENCE * 2)
    }

    /// The command line of [`Self::try_repadm`], for what does not end by itself.
    ///
    /// # Errors
    /// If the programs are not there.
    pub fn repadm_command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(&programs()?.repadm);
        forget_environment(&mut command);
        command.env("REPD_CONFIG", self.config()).env("REPD_NODE", self.name);
        command.env("REPD_CONTROL", self.control()).args(words);
        Ok(command)
    }

    /// `repadm` with these words, which must succeed. Gives what it prints.
    ///
    /// # Errors
    /// If it does not.
    pub fn repadm(&self, words: &[&str]) -> anyhow::Result<String> {
        let ran = self.try_repadm(words)?.ended_with(0);
        Ok(ran.with_context(|| format!("on {}", self.name))?.out)
    }

    /// What `repadm status --json` says.
    ///
    /// # Errors
    /// If it fails.
    pub fn status(&self) -> anyhow::Result<Status> {
        Status::parse(&self.repadm(&["--json", "status", "r0"])?)
    }

    /// Waits for a status, and gives it.
    ///
    /// # Errors
    /// If it does not come.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let mut last = String::new();
        let found = until(&format!("{}: {what}", self.name), PATIENCE, || {
            let status = self.status()?;
            last = status.brief();
            Ok(is(&status).then_some(status))
        });
        Ok(found.with_context(|| last)?.0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Whether a daemon answers there. Its socket takes connections before it does: what is restored,
/// and where NBD is served, comes in between.
fn answers(control: &Path) -> anyhow::Result<Option<()>> {
    let Ok(mut client) = control::Client::connect(control) else { return Ok(None) };
    client.stream().set_read_timeout(Some(PATIENCE))?;
    Ok(client.call(control::Command::Version, |_| {}).ok().map(drop))
}

/// Whether every thread below a directory of the kernel's stands still (proc_pid_stat(5): the state
/// is what follows the name in parentheses).
fn all_stopped(tasks: &Path) -> anyhow::Result<bool> {
    for task in fs::read_dir(tasks)? {
        // A thread may end while it is looked at.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let state = stat.rsplit_once(") ").context("no name in the stat of a thread")?.1;
        if !state.starts_with('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a person has set for another cluster is not for this one.
fn forget_environment(command: &mut Command) {
    for variable in ["REPD_CONFIG", "REPD_NODE", "REPD_CONTROL", "RUST_LOG"] {
        command.env_remove(variable);
    }
}
