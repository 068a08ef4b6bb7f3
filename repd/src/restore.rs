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
                entry.brought_back(remembered);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dir::StateDir;
    use crate::testing;
    use std::os::unix::fs::MetadataExt;
    use tokio::task::LocalSet;

    /// One that was up in the boot of that id; it has no disk to attach, and seeks nobody.
    fn remembered(name: &str, boot_id: &str) -> Remembered {
        let mut resource = testing::resource_on_any_port(name);
        resource.hosts.iter_mut().flat_map(|host| &mut host.volumes).for_each(|volume| {
            volume.disk = None;
        });
        Remembered {
            resource,
            node: "alpha".into(),
            intended_role: Role::Secondary,
            connect: false,
            detached: Vec::new(),
            sync_paused: Vec::new(),
            boot_id: boot_id.into(),
        }
    }

    #[tokio::test]
    async fn what_was_up_in_this_boot_comes_back_and_what_was_before_it_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        state.save(&remembered("before", "another boot")).unwrap();
        state.save(&remembered("now", "boot")).unwrap();
        drop(state);
        let daemon = testing::daemon(directory.path());
        let files = directory.path().join("resources");
        let inode = || files.join("now").metadata().unwrap().ino();
        let saved = inode();
        let run = async {
            restore_all(&daemon).await.unwrap();
            let up: Vec<_> = daemon.resources();
            assert_eq!(up.iter().map(|entry| entry.name()).collect::<Vec<_>>(), ["now"]);
            let mut restoring = up[0].restoring.subscribe();
            restoring.wait_for(|restoring| !restoring).await.unwrap();
            assert!(!files.join("before").exists());
            // What the directory has is not written again: that would be hundreds of flushes.
            daemon.secondary("now", false).await.unwrap();
            assert_eq!(inode(), saved);
            daemon.connect("now", false).await.unwrap();
            assert_ne!(inode(), saved, "what has changed is");
        };
        LocalSet::new().run_until(run).await;
    }
}
