//! Real data in at one node and out at the other, by clients of other people.

use super::{MIB, Report, Scale};
use crate::cluster::{Cluster, Setup};
use crate::{disks, foreign};
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// The image is as large at every scale; the tree in it is not.
const IMAGE_BYTES: u64 = 256 * MIB;

/// A file system that holds a source tree goes into alpha and comes out of beta.
pub(super) fn image(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let setup = Setup::new(IMAGE_BYTES + MIB);
    let cluster = Cluster::two_primaries(setup)?;
    let [tree, image, copy] = ["tree", "in.img", "out.img"].map(|n| cluster.directory().join(n));
    let staged = stage(&tree, scale.tree_bytes)?;
    foreign::ext4_image(&image, IMAGE_BYTES, &tree)?;
    foreign::e2fsck(&image)?;
    let path = |path: &Path| path.display().to_string();
    let written = foreign::nbdcopy(&path(&image), &cluster.alpha.uri())?;
    let read = foreign::nbdcopy(&cluster.beta.uri(), &path(&copy))?;
    let (ours, theirs) = (disks::sha256(&image, IMAGE_BYTES)?, disks::sha256(&copy, IMAGE_BYTES)?);
    anyhow::ensure!(ours == theirs, "SHA-256 {ours} went in, {theirs} came out");
    fs::File::options().write(true).open(&copy)?.set_len(IMAGE_BYTES)?;
    foreign::e2fsck(&copy).context("of what came out of beta")?;
    report.line(&format!(
        "{} MiB image with {} MiB of sources: nbdcopy into alpha {:.1?}, out of beta {:.1?}, \
         SHA-256 {}… equal, e2fsck clean",
        IMAGE_BYTES / MIB,
        staged / MIB,
        written.took,
        read.took,
        &ours[..12]
    ));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    cluster.finish()
}

/// Both nodes write, and each reads what the other wrote.
pub(super) fn both_write(scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let half = scale.fio_bytes;
    let cluster = Cluster::two_primaries(Setup::new(2 * half + 8 * MIB))?;
    let (alpha, beta) = (cluster.alpha.uri(), cluster.beta.uri());
    let info = foreign::succeed("nbdinfo", &["--size", &alpha])?;
    let size: u64 = info.out.trim().parse().with_context(|| info.to_string())?;
    let data = disks::data_bytes(cluster.setup().disk_bytes)?;
    anyhow::ensure!(size == data, "nbdinfo says {size} bytes, the layout {data}");

    foreign::qemu_io(&beta, &["write -P 0x5a 1M 3M"])?;
    foreign::qemu_io(&alpha, &["read -P 0x5a 1M 3M", "write -P 0xa5 2M 1M"])?;
    foreign::qemu_io(&beta, &["read -P 0xa5 2M 1M", "read -P 0x5a 1M 1M", "write -z 1M 64k"])?;
    foreign::qemu_io(&alpha, &["read -P 0 1M 64k", "read -P 0x5a 1088k 960k"])?;
    report.line("qemu-io verifies on each node what it wrote on the other");

    let other = thread::spawn(move || foreign::fio_verify(&beta, half, half));
    let ours = foreign::fio_verify(&alpha, 0, half)?;
    let theirs = other.join().ok().context("fio's thread has panicked")??;
    report.line(&format!(
        "fio verify=crc32c depth 32, {} MiB on each half at once: {:.1?} and {:.1?}, no error",
        half / MIB,
        ours.took,
        theirs.took
    ));
    cluster.wait_settled()?;
    cluster.down_and_compare()?;
    report.line(&format!("{data} bytes of data are the same on both disks"));
    cluster.finish()
}

/// A real source tree: this repository's, and of what it is built from as much as fits.
fn stage(to: &Path, limit: u64) -> anyhow::Result<u64> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut bytes = copy_tree(&repository, &to.join("repd"))?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut crates: Vec<PathBuf> = Vec::new();
    for registry in home.iter().flat_map(|home| fs::read_dir(home.join("registry/src"))).flatten() {
        for entry in fs::read_dir(registry?.path())? {
            crates.push(entry?.path());
        }
    }
    crates.sort();
    for from in crates {
        let name = from.file_name().context("a crate has a name")?.to_owned();
        // One crate is far smaller than what is left free in the image.
        if bytes >= limit {
            break;
        }
        bytes += copy_tree(&from, &to.join(name))?;
    }
    anyhow::ensure!(bytes > MIB, "only {bytes} bytes of sources were found");
    Ok(bytes)
}

/// Copies files and directories, but for what is built or hidden.
fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<u64> {
    fs::create_dir_all(to)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name();
        let skipped = name == "target" || name.to_string_lossy().starts_with('.');
        let kind = entry.file_type()?;
        match () {
            () if skipped => {}
            () if kind.is_dir() => bytes += copy_tree(&entry.path(), &to.join(name))?,
            () if kind.is_file() => bytes += fs::copy(entry.path(), to.join(name))?,
            () => {}
        }
    }
    Ok(bytes)
}
