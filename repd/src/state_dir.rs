//! What a daemon remembers across its own restarts: which resources are up, and how.
//!
//! ```text
//! STATE_DIR/lock               held while a daemon lives; its pid is in it
//! STATE_DIR/resources/NAME     one line of JSON, then one line with its CRC-32C
//! STATE_DIR/ends/NAME          see `ends`
//! ```
//! A file is replaced as a whole, by rename, and is durable before the change that it records is
//! answered. It holds the shared secret: nobody else may read it.

use crate::ends::Ends;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use types::{Role, VolumeId};

/// Longer than any resource's file: two hosts and their volumes are some kilobytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What is remembered of a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The resolved resource.
    pub(crate) resource: config::Resource,
    /// The name of this node in it.
    pub(crate) node: String,
    /// The role to take again.
    pub(crate) intended_role: Role,
    /// Whether the peer is to be sought.
    pub(crate) connect: bool,
    /// The volumes that were detached by order.
    pub(crate) detached: Vec<VolumeId>,
    /// The volumes whose resync was paused by order.
    #[serde(default)]
    pub(crate) sync_paused: Vec<VolumeId>,
    /// The boot within which this is true.
    pub(crate) boot_id: String,
}

impl Remembered {
    /// A volume of this node has another disk from now on.
    pub(crate) fn replace_disk(&mut self, disk: config::Volume) {
        let me =
            self.resource.hosts.iter_mut().find(|host| config::same_host(&host.name, &self.node));
        let volumes = me.into_iter().flat_map(|me| &mut me.volumes);
        volumes.filter(|volume| volume.id == disk.id).for_each(|volume| *volume = disk.clone());
    }
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another daemon has it.
    #[error(
        "{}: process {pid} uses this state directory; stop it, or choose another one with \
         --state-dir", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// The system refuses.
    #[error("{}: {doing} failed: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// The directory, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes it if it is missing, and locks it. A daemon that was just killed may hold the lock
    /// some milliseconds longer, so that is waited for.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let resources = path.join("resources");
        crate::sockets::make_private_dir(&resources).map_err(failed(&resources, "making it"))?;
        let ends = path.join("ends");
        crate::sockets::make_private_dir(&ends).map_err(failed(&ends, "making it"))?;
        let lock_path = path.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path, "opening it"))?;
        if !lock_within_patience(&lock) {
            let mut pid = String::new();
            let _ = (&lock).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?".into() } else { pid.trim().to_owned() };
            return Err(StateError::InUse { path: path.to_owned(), pid });
        }
        let pid = format!("{}\n", std::process::id());
        let written = lock.set_len(0).and_then(|()| lock.write_all(pid.as_bytes()));
        written.map_err(failed(&lock_path, "writing the pid"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// How large disks were.
    pub(crate) fn ends(&self) -> Ends {
        Ends::new(self.path.join("ends"))
    }

    /// Remembers a resource; durable when this returns.
    pub(crate) fn save(&self, remembered: &Remembered) -> Result<(), StateError> {
        let path = self.file(&remembered.resource.name);
        let mut text = serde_json::to_string(remembered).expect("plain data encodes");
        text.push_str(&format!("\ncrc32c:{:08x}\n", crc32c::crc32c(text.as_bytes())));
        write_whole(&path, text.as_bytes()).map_err(failed(&path, "writing it"))
    }

    /// Forgets a resource; durable when this returns.
    pub(crate) fn forget(&self, resource: &str) -> Result<(), StateError> {
        let path = self.file(resource);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&path, "removing it")(error))
            }
            _ => sync_directory(&path).map_err(failed(&path, "removing it")),
        }
    }

    /// All that is remembered and intact. A file that is not is reported and set aside.
    pub(crate) fn load(&self) -> Result<Vec<Remembered>, StateError> {
        let directory = self.path.join("resources");
        let mut all = Vec::new();
        let entries = std::fs::read_dir(&directory).map_err(failed(&directory, "reading it"))?;
        for entry in entries {
            let path = entry.map_err(failed(&directory, "reading it"))?.path();
            if path.extension().is_some_and(|extension| extension == "new" || extension == "bad") {
                continue;
            }
            match read_checked(&path) {
                Ok(remembered) => all.push(remembered),
                Err(why) => {
                    let aside = path.with_added_extension("bad");
                    tracing::error!(
                        file = %path.display(), why,
                        "a remembered resource is damaged and set aside; bring it up by «repadm up»"
                    );
                    std::fs::rename(&path, &aside).map_err(failed(&path, "setting it aside"))?;
                }
            }
        }
        all.sort_by(|one, other| one.resource.name.cmp(&other.resource.name));
        Ok(all)
    }

    fn file(&self, resource: &str) -> PathBuf {
        self.path.join("resources").join(file_name(resource))
    }
}

/// The name of a resource as the name of a file: what could mean something there is escaped.
pub(crate) fn file_name(resource: &str) -> String {
    let mut name = String::with_capacity(resource.len());
    for byte in resource.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |error| StateError::Io { path, doing, error }
}

#[allow(clippy::disallowed_methods, reason = "waits for the kernel; no decision hangs on the time")]
fn lock_within_patience(lock: &File) -> bool {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
    let begun = std::time::Instant::now();
    loop {
        if rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_directory(path)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().expect("a file of ours is in the state directory");
    File::open(directory)?.sync_all()
}

fn read_checked(path: &Path) -> Result<Remembered, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    if read.map_err(|error| error.to_string())? as u64 > MAX_FILE_BYTES {
        return Err("it is far too long".into());
    }
    let (json, crc) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once("\ncrc32c:"))
        .ok_or("its end is missing")?;
    if u32::from_str_radix(crc, 16) != Ok(crc32c::crc32c(json.as_bytes())) {
        return Err("its checksum does not match".into());
    }
    serde_json::from_str(json).map_err(|error| format!("it does not decode: {error}"))
}

/// The id of this boot.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resource;

    fn remembered(name: &str) -> Remembered {
        Remembered {
            resource: resource(name),
            node: "alpha".into(),
            intended_role: Role::Primary,
            connect: true,
            detached: vec![VolumeId(1)],
            sync_paused: vec![VolumeId(0)],
            boot_id: "b".into(),
        }
    }

    #[test]
    fn what_is_saved_comes_back_and_what_is_forgotten_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let names = ["r0", "..", "a b%c"];
        for name in names {
            state.save(&remembered(name)).unwrap();
        }
        state.save(&remembered("r0")).unwrap();
        let mut found: Vec<_> = state.load().unwrap();
        found.sort_by_key(|one| one.resource.name.clone());
        assert_eq!(found, ["..", "a b%c", "r0"].map(remembered));
        state.forget("r0").unwrap();
        state.forget("r0").unwrap();
        assert_eq!(state.load().unwrap().len(), 2);
    }

    #[test]
    fn it_is_locked_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let error = StateDir::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&remembered("r0")).unwrap();
        let path = state.file("r0");
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(7).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(read_checked(&path).is_err(), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(read_checked(&path).is_err(), "cut at {at}");
        }
        assert!(state.load().unwrap().is_empty());
        assert!(path.with_added_extension("bad").exists());
        assert!(state.load().unwrap().is_empty(), "it is reported once");
    }
}
