//! The replication daemon: pumps events between sockets, disks, timers and engines.
//!
//! The main thread has the control socket, NBD negotiation and signals; each resource has a thread
//! of its own with everything else, see `resource`. What is decided about replication is decided
//! in the engine (crate `replicator`); here is only how things get to it and from it.

#![forbid(unsafe_code)]

mod budget;
mod clock;
mod control_server;
mod daemon;
mod entry;
mod exports;
mod handler;
mod log_limit;
mod logging;
mod nbd_listener;
pub mod options;
mod resource;
mod restore;
mod sockets;
mod state_dir;
mod stream;
#[cfg(test)]
mod testing;
mod waits;
mod watch;

pub use options::Options;

use anyhow::Context;
use daemon::Daemon;
use options::{KernelAttach, Paths};
use state_dir::StateDir;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

const _: () = assert!(!types::mutation::PRESENT, "a daemon is not built with deliberate bugs");

/// Runs a daemon until it is told to end by SIGTERM, SIGINT or over its control socket.
///
/// # Errors
/// If it cannot start: its state directory or a socket is in use, or the system refuses.
pub fn run(options: &Options) -> anyhow::Result<()> {
    logging::start(options.log);
    let is_root = rustix::process::geteuid().is_root();
    let paths = options.paths(is_root, |name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(LocalSet::new().run_until(live(options, paths)))
}

async fn live(options: &Options, paths: Paths) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let state = StateDir::open(&paths.state_dir)?;
    let boot_id = state_dir::boot_id().context("/proc/sys/kernel/random/boot_id")?;
    let control = sockets::listen(&paths.control)?;
    let _control_file = sockets::SocketFile(paths.control.clone());
    let daemon = Daemon::new(options, paths.clone(), state, boot_id);
    // Known by name before a client can ask for them.
    restore::restore_all(&daemon).await?;
    for address in &paths.nbd {
        daemon.serve_nbd(address)?;
    }
    tokio::task::spawn_local(control_server::serve(control, daemon.clone()));
    if options.kernel_attach == KernelAttach::Auto {
        tracing::info!("kernel attach is not built yet: clients connect to the NBD URIs");
    }
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
