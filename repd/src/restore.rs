//! After a restart within the same boot: brings back what was up.
//!
//! A node that was Primary becomes Primary again only when it has met its peer, or has waited
//! long enough for it: the peer may have gone on alone meanwhile, and then it has the newer data.

use crate::daemon::{Daemon, Origin};
use crate::entry::Entry;
use crate::state_dir::Remembered;
use crate::waits::{Goal, wait_while_restoring};
use control::Failure;
use std::rc::Rc;
use std::time::Duration;
use types::{Role, Span};

/// How long the peer is waited for before a node that was Primary goes on without it.
const PEER_PATIENCE: Span = Span::secs(10);
/// How long a refused promotion is tried again, whenever the state changes.
const PROMOTE_PATIENCE: Duration = Duration::from_secs(20);

/// Creates the resources that were up; the rest is done meanwhile by a task for each. When this
/// returns each is known by name, and marked as being restored.
pub(crate) async fn restore_all(daemon: &Rc<Daemon>) -> anyhow::Result<()> {
    for remembered in daemon.remembered()? {
        let name = remembered.resource.name.clone();
        let Remembered { resource, node, intended_role, .. } = remembered.clone();
        match daemon.create(resource, node, Origin::Restored(intended_role)).await {
            Ok((entry, _)) => {
                tracing::info!(resource = name, %intended_role, "bringing back what was up");
                daemon.remember(&entry, remembered).map_err(anyhow::Error::new)?;
                entry.restoring.send_replace(true);
                let daemon = daemon.clone();
                tokio::task::spawn_local(async move {
                    if let Err(failure) = restore(&daemon, &entry).await {
                        tracing::error!(resource = entry.name(), "not brought back: {failure}");
                    }
                    entry.restoring.send_replace(false);
                });
            }
            Err(failure) => tracing::error!(resource = name, "not brought back: {failure}"),
        }
    }
    Ok(())
}

async fn restore(daemon: &Rc<Daemon>, entry: &Rc<Entry>) -> Result<(), Failure> {
    entry.bring_up().await?;
    let remembered = entry.remembered();
    if remembered.intended_role != Role::Primary {
        return Ok(());
    }
    if remembered.connect {
        let met = wait_while_restoring(entry, Goal::Connected, PEER_PATIENCE).await;
        if let Err(failure) = met {
            tracing::warn!(resource = entry.name(), "the peer was not met: {failure}");
        }
    }
    promote_again(daemon, entry).await
}

/// Tries until it is granted, and whenever the state changes, as long as [`PROMOTE_PATIENCE`]; an
/// attempt that has begun by then is not given up, `fence-peer` may be running for it.
async fn promote_again(daemon: &Rc<Daemon>, entry: &Rc<Entry>) -> Result<(), Failure> {
    let mut changes = entry.resource.watch();
    let deadline = tokio::time::Instant::now() + PROMOTE_PATIENCE;
    loop {
        changes.borrow_and_update();
        // An operator's order in the meantime is newer than what was remembered.
        if entry.remembered().intended_role != Role::Primary {
            return Ok(());
        }
        let Err(failure) = daemon.primary(entry.name(), false).await else { return Ok(()) };
        tracing::warn!(resource = entry.name(), "not Primary again: {failure}");
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(failure),
            Err(_) => {
                let text = "it was Primary and may not be again; see «repadm status»";
                return Err(Failure::failed(text));
            }
        }
    }
}
