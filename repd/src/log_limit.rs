//! Bounds how often strangers can make the log grow.

use types::{Span, Time};

/// How often one thing is logged that anybody can cause.
const EVERY: Span = Span::secs(10);
/// How many of them are logged at once before that counts.
const BURST: u32 = 5;

/// Lets a few lines through, and then one in a while.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    since: Time,
    logged: u32,
    withheld: u64,
}

impl LogLimit {
    /// Whether to log it now: how many were not logged since the last one that was.
    pub(crate) fn admit(&mut self, now: Time) -> Option<u64> {
        if now.since(self.since) >= EVERY {
            self.since = now;
            self.logged = 0;
        }
        if self.logged >= BURST {
            self.withheld += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_was_withheld_is_told_later() {
        let (mut limit, start) = (LogLimit::default(), Time(1 << 60));
        let passed = (0..100).filter(|_| limit.admit(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(limit.admit(start + EVERY), Some(95));
        assert_eq!(limit.admit(start + EVERY), Some(0));
    }
}
