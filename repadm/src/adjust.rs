//! From what runs to what is configured, by the fewest steps: what `adjust` does.

mod changes;
mod ready;
#[cfg(test)]
mod tests;

pub use changes::{Change, changes};
pub use ready::check_disks;

use crate::outcome::{Exit, Failure, Outcome};
use config::{Host, Resource, Volume};
use control::{ResourceStatus, Spare};
use std::fmt;
use types::{ConnectionState, DiskState, Role, VolumeId};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring up what is not.
    Up,
    /// Take down what nobody uses, for a change that cannot be made while it is up; and why.
    Down(&'static str),
    /// Leave the peer, for its address or ours has changed.
    Disconnect,
    /// Take these options.
    Options(Vec<Change>),
    /// Let a disk go, for what was fixed when it was attached has changed.
    Detach(VolumeId, String),
    /// Take a disk in.
    Attach(VolumeId),
    /// Seek the peer.
    Connect,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down(why) => write!(f, "down: {why}"),
            Self::Disconnect => f.write_str("disconnect: an address has changed"),
            Self::Options(changes) => {
                f.write_str("set")?;
                changes.iter().try_for_each(|change| write!(f, "\n    {change}"))
            }
            Self::Detach(volume, why) => write!(f, "detach {volume}: {why}"),
            Self::Attach(volume) => write!(f, "attach {volume}"),
            Self::Connect => f.write_str("connect"),
        }
    }
}

/// A resource that is up.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Its configuration.
    pub resource: &'a Resource,
    /// The name of this node in it.
    pub node: &'a str,
    /// What it is like.
    pub status: &'a ResourceStatus,
}

/// The steps from what runs to what is wanted; none if that is the same.
///
/// # Errors
/// If it takes a step that would interrupt somebody.
pub fn plan(
    running: Running<'_>,
    wanted: &Resource,
    node: &str,
    spare: Spare,
) -> Outcome<Vec<Step>> {
    let name = &wanted.name;
    let (Some((old, old_peer)), Some((new, new_peer))) =
        (running.resource.host(running.node), wanted.host(node))
    else {
        let text = format!("{name}: {node} is none of its hosts");
        return Err(Failure::new(Exit::Config, text));
    };
    if old.node_id != new.node_id {
        return Err(other_ids(name, [old, old_peer]));
    }
    if let Some(why) = needs_restart(old, new) {
        return restart(running, why);
    }
    let mut steps = Vec::new();
    let alone = running.status.peer.connection == ConnectionState::StandAlone;
    let moved = old.address != new.address || old_peer.address != new_peer.address;
    if moved && !alone {
        if spare.link {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "{name}: an address has changed, which needs the link to be down: not with --skip-net"
                ),
            ));
        }
        steps.push(Step::Disconnect);
    }
    let changes = changes(running.resource, wanted, (old, new));
    if !changes.is_empty() {
        steps.push(Step::Options(changes));
    }
    if !spare.disks {
        for volume in &new.volumes {
            disk_steps(running, old, volume, &mut steps);
        }
    }
    if (alone || moved) && !spare.link {
        steps.push(Step::Connect);
    }
    Ok(steps)
}

/// The disks know their node by its id: neither would be taken again.
fn other_ids(name: &str, old: [&Host; 2]) -> Failure {
    let [me, peer] = old.map(|host| format!("`node-id {};` into `on {}`", host.node_id, host.name));
    let text = format!(
        "{name}: the nodes would change their ids, by which the disks know them; nothing is \
         changed. Without ids in the configuration the order of the addresses says which node is \
         0, and it is another one now: write {me} and {peer}, on both nodes, to keep the ids"
    );
    Failure::new(Exit::Config, text)
}

/// What of a change cannot be made while the resource is up.
fn needs_restart(old: &Host, new: &Host) -> Option<&'static str> {
    let ids = |host: &Host| host.volumes.iter().map(|volume| volume.id).collect::<Vec<_>>();
    (ids(old) != ids(new)).then_some("it has other volumes now")
}

fn restart(running: Running<'_>, why: &'static str) -> Outcome<Vec<Step>> {
    let used = running.status.volumes.iter().any(|volume| !volume.clients.is_empty());
    if used || running.status.role == Role::Primary {
        let name = &running.resource.name;
        let text = format!(
            "{name}: {why}, which cannot change while it is up, and it is in use: run «repadm \
             secondary {name}» when its clients are gone, and adjust it then, on both nodes"
        );
        return Err(Failure::new(Exit::Refused, text));
    }
    Ok(vec![Step::Down(why), Step::Up])
}

/// What must become of one disk.
fn disk_steps(running: Running<'_>, old: &Host, new: &Volume, steps: &mut Vec<Step>) {
    let Some(old) = old.volumes.iter().find(|old| old.id == new.id) else { return };
    let status = running.status.volumes.iter().find(|status| status.volume == new.id);
    let is_attached = status.is_some_and(|status| status.disk != DiskState::Diskless);
    let why = is_attached.then(|| attached_anew(old, new)).flatten();
    if let Some(why) = why {
        steps.push(Step::Detach(new.id, why));
    } else if is_attached {
        return;
    }
    if new.disk.is_some() {
        steps.push(Step::Attach(new.id));
    }
}

/// Why a disk must be attached anew, if it must.
fn attached_anew(old: &Volume, new: &Volume) -> Option<String> {
    let (was, is) = (&old.disk_options, &new.disk_options);
    if old.disk != new.disk {
        let path = |disk: &Option<std::path::PathBuf>| match disk {
            Some(disk) => disk.display().to_string(),
            None => "none".into(),
        };
        Some(format!("disk {} → {}", path(&old.disk), path(&new.disk)))
    } else if old.meta_disk != new.meta_disk {
        Some("its metadata are elsewhere now".into())
    } else if was.al_extents != is.al_extents {
        Some(format!("al-extents {} → {}", was.al_extents, is.al_extents))
    } else if was.al_updates != is.al_updates {
        let word = |on| if on { "yes" } else { "no" };
        Some(format!("al-updates {} → {}", word(was.al_updates), word(is.al_updates)))
    } else {
        None
    }
}
