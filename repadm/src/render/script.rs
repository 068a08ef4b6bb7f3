//! Shell variables, for scripts that `eval` what they are told.

use super::pairs;
use super::progress::percent_down;
use config::Volume;
use control::{ResourceStatus, VolumeStatus};
use std::fmt::{Display, Write as _};
use types::VolumeId;

/// Which release this is, and whose vocabulary it has: agents choose by the numbers how to ask.
pub fn version() -> String {
    let release = env!("CARGO_PKG_VERSION");
    // What follows is the release of DRBD whose commands and outputs these are.
    format!(
        "# repadm {release}\n\
         REPADM_VERSION={release}\n\
         DRBDADM_BUILDTAG=repadm-{release}\n\
         DRBDADM_API_VERSION=1\n\
         DRBD_KERNEL_VERSION_CODE=0x090200\n\
         DRBD_KERNEL_VERSION=9.2.0\n\
         DRBDADM_VERSION_CODE=0x091600\n\
         DRBDADM_VERSION=9.22.0\n"
    )
}

/// A word that a shell reads as it is.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Variables that are set anew for each volume, and the call that a script has a function for.
struct Variables(String);

impl Variables {
    fn set(&mut self, name: &str, value: impl Display) -> &mut Self {
        let value = value.to_string();
        let value = if value.is_empty() { value } else { quoted(&value) };
        let _ = writeln!(self.0, "_{name}={value}");
        self
    }
}

fn begin(resource: &str, volume: VolumeId, minor: Option<u32>) -> Variables {
    let mut all = Variables(String::new());
    all.set("minor", minor.map_or_else(String::new, |minor| minor.to_string()))
        .set("res_name", resource)
        .set("volume", volume);
    all
}

/// The name that DRBD 8.4 has for a state of the connection or of replication; all but one have kept
/// theirs.
fn old_name(state: &str) -> &str {
    match state {
        "Connecting" => "WFConnection",
        other => other,
    }
}

/// The state of a volume, as `sh-status` of DRBD 8.4 tells it.
pub fn status(resource: &ResourceStatus, volume: &VolumeStatus) -> String {
    let mut all = begin(&resource.name, volume.volume, volume.minor);
    let done =
        volume.resync.map_or_else(String::new, |r| format!("{:.1}", percent_down(r.percent, 1)));
    all.set("known", "Configured")
        .set("cstate", old_name(pairs::connection(resource, volume)))
        .set("role", resource.role)
        .set("peer", resource.peer.role)
        .set("disk", volume.disk)
        .set("pdsk", volume.peer_disk)
        .set("flags_susp", one_if(volume.suspended.any()))
        .set("flags_aftr_isp", one_if(volume.resync_suspended.dependency))
        .set("flags_peer_isp", one_if(volume.resync_suspended.peer))
        .set("flags_user_isp", one_if(volume.resync_suspended.user))
        .set("resynced_percent", done);
    all.0 + "_sh_status_process\n\n"
}

const fn one_if(so: bool) -> &'static str {
    if so { "1" } else { "" }
}

/// The same of one that is not up.
pub fn unconfigured(resource: &str, volume: VolumeId, minor: Option<u32>) -> String {
    let mut all = begin(resource, volume, minor);
    all.set("known", "").set("cstate", pairs::UNCONFIGURED);
    for name in ["role", "peer", "disk", "pdsk"] {
        all.set(name, "");
    }
    for name in ["susp", "aftr_isp", "peer_isp", "user_isp"] {
        all.set(&format!("flags_{name}"), "");
    }
    all.set("resynced_percent", "");
    all.0 + "_sh_status_process\n\n"
}

/// What rules of udev ask, to make links by resource and by disk.
pub fn udev(resource: &str, volume: &Volume, device: Option<&str>) -> String {
    let base = |path: &str| path.trim_start_matches("/dev/").to_owned();
    let mut text = format!("RESOURCE={}\n", quoted(resource));
    if let Some(device) = device {
        let _ = writeln!(text, "DEVICE={}", quoted(&base(device)));
    }
    let by_resource = format!("drbd/by-res/{resource}/{}", volume.id);
    let _ = write!(text, "SYMLINK_BY_RES={}", quoted(&by_resource));
    if let Some(disk) = &volume.disk {
        let by_disk = format!("drbd/by-disk/{}", base(&disk.to_string_lossy()));
        let _ = write!(text, "\nSYMLINK_BY_DISK={}", quoted(&by_disk));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn every_state_as_variables() {
        let mut text = String::new();
        for (name, resource) in samples::all() {
            let volumes = resource.volumes.iter().map(|volume| status(&resource, volume));
            text += &format!("# {name}\n{}", volumes.collect::<String>());
        }
        text += &unconfigured("r 1", VolumeId(0), Some(7));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn words_are_safe_in_a_shell() {
        assert_eq!(quoted("/dev/vda3"), "/dev/vda3");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's;rm"), r"'it'\''s;rm'");
    }

    #[test]
    fn the_numbers_are_those_of_drbd_9() {
        let text = version();
        assert!(text.lines().skip(1).all(|line| line.contains('=')), "{text}");
        assert!(text.contains("DRBD_KERNEL_VERSION_CODE=0x0902"), "{text}");
    }
}
