//! Memory of a daemon that serves the machine it runs on.
//!
//! The kernel may need the device of this daemon to write memory out, and this daemon may need memory
//! to serve it: each would wait for the other. So this process is one that the kernel writes through
//! (`PR_SET_IO_FLUSHER`): its own allocations start no such writing. What it has in memory stays there,
//! and it is the last to be killed for want of memory.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::configure_io_flusher_behavior;
use std::io;

/// Sees to all that. To be called before there is a second thread: threads inherit it.
///
/// What the system refuses is said in the log; the daemon works all the same.
pub(crate) fn prepare() {
    let told = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            tracing::warn!(
                "{what}: {error}; under want of memory the kernel and repd may wait for \
                            each other"
            );
        }
    };
    told("PR_SET_IO_FLUSHER", configure_io_flusher_behavior(true).map_err(io::Error::from));
    // What is touched is locked, and not the whole of every stack.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    told("mlockall", mlockall(flags).map_err(io::Error::from));
    told("/proc/self/oom_score_adj", std::fs::write("/proc/self/oom_score_adj", "-1000"));
}
