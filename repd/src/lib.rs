//! The replication daemon: pumps events between sockets, disks, timers and engines.
//!
//! The main thread has the control socket, NBD negotiation and signals; each resource has a thread
//! of its own with everything else, see `resource`. What is decided about replication is decided
//! in the engine (crate `replicator`); here is only how things get to it and from it.

#![forbid(unsafe_code)]

mod access;
mod activation;
mod budget;
mod clock;
mod control_server;
mod daemon;
mod ends;
mod entry;
mod exports;
mod handler;
mod kernel;
mod log_limit;
mod logging;
mod nbd_listener;
mod nbd_service;
mod negotiating;
pub mod options;
mod reconfigure;
mod resource;
mod restore;
mod resync_queue;
mod serving;
mod sockets;
mod state_dir;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
mod waits;
mod watch;

pub use options::Options;

use access::Access;
use activation::Passed;
use anyhow::Context;
use daemon::Daemon;
use kernel::Kernel;
use options::Paths;
use rustix::process::{Resource, getrlimit, setrlimit};
use state_dir::StateDir;
use std::path::PathBuf;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

const _: () = assert!(!types::mutation::PRESENT, "a daemon is not built with deliberate bugs");

/// Runs a daemon until it is told to end by SIGTERM, SIGINT or over its control socket.
///
/// # Errors
/// If it cannot start: its state directory or a socket is in use, or the system refuses.
pub fn run(options: &Options) -> anyhow::Result<()> {
    logging::start(options.log);
    raise_descriptor_limit();
    let is_root = rustix::process::geteuid().is_root();
    let paths = options.paths(is_root, |name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    });
    let passed = activation::take(&paths.control)?;
    let unattached = kernel::why_not(options, &paths, is_root);
    if unattached.is_none() {
        kernel::memory::prepare();
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(LocalSet::new().run_until(live(options, paths, passed, unattached)))
}

async fn live(
    options: &Options,
    paths: Paths,
    passed: Passed,
    unattached: Option<&'static str>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let state = StateDir::open(&paths.state_dir)?;
    let boot_id = state_dir::boot_id().context("/proc/sys/kernel/random/boot_id")?;
    let (control, _control_file) = match passed.control {
        Some(control) => (UnixListener::from_std(control).context("the control socket")?, None),
        None => {
            let (control, file) = sockets::listen(&paths.control, Access::PRIVATE)?;
            (control, Some(file))
        }
    };
    let (owner, group) = (options.nbd_owner.as_deref(), options.nbd_group.as_deref());
    let access = Access::new(options.nbd_mode, owner, group).context("--nbd-owner, --nbd-group")?;
    let daemon = Daemon::new(options, paths.clone(), state, boot_id);
    // The socket that it has by itself is for who passes none.
    let own = passed.nbd.is_empty() || paths.nbd_is_fixed;
    for (address, listener) in passed.nbd {
        daemon.nbd.serve_passed(&daemon, address, listener)?;
    }
    match unattached {
        Some(why) => tracing::info!("nothing is attached to the kernel: {why}"),
        None => attach_to_kernel(&daemon).await?,
    }
    restore::restore_all(&daemon).await?;
    for address in paths.nbd.iter().filter(|_| own) {
        daemon.nbd.serve(&daemon, address, access)?;
    }
    // What is brought back is known by name before a client can ask for it.
    daemon.nbd.open();
    let at_once = options.max_parallel_resyncs.map_or(usize::MAX, |most| most.get());
    tokio::task::spawn_local(resync_queue::keep(daemon.clone(), at_once));
    tokio::task::spawn_local(control_server::serve(control, daemon.clone()));
    tracing::info!(
        control = %paths.control.display(), state_dir = %paths.state_dir.display(),
        pid = std::process::id(), "ready"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        () = daemon.asked_to_stop() => tracing::info!("asked to end"),
        name = signals.next() => tracing::info!("{name}: ending"),
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        () = daemon.stop_all() => tracing::info!("ended in order"),
        name = signals.next() => anyhow::bail!("{name} again: ended at once, as in a crash"),
    }
    Ok(())
}

/// From now on what is Primary is attached.
async fn attach_to_kernel(daemon: &Daemon) -> anyhow::Result<()> {
    let kernel = Kernel::new();
    if let Err(error) = kernel.is_there().await {
        tracing::warn!("nothing is attached to the kernel until it has an nbd driver: {error}");
    }
    let up = daemon.remembered()?;
    let up: Vec<String> = up.into_iter().map(|remembered| remembered.resource.name).collect();
    kernel.report_orphans(&up);
    daemon.use_kernel(kernel);
    Ok(())
}

/// Each client has a descriptor, and the system's first offer of them is small for old programs'
/// sake.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays: {error}");
    }
}

/// Tells systemd, if it has started this process.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
