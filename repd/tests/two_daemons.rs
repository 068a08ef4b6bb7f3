//! Two daemons as processes, driven over their control sockets: what is remembered across a kill
//! and across an orderly end.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use control::{Answer, Client, Command, ResourceStatus};
use metadata::{AL_BLOCKS_DEFAULT, CreateParams, Layout, Metadata};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use types::{ConnectionState, DiskState, NodeId, Role, Span, Time, VolumeId};

const DISK_BYTES: u64 = 16 << 20;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Option<Span> = Some(Span::secs(60));

/// A node: where it keeps its things, and its daemon while it runs.
struct Node {
    name: &'static str,
    dir: PathBuf,
    daemon: Option<Child>,
}

impl Node {
    fn new(name: &'static str, id: u8, dir: &Path) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        create_md(&dir.join("disk"), NodeId(id));
        Self { name, dir, daemon: None }
    }

    /// Starts the daemon and waits until it answers.
    fn start(&mut self) {
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

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    fn try_call(&self, command: Command) -> Result<Answer, control::Failure> {
        Client::connect(&self.dir.join("control.sock"))?.call(command, |_| {})
    }

    fn call(&self, command: Command) -> Answer {
        let text = format!("{}: {}", self.name, command.name());
        self.try_call(command).unwrap_or_else(|failure| panic!("{text}: {failure}\n{}", self.log()))
    }

    fn status(&self) -> ResourceStatus {
        let Answer::Status(mut all) = self.call(Command::Status { resource: None }) else {
            panic!("not a status")
        };
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn wait_sync(&self) {
        let resource = "r0".to_owned();
        self.call(Command::WaitSync { resource, volume: None, timeout: PATIENCE });
    }

    /// Waits until it is Primary: after a restart that is some time after it answers.
    fn wait_primary(&self) {
        for _ in 0..1000 {
            if self.status().role == Role::Primary {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} is not Primary again: {}", self.name, self.log());
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// An orderly end.
    fn end(&mut self) {
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

fn create_md(disk: &Path, node: NodeId) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(disk).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    let params = CreateParams {
        layout: Layout::internal(DISK_BYTES, AL_BLOCKS_DEFAULT).unwrap(),
        resource: "r0".into(),
        volume: VolumeId(0),
        node: Some(node),
        disk_incarnation: 7 + u64::from(node.0),
        al_extents: 67,
        now: Time(1),
    };
    for write in Metadata::create(params).1.into_iter().flat_map(|batch| batch.writes) {
        file.write_all_at(&write.data, write.offset).unwrap();
    }
}

/// The resource on two ports that were free a moment ago; alpha has the lower one.
fn resource(dir: &Path) -> serde_json::Value {
    let listeners = [0, 0].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut ports = listeners.map(|listener| listener.local_addr().unwrap().port());
    ports.sort_unstable();
    let host = |name: &str, port: u16| {
        let disk = dir.join(name).join("disk");
        format!(
            "on {name} {{ device /dev/drbd1; disk \"{}\"; address 127.0.0.1:{port}; \
             meta-disk internal; }}",
            disk.display()
        )
    };
    let file = dir.join("repd.conf");
    let text = format!(
        "resource r0 {{ {} {} net {{ allow-two-primaries; }} }}",
        host("alpha", ports[0]),
        host("beta", ports[1])
    );
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&file, &config::FsLoader).unwrap();
    serde_json::to_value(loaded.config.resource("r0").unwrap()).unwrap()
}

#[test]
fn a_killed_primary_comes_back_and_an_orderly_end_without_clients_demotes() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = [Node::new("alpha", 0, dir.path()), Node::new("beta", 1, dir.path())];
    let resource = resource(dir.path());
    for node in &mut nodes {
        node.start();
        node.call(Command::Up { resource: resource.clone(), node: node.name.into() });
    }
    let r0 = || "r0".to_owned();
    let refused = nodes[0].try_call(Command::Primary { resource: r0(), force: false });
    assert_eq!(refused.unwrap_err().exit, control::exit::NO_DATA);
    nodes[0].call(Command::WaitConnect { resource: r0(), timeout: PATIENCE });
    nodes[0].call(Command::Primary { resource: r0(), force: true });
    nodes[1].wait_sync();
    nodes[1].call(Command::Primary { resource: r0(), force: false });

    nodes[0].kill();
    nodes[0].start();
    nodes[0].wait_sync();
    nodes[0].wait_primary();
    let status = nodes[0].status();
    assert_eq!(status.peer.role, Role::Primary);
    assert_eq!(status.peer.connection, ConnectionState::Connected);
    assert_eq!(status.volumes[0].disk, DiskState::UpToDate);

    nodes[0].end();
    nodes[0].start();
    nodes[0].wait_sync();
    let status = nodes[0].status();
    assert_eq!((status.role, status.intended_role), (Role::Secondary, Role::Secondary));

    for node in &mut nodes {
        node.call(Command::Down { resource: r0(), force: false });
        node.end();
    }
    nodes[1].start();
    let Answer::Status(all) = nodes[1].call(Command::Status { resource: None }) else {
        panic!("not a status")
    };
    assert_eq!(all, [], "what was taken down stays down");
    let data = |name| {
        let disk = std::fs::read(dir.path().join(name).join("disk")).unwrap();
        let layout = Layout::internal(DISK_BYTES, AL_BLOCKS_DEFAULT).unwrap();
        disk[..usize::try_from(layout.data_bytes()).unwrap()].to_vec()
    };
    assert!(data("alpha") == data("beta"), "the copies differ");
}
