//! Whether the disks that a plan takes in can be taken in: looked at before anything is let go.

use super::{Running, Step};
use crate::offline::{self, disks};
use crate::outcome::Outcome;
use config::{Host, MetaDisk, Resource, Volume};
use metadata::Expected;
use std::collections::BTreeSet;
use std::path::Path;

/// Fails if a disk that is to be attached, and is not in the daemon's hands, is missing, in use, or
/// without metadata of its volume.
///
/// # Errors
/// Exit code 10, with the way out; nothing has been done then.
pub fn check_disks(running: Running<'_>, wanted: &Resource, node: &str, plan: &[Step]) -> Outcome {
    let Some((me, _)) = wanted.host(node) else { return Ok(()) };
    let held = running.resource.host(running.node).map(|(old, _)| paths(old)).unwrap_or_default();
    let taken = me.volumes.iter().filter(|volume| takes_in(plan, volume));
    for volume in taken.filter(|volume| volume.disk.is_some()) {
        if of(volume).any(|path| held.contains(path)) {
            // It cannot be looked at while the daemon has it, and it is its own.
            continue;
        }
        let name = format!("{}/{}", wanted.name, volume.id);
        let opened = disks(&name, volume, true)?;
        let resource = wanted.name.clone();
        let expected = Expected { resource, volume: volume.id, node: Some(me.node_id) };
        opened
            .superblock(Some(expected))
            .map_err(|error| offline::unusable(&name, volume, &opened, &error))?;
    }
    Ok(())
}

/// Whether the plan attaches that volume.
fn takes_in(plan: &[Step], volume: &Volume) -> bool {
    plan.iter().any(|step| match step {
        Step::Down(_) => true,
        Step::Attach(id) => *id == volume.id,
        _ => false,
    })
}

fn of(volume: &Volume) -> impl Iterator<Item = &Path> {
    let meta = match &volume.meta_disk {
        MetaDisk::Internal => None,
        MetaDisk::External(path) => Some(path.as_path()),
    };
    volume.disk.as_deref().into_iter().chain(meta)
}

fn paths(host: &Host) -> BTreeSet<&Path> {
    host.volumes.iter().flat_map(of).collect()
}
