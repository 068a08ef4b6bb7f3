//! Ctrl-C, where a command does not just end by it.

use crate::outcome::{Exit, Failure, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// Whether the person, or the system, wants it to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on, SIGINT, SIGTERM and SIGHUP do not end the process but are seen here.
    ///
    /// # Errors
    /// If signals cannot be caught.
    pub(crate) fn catch() -> Outcome<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, format!("signals cannot be caught: {error}"))
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let _inside = runtime.enter();
        let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut term = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hup = signal(SignalKind::hangup()).map_err(failed)?;
        drop(_inside);
        let flag = Arc::clone(&seen);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hup.recv() => {}
                }
            });
            flag.store(true, Ordering::SeqCst);
        });
        Ok(Self(seen))
    }

    /// Never interrupted, for tests.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// As if it had been, for tests.
    #[cfg(test)]
    pub(crate) fn strike(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is to end.
    pub(crate) fn is_seen(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
