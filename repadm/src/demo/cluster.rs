//! The demo's two nodes: a directory with everything, two daemons, and the cable between them.
//!
//! Each node has the same resource file but for the address of the *other* node: that one leads
//! through the cable.
//!
//! ```text
//! alpha listens on p0 ◀── cable p1 ◀── beta seeks alpha there
//! alpha seeks beta on cable p3 ──▶ p2, where beta listens
//! ```
//! With p0 < p1 < p2 < p3 both nodes agree who has the smaller address, and so on their ids.

use super::child::{self, end, failed};
use super::interrupt::{Interrupt, LOOK_EVERY};
use super::ports::free_ports;
use super::wire::Link;
use crate::outcome::{Exit, Failure, Outcome};
use control::{Answer, Client, ResourceStatus};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The size of each disk: enough for a resync that can be seen, and soon done.
pub(super) const DISK_BYTES: u64 = 64 << 20;
/// How long a daemon may take to answer, or to end.
const DAEMON_PATIENCE: Duration = Duration::from_secs(30);
/// A path of a Unix socket has 107 bytes at most; the longest of ours adds this to the directory.
const LONGEST_SOCKET: &str = "/alpha/control.sock";
const MAX_SOCKET_PATH: usize = 107;

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Alpha,
    Beta,
}

impl Name {
    pub(super) const BOTH: [Self; 2] = [Self::Alpha, Self::Beta];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Beta => "beta",
        }
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) text: String,
    pub(super) code: Option<i32>,
}

/// Both nodes. Dropping it ends the daemons and removes the directory, unless they are kept.
#[derive(Debug)]
pub(super) struct Cluster {
    directory: Option<TempDir>,
    program: PathBuf,
    ports: [u16; 4],
    keep: bool,
    daemons: Vec<Child>,
    cable: Option<Child>,
    interrupt: Interrupt,
}

impl Cluster {
    /// The directory with both nodes' files; nothing runs yet. With `keep`, what is started
    /// outlives this process once [`Self::leave`] is called.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub(super) fn make(keep: bool, interrupt: Interrupt) -> Outcome<Self> {
        let directory = tempfile::Builder::new()
            .prefix("repd-demo-")
            .tempdir()
            .map_err(failed("no temporary directory"))?;
        let path = directory.path().to_owned();
        if path.as_os_str().len() + LONGEST_SOCKET.len() > MAX_SOCKET_PATH {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "the path {} is too long for the sockets in it; set TMPDIR=/tmp",
                    path.display()
                ),
            ));
        }
        let cluster = Self {
            directory: Some(directory),
            program: std::env::current_exe().map_err(failed("where is this program?"))?,
            ports: free_ports()?,
            keep,
            daemons: Vec::new(),
            cable: None,
            interrupt,
        };
        for node in Name::BOTH {
            cluster.make_node(node)?;
        }
        Ok(cluster)
    }

    fn make_node(&self, node: Name) -> Outcome {
        let home = self.home(node);
        fs::create_dir(&home).map_err(failed("a node's directory"))?;
        let disk = File::create(self.disk(node)).map_err(failed("a node's disk"))?;
        disk.set_len(DISK_BYTES).map_err(failed("a node's disk"))?;
        fs::write(self.config(node), self.resource_file(node)).map_err(failed("a resource file"))
    }

    /// Where everything is.
    pub(super) fn directory(&self) -> &Path {
        self.directory.as_ref().map_or_else(|| Path::new("/"), TempDir::path)
    }

    fn home(&self, node: Name) -> PathBuf {
        self.directory().join(node.as_str())
    }

    /// A node's backing file.
    pub(super) fn disk(&self, node: Name) -> PathBuf {
        self.home(node).join("disk")
    }

    /// A node's resource file.
    pub(super) fn config(&self, node: Name) -> PathBuf {
        self.home(node).join("r0.res")
    }

    /// A node's control socket.
    pub(super) fn control(&self, node: Name) -> PathBuf {
        self.home(node).join("control.sock")
    }

    /// Where a node serves its device.
    pub(super) fn nbd_socket(&self, node: Name) -> PathBuf {
        self.home(node).join("nbd.sock")
    }

    /// What a node's daemon says.
    pub(super) fn log(&self, node: Name) -> PathBuf {
        self.home(node).join("log")
    }

    /// The program that the story gives commands to.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The resource file as that node has it.
    pub(super) fn resource_file(&self, node: Name) -> String {
        let [alpha, to_alpha, beta, to_beta] = self.ports;
        let (alpha, beta) = match node {
            Name::Alpha => (alpha, to_beta),
            Name::Beta => (to_alpha, beta),
        };
        let host = |name: Name, port: u16| {
            format!(
                "  on {} {{\n    device /dev/drbd1;\n    disk \"{}\";\n    address 127.0.0.1:{port};\n    \
                 meta-disk internal;\n  }}\n",
                name.as_str(),
                self.disk(name).display()
            )
        };
        format!(
            "resource r0 {{\n{}{}  startup {{\n    become-primary-on both;\n  }}\n  net {{\n    \
             allow-two-primaries;\n    after-sb-0pri discard-zero-changes;\n    \
             after-sb-1pri discard-secondary;\n    after-sb-2pri disconnect;\n  }}\n}}\n\
             common {{\n  net {{\n    timeout 20;    # 2 s: so long a lost peer is waited for\n    \
             ping-int 3;    # s of silence before it is asked for a sign of life\n    \
             connect-int 3; # s between attempts to reach it\n  }}\n}}\n",
            host(Name::Alpha, alpha),
            host(Name::Beta, beta)
        )
    }

    /// Start both daemons, and wait until they answer.
    ///
    /// # Errors
    /// If one does not; with the end of its log.
    pub(super) fn start(&mut self) -> Outcome {
        for node in Name::BOTH {
            let child = self.daemon(node)?;
            self.daemons.push(child);
        }
        for (at, node) in Name::BOTH.into_iter().enumerate() {
            let control = self.control(node);
            self.until(&format!("{}'s daemon to answer", node.as_str()), |cluster| {
                if let Ok(Some(status)) = cluster.daemons[at].try_wait() {
                    let log = cluster.end_of_log(node);
                    let text = format!("{}'s daemon ended ({status}):\n{log}", node.as_str());
                    return Err(Failure::new(Exit::Failed, text));
                }
                Ok(Client::connect(&control).is_ok().then_some(()))
            })?;
        }
        Ok(())
    }

    fn daemon(&self, node: Name) -> Outcome<Child> {
        let log = File::create(self.log(node)).map_err(failed("a daemon's log"))?;
        let mut command = Command::new(&self.program);
        command.arg("__daemon");
        if !self.keep {
            command.arg("--die-with-parent");
        }
        command.args(["--", "--kernel-attach", "off", "--node", node.as_str(), "--control"]);
        command.arg(self.control(node)).arg("--state-dir").arg(self.home(node).join("state"));
        command.arg("--nbd").arg(format!("unix:{}", self.nbd_socket(node).display()));
        self.spawn(command.stdout(Stdio::null()).stderr(log), "a daemon")
    }

    /// Ctrl-C at the terminal is for the demo alone, which then ends what it started.
    fn spawn(&self, command: &mut Command, what: &str) -> Outcome<Child> {
        for variable in ["REPD_CONFIG", "REPD_NODE", "REPD_CONTROL"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).process_group(0).spawn().map_err(failed(what))
    }

    fn end_of_log(&self, node: Name) -> String {
        const LINES: usize = 5;
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Lay the cable; it lets `rate` bytes a second through, or as many as it can.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn connect(&mut self, rate: Option<u64>) -> Outcome {
        self.take_cable_away();
        let mut command = Command::new(&self.program);
        command.args(self.cable_words(rate)).stdout(Stdio::null()).stderr(Stdio::null());
        self.cable = Some(self.spawn(&mut command, "the cable")?);
        Ok(())
    }

    fn cable_words(&self, rate: Option<u64>) -> Vec<String> {
        let [alpha, to_alpha, beta, to_beta] = self.ports;
        let links = [Link { from: to_alpha, to: alpha }, Link { from: to_beta, to: beta }];
        let mut words = vec!["__wire".to_owned()];
        if !self.keep {
            words.push("--die-with-parent".to_owned());
        }
        words.extend(rate.map(|rate| format!("--rate={rate}")));
        words.extend(links.map(|link| format!("{}={}", link.from, link.to)));
        words
    }

    /// Cut it: nothing gets through any more, in silence.
    pub(super) fn cut(&self) {
        self.cable.iter().for_each(child::freeze);
    }

    fn take_cable_away(&mut self) {
        if let Some(cable) = self.cable.take() {
            end(cable, Duration::ZERO);
        }
    }

    /// The process ids of everything that runs.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.daemons.iter().chain(&self.cable).map(Child::id).collect()
    }

    /// The process id of the cable, if one is laid.
    pub(super) fn cable_process(&self) -> Option<u32> {
        self.cable.as_ref().map(Child::id)
    }

    /// The environment that makes `repadm` speak to that node.
    pub(super) fn environment(&self, node: Name) -> [(&'static str, PathBuf); 3] {
        [
            ("REPD_CONFIG", self.config(node)),
            ("REPD_NODE", node.as_str().into()),
            ("REPD_CONTROL", self.control(node)),
        ]
    }

    /// Run `repadm` on that node.
    ///
    /// # Errors
    /// If it cannot be started, or if the demo is interrupted.
    pub(super) fn repadm(&self, node: Name, words: &[&str]) -> Outcome<Ran> {
        let mut command = Command::new(&self.program);
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = {
            let command = command.stdin(Stdio::null()).process_group(0);
            command.envs(self.environment(node)).spawn().map_err(failed("repadm"))?
        };
        let streams = (child.stdout.take(), child.stderr.take());
        let read = self.interrupt.during(move || {
            let mut text = String::new();
            let (out, err) = streams;
            // Little is printed to either: neither fills its pipe while the other is read.
            if let Some(mut out) = out {
                out.read_to_string(&mut text).map_err(failed("what repadm prints"))?;
            }
            if let Some(mut err) = err {
                err.read_to_string(&mut text).map_err(failed("what repadm prints"))?;
            }
            Ok(text)
        });
        match read {
            Ok(text) => {
                let status = child.wait().map_err(failed("repadm"))?;
                Ok(Ran { text, code: status.code() })
            }
            Err(failure) => {
                end(child, Duration::ZERO);
                Err(failure)
            }
        }
    }

    /// The resource as that node's daemon sees it.
    ///
    /// # Errors
    /// If the daemon does not answer, or it is not up.
    pub(super) fn status(&self, node: Name) -> Outcome<ResourceStatus> {
        let from_daemon = crate::context::from_daemon;
        let mut client = Client::connect(&self.control(node)).map_err(from_daemon)?;
        let command = control::Command::Status { resource: Some("r0".to_owned()) };
        match client.call(command, |_| {}).map_err(from_daemon)? {
            Answer::Status(mut statuses) if statuses.len() == 1 => Ok(statuses.remove(0)),
            _ => Err(crate::context::not_up("r0")),
        }
    }

    /// Look until there is something, an error, an interruption, or no more patience.
    ///
    /// # Errors
    /// The first of these.
    #[allow(clippy::disallowed_methods, reason = "the demo is a driver: its patience is real time")]
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            self.interrupt.check()?;
            if start.elapsed() > DAEMON_PATIENCE {
                let logs = Name::BOTH.map(|node| {
                    format!("{}'s log ends with\n{}", node.as_str(), self.end_of_log(node))
                });
                let text = format!("waited in vain for {what}\n{}", logs.join("\n"));
                return Err(Failure::new(Exit::Failed, text));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What may interrupt the demo.
    pub(super) const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// End the daemons in order.
    pub(super) fn stop(&mut self) {
        self.take_cable_away();
        self.daemons.iter().for_each(child::ask_to_end);
        for daemon in self.daemons.drain(..) {
            end(daemon, DAEMON_PATIENCE);
        }
    }

    /// Leave everything as it is, running.
    pub(super) fn leave(mut self) {
        self.daemons.clear();
        self.cable = None;
        if let Some(directory) = self.directory.take() {
            let _ = directory.keep();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.take_cable_away();
        for daemon in self.daemons.drain(..) {
            end(daemon, Duration::ZERO);
        }
    }
}
