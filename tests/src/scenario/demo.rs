//! The demo, as somebody who is not root starts it.

use super::{Report, Scale};
use crate::process::run;
use crate::programs::programs;
use anyhow::Context;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The user `nobody`, and its group.
const NOBODY: u32 = 65534;
/// What the demo may take. It is told, and it is what interfaces say.
const BOUND: Duration = Duration::from_secs(30);

pub(super) fn show(_scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let outer = tempfile::Builder::new().prefix("d").tempdir_in("/tmp")?;
    let (program, temporary) = (outer.path().join("repadm"), outer.path().join("t"));
    // The build's directory may be closed to other users.
    fs::copy(&programs()?.repadm, &program)?;
    fs::create_dir(&temporary)?;
    for path in [outer.path(), &program] {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(&program);
    command.arg("demo").env_clear().env("TMPDIR", &temporary).current_dir("/");
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&temporary, Some(NOBODY), Some(NOBODY))?;
        command.uid(NOBODY).gid(NOBODY);
    }
    let ran = run(&mut command, 4 * BOUND)?.ended_with(0)?;
    anyhow::ensure!(ran.out.contains("identical"), "{ran}");
    let left: Vec<_> = fs::read_dir(&temporary)?.flatten().map(|entry| entry.path()).collect();
    anyhow::ensure!(left.is_empty(), "the demo leaves {left:?}");
    let processes = processes_of(&program.display().to_string())?;
    anyhow::ensure!(processes.is_empty(), "the demo leaves processes {processes:?}");
    anyhow::ensure!(ran.took < BOUND, "the demo took {:.1?}", ran.took);
    report.line(&format!(
        "exit 0 after {:.1?} as {}, nothing left behind",
        ran.took,
        if is_root { "nobody" } else { "this user" }
    ));
    Ok(())
}

/// Processes whose command line names that.
fn processes_of(name: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        // A process that ends at this moment has no command line any more.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if is_process && line.contains(name) {
            found.push(line);
        }
    }
    Ok(found)
}
