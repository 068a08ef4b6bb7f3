//! How a resource's thread waits when nothing is ready.
//!
//! What comes next often comes within microseconds: the client's next request, the peer's answer. To
//! fall asleep and to be woken takes as long again. So the thread goes on looking for a while, as long
//! as that has paid lately, and gives way between two looks to whoever wants the processor. Who gives
//! way to somebody busy gets the processor back late, later than one who is woken: then it sleeps, for
//! the next thousand times.

use types::{Span, Time};

/// So many of the last eight waits must have been short.
const PAYS: u32 = 4;

/// So many waits are slept through after it has found the processor wanted by others.
const SLEPT: u32 = 1000;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Idle {
    /// How long a wait may be that is worth looking through.
    busy_poll: Span,
    /// When nothing was ready any more.
    since: Option<Time>,
    looked: Time,
    /// Whether the last waits were short, a bit for each.
    short: u8,
    /// How many waits are to be slept through.
    sleeps: u32,
}

impl Idle {
    /// Looks for at most so long; zero: sleeps at once, always.
    pub(crate) const fn new(busy_poll: Span) -> Self {
        Self { busy_poll, since: None, looked: Time(0), short: 0, sleeps: 0 }
    }

    /// Something is ready.
    pub(crate) fn end(&mut self, now: Time) {
        if let Some(since) = self.since.take() {
            let is_short = now.since(since) < self.busy_poll;
            self.short = self.short << 1 | u8::from(is_short);
            self.sleeps = self.sleeps.saturating_sub(1);
        }
    }

    /// Nothing is ready: whether to give way and to look again then. If not, sleep.
    pub(crate) fn looks_again(&mut self, now: Time) -> bool {
        let since = *self.since.get_or_insert(now);
        self.looked = now;
        let pays = self.short.count_ones() >= PAYS && self.sleeps == 0;
        pays && now.since(since) < self.busy_poll
    }

    /// It has given way, and has the processor again.
    pub(crate) fn gave_way(&mut self, now: Time) {
        if now.since(self.looked) >= self.busy_poll {
            self.sleeps = SLEPT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Span = Span::micros(20);
    const LONG: Span = Span::millis(5);

    /// Waits so long; for how long of it, it looked.
    fn wait(idle: &mut Idle, now: &mut Time, span: Span) -> Span {
        let (begin, end) = (*now, *now + span);
        let mut looked = Span(0);
        while *now < end && idle.looks_again(*now) {
            *now = (*now + Span::micros(1)).min(end);
            looked = now.since(begin);
        }
        *now = end;
        idle.end(end);
        // It works.
        *now = end + Span::micros(10);
        looked
    }

    #[test]
    fn it_looks_as_long_as_that_pays() {
        let (mut idle, mut now) = (Idle::new(Span::micros(50)), Time(0));
        for _ in 0..4 {
            assert_eq!(wait(&mut idle, &mut now, SHORT), Span(0), "nothing is known yet");
        }
        assert_eq!(wait(&mut idle, &mut now, SHORT), SHORT);
        // Every other wait is long: what is lost by looking is bounded by what is saved.
        for _ in 0..20 {
            assert_eq!(wait(&mut idle, &mut now, LONG), Span::micros(50), "and not longer");
            assert_eq!(wait(&mut idle, &mut now, SHORT), SHORT);
        }
        for _ in 0..8 {
            wait(&mut idle, &mut now, LONG);
        }
        assert_eq!(wait(&mut idle, &mut now, LONG), Span(0), "a quiet device costs nothing");
    }

    #[test]
    fn it_sleeps_where_others_want_the_processor() {
        let (mut idle, mut now) = (Idle::new(Span::micros(50)), Time(0));
        for _ in 0..8 {
            wait(&mut idle, &mut now, SHORT);
        }
        for _ in 0..3 {
            assert!(idle.looks_again(now));
            idle.gave_way(now + Span::micros(49));
            assert_eq!(wait(&mut idle, &mut now, SHORT), SHORT, "they were short, too");
            assert!(idle.looks_again(now));
            now += Span::millis(3);
            idle.gave_way(now);
            for _ in 0..SLEPT {
                assert_eq!(wait(&mut idle, &mut now, SHORT), Span(0));
            }
            assert_eq!(wait(&mut idle, &mut now, SHORT), SHORT, "it looks whether they still do");
        }
    }

    #[test]
    fn it_need_not_look() {
        let (mut idle, mut now) = (Idle::new(Span(0)), Time(0));
        for _ in 0..20 {
            assert_eq!(wait(&mut idle, &mut now, SHORT), Span(0));
        }
    }
}
