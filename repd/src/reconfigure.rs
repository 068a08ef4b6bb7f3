//! A resource that is up takes another configuration.
//!
//! What the disks and the peer were told is kept until they are told otherwise: a disk that is
//! attached stays the one that it is, with the log that it has, until it is attached anew; an
//! address changes while the link is down by order. What neither can be told while the resource is
//! up is refused.

use crate::daemon::{Daemon, decode};
use crate::resource::Order;
use crate::state_dir::Remembered;
use config::{DiskOptions, Host, Resource, Volume};
use control::{Failure, exit};
use std::rc::Rc;
use types::VolumeId;

impl Daemon {
    /// See [`control::Command::Reconfigure`].
    pub(crate) async fn reconfigure(
        self: &Rc<Self>,
        resource: serde_json::Value,
        node: String,
    ) -> Result<Vec<String>, Failure> {
        let wanted = decode(resource)?;
        let entry = self.entry(&wanted.name)?;
        let _turn = entry.turn.lock().await;
        let running = entry.remembered();
        let resource = merge(&running, wanted, &node)?;
        let done = async {
            self.use_certificates(&resource, false)?;
            self.serve_resource(&resource)?;
            let order = Order::Reconfigure(Box::new(resource.clone()), node.clone());
            entry.resource.order(order).await?;
            let changed = self.change(&entry, |kept| (kept.resource, kept.node) = (resource, node));
            // Who waits for whom may be another now.
            self.news().changed();
            changed
        };
        let done = done.await;
        // Those of the old configuration, or of the new one if it was not taken.
        self.close_unused_sockets();
        done.map(|()| self.unused_sockets(&entry.remembered().resource).into_iter().collect())
    }
}

/// The resource as it is when it has taken from `wanted` what can be taken while it is up.
///
/// # Errors
/// With what must be done first.
fn merge(running: &Remembered, mut wanted: Resource, node: &str) -> Result<Resource, Failure> {
    let name = wanted.name.clone();
    let Some((me, _)) = wanted.host(node) else {
        let text = format!("{name}: the configuration has no host «{node}»");
        return Err(Failure::new(exit::CONFIG, text));
    };
    let (old_me, _) = running
        .resource
        .host(&running.node)
        .expect("it would not have been created for another node");
    if me.node_id != old_me.node_id {
        return Err(anew(&name, "the node ids have changed, by which both nodes know their disks"));
    }
    if ids(me) != ids(old_me) {
        return Err(anew(&name, "it has other volumes now"));
    }
    let id = me.node_id;
    let host = wanted.hosts.iter_mut().find(|host| host.node_id == id);
    for volume in host.into_iter().flat_map(|host| &mut host.volumes) {
        let old = old_me.volumes.iter().find(|old| old.id == volume.id);
        if let Some(old) = old.filter(|old| is_attached(running, old)) {
            keep_disk(volume, old);
        }
    }
    Ok(wanted)
}

/// What was fixed when the disk was attached.
fn keep_disk(volume: &mut Volume, attached: &Volume) {
    let Volume { disk, meta_disk, disk_options, .. } = attached.clone();
    let DiskOptions { al_extents, al_updates, .. } = disk_options;
    volume.disk = disk;
    volume.meta_disk = meta_disk;
    volume.disk_options = DiskOptions { al_extents, al_updates, ..volume.disk_options.clone() };
}

/// Whether a disk of that volume is in service, or would be but for an error.
fn is_attached(running: &Remembered, volume: &Volume) -> bool {
    volume.disk.is_some() && !running.detached.contains(&volume.id)
}

fn ids(host: &Host) -> Vec<VolumeId> {
    host.volumes.iter().map(|volume| volume.id).collect()
}

fn anew(name: &str, why: &str) -> Failure {
    let text = format!(
        "{name}: {why}: that cannot change while it is up; «repadm down {name}» and \
         «repadm up {name}» apply it, on both nodes"
    );
    Failure::new(exit::STATE, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Origin;
    use crate::testing;
    use tokio::task::LocalSet;
    use types::{NodeId, Role, Span};

    fn running() -> Remembered {
        Remembered {
            resource: testing::resource("r0"),
            node: "alpha".into(),
            intended_role: Role::Secondary,
            connect: true,
            detached: Vec::new(),
            sync_paused: Vec::new(),
            boot_id: "boot".into(),
        }
    }

    #[test]
    fn options_are_taken_and_an_attached_disk_is_kept() {
        let running = running();
        let mut wanted = running.resource.clone();
        wanted.net.timeout = Span::secs(3);
        wanted.handlers.insert("split-brain".into(), "tell".into());
        let volume = &mut wanted.hosts[0].volumes[0];
        volume.disk = Some("/other".into());
        volume.device = Some("/dev/drbd7".into());
        volume.disk_options.al_extents = 67;
        volume.disk_options.al_updates = false;
        volume.disk_options.on_io_error = config::OnIoError::PassOn;
        wanted.hosts[1].volumes[0].disk = Some("/of/the/peer".into());
        let merged = merge(&running, wanted.clone(), "alpha").unwrap();
        assert_eq!((&merged.net, &merged.handlers), (&wanted.net, &wanted.handlers));
        assert_eq!(merged.hosts[1], wanted.hosts[1]);
        let (volume, old) = (&merged.hosts[0].volumes[0], &running.resource.hosts[0].volumes[0]);
        assert_eq!(volume.disk, old.disk);
        assert_eq!(volume.device.as_deref(), Some("/dev/drbd7"));
        assert_eq!(volume.disk_options.al_extents, old.disk_options.al_extents);
        assert!(volume.disk_options.al_updates);
        assert_eq!(volume.disk_options.on_io_error, config::OnIoError::PassOn);

        let detached = Remembered { detached: vec![VolumeId(0)], ..running };
        let merged = merge(&detached, wanted.clone(), "alpha").unwrap();
        assert_eq!(merged, wanted, "nothing holds what is detached");
    }

    #[test]
    fn what_cannot_change_while_it_is_up_is_refused_with_the_way_out() {
        let running = running();
        let refusal = |change: &dyn Fn(&mut Resource)| {
            let mut wanted = running.resource.clone();
            change(&mut wanted);
            merge(&running, wanted, "alpha").unwrap_err()
        };
        let ids = refusal(&|wanted| {
            wanted.hosts[0].node_id = NodeId(1);
            wanted.hosts[1].node_id = NodeId(0);
        });
        let volumes = refusal(&|wanted| {
            wanted.hosts.iter_mut().for_each(|host| host.volumes[0].id = VolumeId(3));
        });
        for failure in [ids, volumes] {
            assert_eq!(failure.exit, exit::STATE);
            assert!(failure.text.contains("repadm down r0"), "{failure}");
        }
        let wanted = running.resource.clone();
        assert_eq!(merge(&running, wanted, "gamma").unwrap_err().exit, exit::CONFIG);
    }

    /// A daemon with one resource, which takes another configuration.
    async fn with_daemon(test: impl AsyncFnOnce(Rc<Daemon>, Resource)) {
        let dir = tempfile::tempdir().unwrap();
        let daemon = testing::daemon_that_serves(dir.path());
        let run = async {
            let resource = testing::resource_on_any_port("r0");
            let created = daemon.create(resource.clone(), "alpha".into(), Origin::Asked).await;
            created.map(drop).unwrap();
            test(daemon, resource).await;
        };
        LocalSet::new().run_until(run).await;
    }

    async fn take(daemon: &Rc<Daemon>, resource: &Resource) -> Result<(), Failure> {
        let resource = serde_json::to_value(resource).unwrap();
        daemon.reconfigure(resource, "alpha".into()).await.map(drop)
    }

    #[tokio::test]
    async fn sockets_of_a_resource_are_there_as_long_as_it_asks_for_them() {
        with_daemon(async |daemon, mut resource| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("nbd.sock");
            let before = daemon.nbd.addresses().len();
            resource.nbd.unix = Some(path.clone());
            resource.nbd.unix_mode = 0o600;
            take(&daemon, &resource).await.unwrap();
            assert!(path.exists());
            // Others may connect now, and that is no conflict with itself.
            resource.nbd.unix_mode = 0o660;
            take(&daemon, &resource).await.unwrap();
            // A directory is no socket: nothing is changed, and the old one stays.
            let mut bad = resource.clone();
            bad.nbd.unix = Some(dir.path().to_owned());
            take(&daemon, &bad).await.unwrap_err();
            assert!(path.exists());
            assert_eq!(daemon.entry("r0").unwrap().nbd().unix.as_ref(), Some(&path));
            resource.nbd.unix = None;
            take(&daemon, &resource).await.unwrap();
            tokio::task::yield_now().await;
            assert!(!path.exists(), "nobody asks for it any more");
            resource.nbd.unix = Some(path.clone());
            take(&daemon, &resource).await.unwrap();
            assert!(path.exists());
            daemon.down("r0", false).await.unwrap();
            tokio::task::yield_now().await;
            assert!(!path.exists(), "its resource is down");
            assert_eq!(daemon.nbd.addresses().len(), before);
        })
        .await;
    }

    #[tokio::test]
    async fn an_address_changes_while_the_link_is_down_by_order() {
        with_daemon(async |daemon, mut resource| {
            daemon.connect("r0", false).await.unwrap();
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            resource.hosts[0].address = free;
            let failure = take(&daemon, &resource).await.unwrap_err();
            assert_eq!(failure.exit, exit::STATE);
            assert!(failure.text.contains("repadm disconnect r0"), "{failure}");
            daemon.disconnect("r0").await.unwrap();
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut bad = resource.clone();
            bad.hosts[0].address = taken.local_addr().unwrap();
            let failure = take(&daemon, &bad).await.unwrap_err();
            assert_eq!(failure.exit, exit::CONFIG, "{failure}");
            take(&daemon, &resource).await.unwrap();
            std::net::TcpStream::connect(free).unwrap();
            let running = daemon.entry("r0").unwrap().remembered();
            assert_eq!(running.resource.hosts[0].address, free);
            let status = daemon.status(Some("r0")).await.unwrap();
            assert_eq!(status[0].address, free);
        })
        .await;
    }
}
