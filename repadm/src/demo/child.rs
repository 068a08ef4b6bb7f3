//! Ending the processes that the demo started.

use super::interrupt::LOOK_EVERY;
use crate::outcome::{Exit, Failure};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Child;
use std::time::{Duration, Instant};

/// A failure of the system's, at that.
pub(super) fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(Exit::Failed, format!("{what}: {error}"))
}

/// Ask a process to end in order.
pub(super) fn ask_to_end(child: &Child) {
    send(child, Signal::TERM);
}

/// Stop a process where it is.
pub(super) fn freeze(child: &Child) {
    send(child, Signal::STOP);
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // It may have ended already.
        let _ = kill_process(pid, signal);
    }
}

/// Wait so long for a process to end, then end it.
#[allow(clippy::disallowed_methods, reason = "the demo is a driver: its patience is real time")]
pub(super) fn end(mut child: Child, patience: Duration) {
    let start = Instant::now();
    while start.elapsed() < patience {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    // It may have ended in this moment.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_that_does_not_want_to_end_is_ended() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        end(child, Duration::ZERO);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_process_that_was_asked_is_waited_for() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        ask_to_end(&child);
        end(child, Duration::from_secs(1000));
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
