//! The names of an attached device: the `device` of the resource file, and
//! `/dev/repd/by-res/RESOURCE/VOLUME`.
//!
//! They are udev's, so that LVM takes them for names of the device: repd writes what a device is into
//! `RUN_DIR/devices/nbdN`, a rule of ours (`dist/60-repd.rules`) makes links of it, and takes them
//! away when the file is gone. Where udev or the rule is not, repd makes the links itself.
//!
//! The file also tells the next daemon how many sockets the device had.

use super::driver::Index;
use super::sys::Sys;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use types::VolumeId;

/// How long udev may take.
const UDEV_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub index: Index,
    pub resource: String,
    pub volume: VolumeId,
    /// The `device` of the resource file, if it has one.
    pub device: Option<PathBuf>,
    /// How many sockets it has.
    pub connections: usize,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum NameError {
    #[error("{}: this is no path below /dev, or has characters that udev does not take", path.display())]
    Elsewhere { path: PathBuf },
    #[error("{}: there is {what} already, which is left alone; move it away, or choose another \
             `device`", path.display())]
    Taken { path: PathBuf, what: String },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Makes and removes them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    sys: Sys,
    /// `/dev`, or, in tests, some other place.
    dev: PathBuf,
    /// Where the files for udev are.
    files: PathBuf,
    patience: Duration,
}

impl Names {
    pub(super) fn new(sys: Sys, dev: &Path, run_dir: &Path) -> Self {
        let files = run_dir.join("devices");
        Self { sys, dev: dev.to_owned(), files, patience: UDEV_PATIENCE }
    }

    /// Names a device. What is in the way of the name that the resource file has for it is left alone;
    /// the other name is there all the same.
    pub(super) fn make(&self, named: &Named) -> Result<(), NameError> {
        let free = self.wanted(named).and_then(|wanted| match wanted {
            Some(path) => self.ensure_free(&path, named).map(|()| Some(path)),
            None => Ok(None),
        });
        let (link, in_the_way) = match free {
            Ok(link) => (link, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.write(named, link.as_deref())?;
        let all = [link, self.by_resource(named)];
        self.settle(named.index, || {
            all.iter().flatten().all(|path| self.leads_to(path, named.index))
        });
        for path in all.iter().flatten().filter(|path| !self.leads_to(path, named.index)) {
            self.link(path, named.index)?;
        }
        in_the_way
    }

    /// Takes its names away; such as lead elsewhere by now are left alone.
    pub(super) fn remove(&self, named: &Named) -> Result<(), NameError> {
        let file = self.files.join(named.index.to_string());
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_at(file)(error));
            }
            _ => {}
        }
        let by_resource = self.by_resource(named);
        let all: Vec<PathBuf> =
            self.wanted(named).ok().flatten().into_iter().chain(by_resource.clone()).collect();
        self.settle(named.index, || !all.iter().any(|path| self.leads_to(path, named.index)));
        for path in all.iter().filter(|path| self.leads_to(path, named.index)) {
            fs::remove_file(path).map_err(io_at(path.clone()))?;
        }
        // Empty directories of ours; whoever has others in them keeps them.
        let mut directory = by_resource.unwrap_or_default();
        while directory.pop() && directory.starts_with(self.dev.join("repd")) {
            if fs::remove_dir(&directory).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// How many sockets a device had, if an earlier daemon has said so.
    pub(super) fn connections(&self, index: Index) -> Option<usize> {
        let text = fs::read_to_string(self.files.join(index.to_string())).ok()?;
        text.lines().find_map(|line| line.strip_prefix("REPD_CONNECTIONS=")?.parse().ok())
    }

    fn write(&self, named: &Named, link: Option<&Path>) -> Result<(), NameError> {
        let Named { index, resource, volume, connections, .. } = named;
        let mut text = format!("REPD_CONNECTIONS={connections}\n");
        if is_plain(resource) {
            text.push_str(&format!("REPD_RESOURCE={resource}\nREPD_VOLUME={volume}\n"));
        }
        if let Some(link) = link.and_then(|link| link.strip_prefix(&self.dev).ok()) {
            text.push_str(&format!("REPD_LINK={}\n", link.display()));
        }
        let file = self.files.join(index.to_string());
        let new = self.files.join(format!(".{index}.new"));
        fs::create_dir_all(&self.files).map_err(io_at(self.files.clone()))?;
        fs::write(&new, text).map_err(io_at(new.clone()))?;
        fs::rename(&new, &file).map_err(io_at(file))
    }

    /// Tells udev, and waits until it has done it; not for long, there may be none.
    fn settle(&self, index: Index, is_done: impl Fn() -> bool) {
        if self.sys.announce(index).is_err() {
            return;
        }
        let mut left = self.patience;
        while !is_done() && !left.is_zero() {
            sleep(LOOK_EVERY);
            left = left.saturating_sub(LOOK_EVERY);
        }
    }

    fn wanted(&self, named: &Named) -> Result<Option<PathBuf>, NameError> {
        let Some(device) = &named.device else { return Ok(None) };
        let all_plain =
            device.components().skip(1).all(|part| part.as_os_str().to_str().is_some_and(is_plain));
        match device.strip_prefix("/dev") {
            Ok(below) if all_plain && !below.as_os_str().is_empty() => {
                Ok(Some(self.dev.join(below)))
            }
            _ => Err(NameError::Elsewhere { path: device.clone() }),
        }
    }

    /// Nothing for a resource whose name cannot be that of a link.
    fn by_resource(&self, named: &Named) -> Option<PathBuf> {
        let directory = self.dev.join("repd/by-res").join(&named.resource);
        is_plain(&named.resource).then(|| directory.join(named.volume.to_string()))
    }

    /// Whether nothing is there that is not ours: a link to an nbd device that has no server is what
    /// a daemon has left that could not clean up.
    fn ensure_free(&self, path: &Path, named: &Named) -> Result<(), NameError> {
        let taken =
            |what: &str| Err(NameError::Taken { path: path.to_owned(), what: what.to_owned() });
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        if !found.is_symlink() {
            return taken(if found.is_dir() { "a directory" } else { "a device or a file" });
        }
        let leads_to = self.index_of(path);
        let connected = self.sys.connected();
        let is_used = |index| connected.iter().any(|(other, _)| *other == index);
        match leads_to {
            Some(index) if index == named.index || !is_used(index) => Ok(()),
            Some(index) => taken(&format!("a link to {index}, which is in use")),
            None => taken("a link to something else"),
        }
    }

    /// Which device of the driver a link leads to.
    fn index_of(&self, path: &Path) -> Option<Index> {
        let target = fs::read_link(path).ok()?;
        target.file_name()?.to_str()?.strip_prefix("nbd")?.parse().ok().map(Index)
    }

    fn leads_to(&self, path: &Path, index: Index) -> bool {
        self.index_of(path) == Some(index)
    }

    fn link(&self, path: &Path, index: Index) -> Result<(), NameError> {
        let directory = path.parent().expect("it is below /dev");
        fs::create_dir_all(directory).map_err(io_at(directory.to_owned()))?;
        let new = directory.join(format!(".repd-{index}.new"));
        let _ = fs::remove_file(&new);
        symlink(self.dev.join(index.to_string()), &new).map_err(io_at(new.clone()))?;
        fs::rename(&new, path).map_err(io_at(path.to_owned()))
    }
}

/// Whether udev takes a part of a path as it is: others it would replace, or cut in two.
fn is_plain(part: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c);
    !matches!(part, "" | "." | "..") && part.chars().all(known)
}

fn io_at(path: PathBuf) -> impl FnOnce(io::Error) -> NameError {
    move |error| NameError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Names {
        let sys = Sys::new(directory);
        for block in ["nbd0", "nbd1"] {
            fs::create_dir_all(directory.join("sys/block").join(block)).unwrap();
        }
        fs::create_dir_all(directory.join("dev")).unwrap();
        Names { patience: Duration::ZERO, ..Names::new(sys, &directory.join("dev"), directory) }
    }

    fn named(index: u32, device: &str) -> Named {
        let resource = "r0".to_owned();
        let device = Some(device.into());
        Named { index: Index(index), resource, volume: VolumeId(0), device, connections: 2 }
    }

    #[test]
    fn without_udev_the_links_are_made_and_removed_here() {
        let directory = tempfile::tempdir().unwrap();
        let (names, one) = (names(directory.path()), named(0, "/dev/drbd1"));
        names.make(&one).unwrap();
        let dev = directory.path().join("dev");
        for path in ["drbd1", "repd/by-res/r0/0"] {
            assert_eq!(fs::read_link(dev.join(path)).unwrap(), dev.join("nbd0"), "{path}");
        }
        let file = fs::read_to_string(directory.path().join("devices/nbd0")).unwrap();
        assert_eq!(file, "REPD_CONNECTIONS=2\nREPD_RESOURCE=r0\nREPD_VOLUME=0\nREPD_LINK=drbd1\n");
        assert_eq!(
            fs::read_to_string(directory.path().join("sys/block/nbd0/uevent")).unwrap(),
            "change"
        );
        assert_eq!((names.connections(Index(0)), names.connections(Index(1))), (Some(2), None));
        names.make(&one).unwrap();
        names.remove(&one).unwrap();
        assert_eq!(fs::read_dir(&dev).unwrap().count(), 0, "nothing is left");
        assert!(!directory.path().join("devices/nbd0").exists());
        names.remove(&one).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(directory.path());
        let dev = directory.path().join("dev");
        fs::write(dev.join("drbd1"), "a device of the real DRBD").unwrap();
        let error = names.make(&named(0, "/dev/drbd1")).unwrap_err().to_string();
        assert!(error.contains("a device or a file already, which is left alone"), "{error}");
        assert!(dev.join("repd/by-res/r0/0").is_symlink(), "the other name is there");
        names.remove(&named(0, "/dev/drbd1")).unwrap();
        assert!(dev.join("drbd1").exists());

        symlink("/dev/sda", dev.join("data")).unwrap();
        assert!(matches!(names.make(&named(0, "/dev/data")), Err(NameError::Taken { .. })));
        // Another device that is in use; and one that was left behind.
        symlink("nbd1", dev.join("other")).unwrap();
        fs::write(directory.path().join("sys/block/nbd1/pid"), "1").unwrap();
        assert!(matches!(names.make(&named(0, "/dev/other")), Err(NameError::Taken { .. })));
        fs::remove_file(directory.path().join("sys/block/nbd1/pid")).unwrap();
        names.make(&named(0, "/dev/other")).unwrap();
        assert_eq!(fs::read_link(dev.join("other")).unwrap(), dev.join("nbd0"));
        for strange in
            ["/srv/x", "/dev/../etc/passwd", "/dev", "relative", "/dev/a b", "/dev/a\nX=1"]
        {
            let made = names.make(&named(0, strange));
            assert!(matches!(made, Err(NameError::Elsewhere { .. })), "{strange}");
        }
    }

    #[test]
    fn a_resource_whose_name_is_no_name_of_a_link_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(directory.path());
        for strange in ["..", "a b", "a\nREPD_LINK=sda"] {
            let one = Named { resource: strange.into(), ..named(0, "/dev/drbd1") };
            names.make(&one).unwrap();
            let dev = directory.path().join("dev");
            assert_eq!(fs::read_dir(&dev).unwrap().count(), 1, "{strange:?}: drbd1 alone");
            let file = fs::read_to_string(directory.path().join("devices/nbd0")).unwrap();
            assert_eq!(file, "REPD_CONNECTIONS=2\nREPD_LINK=drbd1\n");
            names.remove(&one).unwrap();
            assert_eq!(fs::read_dir(&dev).unwrap().count(), 0);
        }
    }
}
