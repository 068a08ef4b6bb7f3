//! Small file systems, which can be full: without being root, and gone with the processes that
//! use them.
//!
//! They need a user and a mount namespace, which a process gets when it starts: so what needs them
//! runs this program once more, by `unshare`.

use crate::process::run;
use anyhow::Context;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// In the environment of what runs inside.
const INSIDE: &str = "REPD_TESTS_NAMESPACE";
const PATIENCE: Duration = Duration::from_secs(60);
const BALLAST: &str = "ballast";

/// Whether this process may [`mount`].
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A program with these words, to be run inside.
pub fn command<W: AsRef<OsStr>>(program: &Path, words: &[W]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]).arg(program).args(words);
    command.env(INSIDE, "1");
    command
}

/// Why this machine has no such namespaces, if it has none.
pub fn refusal() -> Option<String> {
    let words = ["-c", "mount -t tmpfs none /mnt"];
    let ran =
        run(&mut command(Path::new("sh"), &words), PATIENCE).and_then(|ran| ran.ended_with(0));
    ran.err().map(|error| format!("{error:#}"))
}

/// Makes a file system of that size there.
///
/// # Errors
/// If the system refuses.
pub fn mount(at: &Path, bytes: u64) -> anyhow::Result<()> {
    anyhow::ensure!(is_inside(), "a file system is mounted in a namespace only");
    fs::create_dir(at)?;
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"]).arg(at);
    run(&mut command, PATIENCE)?.ended_with(0).map(drop)
}

/// Takes away what [`mount`] has made, so that the directory can go.
///
/// # Errors
/// If somebody uses it.
pub fn unmount(at: &Path) -> anyhow::Result<()> {
    run(Command::new("umount").arg(at), PATIENCE)?.ended_with(0).map(drop)
}

/// Leaves nothing free on the file system that is mounted there; again, if it was done before.
///
/// # Errors
/// If writing fails for another reason than that.
pub fn fill(at: &Path) -> anyhow::Result<()> {
    let mut ballast = File::options().create(true).append(true).open(at.join(BALLAST))?;
    // A page at a time: a larger piece would leave a rest.
    let piece = vec![0x55; 4096];
    loop {
        match ballast.write_all(&piece) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).context("filling a small file system"),
        }
    }
}

/// Takes back what [`fill`] has taken.
///
/// # Errors
/// If the system refuses.
pub fn make_room(at: &Path) -> anyhow::Result<()> {
    fs::remove_file(at.join(BALLAST)).context("making room on a small file system")
}
