//! The programs under test.
//!
//! The binary of this package is `repd` and `repadm` too, by the name that it is called by: both
//! are libraries with a thin `main`, and cargo builds this binary before any test of this package
//! runs. So no test can meet a program that is older than the source, and nothing is built by a
//! build inside the build.

use anyhow::Context;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::{fs, io};

/// In the environment of a daemon: the process that it dies with, however that one ends.
pub const DIES_WITH: &str = "REPD_TESTS_DIES_WITH";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The daemon.
    pub repd: PathBuf,
    /// The command line.
    pub repadm: PathBuf,
}

/// The programs under test, made ready once in each process.
///
/// # Errors
/// If the binary of this package is not beside the test.
pub fn programs() -> anyhow::Result<&'static Programs> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    // Once, whichever of a test's threads comes first: the others wait for it.
    let made = PROGRAMS.get_or_init(|| {
        binary().and_then(|binary| link(&binary)).map_err(|error| format!("{error:#}"))
    });
    made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// This package's binary: what runs now, or what stands above the directory of the test.
///
/// # Errors
/// If it is not there.
pub fn binary() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("where is this program?")?;
    let directory = this.parent().unwrap_or_else(|| Path::new("/"));
    let binary = match directory.file_name() == Some(OsStr::new("deps")) {
        true => directory.parent().unwrap_or(directory).join("tests"),
        false => this,
    };
    anyhow::ensure!(binary.is_file(), "{} is not there: cargo builds it", binary.display());
    Ok(binary)
}

/// The binary under both names. Other processes do the same at this moment, so each name is
/// replaced as a whole; who runs the old file keeps it.
fn link(binary: &Path) -> anyhow::Result<Programs> {
    let directory = binary.with_file_name("tests-programs");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let named = |name: &str| -> anyhow::Result<PathBuf> {
        let path = directory.join(name);
        let temporary = directory.join(format!("{name}.{}", std::process::id()));
        let made = match fs::hard_link(binary, &temporary) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => fs::copy(binary, &temporary).map(drop),
        };
        made.and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("cannot make {}", path.display()))?;
        // Two names of one file are left alone by rename.
        let _ = fs::remove_file(&temporary);
        Ok(path)
    };
    Ok(Programs { repd: named("repd")?, repadm: named("repadm")? })
}

/// Does what the program does by whose name this one was called, if it is one of them.
///
/// # Errors
/// What the daemon ends with.
pub fn play(args: &[OsString]) -> anyhow::Result<Option<ExitCode>> {
    let name = args.first().map(Path::new).and_then(Path::file_name);
    match name.and_then(OsStr::to_str) {
        Some("repd") => {
            die_with_parent()?;
            let options = <repd::Options as clap::Parser>::parse_from(args);
            repd::run(&options)?;
            Ok(Some(ExitCode::SUCCESS))
        }
        Some("repadm") => {
            let exit = repadm::run(args.to_vec(), &mut io::stdout());
            Ok(Some(ExitCode::from(exit as u8)))
        }
        _ => Ok(None),
    }
}

/// Asks the kernel for SIGKILL when the test that started this daemon ends without ending it.
fn die_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let Ok(expected) = std::env::var(DIES_WITH) else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(parent.to_string() == expected, "the test that wanted this daemon has ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_linked_under_both_names_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("tests");
        for content in ["one", "two"] {
            let _ = fs::remove_file(&binary);
            fs::write(&binary, content).unwrap();
            for _ in 0..2 {
                let programs = link(&binary).unwrap();
                assert_eq!(fs::read_to_string(&programs.repd).unwrap(), content);
                assert_eq!(fs::read_to_string(&programs.repadm).unwrap(), content);
                assert_eq!(fs::read_dir(programs.repd.parent().unwrap()).unwrap().count(), 2);
            }
        }
    }

    #[test]
    fn another_name_is_no_program() {
        assert!(play(&["/x/tests".into()]).unwrap().is_none());
        assert!(play(&[]).unwrap().is_none());
    }
}
