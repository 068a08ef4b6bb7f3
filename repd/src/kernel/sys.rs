//! What the kernel tells in files of its devices, and of who has them open.

use super::driver::Index;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `O_EXCL` of an open without `O_CREAT`: refused if a file system or a device mapper has it.
const EXCLUSIVE: i32 = rustix::fs::OFlags::EXCL.bits().cast_signed();

/// The files below `/`, or, in tests, below some other place.
#[derive(Clone, Debug)]
pub(super) struct Sys {
    root: PathBuf,
}

impl Sys {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    fn block(&self, index: Index) -> PathBuf {
        self.path("sys/block").join(index.to_string())
    }

    /// The device itself.
    pub(super) fn device(&self, index: Index) -> PathBuf {
        self.path("dev").join(index.to_string())
    }

    /// The devices that have a server, and whose they are, as far as that is known.
    pub(super) fn connected(&self) -> Vec<(Index, Option<String>)> {
        let Ok(entries) = fs::read_dir(self.path("sys/block")) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbers = names.filter_map(|name| name.strip_prefix("nbd")?.parse().ok().map(Index));
        let mut found: Vec<_> = numbers
            .filter(|&index| self.is_connected(index))
            .map(|index| (index, self.backend(index)))
            .collect();
        found.sort();
        found
    }

    /// Whether a device has a server.
    pub(super) fn is_connected(&self, index: Index) -> bool {
        self.block(index).join("pid").exists()
    }

    fn backend(&self, index: Index) -> Option<String> {
        let text = fs::read_to_string(self.block(index).join("backend")).ok()?;
        Some(text.trim_end_matches(['\n', '\0']).to_owned())
    }

    /// Has udev look at a device again.
    pub(super) fn announce(&self, index: Index) -> io::Result<()> {
        fs::write(self.block(index).join("uevent"), "change")
    }

    /// Who has a device open, in words; nobody if that is empty.
    ///
    /// Names what can be named. What cannot be, such as a mount in another namespace, is there all
    /// the same if the kernel refuses an exclusive open.
    pub(super) fn holders(&self, index: Index) -> Vec<String> {
        let numbers = self.numbers(index);
        let mut holders = self.mappings(index);
        holders.extend(self.mounts(&numbers));
        holders.extend(self.swaps(index));
        if holders.is_empty() {
            holders = self.processes(&numbers);
        }
        if holders.is_empty() && self.is_held(index) {
            holders.push("something in the kernel, perhaps a mount in a container".to_owned());
        }
        holders
    }

    /// Major and minor numbers, as `major:minor`, of a device and of its partitions.
    fn numbers(&self, index: Index) -> Vec<String> {
        let block = self.block(index);
        let parts = fs::read_dir(&block).into_iter().flatten().flatten();
        let parts = parts.map(|part| part.path()).filter(|path| path.join("partition").exists());
        let devices = std::iter::once(block).chain(parts);
        devices
            .filter_map(|device| fs::read_to_string(device.join("dev")).ok())
            .map(|numbers| numbers.trim().to_owned())
            .collect()
    }

    /// Logical volumes and the like.
    fn mappings(&self, index: Index) -> Vec<String> {
        let block = self.block(index);
        let parts = fs::read_dir(&block).into_iter().flatten().flatten().map(|part| part.path());
        let all = parts.chain([block]).map(|device| device.join("holders"));
        let holders = all.filter_map(|holders| fs::read_dir(holders).ok()).flatten().flatten();
        let mut names: Vec<String> = holders
            .map(|holder| {
                let kernel = holder.file_name().to_string_lossy().into_owned();
                let known = self.path("sys/block").join(&kernel).join("dm/name");
                match fs::read_to_string(known) {
                    Ok(name) => format!("the mapped device {} ({kernel})", name.trim()),
                    Err(_) => format!("the device {kernel}"),
                }
            })
            .collect();
        names.sort();
        names
    }

    fn mounts(&self, numbers: &[String]) -> Vec<String> {
        let table = fs::read_to_string(self.path("proc/self/mountinfo")).unwrap_or_default();
        let of = |line: &str| {
            let mut fields = line.split(' ').skip(2);
            let number = fields.next()?;
            let place = fields.nth(1)?;
            numbers.iter().any(|known| known == number).then(|| format!("mounted on {place}"))
        };
        table.lines().filter_map(of).collect()
    }

    fn swaps(&self, index: Index) -> Option<String> {
        let table = fs::read_to_string(self.path("proc/swaps")).unwrap_or_default();
        let device = format!("/dev/{index}");
        let is_used = table.lines().any(|line| line.split_whitespace().next() == Some(&device));
        is_used.then(|| "used as swap".to_owned())
    }

    /// Processes with a descriptor of it.
    fn processes(&self, numbers: &[String]) -> Vec<String> {
        let own = std::process::id().to_string();
        let entries = fs::read_dir(self.path("proc")).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let pids = pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != own);
        let has_it = |pid: &String| {
            let files = fs::read_dir(self.path("proc").join(pid).join("fd"));
            files.into_iter().flatten().flatten().any(|file| {
                let Ok(found) = fs::metadata(file.path()) else { return false };
                let number = found.rdev();
                let number = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
                found.file_type().is_block_device() && numbers.contains(&number)
            })
        };
        pids.filter(has_it)
            .map(|pid| match fs::read_to_string(self.path("proc").join(&pid).join("comm")) {
                Ok(name) => format!("process {pid} ({})", name.trim()),
                Err(_) => format!("process {pid}"),
            })
            .collect()
    }

    fn is_held(&self, index: Index) -> bool {
        let opened = OpenOptions::new().read(true).custom_flags(EXCLUSIVE).open(self.device(index));
        opened.is_err_and(|error| {
            error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> (Self, Sys) {
            let directory = tempfile::tempdir().unwrap();
            let sys = Sys::new(directory.path());
            (Self(directory), sys)
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn devices_with_a_server_are_found_with_whose_they_are() {
        let (tree, sys) = Tree::new();
        tree.file("sys/block/nbd0/dev", "43:0\n");
        tree.file("sys/block/nbd10/pid", "1\n");
        tree.file("sys/block/nbd10/backend", "repd:r0/0\n");
        tree.file("sys/block/nbd2/pid", "77\n");
        tree.file("sys/block/vda/pid", "77\n");
        let ours = Some("repd:r0/0".to_owned());
        assert_eq!(sys.connected(), [(Index(2), None), (Index(10), ours)]);
        assert!(!sys.is_connected(Index(0)) && sys.is_connected(Index(2)));
    }

    #[test]
    fn holders_are_named() {
        let (tree, sys) = Tree::new();
        tree.file("sys/block/nbd0/dev", "43:0\n");
        tree.file("sys/block/nbd0/nbd0p1/dev", "43:1\n");
        tree.file("sys/block/nbd0/nbd0p1/partition", "1\n");
        assert!(sys.holders(Index(0)).is_empty());

        tree.file("proc/swaps", "Filename Type\n/dev/nbd0 partition 1 2 3\n");
        assert_eq!(sys.holders(Index(0)), ["used as swap"]);
        let mounts = "22 1 43:1 / /srv/data rw - ext4 /dev/nbd0p1 rw\n\
                      23 1 43:10 / /other rw - ext4 /dev/nbd10 rw\n";
        tree.file("proc/self/mountinfo", mounts);
        tree.file("sys/block/dm-3/dm/name", "drbd_vg-drbd_lv\n");
        tree.file("sys/block/nbd0/holders/dm-3/x", "");
        assert_eq!(
            sys.holders(Index(0)),
            ["the mapped device drbd_vg-drbd_lv (dm-3)", "mounted on /srv/data", "used as swap"]
        );
    }

    #[test]
    fn processes_are_named_when_nothing_else_has_it() {
        let (tree, sys) = Tree::new();
        // A block device of this machine stands for ours, if there is one.
        let Some(device) = ["/dev/vda", "/dev/sda", "/dev/loop0"]
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device()))
        else {
            eprintln!("not tried: there is no block device here");
            return;
        };
        let number = fs::metadata(device).unwrap().rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        tree.file("sys/block/nbd0/dev", &format!("{major}:{minor}\n"));
        tree.file("proc/4711/comm", "fio\n");
        tree.file("proc/4712/comm", "sleep\n");
        fs::create_dir_all(tree.0.path().join("proc/4711/fd")).unwrap();
        symlink(device, tree.0.path().join("proc/4711/fd/5")).unwrap();
        assert_eq!(sys.holders(Index(0)), ["process 4711 (fio)"]);
    }
}
