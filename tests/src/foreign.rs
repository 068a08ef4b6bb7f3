//! Programs of other people: clients and servers that share no code with ours.
//!
//! A missing one fails the test that needs it, with the package that has it.

use crate::process::{Ran, run};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No client may need longer, at any scale.
const PATIENCE: Duration = Duration::from_secs(600);
/// Every program that is needed, and its package in Debian.
const PACKAGES: [(&str, &str); 11] = [
    ("qemu-io", "qemu-utils"),
    ("qemu-img", "qemu-utils"),
    ("nbd-client", "nbd-client"),
    ("nbdcopy", "libnbd-bin"),
    ("nbdinfo", "libnbd-bin"),
    ("nbdsh", "python3-libnbd"),
    ("nbdkit", "nbdkit"),
    ("fio", "fio"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("systemd-analyze", "systemd"),
];

/// Where a program is: on the path, or where administration programs are.
///
/// # Errors
/// If it is not installed, with its package.
pub fn locate(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        let package = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = package.map_or(name, |(_, package)| package);
        format!("{name} is not installed, and this test needs it: apt-get install {package}")
    })
}

/// A program with these words, to its end.
///
/// # Errors
/// If it is missing, cannot be started, does not end, or ends with anything but zero.
pub fn succeed<W: AsRef<std::ffi::OsStr>>(name: &str, words: &[W]) -> anyhow::Result<Ran> {
    run(Command::new(locate(name)?).args(words), PATIENCE)?.ended_with(0)
}

/// `qemu-io` on an export, with these commands.
///
/// # Errors
/// As [`succeed`]; a pattern that does not match is one of its failures.
pub fn qemu_io(uri: &str, commands: &[&str]) -> anyhow::Result<Ran> {
    let mut words = vec!["-f", "raw", uri];
    commands.iter().for_each(|command| words.extend(["-c", command]));
    let ran = succeed("qemu-io", &words)?;
    // It says so, and ends with zero all the same in some versions.
    let failed = ran.out.contains("Pattern verification failed") || ran.out.contains("failed:");
    anyhow::ensure!(!failed, "{ran}");
    Ok(ran)
}

/// `nbdcopy` from a file or export to another.
///
/// # Errors
/// As [`succeed`].
pub fn nbdcopy(from: &str, to: &str) -> anyhow::Result<Ran> {
    succeed("nbdcopy", &[from, to])
}

/// A program for the Python of libnbd, with these arguments. `nbdsh` would take the first Python on
/// the path, which need not be the one of the distribution, for which the module is.
///
/// # Errors
/// If it is missing.
pub fn nbd_python(program: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    locate("nbdsh")?;
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-u", "-c", program]).args(arguments);
    Ok(command)
}

/// `fio`'s random writes on a part of an export at depth 32, each verified by its CRC-32C.
///
/// # Errors
/// As [`succeed`].
pub fn fio_verify(uri: &str, offset: u64, size: u64) -> anyhow::Result<Ran> {
    let directory = tempfile::tempdir()?;
    let words = [
        "--name=verify".to_owned(),
        "--ioengine=nbd".to_owned(),
        format!("--uri={uri}"),
        "--rw=randwrite".to_owned(),
        "--bs=4k".to_owned(),
        "--iodepth=32".to_owned(),
        "--verify=crc32c".to_owned(),
        "--verify_fatal=1".to_owned(),
        "--eta=never".to_owned(),
        format!("--offset={offset}"),
        format!("--size={size}"),
    ];
    let mut command = Command::new(locate("fio")?);
    // It leaves a file about the state of its verification where it stands.
    let ran = run(command.args(words).current_dir(directory.path()), PATIENCE)?.ended_with(0)?;
    anyhow::ensure!(ran.out.contains("err= 0"), "{ran}");
    Ok(ran)
}

/// An ext4 image of that size which holds a copy of a directory.
///
/// # Errors
/// As [`succeed`].
pub fn ext4_image(image: &Path, bytes: u64, tree: &Path) -> anyhow::Result<Ran> {
    let (image, tree) = (image.display().to_string(), tree.display().to_string());
    let blocks = format!("{}k", bytes >> 10);
    succeed("mke2fs", &["-q", "-F", "-t", "ext4", "-d", &tree, &image, &blocks])
}

/// Checks a file system without touching it.
///
/// # Errors
/// As [`succeed`]; anything to repair is a failure.
pub fn e2fsck(image: &Path) -> anyhow::Result<Ran> {
    succeed("e2fsck", &["-f", "-n", &image.display().to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_foreign_program_is_installed() {
        for (program, _) in PACKAGES {
            locate(program).unwrap();
        }
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = locate("no-such-program").unwrap_err().to_string();
        assert!(error.contains("apt-get install no-such-program"), "{error}");
    }
}
