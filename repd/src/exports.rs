//! Which NBD exports there are, by name, and who may use them.
//!
//! A volume is exported as `RESOURCE/VOLUME`; volume 0 also as `RESOURCE`; and volume 0 of the
//! only resource also under the empty name.
//!
//! A resource with `tls require` does not exist for a client that has not begun TLS: it is not
//! listed, and asking for it is answered as asking for what does not exist is.

use crate::daemon::Daemon;
use crate::entry::Entry;
use crate::negotiating::Held;
use crate::resource::CLIENTS_MAX;
use config::NbdTls;
use nbd_server::{ExportInfo, Exports, Refusal, Session};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use types::{Role, VolumeId};

/// How long a client waits for a resource that is being brought back after a restart.
const RESTORE_PATIENCE: Duration = Duration::from_secs(30);

/// How many clients a daemon has at most, over all resources.
const DAEMON_CLIENTS_MAX: usize = 4096;

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

/// The exports of a daemon, as one client has them.
pub(crate) struct DaemonExports {
    daemon: Rc<Daemon>,
    /// Set while the client waits for this daemon.
    held: Held,
    /// It has asked within TLS.
    has_tls: Cell<bool>,
    /// It has asked in the clear for what is told within TLS only.
    needs_tls: Cell<bool>,
}

impl DaemonExports {
    pub(crate) fn new(daemon: Rc<Daemon>, held: Held) -> Self {
        Self { daemon, held, has_tls: Cell::new(false), needs_tls: Cell::new(false) }
    }

    /// Whether the client, gone by now, was kept from what it wanted by having no TLS.
    /// `is_required`: nothing was answered without.
    pub(crate) fn wanted_tls(&self, is_required: bool) -> bool {
        !self.has_tls.get() && (is_required || self.needs_tls.get())
    }

    fn resolve(&self, name: &str, session: Session<'_>) -> Result<(Rc<Entry>, VolumeId), Refusal> {
        let is_tls = session.is_tls;
        self.has_tls.set(is_tls);
        let resources = self.daemon.resources();
        let find = || {
            let (resource, volume) = resolve(name, resources.iter().map(|entry| entry.name()))?;
            let entry = resources.iter().find(|entry| entry.name() == resource)?;
            entry.volumes().contains(&volume).then(|| (entry.clone(), volume))
        };
        let requires = |entry: &Entry| entry.nbd().tls == NbdTls::Require;
        match find() {
            Some((entry, volume)) if is_tls || !requires(&entry) => Ok((entry, volume)),
            // What is not there looks as what is hidden.
            _ if !is_tls && resources.iter().any(|entry| requires(entry)) => {
                self.needs_tls.set(true);
                Err(match session.may_tls {
                    true => Refusal::TlsRequired,
                    false => Refusal::Policy(
                        "TLS is required here, and cannot be had: the daemon's certificates are of \
                         no use, see its log"
                            .into(),
                    ),
                })
            }
            _ => Err(Refusal::Unknown),
        }
    }
}

fn info(entry: &Entry, volume: VolumeId) -> ExportInfo {
    let glance = entry.resource.glance();
    let size = glance.volume(volume).map_or(0, |volume| volume.size_bytes);
    let mut info = ExportInfo::new(export_name(entry.name(), volume), size);
    info.description = format!("{} here, connection {}", glance.role, glance.connection);
    info.read_only = entry.nbd().read_only;
    info
}

impl Exports for DaemonExports {
    fn list(&self, session: Session<'_>) -> Vec<ExportInfo> {
        self.has_tls.set(session.is_tls);
        let resources = self.daemon.resources();
        let shown = |entry: &&Rc<Entry>| session.is_tls || entry.nbd().tls != NbdTls::Require;
        let volumes = resources.iter().filter(shown).flat_map(|entry| {
            entry.volumes().into_iter().map(|volume| info(entry, volume)).collect::<Vec<_>>()
        });
        volumes.collect()
    }

    fn find(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        self.resolve(name, session).map(|(entry, volume)| info(&entry, volume))
    }

    async fn open(&self, name: &str, session: Session<'_>) -> Result<ExportInfo, Refusal> {
        let (entry, volume) = self.resolve(name, session)?;
        let peer = session.peer;
        self.held.set(true);
        let opened = self.wait_and_open(&entry, volume, peer).await;
        self.held.set(false);
        opened
    }
}

impl DaemonExports {
    async fn wait_and_open(
        &self,
        entry: &Rc<Entry>,
        volume: VolumeId,
        peer: &str,
    ) -> Result<ExportInfo, Refusal> {
        let mut restoring = entry.restoring.subscribe();
        let restored = restoring.wait_for(|restoring| !restoring);
        if tokio::time::timeout(RESTORE_PATIENCE, restored).await.is_err() {
            tracing::warn!(client = peer, resource = entry.name(), "still being restored");
        }
        if self.daemon.is_stopping() {
            return Err(Refusal::Shutdown("the daemon is ending".into()));
        }
        self.ensure_room(entry)?;
        if entry.resource.glance().role != Role::Primary {
            self.promote(entry, peer).await?;
        }
        let info = info(entry, volume);
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

    /// Bounds the connections of a resource and of the daemon: each has a descriptor and memory.
    fn ensure_room(&self, entry: &Entry) -> Result<(), Refusal> {
        let refuse = |whose: &str, max| {
            Err(Refusal::Policy(format!(
                "{max} clients are connected to {whose}, and that is the most; disconnect some"
            )))
        };
        if entry.resource.glance().clients >= CLIENTS_MAX {
            return refuse(entry.name(), CLIENTS_MAX);
        }
        let all: usize =
            self.daemon.resources().iter().map(|entry| entry.resource.glance().clients).sum();
        if all >= DAEMON_CLIENTS_MAX {
            return refuse("this daemon", DAEMON_CLIENTS_MAX);
        }
        Ok(())
    }

    /// A Secondary does not serve, but for `auto-promote yes`.
    async fn promote(&self, entry: &Rc<Entry>, peer: &str) -> Result<(), Refusal> {
        let name = entry.name();
        if !entry.auto_promote() {
            return Err(Refusal::Policy(format!(
                "{name} is Secondary on this node; make it Primary with «repadm primary {name}»"
            )));
        }
        tracing::info!(client = peer, resource = name, "promoted for a client: auto-promote");
        self.daemon.auto_promote(entry).await.map_err(|failure| Refusal::Policy(failure.text))
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
