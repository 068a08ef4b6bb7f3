//! Real time, and waiting for what can be seen.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Now.
#[allow(clippy::disallowed_methods, reason = "tests of real processes are drivers")]
pub fn now() -> Instant {
    Instant::now()
}

/// Looks again and again until there is something, and gives it with the time that it took.
///
/// # Errors
/// What looking fails with, or, after `patience`, that `what` did not happen.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<(T, Duration)> {
    let start = now();
    loop {
        if let Some(found) = look()? {
            return Ok((found, start.elapsed()));
        }
        anyhow::ensure!(start.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Lets real time pass, where it is the point: a fault that comes at a random moment, a load that
/// runs for a while. Never to wait for something that could be looked at.
pub fn pass(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_happen_is_named() {
        let error = until::<()>("rain", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "rain: not within 0ns");
        let mut looks = 0;
        let (found, _) = until("three looks", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        })
        .unwrap();
        assert_eq!(found, 3);
    }
}
