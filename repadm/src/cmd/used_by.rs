//! What uses the device of a volume on this machine: a mount, a volume group, another device.

use crate::render::size::size;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel tells.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    mounts: String,
    devices: PathBuf,
}

impl Machine {
    /// This one. One without these files has nothing that could be told.
    pub(super) fn here() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Self { mounts, devices: "/sys/class/block".into() }
    }

    /// All that uses that device, in words, as `drbd-overview` has them.
    pub(super) fn uses(&self, device: &str) -> Vec<String> {
        // A link, as by udev, stands for the device behind it.
        let real = fs::canonicalize(device).unwrap_or_else(|_| PathBuf::from(device));
        let real_name = real.to_string_lossy();
        let mut uses: Vec<String> = [device, &real_name]
            .into_iter()
            .find_map(|name| mounted(&self.mounts, name))
            .map(|mount| mount.words(space(&mount.place)))
            .into_iter()
            .collect();
        if let Some(name) = real.file_name() {
            uses.extend(self.holders(Path::new(name)));
        }
        uses
    }

    /// Devices that are made of that one; of logical volumes their group, once.
    fn holders(&self, name: &Path) -> Vec<String> {
        let directory = self.devices.join(name).join("holders");
        let mut names: Vec<PathBuf> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())))
            .collect();
        names.sort();
        let mut uses = Vec::new();
        for holder in names {
            let word = self.holder(&holder);
            if !uses.contains(&word) {
                uses.push(word);
            }
        }
        uses
    }

    fn holder(&self, holder: &Path) -> String {
        let read = |file: &str| {
            let text = fs::read_to_string(self.devices.join(holder).join("dm").join(file));
            text.unwrap_or_default().trim().to_owned()
        };
        let (name, uuid) = (read("name"), read("uuid"));
        match volume_group(&name).filter(|_| uuid.starts_with("LVM-")) {
            Some(group) => format!("lvm-pv: {group}"),
            None if name.is_empty() => format!("held by: {}", holder.display()),
            None => format!("held by: {name}"),
        }
    }
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    place: String,
    kind: String,
}

impl Mount {
    /// `/srv/mail ext4 1 GiB 200 MiB 800 MiB 20%`; without the numbers if they are not known.
    fn words(&self, space: Option<Space>) -> String {
        let Self { place, kind } = self;
        match space {
            None => format!("{place} {kind}"),
            Some(Space { total, used, available }) => {
                let percent = (used * 100).div_ceil((used + available).max(1));
                let [total, used, available] = [total, used, available].map(size);
                format!("{place} {kind} {total} {used} {available} {percent}%")
            }
        }
    }
}

/// Bytes of a file system, as `df` shows them.
#[derive(Clone, Copy, Debug)]
struct Space {
    total: u64,
    used: u64,
    available: u64,
}

fn space(place: &str) -> Option<Space> {
    let found = rustix::fs::statvfs(place).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Space {
        total: bytes(found.f_blocks),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        available: bytes(found.f_bavail),
    })
}

/// Where a device is mounted according to the text of `/proc/self/mounts`, with the type.
fn mounted(mounts: &str, device: &str) -> Option<Mount> {
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(device))?;
    let mut words = line.split(' ').skip(1);
    let (place, kind) = (words.next()?, words.next()?.to_owned());
    // Blanks are written as octal escapes there.
    Some(Mount { place: place.replace("\\040", " "), kind })
}

/// The group in the name of a logical volume, `group-volume`, where a dash in either is doubled.
fn volume_group(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => return Some(name[..at].replace("--", "-")),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_the_whole_name() {
        let mounts = "/dev/drbd10 /a ext4 rw 0 0\n/dev/drbd1 /with\\040blank xfs rw 0 0\n";
        let mount = mounted(mounts, "/dev/drbd1").expect("mounted");
        assert_eq!(mount.words(None), "/with blank xfs");
        let space = Space { total: 1 << 30, used: 256 << 20, available: 768 << 20 };
        assert_eq!(mount.words(Some(space)), "/with blank xfs 1 GiB 256 MiB 768 MiB 25%");
        assert_eq!(mounted(mounts, "/dev/drbd"), None);
    }

    #[test]
    fn a_full_or_empty_file_system_is_no_division_by_zero() {
        let mount = Mount { place: "/p".into(), kind: "proc".into() };
        let none = Space { total: 0, used: 0, available: 0 };
        assert_eq!(mount.words(Some(none)), "/p proc 0 B 0 B 0 B 0%");
    }

    #[test]
    fn groups_are_found_in_names_with_dashes() {
        assert_eq!(volume_group("vg-home").as_deref(), Some("vg"));
        assert_eq!(volume_group("my--vg-my--lv").as_deref(), Some("my-vg"));
        assert_eq!(volume_group("plain"), None);
        assert_eq!(volume_group("a--b"), None);
    }

    #[test]
    fn holders_are_told_once_for_each_group() {
        let place = tempfile::tempdir().expect("a directory");
        let devices = place.path();
        let dm = |name: &str, dm_name: &str, uuid: &str| {
            fs::create_dir_all(devices.join(name).join("dm")).expect("made");
            fs::write(devices.join(name).join("dm/name"), format!("{dm_name}\n")).expect("written");
            fs::write(devices.join(name).join("dm/uuid"), format!("{uuid}\n")).expect("written");
            fs::create_dir_all(devices.join("nbd7/holders").join(name)).expect("made");
        };
        dm("dm-0", "mail-spool", "LVM-x");
        dm("dm-1", "mail-queue", "LVM-y");
        dm("dm-2", "secret", "CRYPT-LUKS2-z");
        fs::create_dir_all(devices.join("nbd7/holders/md0")).expect("made");
        let machine =
            Machine { mounts: "/dev/nbd7 /srv ext4 rw 0 0\n".into(), devices: devices.into() };
        assert_eq!(
            machine.holders(Path::new("nbd7")),
            ["lvm-pv: mail", "held by: secret", "held by: md0"]
        );
        assert_eq!(machine.holders(Path::new("nbd8")), Vec::<String>::new());
        let uses = machine.uses("/dev/nbd7");
        assert!(uses[0].starts_with("/srv ext4"), "{uses:?}");
        assert_eq!(uses[1], "lvm-pv: mail");
    }
}
