//! Two nodes in a directory of their own: a daemon, a disk and a configuration each, and a cable
//! between them.
//!
//! Each node has the same configuration but for the address of the *other* node, which leads
//! through the cable. The ports ascend so that both agree which address is smaller, and so on their
//! node ids.
//!
//! ```text
//! alpha listens on p0 ◀── cable p1 ◀── beta seeks alpha there
//! alpha seeks beta on cable p3 ──▶ p2, where beta listens
//! ```

mod node;
mod setup;
mod status;

pub use node::Node;
pub use setup::Setup;
pub use status::Status;

use crate::clock::{self, until};
use crate::ports::Ports;
use crate::proxy::Proxy;
use crate::{disks, namespace};
use anyhow::Context;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// For everything that has no limit of its own: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Both nodes. Dropped without [`finish`](Self::finish), it prints the ends of both logs: the test
/// has failed.
#[derive(Debug)]
pub struct Cluster {
    /// The first node, which is the arbiter.
    pub alpha: Node,
    /// The other.
    pub beta: Node,
    cables: Vec<Proxy>,
    directory: TempDir,
    ports: Ports,
    setup: Setup,
    finished: bool,
}

impl Cluster {
    /// The files of both nodes and the cable. Nothing runs yet, and the disks are blank.
    ///
    /// # Errors
    /// If the system refuses anything.
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("repd-").tempdir()?;
        let ports = Ports::take()?;
        let [alpha, to_alpha, beta, to_beta, _] = ports.ports;
        let cables = match setup.direct {
            true => Vec::new(),
            false => vec![Proxy::start(to_alpha, alpha)?, Proxy::start(to_beta, beta)?],
        };
        let node = |name| Node::new(directory.path(), name);
        let cluster = Self {
            alpha: node("alpha")?,
            beta: node("beta")?,
            cables,
            directory,
            ports,
            setup,
            finished: false,
        };
        for node in cluster.nodes() {
            cluster.configure(node, &cluster.setup)?;
            if let Some(bytes) = cluster.setup.small_mounts {
                namespace::mount(&node.small_mount(), bytes)?;
                symlink(node.small_mount().join("disk"), node.disk())?;
            }
            for volume in 0..cluster.setup.volumes {
                fs::File::create(node.disk_of(volume))?.set_len(cluster.setup.disk_bytes)?;
            }
        }
        Ok(cluster)
    }

    /// Running daemons, fresh metadata, connected: both disks Inconsistent.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn connected(setup: Setup) -> anyhow::Result<Self> {
        let mut cluster = Self::new(setup)?;
        cluster.bring_up()?;
        Ok(cluster)
    }

    /// Starts both, with fresh metadata, and connects them.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn bring_up(&mut self) -> anyhow::Result<()> {
        for node in self.nodes_mut() {
            node.start()?;
            node.repadm(&["create-md", "r0"])?;
            node.repadm(&["up", "r0"])?;
        }
        for node in self.nodes() {
            node.repadm(&["wait-connect", "--wfc-timeout", "60", "r0"])?;
        }
        Ok(())
    }

    /// The same, after the first full sync: alpha Primary, beta Secondary, both UpToDate.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn one_primary(setup: Setup) -> anyhow::Result<Self> {
        let cluster = Self::connected(setup)?;
        cluster.first_sync()?;
        Ok(cluster)
    }

    /// Makes alpha Primary, and waits for the first full sync.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn first_sync(&self) -> anyhow::Result<()> {
        self.alpha.repadm(&["primary", "--force", "r0"])?;
        for node in self.nodes() {
            node.repadm(&["wait-sync", "--wfc-timeout", "60", "r0"])?;
        }
        self.wait_settled().map(drop)
    }

    /// The same, and both Primary.
    ///
    /// # Errors
    /// If any step is refused.
    pub fn two_primaries(setup: Setup) -> anyhow::Result<Self> {
        let cluster = Self::one_primary(setup)?;
        cluster.beta.repadm(&["primary", "r0"])?;
        Ok(cluster)
    }

    /// Writes a node's configuration file: what the next `repadm` on it reads.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(&self, node: &Node, setup: &Setup) -> anyhow::Result<()> {
        let [alpha, to_alpha, beta, to_beta, _] = self.ports.ports;
        let (alpha, beta) = match (setup.direct, node.name() == "alpha") {
            (true, _) => (alpha, beta),
            (false, true) => (alpha, to_beta),
            (false, false) => (to_alpha, beta),
        };
        let hosts = [(&self.alpha, alpha), (&self.beta, beta)];
        fs::write(node.config(), setup.resource_file(&hosts)).context("the configuration")
    }

    /// Both nodes.
    pub fn nodes(&self) -> [&Node; 2] {
        [&self.alpha, &self.beta]
    }

    /// Both nodes.
    pub fn nodes_mut(&mut self) -> [&mut Node; 2] {
        [&mut self.alpha, &mut self.beta]
    }

    /// The cables, one for each direction of connecting.
    pub fn cables(&self) -> &[Proxy] {
        &self.cables
    }

    /// What it was made with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The directory with everything.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where a node listens for its peer: alpha's port, beta's port.
    pub fn listen_ports(&self) -> [u16; 2] {
        let [alpha, _, beta, _, _] = self.ports.ports;
        [alpha, beta]
    }

    /// A port that nobody else uses.
    pub fn spare_port(&self) -> u16 {
        self.ports.ports[4]
    }

    /// Two more that nobody else uses, if it has no cable.
    pub fn ports_of_cables(&self) -> [u16; 2] {
        let [_, to_alpha, _, to_beta, _] = self.ports.ports;
        [to_alpha, to_beta]
    }

    /// Waits until both nodes say of both disks that they are UpToDate, with nothing marked.
    ///
    /// # Errors
    /// If that does not come.
    pub fn wait_settled(&self) -> anyhow::Result<Duration> {
        // A resync that gets on may take as long as the machine needs for it: what is marked must be
        // less than ever before within the patience.
        let (mut least, mut since) = (u64::MAX, clock::now());
        let settled = until("both nodes in sync", PATIENCE * 20, || {
            let (mut settled, mut marked) = (true, 0);
            for node in self.nodes() {
                let status = node.status()?;
                settled &= status.is_settled();
                marked += status.out_of_sync_kib();
            }
            if marked < least {
                (least, since) = (marked, clock::now());
            }
            anyhow::ensure!(
                settled || since.elapsed() < PATIENCE,
                "both nodes in sync: no progress for {PATIENCE:?}, {least} KiB are marked"
            );
            Ok(settled.then_some(()))
        });
        let ((), took) = settled.with_context(|| self.describe())?;
        Ok(took)
    }

    /// Fills the small file system of a node's disk until the disk is let go. What the clients trim
    /// makes room that they may write into: it is taken away again and again.
    ///
    /// # Errors
    /// If nothing comes of it.
    pub fn fill_disk(&self, node: &Node) -> anyhow::Result<()> {
        let gone = until("a full disk to be let go", PATIENCE, || {
            namespace::fill(&node.small_mount())?;
            let status = node.status()?;
            Ok(matches!(status.disk(), "Diskless" | "Failed").then_some(()))
        });
        gone.map(drop).with_context(|| self.describe())
    }

    /// What both nodes say, for messages.
    pub fn describe(&self) -> String {
        let of = |node: &Node| match node.status() {
            Ok(status) => status.brief(),
            Err(error) => format!("{error:#}"),
        };
        format!("alpha: {}; beta: {}", of(&self.alpha), of(&self.beta))
    }

    /// Takes the resource down on both nodes, and compares their disks in the data area.
    ///
    /// # Errors
    /// If one is still in use, or if they differ.
    pub fn down_and_compare(&self) -> anyhow::Result<()> {
        for node in self.nodes() {
            node.repadm(&["down", "r0"])?;
        }
        let len = disks::data_bytes(self.setup.disk_bytes)?;
        match disks::first_difference(&self.alpha.disk(), &self.beta.disk(), len)? {
            None => Ok(()),
            Some(at) => anyhow::bail!("the disks differ at byte {at}"),
        }
    }

    /// Something is wrong: ends the daemons with SIGKILL, and keeps the directory with everything.
    pub fn abandon(mut self) -> PathBuf {
        for node in self.nodes_mut() {
            // It may have ended by itself.
            let _ = node.thaw();
            let _ = node.kill();
        }
        self.finished = true;
        self.directory.disable_cleanup(true);
        self.directory.path().to_owned()
    }

    /// The behaviour was shown: ends the daemons in order.
    ///
    /// # Errors
    /// If one does not end, or not well.
    pub fn finish(mut self) -> anyhow::Result<()> {
        for node in self.nodes_mut() {
            node.terminate()?;
        }
        if self.setup.small_mounts.is_some() {
            for node in self.nodes() {
                namespace::unmount(&node.small_mount())?;
            }
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.finished {
            for node in self.nodes() {
                eprintln!("--- the end of {}'s log\n{}", node.name(), node.end_of_log());
            }
        }
    }
}
