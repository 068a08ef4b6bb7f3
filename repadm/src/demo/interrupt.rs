//! Ctrl-C in the demo: the story ends, and everything it made is taken away.

pub(super) use crate::interrupt::Interrupt;

use crate::outcome::{Exit, Failure, Outcome};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No single thing in the story takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(100);
/// How soon an interruption is seen.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Interrupt {
    /// An error if it is to end.
    ///
    /// # Errors
    /// Exit code 20.
    pub(super) fn check(&self) -> Outcome {
        if self.is_seen() {
            return Err(Failure::new(Exit::Failed, "interrupted: everything is taken away again"));
        }
        Ok(())
    }

    /// Do that in another thread, and wait for it, for an interruption, or for no longer than
    /// patience lasts.
    ///
    /// # Errors
    /// That of the work, or of [`Self::check`], or that it takes too long.
    #[allow(clippy::disallowed_methods, reason = "the demo is a driver: its patience is real time")]
    pub(super) fn during<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let start = Instant::now();
        let (done, result) = channel();
        thread::spawn(move || {
            // Nobody waits any more after an interruption.
            let _ = done.send(work());
        });
        loop {
            match result.recv_timeout(LOOK_EVERY) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) if start.elapsed() > PATIENCE => {
                    let text = format!("it did not end within {} s", PATIENCE.as_secs());
                    return Err(Failure::new(Exit::Failed, text));
                }
                Err(RecvTimeoutError::Timeout) => self.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(Exit::Failed, "the work ended without a result"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_with_its_result_or_by_an_interruption() {
        let interrupt = Interrupt::never();
        assert_eq!(interrupt.during(|| Ok(7)), Ok(7));
        let (_held, blocked) = channel::<()>();
        interrupt.strike();
        let stuck = interrupt.during(move || {
            let _ = blocked.recv();
            Ok(())
        });
        assert_eq!(stuck.map_err(|failure| failure.exit), Err(Exit::Failed));
    }
}
