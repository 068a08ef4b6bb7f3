//! Attaching a volume, detaching it, and keeping it attached meanwhile.

use super::driver::{Device, Driver, Index};
use super::names::Named;
use super::{Kernel, blocking, open};
use crate::daemon::Daemon;
use crate::entry::Entry;
use crate::exports::export_name;
use crate::resource::{Glance, Gone, NewClient};
use crate::stream::{StdStream, Stream};
use bytes::BytesMut;
use control::{Failure, exit};
use nbd_server::{ExportInfo, MaybeTls, Terms};
use rustix::net::sockopt;
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use types::{BLOCK_BYTES, Role, VolumeId};

/// What our devices' backend identifiers begin with; the name of the export follows.
const BACKEND: &str = "repd:";
/// Sockets of a device: the driver has a queue for each, up to the number of processors.
const CONNECTIONS_MAX: usize = 4;
/// What either end of a socket may send ahead. The kernel's default, 208 KiB with its own accounting,
/// holds one request of 128 KiB: the driver's thread would stop in the middle of the next.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// The least time after which the driver sends a request again. It does so too if this daemon was
/// killed meanwhile, so it is the pause that applications see then.
const TIMEOUT_MIN: Duration = Duration::from_secs(20);
/// How long requests wait for a daemon that has died; then they fail, and the device is lost to
/// whoever has it mounted.
const DEAD_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a process that has a device open is waited for: many only look at it, for a moment.
const HOLDER_PATIENCE: Duration = Duration::from_secs(2);
/// The same of udev, which looks at every device that was written to and closed.
const UDEV_PATIENCE: Duration = Duration::from_secs(20);
/// How long the last requests of a detached device may take.
const DETACH_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to give a device a socket: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A socket that has lived so long was no failure. Less than the driver's shortest timeout: I/O that
/// stands still costs it one after the other.
const LIVES: Duration = Duration::from_secs(10);

/// A volume that is attached.
#[derive(Debug)]
pub(super) struct Attached {
    named: Named,
    device: Device,
    /// The size that the driver knows; nothing if an earlier daemon has told it, and it may have grown
    /// since.
    told: Cell<Option<u64>>,
    /// It is to be no more.
    ends: Cell<bool>,
    /// How many of its sockets are served.
    live: Cell<usize>,
}

/// The name of the export that a backend identifier of ours tells.
pub(super) fn volume_of(backend: &str) -> Option<&str> {
    backend.strip_prefix(BACKEND)
}

/// The ends of a new connection: ours, and the driver's.
fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    for end in [&ours, &theirs] {
        // Only a matter of speed: the kernel's own limit holds for who may not go beyond it.
        let _ = sockopt::set_socket_send_buffer_size_force(end, SEND_BUFFER_BYTES);
    }
    ours.set_nonblocking(true)?;
    Ok((ours, theirs.into()))
}

impl Kernel {
    /// Attaches a volume of a Primary, or gives the device that it has from an earlier daemon new
    /// sockets. Returns what it is called.
    ///
    /// # Errors
    /// In words, if it is not attached.
    pub(crate) async fn attach(
        self: &Rc<Self>,
        daemon: &Rc<Daemon>,
        entry: &Rc<Entry>,
        volume: VolumeId,
    ) -> Result<String, String> {
        let key = (entry.name().to_owned(), volume);
        let known = self.attached.borrow().get(&key).cloned();
        if let Some(known) = known {
            return match known.ends.get() {
                true => Err("its device is just being taken away; try again".to_owned()),
                false => Ok(known.words()),
            };
        }
        let export = export_name(entry.name(), volume);
        let size = entry.resource.glance().volume(volume).map_or(0, |volume| volume.size_bytes);
        if size == 0 {
            return Err("its size is not known yet".to_owned());
        }
        let device = device_of(entry, &export, size);
        let ours = |backend: &Option<String>| backend.as_ref() == Some(&device.backend);
        let existing = self.sys.connected().into_iter().find(|(_, backend)| ours(backend));
        let existing = existing.map(|(index, _)| index);
        let connections = match existing {
            Some(index) => self.names.connections(index).unwrap_or(1),
            None => {
                std::thread::available_parallelism().map_or(1, usize::from).min(CONNECTIONS_MAX)
            }
        };
        let pairs: Vec<_> =
            (0..connections).map(|_| pair()).collect::<io::Result<_>>().map_err(text)?;
        let (near, far): (Vec<UnixStream>, Vec<OwnedFd>) = pairs.into_iter().unzip();
        let given = device.clone();
        let index = blocking(move || connect(existing, &given, &far)).await.map_err(text)?;
        let (gone, ends) = mpsc::unbounded_channel();
        for stream in near {
            if let Err(failure) = self.serve(entry, volume, index, stream, &gone).await {
                // Only a resource that has ended serves nobody. A device from before waits.
                if existing.is_none() {
                    let _ = blocking(move || open()?.disconnect(index)).await;
                }
                return Err(failure.text);
            }
        }
        let named = Named {
            index,
            resource: entry.name().to_owned(),
            volume,
            device: wanted_name(entry, volume),
            connections,
        };
        let (names, wanted) = (self.names.clone(), named.clone());
        let made = blocking(move || names.make(&wanted)).await;
        tracing::info!(
            resource = entry.name(),
            volume = volume.0,
            connections,
            again = existing.is_some(),
            "attached to the kernel as /dev/{index}"
        );
        let told = Cell::new(existing.is_none().then_some(size));
        let (ends_now, live) = (Cell::new(false), Cell::new(connections));
        let attached = Rc::new(Attached { named, device, told, ends: ends_now, live });
        let words = attached.words();
        self.keep(daemon, entry, attached, (gone, ends));
        match made {
            Ok(()) => Ok(words),
            Err(error) => Ok(format!("/dev/{index}, but {error}")),
        }
    }

    /// Has a device kept from now on.
    fn keep(
        self: &Rc<Self>,
        daemon: &Rc<Daemon>,
        entry: &Rc<Entry>,
        attached: Rc<Attached>,
        (gone, ends): (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>),
    ) {
        let key = (entry.name().to_owned(), attached.named.volume);
        self.attached.borrow_mut().insert(key, attached.clone());
        let (kernel, daemon, entry) = (self.clone(), daemon.clone(), entry.clone());
        let keeper = Keeper { kernel, daemon, entry, attached, gone };
        tokio::task::spawn_local(keeper.keep(ends));
    }

    /// A client of the resource at the other end of one of the device's sockets.
    async fn serve(
        &self,
        entry: &Entry,
        volume: VolumeId,
        index: Index,
        stream: UnixStream,
        gone: &mpsc::UnboundedSender<()>,
    ) -> Result<(), Failure> {
        let size = entry.resource.glance().volume(volume).map_or(0, |volume| volume.size_bytes);
        let client = NewClient {
            stream: MaybeTls::Plain(Stream::Detached(Some(StdStream::Unix(stream)))),
            leftover: BytesMut::new(),
            terms: Terms::simple(export(entry, volume, size)),
            volume,
            peer: format!("the kernel ({index})"),
            gone: Some(Gone(gone.clone())),
        };
        entry.resource.serve(client).await
    }

    /// Detaches the volumes of a resource.
    ///
    /// # Errors
    /// If somebody has one open, unless that does not matter. None is detached then.
    pub(crate) async fn detach(&self, resource: &str, force: bool) -> Result<(), Failure> {
        // Also such as an earlier daemon has attached.
        let ours = |backend: &str| {
            volume_of(backend)?
                .strip_prefix(resource)?
                .strip_prefix('/')?
                .parse()
                .ok()
                .map(VolumeId)
        };
        let devices: Vec<(Index, VolumeId)> = self
            .sys
            .connected()
            .into_iter()
            .filter_map(|(index, backend)| Some((index, ours(backend.as_deref()?)?)))
            .collect();
        if !force {
            for &(index, volume) in &devices {
                let holders = self.holders(index).await;
                if !holders.is_empty() {
                    return Err(in_use(resource, volume, index, &holders));
                }
            }
        }
        for (index, volume) in devices {
            self.detach_one(resource, volume, index).await?;
        }
        Ok(())
    }

    async fn detach_one(
        &self,
        resource: &str,
        volume: VolumeId,
        index: Index,
    ) -> Result<(), Failure> {
        let key = (resource.to_owned(), volume);
        let attached = self.attached.borrow().get(&key).cloned();
        if let Some(attached) = &attached {
            attached.ends.set(true);
        }
        let done = blocking(move || open().and_then(|mut driver| driver.disconnect(index))).await;
        if let Err(error) = done {
            if let Some(attached) = &attached {
                attached.ends.set(false);
            }
            let text = format!("{resource}/{volume}: detaching /dev/{index} failed: {error}");
            return Err(Failure::failed(text));
        }
        let named = attached.as_ref().map(|attached| attached.named.clone());
        let named = named.unwrap_or_else(|| Named {
            index,
            resource: resource.to_owned(),
            volume,
            device: None,
            connections: 0,
        });
        self.unname(named).await;
        // What it had asked for is answered, and its clients are in nobody's way.
        let start = Instant::now();
        while attached.as_ref().is_some_and(|attached| attached.live.get() > 0)
            && start.elapsed() < DETACH_PATIENCE
        {
            sleep(Duration::from_millis(5)).await;
        }
        self.attached.borrow_mut().remove(&key);
        tracing::info!(resource, volume = volume.0, "detached from the kernel: /dev/{index}");
        Ok(())
    }

    async fn unname(&self, named: Named) {
        let names = self.names.clone();
        if let Err(error) = blocking(move || names.remove(&named)).await {
            tracing::warn!("a name is left behind: {error}");
        }
    }

    /// Who has a device open, and not but for a moment.
    async fn holders(&self, index: Index) -> Vec<String> {
        let start = Instant::now();
        loop {
            let sys = self.sys.clone();
            let holders = blocking(move || sys.holders(index)).await;
            let all = |words: &str| holders.iter().all(|holder| holder.contains(words));
            let patience = match () {
                () if all("udev") => UDEV_PATIENCE,
                () if all("process ") => HOLDER_PATIENCE,
                () => Duration::ZERO,
            };
            if holders.is_empty() || start.elapsed() >= patience {
                return holders;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Attached {
    /// What it is called, in words.
    fn words(&self) -> String {
        let Named { index, device, .. } = &self.named;
        match device {
            Some(device) => format!("{} (/dev/{index})", device.display()),
            None => format!("/dev/{index}"),
        }
    }
}

/// A new device, or new sockets for one that there is.
fn connect(existing: Option<Index>, device: &Device, far: &[OwnedFd]) -> io::Result<Index> {
    let mut driver = open()?;
    match existing {
        None => driver.connect(device, far),
        Some(index) => driver.reconnect(index, device, far).map(|()| index),
    }
}

fn export(entry: &Entry, volume: VolumeId, size: u64) -> ExportInfo {
    let mut info = ExportInfo::new(export_name(entry.name(), volume), size);
    info.read_only = entry.nbd().read_only;
    info
}

/// What a volume is to be as a device.
fn device_of(entry: &Entry, export: &str, size: u64) -> Device {
    let remembered = entry.remembered();
    let net = &remembered.resource.net;
    // As long as it takes to notice that the peer is gone, nothing need be sent again.
    let notices = Duration::from_nanos((net.ping_int + net.ping_timeout + net.timeout).0);
    let mut info = ExportInfo::new(export, size);
    info.read_only = entry.nbd().read_only;
    Device {
        size,
        // Two Primaries that each write a part of a block would wait for each other.
        block_size: BLOCK_BYTES,
        flags: Terms::simple(info).transmission_flags(),
        timeout: TIMEOUT_MIN.max(notices + notices / 4),
        dead_timeout: DEAD_TIMEOUT,
        backend: format!("{BACKEND}{export}"),
    }
}

/// The `device` of a volume in the resource file.
fn wanted_name(entry: &Entry, volume: VolumeId) -> Option<PathBuf> {
    let remembered = entry.remembered();
    let (me, _) = remembered.resource.host(&remembered.node)?;
    let volume = me.volumes.iter().find(|known| known.id == volume)?;
    let minor = || volume.minor.map(|minor| format!("/dev/drbd{minor}"));
    volume.device.clone().or_else(minor).map(PathBuf::from)
}

fn in_use(resource: &str, volume: VolumeId, index: Index, holders: &[String]) -> Failure {
    const SHOWN: usize = 8;
    let mut names = holders[..holders.len().min(SHOWN)].join(", ");
    if holders.len() > SHOWN {
        names.push_str(&format!(", and {} more", holders.len() - SHOWN));
    }
    let text = format!(
        "{resource}/{volume}: its device /dev/{index} is in use: {names}; unmount it, deactivate its \
         volume group, or end the process"
    );
    Failure::new(exit::STATE, text)
}

fn text(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the kernel has no nbd driver («modprobe nbd»)".to_owned(),
        _ => format!("the nbd driver: {error}"),
    }
}

/// Keeps a device attached: gives it a new socket for one that is gone, and tells it its size.
struct Keeper {
    kernel: Rc<Kernel>,
    daemon: Rc<Daemon>,
    entry: Rc<Entry>,
    attached: Rc<Attached>,
    gone: mpsc::UnboundedSender<()>,
}

impl Keeper {
    async fn keep(self, mut ends: mpsc::UnboundedReceiver<()>) {
        let mut glance = self.entry.resource.watch();
        let (mut wait, mut last) = (RETRY.0, Instant::now());
        // It may have grown before this daemon was there.
        glance.mark_changed();
        loop {
            tokio::select! {
                Some(()) = ends.recv() => {
                    self.attached.live.set(self.attached.live.get().saturating_sub(1));
                    if last.elapsed() > LIVES {
                        wait = RETRY.0;
                    } else {
                        sleep(wait).await;
                        wait = (wait * 2).min(RETRY.1);
                    }
                    last = Instant::now();
                    if !self.renew(wait).await {
                        return;
                    }
                }
                changed = glance.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = glance.borrow_and_update().clone();
                    self.follow(&now).await;
                }
            }
        }
    }

    /// The resource has changed.
    async fn follow(&self, now: &Glance) {
        if self.is_over() {
            return;
        }
        if now.role == Role::Secondary {
            if !self.is_restoring() {
                self.lost_role();
            }
            return;
        }
        // While I/O is suspended the driver would stand still for a new size, and take no new socket
        // meanwhile.
        let volume = now.volume(self.attached.named.volume);
        let size = volume.filter(|volume| !volume.suspended).map_or(0, |volume| volume.size_bytes);
        if size > self.attached.told.get().unwrap_or(0) {
            self.resize(size).await;
        }
    }

    fn is_over(&self) -> bool {
        self.attached.ends.get() || self.daemon.is_stopping() || self.entry.resource.has_ended()
    }

    fn is_restoring(&self) -> bool {
        *self.entry.restoring.borrow()
    }

    /// Gives the device a socket; false if there is nothing to keep any more.
    async fn renew(&self, mut wait: Duration) -> bool {
        let Named { index, volume, .. } = self.attached.named;
        loop {
            if self.is_over() {
                return self.attached.live.get() > 0;
            }
            if !self.kernel.sys.is_connected(index) {
                tracing::warn!(
                    resource = self.entry.name(),
                    volume = volume.0,
                    "/dev/{index} was detached by somebody else"
                );
                self.kernel.unname(self.attached.named.clone()).await;
                let key = (self.entry.name().to_owned(), volume);
                self.kernel.attached.borrow_mut().remove(&key);
                return false;
            }
            match self.try_renew(index, volume).await {
                Ok(()) => {
                    tracing::info!(
                        resource = self.entry.name(),
                        volume = volume.0,
                        "/dev/{index} has a new connection"
                    );
                    self.attached.live.set(self.attached.live.get() + 1);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(
                        resource = self.entry.name(),
                        volume = volume.0,
                        "/dev/{index} gets no new connection yet: {error}"
                    );
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn try_renew(&self, index: Index, volume: VolumeId) -> io::Result<()> {
        let (near, far) = pair()?;
        let device = self.attached.device.clone();
        let give = move || open().and_then(|mut driver| driver.reconnect(index, &device, &[far]));
        blocking(give).await?;
        let served = self.kernel.serve(&self.entry, volume, index, near, &self.gone).await;
        served.map_err(|failure| io::Error::other(failure.text))
    }

    /// Tells the device its size. The driver stands still for a new one until what is in flight has
    /// ended, so it has its sockets, and they are served, before.
    async fn resize(&self, size: u64) {
        let Named { index, volume, .. } = self.attached.named;
        let device = Device { size, ..self.attached.device.clone() };
        let known = self.attached.told.replace(Some(size));
        let tell = move || open().and_then(|mut driver: Driver| driver.resize(index, &device));
        match blocking(tell).await {
            Ok(()) if known.is_none() => {}
            Ok(()) => tracing::info!(volume = volume.0, "/dev/{index} has {size} bytes now"),
            // Once said, and not with every change of the resource.
            Err(error) => tracing::warn!(volume = volume.0, "/dev/{index} keeps its size: {error}"),
        }
    }

    /// The engine has made this node Secondary: nothing is served any more. By another task: this one
    /// has to see the last of the connections go.
    fn lost_role(&self) {
        let Named { index, volume, .. } = self.attached.named;
        tracing::warn!(
            resource = self.entry.name(),
            volume = volume.0,
            "this node is Secondary now, and /dev/{index} is taken away"
        );
        self.attached.ends.set(true);
        let (kernel, entry) = (self.kernel.clone(), self.entry.clone());
        tokio::task::spawn_local(async move {
            if let Err(failure) = kernel.detach_one(entry.name(), volume, index).await {
                tracing::warn!("{failure}");
            }
        });
    }
}
