//! A node as a process, driven over its control socket, for the tests of daemons.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]
#![allow(dead_code, reason = "each test binary uses some of it")]

use control::{Answer, Client, Command, Patience, ResourceStatus};
use metadata::{AL_BLOCKS_DEFAULT, CreateParams, Layout, Metadata};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use types::{NodeId, Role, Span, Time, VolumeId};

pub(crate) const DISK_BYTES: u64 = 16 << 20;
/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Patience = Patience {
    wfc_timeout: Some(Span::secs(60)),
    degr_wfc_timeout: None,
    outdated_wfc_timeout: None,
    wait_after_sb: false,
};

/// A node: where it keeps its things, and its daemon while it runs.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    daemon: Option<Child>,
}

impl Node {
    pub(crate) fn new(name: &'static str, id: u8, dir: &Path) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        create_md(&dir.join("disk"), NodeId(id));
        Self { name, dir, daemon: None }
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        let dir = |name: &str| self.dir.join(name).into_os_string();
        let log = std::fs::File::options().create(true).append(true).open(dir("log")).unwrap();
        let mut nbd = std::ffi::OsString::from("unix:");
        nbd.push(dir("nbd.sock"));
        let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_repd"))
            .args(["--node", self.name, "--kernel-attach", "off", "--state-dir"])
            .arg(dir("state"))
            .arg("--control")
            .arg(dir("control.sock"))
            .arg("--nbd")
            .arg(nbd)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        for _ in 0..1000 {
            if self.try_call(Command::Version).is_ok() {
                self.daemon = Some(daemon);
                return;
            }
            assert_eq!(daemon.try_wait().unwrap(), None, "{}: {}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} is not ready: {}", self.name, self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    pub(crate) fn try_call(&self, command: Command) -> Result<Answer, control::Failure> {
        Client::connect(&self.dir.join("control.sock"))?.call(command, |_| {})
    }

    pub(crate) fn call(&self, command: Command) -> Answer {
        let text = format!("{}: {}", self.name, command.name());
        self.try_call(command).unwrap_or_else(|failure| panic!("{text}: {failure}\n{}", self.log()))
    }

    pub(crate) fn status(&self) -> ResourceStatus {
        let Answer::Status(mut all) = self.call(Command::Status { resource: None }) else {
            panic!("not a status")
        };
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) fn wait_sync(&self) {
        let resource = "r0".to_owned();
        self.call(Command::WaitSync { resource, volume: None, patience: PATIENCE });
    }

    /// Waits until it is Primary: after a restart that is some time after it answers.
    pub(crate) fn wait_primary(&self) {
        for _ in 0..1000 {
            if self.status().role == Role::Primary {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} is not Primary again: {}", self.name, self.log());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// An orderly end.
    pub(crate) fn end(&mut self) {
        self.call(Command::Shutdown);
        let ended = self.daemon.take().unwrap().wait().unwrap();
        assert!(ended.success(), "{}: {}", self.name, self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Fresh metadata with an identity of its own for each node's disk.
fn create_md(disk: &Path, node: NodeId) {
    create_md_as(disk, node, 7 + u64::from(node.0));
}

/// The same with this identity.
pub(crate) fn create_md_as(disk: &Path, node: NodeId, disk_incarnation: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(disk).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    let params = CreateParams {
        layout: Layout::internal(DISK_BYTES, AL_BLOCKS_DEFAULT).unwrap(),
        resource: "r0".into(),
        volume: VolumeId(0),
        node: Some(node),
        disk_incarnation,
        al_extents: 67,
        now: Time(1),
    };
    for write in Metadata::create(params).1.into_iter().flat_map(|batch| batch.writes) {
        file.write_all_at(&write.data, write.offset).unwrap();
    }
}

/// Two ports that were free a moment ago, in ascending order: alpha, with the lower one, is node 0.
pub(crate) fn ports() -> [u16; 2] {
    let listeners = [0, 0].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut ports = listeners.map(|listener| listener.local_addr().unwrap().port());
    ports.sort_unstable();
    ports
}

/// The text of a host section, with the disk that [`Node::new`] makes.
pub(crate) fn host(dir: &Path, name: &str, port: u16) -> String {
    let disk = dir.join(name).join("disk");
    format!(
        "on {name} {{ device /dev/drbd1; disk \"{}\"; address 127.0.0.1:{port}; \
         meta-disk internal; }}",
        disk.display()
    )
}

/// The resource r0 of that text, as a daemon is told of it.
pub(crate) fn resolved(dir: &Path, text: &str) -> serde_json::Value {
    let file = dir.join("repd.conf");
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&file, &config::FsLoader).unwrap();
    serde_json::to_value(loaded.config.resource("r0").unwrap()).unwrap()
}

/// The resource on two ports that were free a moment ago.
pub(crate) fn resource(dir: &Path) -> serde_json::Value {
    let [alpha, beta] = ports();
    let (alpha, beta) = (host(dir, "alpha", alpha), host(dir, "beta", beta));
    resolved(dir, &format!("resource r0 {{ {alpha} {beta} net {{ allow-two-primaries; }} }}"))
}
