//! `role`, `cstate` and `dstate`: a word or a pair of words, ours first.

use control::{ResourceStatus, VolumeStatus};
use types::{ConnectionState, ReplicationState};

/// What is printed of a resource that is not up.
pub const UNCONFIGURED: &str = "Unconfigured";

/// `Primary/Secondary`.
pub fn roles(resource: &ResourceStatus) -> String {
    format!("{}/{}", resource.role, resource.peer.role)
}

/// `UpToDate/Inconsistent`.
pub fn disks(volume: &VolumeStatus) -> String {
    format!("{}/{}", volume.disk, volume.peer_disk)
}

/// The replication state of a volume if it is above Established, else the state of the connection.
pub fn connection(resource: &ResourceStatus, volume: &VolumeStatus) -> &'static str {
    if resource.peer.connection == ConnectionState::Connected
        && volume.replication > ReplicationState::Established
    {
        volume.replication.as_str()
    } else {
        resource.peer.connection.as_str()
    }
}

/// The same for the whole resource: that of the first volume that is busy, if one is.
pub fn resource_connection(resource: &ResourceStatus) -> &'static str {
    resource
        .volumes
        .iter()
        .map(|volume| connection(resource, volume))
        .find(|state| *state != resource.peer.connection.as_str())
        .unwrap_or_else(|| resource.peer.connection.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn every_state_in_one_word() {
        let mut table = String::new();
        for (name, status) in samples::all() {
            let disks: Vec<_> = status.volumes.iter().map(disks).collect();
            table += &format!(
                "{name}: {} {} {}\n",
                roles(&status),
                resource_connection(&status),
                disks.join(" ")
            );
        }
        insta::assert_snapshot!(table);
    }
}
