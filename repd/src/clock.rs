//! Where the engine's time comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use types::Time;

/// The wall clock at the start, and what a monotonic clock has counted since: it never goes
/// backwards, whatever happens to the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Time,
    start: Instant,
}

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is the driver's one clock")]
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = Time(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        Self { wall, start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Time(self.wall.0.saturating_add(elapsed))
    }

    /// The moment for a timer of the runtime.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        let since: Duration = time.since(self.wall).into();
        (self.start + since).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Span;

    #[test]
    fn it_goes_forward_and_converts() {
        let clock = Clock::start();
        let (one, two) = (clock.now(), clock.now());
        assert!(one <= two);
        assert!(one.unix_millis() > 1_700_000_000_000);
        let later = clock.wall + Span::secs(5);
        assert_eq!(clock.instant(later).into_std(), clock.start + Duration::from_secs(5));
        assert_eq!(clock.instant(Time(0)).into_std(), clock.start, "the past is now");
    }
}
