//! Pictures of the resources, and those who watch them: `repadm events2`.
//!
//! A watcher is sent a picture of all resources at once, and the newest one whenever something has
//! changed since. Nothing is queued for it: while a frame is on its way nothing is looked at, and
//! what has changed meanwhile is in the next picture. Only what becomes of handlers is kept, up to
//! [`HELPERS`]; a watcher that has missed some is told how many.

use crate::daemon::Daemon;
use crate::entry::Entry;
use control::{Failure, HelperEvent, Reply, ResourceStatus, frame};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

/// What becomes of handlers is kept for so many calls and ends.
const HELPERS: usize = 64;
/// How often a watcher is told of what only counts: the progress of a resync, counters.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two pictures. A state that comes and goes very often must not keep the
/// threads of the resources busy with pictures of it.
const REST: Duration = Duration::from_millis(10);

/// Where it is said that there is something to look at.
#[derive(Clone, Debug)]
pub(crate) struct News {
    changes: watch::Sender<()>,
    helpers: broadcast::Sender<HelperEvent>,
}

impl News {
    pub(crate) fn new() -> Self {
        Self { changes: watch::Sender::new(()), helpers: broadcast::Sender::new(HELPERS) }
    }

    /// A resource has come, gone, or changed.
    pub(crate) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// Changes of resources from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// What becomes of handlers from now on.
    pub(crate) fn helpers(&self) -> broadcast::Receiver<HelperEvent> {
        self.helpers.subscribe()
    }

    /// A handler was called, or has ended.
    pub(crate) fn helper(&self, event: HelperEvent) {
        // Refused if nobody watches.
        let _ = self.helpers.send(event);
    }
}

impl Daemon {
    /// Pictures of the resources that are up, or of one.
    pub(crate) async fn status(&self, name: Option<&str>) -> Result<Vec<ResourceStatus>, Failure> {
        let entries = match name {
            Some(name) => vec![self.entry(name)?],
            None => self.resources(),
        };
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            all.push(self.status_of(&entry).await?);
        }
        Ok(all)
    }

    async fn status_of(&self, entry: &Entry) -> Result<ResourceStatus, Failure> {
        let mut status = entry.resource.status().await?;
        status.intended_role = entry.remembered.borrow().intended_role;
        status.restoring = *entry.restoring.borrow();
        let tls = entry.nbd().tls;
        for volume in &mut status.volumes {
            volume.nbd_uris = self.uris(&volume.export, tls);
        }
        Ok(status)
    }

    /// Pictures of what is up. A resource that does not answer is as it was before.
    async fn picture(&self, before: &[ResourceStatus]) -> Vec<ResourceStatus> {
        let mut all = Vec::new();
        for entry in self.resources() {
            match self.status_of(&entry).await {
                Ok(status) => all.push(status),
                Err(_) if entry.resource.has_ended() => {}
                Err(_) => all.extend(before.iter().find(|s| s.name == entry.name()).cloned()),
            }
        }
        all
    }
}

/// Tells a watcher, until it is gone.
///
/// # Errors
/// When it is.
pub(crate) async fn serve(
    daemon: &Daemon,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<std::convert::Infallible> {
    let mut changes = daemon.news().changes.subscribe();
    let mut helpers = daemon.news().helpers();
    let mut shown = daemon.picture(&[]).await;
    send(to, &Reply::Status(shown.clone())).await?;
    loop {
        let event = tokio::select! {
            event = helpers.recv() => Some(match event {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => HelperEvent::Missed(missed),
                Err(RecvError::Closed) => unreachable!("the daemon has the sender"),
            }),
            changed = changes.changed() => {
                changed.expect("the daemon has the sender");
                None
            }
            () = tokio::time::sleep(LOOK_EVERY) => None,
        };
        // Before the handler that was called because of it.
        let picture = daemon.picture(&shown).await;
        if picture != shown {
            send(to, &Reply::Status(picture.clone())).await?;
            shown = picture;
        }
        if let Some(event) = event {
            send(to, &Reply::Helper(event)).await?;
        }
        tokio::time::sleep(REST).await;
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    to.write_all(&frame::encode(reply)?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Origin;
    use crate::testing;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::task::LocalSet;

    /// Far less than a picture of a resource.
    const PIPE_BYTES: usize = 64;

    async fn next(from: &mut DuplexStream) -> Reply {
        let frame = frame::read_async(from).await.unwrap().unwrap();
        serde_json::from_slice(&frame).unwrap()
    }

    /// A watcher that has begun to read the picture of a resource that has come, and the length of
    /// that frame. What is sent next waits for it.
    async fn stuck(daemon: &Rc<Daemon>) -> (DuplexStream, usize) {
        let (mut near, mut far) = tokio::io::duplex(PIPE_BYTES);
        let served = daemon.clone();
        tokio::task::spawn_local(async move { serve(&served, &mut far).await });
        assert_eq!(next(&mut near).await, Reply::Status(Vec::new()));
        let resource = testing::resource_on_any_port("r0");
        daemon.create(resource, "alpha".into(), Origin::Asked).await.unwrap();
        let len = near.read_u32_le().await.unwrap() as usize;
        assert!(len > PIPE_BYTES);
        (near, len)
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_picture_and_is_told_what_it_missed() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = testing::daemon(dir.path());
        let watching = async {
            let (mut near, len) = stuck(&daemon).await;
            for at in 0..HELPERS + 36 {
                daemon
                    .news()
                    .helper(HelperEvent::Called { resource: "r0".into(), helper: at.to_string() });
                if at % 10 == 0 {
                    daemon.connect("r0", false).await.unwrap();
                    daemon.disconnect("r0").await.unwrap();
                }
            }
            daemon.down("r0", false).await.unwrap();
            let mut frame = vec![0; len];
            near.read_exact(&mut frame).await.unwrap();
            let Reply::Status(all) = serde_json::from_slice(&frame).unwrap() else { panic!() };
            assert_eq!(all[0].name, "r0");
            assert_eq!(next(&mut near).await, Reply::Status(Vec::new()));
            assert_eq!(next(&mut near).await, Reply::Helper(HelperEvent::Missed(36)));
            for at in 36..HELPERS + 36 {
                let Reply::Helper(HelperEvent::Called { helper, .. }) = next(&mut near).await
                else {
                    panic!("not a call")
                };
                assert_eq!(helper, at.to_string());
            }
        };
        LocalSet::new().run_until(watching).await;
    }
}
