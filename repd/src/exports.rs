//! Which NBD exports there are, by name, and who may use them.
//!
//! A volume is exported as `RESOURCE/VOLUME`; volume 0 also as `RESOURCE`; and volume 0 of the
//! only resource also under the empty name.

use crate::daemon::Daemon;
use crate::entry::Entry;
use nbd_server::{ExportInfo, Exports, Refusal, Session};
use std::rc::Rc;
use std::time::Duration;
use types::{Role, VolumeId};

/// How long a client waits for a resource that is being brought back after a restart.
const RESTORE_PATIENCE: Duration = Duration::from_secs(30);

/// The name under which a volume is listed.
pub(crate) fn export_name(resource: &str, volume: VolumeId) -> String {
    format!("{resource}/{volume}")
}

/// The volume that a name means. `names` are those of the resources that are up.
pub(crate) fn resolve<'a>(
    name: &'a str,
    names: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, VolumeId)> {
    let mut names = names.peekable();
    if name.is_empty() {
        let only = names.next()?;
        return names.next().is_none().then_some((only, VolumeId(0)));
    }
    let (resource, volume) = match name.split_once('/') {
        None => (name, VolumeId(0)),
        Some((resource, volume)) => {
            let number: u16 = volume.parse().ok()?;
            // One spelling for each number: «00» and «+0» are no names.
            if number.to_string() != volume {
                return None;
            }
            (resource, VolumeId(number))
        }
    };
    names.any(|found| found == resource).then_some((resource, volume))
}

/// The exports of a daemon.
#[derive(Clone)]
pub(crate) struct DaemonExports(pub(crate) Rc<Daemon>);

impl DaemonExports {
    fn resolve(&self, name: &str) -> Result<(Rc<Entry>, VolumeId), Refusal> {
        let resources = self.0.resources();
        let (resource, volume) =
            resolve(name, resources.iter().map(|entry| entry.name())).ok_or(Refusal::Unknown)?;
        let found = resources.iter().find(|entry| entry.name() == resource);
        let entry = found.expect("only what is up is resolved").clone();
        match entry.volumes().contains(&volume) {
            true => Ok((entry, volume)),
            false => Err(Refusal::Unknown),
        }
    }
}

fn info(entry: &Entry, volume: VolumeId) -> ExportInfo {
    let glance = entry.resource.glance();
    let size = glance.volume(volume).map_or(0, |volume| volume.size_bytes);
    let mut info = ExportInfo::new(export_name(entry.name(), volume), size);
    info.description = format!("{} here, connection {}", glance.role, glance.connection);
    info
}

impl Exports for DaemonExports {
    fn list(&self, _: Session<'_>) -> Vec<ExportInfo> {
        let resources = self.0.resources();
        let volumes = resources.iter().flat_map(|entry| {
            entry.volumes().into_iter().map(|volume| info(entry, volume)).collect::<Vec<_>>()
        });
        volumes.collect()
    }

    fn find(&self, name: &str, _: Session<'_>) -> Result<ExportInfo, Refusal> {
        self.resolve(name).map(|(entry, volume)| info(&entry, volume))
    }

    async fn open(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        let peer = session.peer;
        let (entry, volume) = self.resolve(name)?;
        let mut restoring = entry.restoring.subscribe();
        let restored = restoring.wait_for(|restoring| !restoring);
        if tokio::time::timeout(RESTORE_PATIENCE, restored).await.is_err() {
            tracing::warn!(client = peer, resource = entry.name(), "still being restored");
        }
        if self.0.is_stopping() {
            return Err(Refusal::Shutdown("the daemon is ending".into()));
        }
        if entry.resource.glance().role != Role::Primary {
            self.promote(&entry, peer).await?;
        }
        let info = info(&entry, volume);
        if info.size == 0 {
            return Err(Refusal::Policy(format!(
                "the size of {} is not known yet: this node has no disk for it and no connection \
                 to its peer; see «repadm status {}»",
                info.name,
                entry.name()
            )));
        }
        Ok(info)
    }
}

impl DaemonExports {
    /// A Secondary does not serve, but for `auto-promote yes`.
    async fn promote(&self, entry: &Rc<Entry>, peer: &str) -> Result<(), Refusal> {
        let name = entry.name();
        if !entry.auto_promote() {
            return Err(Refusal::Policy(format!(
                "{name} is Secondary on this node; make it Primary with «repadm primary {name}»"
            )));
        }
        tracing::info!(client = peer, resource = name, "promoted for a client: auto-promote");
        self.0.auto_promote(entry).await.map_err(|failure| Refusal::Policy(failure.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_one_volume_or_none() {
        let find = |name, names: &[&'static str]| {
            resolve(name, names.iter().copied()).map(|(name, volume)| (name.to_owned(), volume.0))
        };
        let found = |name: &str, volume| Some((name.to_owned(), volume));
        assert_eq!(find("r0/0", &["r0"]), found("r0", 0));
        assert_eq!(find("r0/65534", &["r0"]), found("r0", 65534));
        assert_eq!(find("r0", &["r0", "r1"]), found("r0", 0));
        assert_eq!(find("", &["r0"]), found("r0", 0));
        assert_eq!(find("", &["r0", "r1"]), None);
        assert_eq!(find("", &[]), None);
        for strange in ["r1", "r0/", "r0/x", "r0/00", "r0/+0", "r0/65536", "r0/0/0", "/", "/0"] {
            assert_eq!(find(strange, &["r0"]), None, "{strange}");
        }
    }
}
