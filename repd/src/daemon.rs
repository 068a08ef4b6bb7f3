//! The daemon: its resources by name, and what operators order.
//!
//! Everything here runs on the main thread. Orders about one resource are done one after the
//! other; what must survive a restart of the daemon is durable before an order is answered.

use crate::budget::Budgets;
use crate::entry::Entry;
use crate::handler::{self, Handlers};
use crate::kernel::Kernel;
use crate::nbd_service::NbdService;
use crate::options::{Options, Paths};
use crate::resource::{Ended, Order, Resource};
use crate::state_dir::{Remembered, StateDir, StateError};
use crate::tls::Certificates;
use crate::watch::News;
use control::{DaemonVersion, Failure, Spare, SplitBrainReport, VolumeOrder, VolumeVerify, exit};
use replicator::Resize;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, oneshot, watch};
use types::{Role, Span, VolumeId};

/// How long the client that a node was promoted for may take to finish its negotiation.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
/// So many former ends of a disk are looked at.
const ENDS_MAX: usize = 4;

/// Why a resource comes up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// An operator wants it.
    Asked,
    /// It was up before this daemon was started, and had that role.
    Restored(Role),
}

/// See the module's page.
pub(crate) struct Daemon {
    node: Option<String>,
    pub(crate) paths: Paths,
    state: StateDir,
    boot_id: String,
    budgets: Budgets,
    /// See [`Options::busy_poll`].
    busy_poll: Span,
    entries: RefCell<BTreeMap<String, Rc<Entry>>>,
    /// Held while a resource is created.
    creating: Mutex<()>,
    /// Where NBD is served.
    pub(crate) nbd: NbdService,
    /// Those of the resources that want TLS, while there are any.
    pub(crate) certificates: RefCell<Option<Certificates>>,
    /// Where what is Primary becomes a device, if it does.
    kernel: RefCell<Option<Rc<Kernel>>>,
    stopping: Cell<bool>,
    stop: Notify,
    news: News,
}

impl Daemon {
    pub(crate) fn new(
        options: &Options,
        paths: Paths,
        state: StateDir,
        boot_id: String,
    ) -> Rc<Self> {
        Rc::new(Self {
            node: options.node.clone(),
            paths,
            state,
            boot_id,
            budgets: Budgets::new(),
            busy_poll: options.busy_poll(),
            entries: RefCell::default(),
            creating: Mutex::new(()),
            nbd: NbdService::default(),
            certificates: RefCell::default(),
            kernel: RefCell::default(),
            stopping: Cell::new(false),
            stop: Notify::new(),
            news: News::new(),
        })
    }

    /// Who this daemon is.
    pub(crate) fn version(&self) -> DaemonVersion {
        DaemonVersion {
            release: env!("CARGO_PKG_VERSION").into(),
            control: control::VERSION,
            replication: replicator::wire::PROTOCOL_VERSION,
            pid: std::process::id(),
            node: self.node.clone(),
            state_dir: self.paths.state_dir.clone(),
            nbd: self.nbd.addresses(),
        }
    }

    /// The resources that are up, by name.
    pub(crate) fn resources(&self) -> Vec<Rc<Entry>> {
        self.entries.borrow().values().cloned().collect()
    }

    /// The resource of that name.
    pub(crate) fn entry(&self, name: &str) -> Result<Rc<Entry>, Failure> {
        self.entries.borrow().get(name).cloned().ok_or_else(|| {
            Failure::new(exit::USAGE, format!("{name}: it is not up; «repadm up {name}»"))
        })
    }

    /// What is Primary is attached to the kernel from now on.
    pub(crate) fn use_kernel(&self, kernel: Kernel) {
        self.kernel.replace(Some(Rc::new(kernel)));
    }

    fn kernel(&self) -> Option<Rc<Kernel>> {
        self.kernel.borrow().clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Asks the daemon to end.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.notify_one();
    }

    /// Returns when the daemon was asked to end.
    pub(crate) async fn asked_to_stop(&self) {
        self.stop.notified().await;
    }

    /// What those who watch are told.
    pub(crate) const fn news(&self) -> &News {
        &self.news
    }

    /// Brings a resource up: see [`control::Command::Up`]. Returns what the operator should know.
    pub(crate) async fn up(
        self: &Rc<Self>,
        resource: serde_json::Value,
        node: String,
        spare: Spare,
    ) -> Result<Vec<String>, Failure> {
        let resource = decode(resource)?;
        if let Some(own) = self.node.as_deref().filter(|own| !config::may_be(own, &node)) {
            let text = format!("this daemon is node «{own}», and was asked as node «{node}»");
            return Err(Failure::new(exit::CONFIG, text));
        }
        let name = resource.name.clone();
        let mut notes = Vec::new();
        let (entry, is_new) = self.create(resource.clone(), node, Origin::Asked).await?;
        notes.extend(self.unused_sockets(&resource));
        let _turn = entry.turn.lock().await;
        // Where it is written is no difference.
        let mut running = entry.remembered.borrow().resource.clone();
        running.defined_at.clone_from(&resource.defined_at);
        if running != resource {
            notes.push(format!(
                "{name}: it is up with another configuration than the file has now; \
                 «repadm adjust {name}» applies the new one"
            ));
        }
        self.change(&entry, |remembered| {
            // What is spared of one that is up already stays as it is.
            remembered.connect = !spare.link || remembered.connect && !is_new;
            if !spare.disks {
                remembered.detached.clear();
            } else if is_new {
                remembered.detached = entry.volumes();
            }
        })?;
        let done = entry.bring_up().await;
        if done.is_err() && is_new {
            // Otherwise half a resource would be in the way of the next attempt.
            let _ = self.end(&entry, Order::Down { force: true }).await;
        }
        done.map(|()| notes)
    }

    /// The entry of a resource, created with its thread if it is not there.
    pub(crate) async fn create(
        self: &Rc<Self>,
        resource: config::Resource,
        node: String,
        origin: Origin,
    ) -> Result<(Rc<Entry>, bool), Failure> {
        let _creating = self.creating.lock().await;
        if self.is_stopping() {
            return Err(Failure::new(exit::STATE, "the daemon is ending"));
        }
        if let Ok(entry) = self.entry(&resource.name) {
            return Ok((entry, false));
        }
        let intended_role = match origin {
            Origin::Asked => Role::Secondary,
            Origin::Restored(role) => role,
        };
        self.use_certificates(&resource, matches!(origin, Origin::Restored(_)))?;
        self.serve_resource(&resource)?;
        let (handlers, waiting) = Handlers::new();
        tokio::task::spawn_local(handler::serve(waiting, self.news.clone()));
        let budgets = self.budgets.clone();
        let (ends, busy_poll) = (self.state.ends(), self.busy_poll);
        let handle =
            Resource::start(resource.clone(), &node, budgets, handlers, ends, busy_poll).await?;
        let remembered = Remembered {
            resource,
            node,
            intended_role,
            connect: true,
            detached: Vec::new(),
            sync_paused: Vec::new(),
            boot_id: self.boot_id.clone(),
        };
        let entry = Rc::new(Entry {
            resource: handle,
            restoring: watch::Sender::new(false),
            remembered: RefCell::new(remembered),
            is_saved: Cell::new(false),
            auto_promoted: Cell::new(false),
            turn: Mutex::new(()),
            link_turn: Mutex::new(()),
        });
        self.entries.borrow_mut().insert(entry.name().to_owned(), entry.clone());
        let (watched, news) = (entry.resource.clone(), self.news.clone());
        tokio::task::spawn_local(async move {
            let mut glance = watched.watch();
            news.changed();
            while glance.changed().await.is_ok() {
                news.changed();
            }
            if let Ended::Panicked(text) = watched.ended().await {
                tracing::error!(resource = watched.name(), "its thread has failed: {text}");
            }
            news.changed();
        });
        Ok((entry, true))
    }

    /// Takes a resource down.
    pub(crate) async fn down(self: &Rc<Self>, name: &str, force: bool) -> Result<(), Failure> {
        let Ok(entry) = self.entry(name) else { return Ok(()) };
        let _turn = entry.turn.lock().await;
        self.detach_from_kernel(&entry, force).await?;
        let done = self.end(&entry, Order::Down { force }).await;
        self.attach_if_refused(&entry, done).await
    }

    /// Makes devices of the volumes of a Primary. Returns what the operator should know.
    async fn attach_to_kernel(self: &Rc<Self>, entry: &Rc<Entry>) -> Vec<String> {
        let Some(kernel) = self.kernel() else { return Vec::new() };
        let mut notes = Vec::new();
        for volume in entry.volumes() {
            let export = crate::exports::export_name(entry.name(), volume);
            match kernel.attach(self, entry, volume).await {
                Ok(name) => notes.push(format!("{export} is {name}")),
                Err(why) => {
                    tracing::warn!(resource = entry.name(), volume = volume.0, "no device: {why}");
                    notes.push(format!("{export} is not attached to the kernel: {why}"));
                }
            }
        }
        notes
    }

    /// Before this node is Primary no more: refused if somebody has a device open.
    async fn detach_from_kernel(&self, entry: &Entry, force: bool) -> Result<(), Failure> {
        match self.kernel() {
            Some(kernel) => kernel.detach(entry.name(), force).await,
            None => Ok(()),
        }
    }

    /// It stays Primary, so it has its devices again.
    async fn attach_if_refused(
        self: &Rc<Self>,
        entry: &Rc<Entry>,
        done: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if done.is_err() && entry.resource.glance().role == Role::Primary {
            self.attach_to_kernel(entry).await;
        }
        done
    }

    async fn end(&self, entry: &Rc<Entry>, order: Order) -> Result<(), Failure> {
        let done = entry.resource.order(order).await;
        // If its thread has failed there is nothing left to take down.
        if done.is_err() && !entry.resource.has_ended() {
            return done;
        }
        self.state.forget(entry.name()).map_err(state_failure)?;
        self.entries.borrow_mut().remove(entry.name());
        self.close_unused_sockets();
        self.news.changed();
        tracing::info!(resource = entry.name(), "down");
        Ok(())
    }

    /// Attaches the disks of a resource, or one: those of `config` if it is given.
    pub(crate) async fn attach(
        &self,
        name: &str,
        volume: Option<VolumeId>,
        config: Option<serde_json::Value>,
    ) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.turn.lock().await;
        let config = config.map(decode).transpose()?;
        for id in entry.select(volume)? {
            let disk = entry.disk(id, config.as_ref())?;
            entry.resource.order(Order::Attach(Box::new(disk.clone()))).await?;
            self.change(&entry, |remembered| {
                remembered.detached.retain(|gone| *gone != id);
                remembered.replace_disk(disk);
            })?;
        }
        Ok(())
    }

    /// The disk of a volume was so large when it was used last. What is remembered of it is looked at,
    /// too: if the operator is wrong, nothing is lost by it.
    pub(crate) fn was_size(&self, name: &str, volume: VolumeId, bytes: u64) -> Result<(), Failure> {
        let ends = self.state.ends();
        let others = ends.get(name, volume).into_iter().filter(|end| *end != bytes);
        let all: Vec<u64> = std::iter::once(bytes).chain(others).take(ENDS_MAX).collect();
        ends.put(name, volume, &all).map_err(|error| {
            Failure::failed(format!("{name}/{volume}: its size cannot be remembered: {error}"))
        })
    }

    /// Grows a volume of a resource. Not in turn: nothing of it is remembered here, and an order that
    /// waits for the peer must not keep anybody from leaving it.
    pub(crate) async fn resize(&self, name: &str, order: Resize) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        entry.select(Some(order.volume))?;
        entry.resource.order(Order::Resize(order)).await
    }

    /// Lets the disks of a resource go, or one.
    pub(crate) async fn detach(&self, name: &str, volume: Option<VolumeId>) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.turn.lock().await;
        for volume in entry.select(volume)? {
            entry.resource.order(Order::Detach(volume)).await?;
            self.change(&entry, |remembered| {
                remembered.detached.retain(|gone| *gone != volume);
                remembered.detached.push(volume);
            })?;
        }
        Ok(())
    }

    /// An order about the volumes of a resource, or one. In turn if it is remembered; others wait for
    /// the peer, and must not keep anybody from leaving it.
    pub(crate) async fn volumes(
        &self,
        name: &str,
        volume: Option<VolumeId>,
        order: VolumeOrder,
    ) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let paused = match order {
            VolumeOrder::PauseSync => Some(true),
            VolumeOrder::ResumeSync => Some(false),
            _ => None,
        };
        let _turn = match paused {
            Some(_) => Some(entry.turn.lock().await),
            None => None,
        };
        for volume in entry.select(volume)? {
            entry.resource.order(Order::Volume(volume, order)).await?;
            let Some(paused) = paused else { continue };
            self.change(&entry, |remembered| {
                remembered.sync_paused.retain(|of| *of != volume);
                remembered.sync_paused.extend(paused.then_some(volume));
            })?;
        }
        Ok(())
    }

    /// Seeks the peer.
    pub(crate) async fn connect(&self, name: &str, discard_my_data: bool) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.link_turn.lock().await;
        entry.resource.order(Order::Connect { discard_my_data }).await?;
        self.change(&entry, |remembered| remembered.connect = true)
    }

    /// What both nodes have, and what they would decide.
    pub(crate) async fn split_brain(&self, name: &str) -> Result<SplitBrainReport, Failure> {
        self.entry(name)?.resource.inspect().await
    }

    /// The configuration that a resource runs with, and which of its hosts this node is.
    pub(crate) fn running(&self, name: &str) -> Result<(serde_json::Value, String), Failure> {
        let Remembered { resource, node, .. } = self.entry(name)?.remembered();
        let resource = serde_json::to_value(resource)
            .map_err(|error| Failure::failed(format!("{name}: it does not encode: {error}")))?;
        Ok((resource, node))
    }

    /// Takes the local copies for Outdated. Not in turn, as with [`Self::resize`].
    pub(crate) async fn outdate(&self, name: &str) -> Result<(), Failure> {
        self.entry(name)?.resource.order(Order::Outdate).await
    }

    /// Has the copies compared.
    pub(crate) async fn verify(
        &self,
        name: &str,
        volume: Option<VolumeId>,
        start: u64,
        stop: Option<u64>,
    ) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        for volume in entry.select(volume)? {
            entry.resource.order(Order::Verify { volume, start, stop }).await?;
        }
        Ok(())
    }

    /// Ends a verify.
    pub(crate) async fn cancel_verify(
        &self,
        name: &str,
        volume: Option<VolumeId>,
    ) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        for volume in entry.select(volume)? {
            entry.resource.order(Order::CancelVerify(volume)).await?;
        }
        Ok(())
    }

    /// What verifies have found.
    pub(crate) async fn verified(
        &self,
        name: &str,
        volume: Option<VolumeId>,
    ) -> Result<Vec<VolumeVerify>, Failure> {
        let entry = self.entry(name)?;
        let selected = entry.select(volume)?;
        let mut found = entry.resource.verified().await?;
        found.retain(|verify| selected.contains(&verify.volume));
        Ok(found)
    }

    /// Lets I/O stand still, or go on. Not in turn: an order that waits for I/O must not keep it
    /// from going on.
    pub(crate) async fn suspend_io(&self, name: &str, suspend: bool) -> Result<(), Failure> {
        let order = if suspend { Order::SuspendIo } else { Order::ResumeIo };
        self.entry(name)?.resource.order(order).await
    }

    /// Leaves the peer.
    pub(crate) async fn disconnect(&self, name: &str) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.link_turn.lock().await;
        entry.resource.order(Order::Disconnect).await?;
        self.change(&entry, |remembered| remembered.connect = false)
    }

    /// Makes this node Primary. Returns where its volumes are served.
    pub(crate) async fn primary(
        self: &Rc<Self>,
        name: &str,
        force: bool,
    ) -> Result<Vec<String>, Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.turn.lock().await;
        entry.resource.order(Order::Primary { force }).await?;
        entry.auto_promoted.set(false);
        self.change(&entry, |remembered| remembered.intended_role = Role::Primary)?;
        let mut notes = self.attach_to_kernel(&entry).await;
        for volume in entry.volumes() {
            let export = crate::exports::export_name(name, volume);
            let uris = self.uris(&export, entry.nbd().tls).join(" or ");
            notes.push(format!("{export} is served at {uris}"));
        }
        Ok(notes)
    }

    /// Makes this node Primary until its last client goes. That is not remembered: clients that
    /// come again after a restart promote again.
    ///
    /// Goes on also if nobody waits for it any more: who promoted must demote.
    pub(crate) async fn auto_promote(&self, entry: &Rc<Entry>) -> Result<(), Failure> {
        let (promoted, is_promoted) = oneshot::channel();
        tokio::task::spawn_local(promote_for_clients(entry.clone(), promoted));
        is_promoted.await.unwrap_or_else(|_| Err(entry.resource.gone()))
    }

    /// Makes this node Secondary.
    pub(crate) async fn secondary(self: &Rc<Self>, name: &str, force: bool) -> Result<(), Failure> {
        let entry = self.entry(name)?;
        let _turn = entry.turn.lock().await;
        self.detach_from_kernel(&entry, force).await?;
        let done = entry.resource.order(Order::Secondary { force }).await;
        self.attach_if_refused(&entry, done).await?;
        entry.auto_promoted.set(false);
        self.change(&entry, |remembered| remembered.intended_role = Role::Secondary)
    }

    /// What is remembered of resources that were up in this boot. What is left of an earlier one
    /// is forgotten.
    pub(crate) fn remembered(&self) -> Result<Vec<Remembered>, StateError> {
        let mut current = Vec::new();
        for remembered in self.state.load()? {
            match remembered.boot_id == self.boot_id {
                true => current.push(remembered),
                false => self.state.forget(&remembered.resource.name)?,
            }
        }
        Ok(current)
    }

    /// Ends every resource in order. With clients attached the intended role is kept, so that the
    /// next daemon goes on where this one stops; without, the node is Secondary from now on.
    pub(crate) async fn stop_all(&self) {
        self.stopping.set(true);
        // Nobody new, and whoever negotiates tries the next daemon.
        self.nbd.end();
        for entry in self.resources() {
            let status = entry.resource.status().await;
            let is_used = status.as_ref().map_or(true, |status| {
                status.volumes.iter().any(|volume| !volume.clients.is_empty())
            });
            let keep = is_used || *entry.restoring.borrow();
            if !keep && entry.remembered.borrow().intended_role == Role::Primary {
                let demoted = self.change(&entry, |kept| kept.intended_role = Role::Secondary);
                if let Err(failure) = demoted {
                    tracing::error!(resource = entry.name(), "{failure}");
                }
            }
        }
        let stops: Vec<_> = self
            .resources()
            .into_iter()
            .map(|entry| {
                tokio::task::spawn_local(async move {
                    match entry.resource.order(Order::Stop).await {
                        Ok(()) => tracing::info!(resource = entry.name(), "stopped"),
                        Err(failure) => {
                            tracing::error!(resource = entry.name(), "not stopped: {failure}");
                        }
                    }
                    // Its disks are closed when its thread is gone.
                    entry.resource.ended().await;
                })
            })
            .collect();
        for stop in stops {
            if let Err(error) = stop.await {
                tracing::error!("stopping failed: {error}");
            }
        }
    }

    /// Changes what is remembered of a resource; durable when this returns.
    pub(crate) fn change(
        &self,
        entry: &Entry,
        change: impl FnOnce(&mut Remembered),
    ) -> Result<(), Failure> {
        let mut remembered = entry.remembered.borrow().clone();
        change(&mut remembered);
        // Hundreds of resources that are brought back would each wait for the disk, for nothing.
        if entry.is_saved.get() && remembered == *entry.remembered.borrow() {
            return Ok(());
        }
        entry.is_saved.set(false);
        self.state.save(&remembered).map_err(state_failure)?;
        entry.is_saved.set(true);
        entry.remembered.replace(remembered);
        Ok(())
    }
}

/// See [`Daemon::auto_promote`]; returns when the node is Secondary again, or Primary by order.
async fn promote_for_clients(entry: Rc<Entry>, promoted: oneshot::Sender<Result<(), Failure>>) {
    {
        let _turn = entry.turn.lock().await;
        if entry.resource.glance().role == Role::Primary {
            let _ = promoted.send(Ok(()));
            return;
        }
        if let Err(failure) = entry.resource.order(Order::Primary { force: false }).await {
            let _ = promoted.send(Err(failure));
            return;
        }
        entry.auto_promoted.set(true);
        let _ = promoted.send(Ok(()));
    }
    let mut glance = entry.resource.watch();
    let came = glance.wait_for(|glance| glance.clients > 0);
    let _ = tokio::time::timeout(CLIENT_PATIENCE, came).await;
    while entry.auto_promoted.get() {
        if glance.wait_for(|glance| glance.clients == 0).await.is_err() {
            return;
        }
        let _turn = entry.turn.lock().await;
        // Refused if another client has come meanwhile: then its end is waited for.
        if entry.auto_promoted.get()
            && entry.resource.order(Order::Secondary { force: false }).await.is_ok()
        {
            entry.auto_promoted.set(false);
        } else if glance.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) fn decode(resource: serde_json::Value) -> Result<config::Resource, Failure> {
    serde_json::from_value(resource).map_err(|error| {
        Failure::failed(format!(
            "the resource does not decode: {error}; use the repadm that was installed with this \
             daemon"
        ))
    })
}

fn state_failure(error: StateError) -> Failure {
    Failure::failed(format!("the state directory cannot be written: {error}"))
}
