//! What the tests of the program as a process share: a directory with a configuration, and a
//! daemon that answers as it is told.

use control::{
    Answer, Command, Failure, Outcome, Reply, Request, ResourceStatus, SplitBrainReport, frame,
};
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// What the program printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A directory with a configuration, in which the program is run as node alpha.
pub(crate) struct Place {
    directory: TempDir,
}

/// The size of alpha's disk.
pub(crate) const DISK_BYTES: u64 = 8 << 20;

impl Place {
    /// With one resource r0 on disks `alpha.img` and `beta.img`; alpha's is there.
    pub(crate) fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let host = |name: &str, port: u16| {
            format!(
                "on {name} {{ device /dev/drbd1; disk {}; address 127.0.0.1:{port}; }}",
                place.path(&format!("{name}.img")).display()
            )
        };
        place.configure(&format!(
            "resource r0 {{ {} {} }}",
            host("alpha", 7001),
            host("beta", 7002)
        ));
        std::fs::File::create(place.path("alpha.img")).unwrap().set_len(DISK_BYTES).unwrap();
        place
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("r0.res"), text).unwrap();
    }

    /// Changes the configuration.
    pub(crate) fn edit(&self, change: impl Fn(&str) -> String) {
        self.configure(&change(&std::fs::read_to_string(self.path("r0.res")).unwrap()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `repadm` with these words, with nothing on its standard input.
    pub(crate) fn repadm(&self, words: &[&str]) -> Ran {
        let output = Process::new(env!("CARGO_BIN_EXE_repadm"))
            .args(words)
            .env("REPD_CONFIG", self.path("r0.res"))
            .env("REPD_NODE", "alpha")
            .env("REPD_CONTROL", self.path("control.sock"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.directory.path().display().to_string(), "DIR")
        };
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same, which must end with that code.
    pub(crate) fn ends(&self, code: i32, words: &[&str]) -> Ran {
        let ran = self.repadm(words);
        assert_eq!(ran.code, Some(code), "{words:?}\n{}\n{}", ran.out, ran.err);
        ran
    }
}

/// A daemon that answers every command as a function says, and remembers them.
pub(crate) struct Daemon {
    seen: Arc<Mutex<Vec<Command>>>,
}

impl Daemon {
    pub(crate) fn start(
        control: &Path,
        up: Vec<ResourceStatus>,
        answer: impl Fn(&Command) -> Vec<Reply> + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(control).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        // It ends with the test's process: nothing waits for it.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while let Ok(Some(bytes)) = frame::read(&mut stream) {
                    let command = Request::decode(&bytes).unwrap().command;
                    let replies = match &command {
                        Command::Status { resource } => {
                            let mut up = up.clone();
                            up.retain(|status| resource.as_ref().is_none_or(|r| *r == status.name));
                            vec![Reply::Done(Answer::Status(up))]
                        }
                        other => answer(other),
                    };
                    // One who watches is told nothing more, as if the daemon had ended.
                    let is_last = command == Command::Watch;
                    remember.lock().unwrap().push(command);
                    for reply in replies {
                        frame::write(&mut stream, &reply).unwrap();
                    }
                    if is_last {
                        break;
                    }
                }
            }
        });
        Self { seen }
    }

    /// What it was asked, but for its status.
    pub(crate) fn orders(&self) -> Vec<Command> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.retain(|command| !matches!(command, Command::Status { .. }));
        seen
    }
}

/// Done, with nothing to say.
pub(crate) fn done() -> Vec<Reply> {
    vec![Reply::Done(Answer::Nothing)]
}

/// Refused with that code.
pub(crate) fn refused(exit: u8, text: &str) -> Vec<Reply> {
    vec![Reply::Failed(Failure::new(exit, text))]
}

/// r0, Primary here and Secondary there.
pub(crate) fn r0() -> ResourceStatus {
    let no_conflicts = json!({"same": 0, "covers": 0, "covered": 0, "partial": 0});
    let counters = json!({
        "read-bytes": 0, "written-bytes": 0, "sent-bytes": 0, "received-bytes": 0,
        "al-writes": 0, "al-hits": 0, "al-misses": 0, "bm-writes": 0, "read-errors": 0,
        "write-errors": 0, "repaired-blocks": 0, "superseded": 0,
        "conflicts-won": no_conflicts, "conflicts-lost": no_conflicts,
        "upper-pending": 0, "lower-pending": 0, "pending": 0, "unacked": 0,
    });
    let volume = json!({
        "volume": 0, "device": "/dev/drbd1", "minor": 1, "disk-path": "/x/alpha.img",
        "meta-disk-path": null, "undurable-writes": 0, "undurable-bytes": 0,
        "suspended": {"user": false, "no-data": false, "fencing": false},
        "backend": "io_uring", "disk": "UpToDate", "peer-disk": "UpToDate",
        "replication": "Established", "size-bytes": 8_000_000, "out-of-sync-blocks": 0,
        "export": "r0/0", "nbd-uris": ["nbd+unix:///r0?socket=/x/nbd.sock"], "clients": [],
        "resync": null, "resync-bytes": 0, "generations": null, "flags": null,
        "counters": counters,
    });
    let peer = json!({
        "name": "beta", "node-id": 1, "address": "127.0.0.1:7002", "role": "Secondary",
        "connection": "Connected", "established": true,
    });
    serde_json::from_value(json!({
        "name": "r0", "node-id": 0, "node-name": "alpha", "role": "Primary",
        "intended-role": "Primary", "restoring": false, "protocol": "C",
        "allow-two-primaries": false, "address": "127.0.0.1:7001", "strangers-refused": 0,
        "split-brain": null, "last-refusal": null, "resumed": 0,
        "peer": peer, "volumes": [volume],
    }))
    .unwrap()
}

/// What alpha reports of r0: that outcome, or that beta does not tell.
pub(crate) fn report(outcome: Outcome, silent: Option<&str>) -> SplitBrainReport {
    let is_split = outcome == Outcome::SplitBrain;
    let copy = json!({
        "disk": "UpToDate", "first-solo": 1_000, "last-solo": 2_000, "rounded-up": false,
        "everything": false,
        "current": {
            "id": "1C1EAF0D624115FF", "born": 1_000, "cause": "peer lost", "node": 0,
            "first-solo": 1_000, "last-solo": 2_000,
        },
        "marks": {
            "blocks": 1, "bytes": 4096, "ranges": [{"offset": 0, "bytes": 4096}], "more-ranges": 0,
        },
    });
    let told = |value: serde_json::Value| if silent.is_none() { value } else { json!(null) };
    let policy = json!({"discards": null, "why": "after-sb-1pri leaves it to the operator"});
    let verdict = json!({"outcome": outcome, "rule": "both-ahead-of-one", "why": "Because."});
    let volume = json!({
        "volume": 0, "verdict": told(verdict), "common": null, "here": copy,
        "there": told(copy), "union-bytes": 8192,
        "overlap": {"blocks": 0, "bytes": 0, "ranges": [], "more-ranges": 0},
        "policy": if is_split { told(policy) } else { json!(null) },
    });
    serde_json::from_value(json!({
        "resource": "r0", "node": "alpha", "peer": "beta", "role": "Primary",
        "peer-role": "Secondary", "peer-silent": silent, "volumes": [volume],
        "split-brain": is_split && silent.is_none(),
    }))
    .unwrap()
}
