//! A resource that is up, as the main thread has it.

use crate::resource::{Order, Resource};
use crate::state_dir::Remembered;
use control::{Failure, VolumeOrder, exit};
use std::cell::{Cell, Ref, RefCell};
use tokio::sync::{Mutex, watch};
use types::VolumeId;

/// A resource that is up.
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    /// Whether it is still being brought back after a restart of the daemon.
    pub(crate) restoring: watch::Sender<bool>,
    pub(crate) remembered: RefCell<Remembered>,
    /// Whether the state directory has that.
    pub(crate) is_saved: Cell<bool>,
    /// It is Primary for its clients' sake, until the last of them goes.
    pub(crate) auto_promoted: Cell<bool>,
    /// Held while an order is under way whose outcome is remembered.
    pub(crate) turn: Mutex<()>,
    /// The same for connect and disconnect: whoever waits for the peer can be helped by these alone.
    pub(crate) link_turn: Mutex<()>,
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        self.resource.name()
    }

    /// The volumes of the resource, by number.
    pub(crate) fn volumes(&self) -> Vec<VolumeId> {
        let remembered = self.remembered.borrow();
        remembered.resource.hosts[0].volumes.iter().map(|volume| volume.id).collect()
    }

    /// Whether a client that comes makes this node Primary.
    pub(crate) fn auto_promote(&self) -> bool {
        self.remembered.borrow().resource.options.auto_promote
    }

    /// How it is served over NBD.
    pub(crate) fn nbd(&self) -> Ref<'_, config::NbdSection> {
        Ref::map(self.remembered.borrow(), |remembered| &remembered.resource.nbd)
    }

    pub(crate) fn remembered(&self) -> Remembered {
        self.remembered.borrow().clone()
    }

    /// It is what the state directory has: it was read from there.
    pub(crate) fn brought_back(&self, remembered: Remembered) {
        self.remembered.replace(remembered);
        self.is_saved.set(true);
    }

    /// Attaches the disks and seeks the peer, but for what was detached or disconnected by order.
    pub(crate) async fn bring_up(&self) -> Result<(), Failure> {
        let remembered = self.remembered();
        let (me, _) = remembered
            .resource
            .host(&remembered.node)
            .expect("it would not have been created for another node");
        for volume in me.volumes.iter().filter(|volume| volume.disk.is_some()) {
            if !remembered.detached.contains(&volume.id) {
                self.resource.order(Order::Attach(Box::new(volume.clone()))).await?;
            }
        }
        for &volume in &remembered.sync_paused {
            self.resource.order(Order::Volume(volume, VolumeOrder::PauseSync)).await?;
        }
        // Somebody may have left the peer meanwhile.
        let _turn = self.link_turn.lock().await;
        if self.remembered.borrow().connect {
            self.resource.order(Order::Connect { discard_my_data: false }).await?;
        }
        Ok(())
    }

    /// A volume of this node as it is remembered, but with the disk that `config` has for it.
    pub(crate) fn disk(
        &self,
        id: VolumeId,
        config: Option<&config::Resource>,
    ) -> Result<config::Volume, Failure> {
        let remembered = self.remembered();
        let of = |resource: &config::Resource| {
            let (me, _) = resource.host(&remembered.node)?;
            me.volumes.iter().find(|volume| volume.id == id).cloned()
        };
        let known = of(&remembered.resource);
        let wanted = match config {
            None => known.clone(),
            Some(config) => of(config),
        };
        match (known, wanted) {
            (Some(known), Some(wanted)) => {
                let config::Volume { disk, meta_disk, disk_options, .. } = wanted;
                Ok(config::Volume { disk, meta_disk, disk_options, ..known })
            }
            _ => {
                let text = format!(
                    "{}/{id}: the configuration has no such volume on {} now",
                    self.name(),
                    remembered.node
                );
                Err(Failure::new(exit::CONFIG, text))
            }
        }
    }

    /// All volumes, or the one that is asked for.
    pub(crate) fn select(&self, volume: Option<VolumeId>) -> Result<Vec<VolumeId>, Failure> {
        let volumes = self.volumes();
        match volume {
            None => Ok(volumes),
            Some(volume) if volumes.contains(&volume) => Ok(vec![volume]),
            Some(volume) => {
                let text = format!("{}/{volume}: the resource has no such volume", self.name());
                Err(Failure::new(exit::USAGE, text))
            }
        }
    }
}
