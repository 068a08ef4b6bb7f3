//! What the suite runs against, and how each of it is made and unmade.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use storage::{Backend, Device, OpenOptions};
use types::Span;

/// The size of every target: the largest request fits in at an odd offset.
pub(crate) const BYTES: u64 = 40 << 20;

/// One thing to run the suite against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A disk in memory.
    Memory,
    /// A file where temporary files are, past the page cache if it can be.
    File(Backend),
    /// The same through the page cache.
    Buffered(Backend),
    /// A file in memory, as far as the kernel is concerned.
    Shm(Backend),
    /// A loop device with sectors of so many bytes. As root only.
    Loop(u32),
}

/// A target that is there, until it is dropped.
pub(crate) struct Made {
    pub(crate) target: Target,
    path: PathBuf,
    loop_device: Option<PathBuf>,
    _dir: Option<tempfile::TempDir>,
}

impl Target {
    /// Makes it, or says on the terminal why this machine cannot, past the capture of the harness.
    pub(crate) fn make(self) -> Option<Made> {
        if self == Self::Memory {
            return Some(Made {
                target: self,
                path: PathBuf::new(),
                loop_device: None,
                _dir: None,
            });
        }
        let dir = match self {
            Self::Shm(_) if !Path::new("/dev/shm").is_dir() => return self.skipped("no /dev/shm"),
            Self::Shm(_) => tempfile::tempdir_in("/dev/shm"),
            _ => tempfile::tempdir(),
        }
        .unwrap();
        let path = dir.path().join("disk");
        std::fs::File::create_new(&path).unwrap().set_len(BYTES).unwrap();
        let mut made = Made { target: self, path, loop_device: None, _dir: Some(dir) };
        if let Self::Loop(sector) = self {
            match attach_loop(&made.path, sector) {
                Ok(device) => made.loop_device = Some(device),
                Err(reason) => return self.skipped(&reason),
            }
        }
        Some(made)
    }

    fn skipped<T>(self, reason: &str) -> Option<T> {
        let mut terminal = std::io::stderr();
        writeln!(terminal, "SKIPPED: storage conformance of {self:?}: {reason}").unwrap();
        None
    }
}

impl Made {
    /// What is opened: the file, or the device on it.
    pub(crate) fn path(&self) -> &Path {
        self.loop_device.as_deref().unwrap_or(&self.path)
    }

    /// The options that this target is meant to be opened with.
    pub(crate) fn options(&self) -> OpenOptions {
        let (backend, direct) = match self.target {
            Target::Memory | Target::Loop(_) => (Backend::Auto, true),
            Target::File(backend) | Target::Shm(backend) => (backend, true),
            Target::Buffered(backend) => (backend, false),
        };
        // Another test that starts a program holds our descriptors, and so our locks, for a moment.
        OpenOptions { backend, direct, lock_wait: Span::secs(60), ..OpenOptions::default() }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.target, Target::File(_) | Target::Buffered(_) | Target::Shm(_))
    }

    pub(crate) async fn open(&self) -> Device {
        if self.target == Target::Memory {
            return Device::memory(BYTES);
        }
        Device::open(self.path(), self.options()).await.unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(device) = &self.loop_device {
            let status = Command::new("losetup").arg("--detach").arg(device).status();
            assert!(status.is_ok_and(|status| status.success()), "cannot detach {device:?}");
        }
    }
}

fn attach_loop(file: &Path, sector: u32) -> Result<PathBuf, String> {
    let output = Command::new("losetup")
        .args(["--find", "--show", "--direct-io=on", "--sector-size", &sector.to_string()])
        .arg(file)
        .output()
        .map_err(|error| format!("losetup: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
