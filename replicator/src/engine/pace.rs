//! How fast a resync goes, and a verify, which asks for as much.
//!
//! As fast as link and disks allow as long as nobody else wants them: the target keeps as many bytes
//! in flight as `max-buffers` allows. While clients work, the pace follows what they feel: each node
//! takes the time of its clients' requests while the resync runs, and while it stands still for a
//! moment at the end of each cycle; if it costs them too much, less is kept in flight, and then
//! nothing at all between two small requests, down to `c-min-rate`. The source tells the target what
//! it wants, and the slower of the two wishes counts.
//!
//! `c-max-rate` bounds it in any case, and `c-fill-target` what is in flight. Without the controller
//! (`c-plan-ahead 0`) it goes at `resync-rate`, whoever works.

use super::Engine;
use super::volume::Volume;
use crate::options::Pace as Options;
use types::{ByteRange, Span, Time};

/// The smallest request; what is in flight at the lowest speed that has no gaps.
const REQUEST_MIN: u64 = 64 << 10;
/// Whoever has asked for nothing for so long does not work.
const LOAD_MEMORY: Span = Span::millis(500);
/// No cycle without a moment in which the resync stands still: an eighth of it.
const SLICES: u64 = 8;
/// That moment, at least and at most. It has room for several requests of the clients.
const SLICE_MIN: Span = Span::millis(40);
const SLICE_MAX: Span = Span::secs(1);
/// Fewer requests than this say nothing.
const SAMPLES_MIN: u64 = 4;
/// So much of the rate may be caught up after a pause.
const BURST: Span = Span::millis(100);

/// What a node allows: the lower ones have gaps between the requests, each further one has twice as
/// much in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Speed(u8);

impl Speed {
    /// Nobody works here: whatever link and disks allow.
    pub(super) const FULL: Self = Self(14);
    /// The lowest one without gaps.
    const GAPLESS: Self = Self(6);
    /// Where it begins when clients begin to work: 256 KiB in flight.
    const CAUTIOUS: Self = Self(8);

    /// By its number on the wire; a number that is not known is the highest speed.
    pub(super) fn from_u8(number: u8) -> Self {
        Self(number).min(Self::FULL)
    }

    pub(super) const fn to_u8(self) -> u8 {
        self.0
    }

    /// How many bytes may be in flight.
    fn window(self) -> u64 {
        match self {
            Self::FULL => u64::MAX,
            Self(number) => REQUEST_MIN << number.saturating_sub(Self::GAPLESS.0),
        }
    }

    /// How long to wait after a request that took so long.
    fn gap(self, took: Span) -> Span {
        let steps = Self::GAPLESS.0.saturating_sub(self.0);
        took.times((1 << steps) - 1)
    }

    fn slower(self, steps: u8) -> Self {
        Self(self.0.saturating_sub(steps))
    }

    fn faster(self) -> Self {
        Self((self.0 + 1).min(Self::FULL.0 - 1))
    }
}

/// Times of clients' requests.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    sum: Span,
    count: u64,
}

impl Times {
    fn add(&mut self, span: Span) {
        self.sum = self.sum + span;
        self.count += 1;
    }

    fn mean(self) -> Option<Span> {
        (self.count >= SAMPLES_MIN).then(|| Span(self.sum.0 / self.count))
    }
}

/// The pace of the resync of one volume.
#[derive(Debug)]
pub(super) struct Pace {
    /// What clients of this node bear.
    speed: Speed,
    /// What the peer wants, if its clients work.
    pub peer: Speed,
    /// How long a request takes while no resync disturbs it.
    base: Option<Span>,
    quiet: Times,
    /// With what disturbs them, and without: that is what clients feel. Slow requests alone would
    /// not tell whether longer pauses help.
    all: Times,
    cycle_began: Time,
    /// When something of the resync was last under way here.
    disturbed: Time,
    /// A request for data is answered in `c-delay-target`, if no more than this is in flight.
    delay_window: u64,
    /// Before this moment the rate allows nothing more.
    rate_until: Time,
    /// Nor does the gap after the last request.
    gap_until: Time,
    /// When to look again, if nothing may be asked for now.
    pub again: Option<Time>,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            speed: Speed::CAUTIOUS,
            peer: Speed::FULL,
            base: None,
            quiet: Times { sum: Span::ZERO, count: 0 },
            all: Times { sum: Span::ZERO, count: 0 },
            cycle_began: Time(0),
            disturbed: Time(0),
            delay_window: u64::MAX,
            rate_until: Time(0),
            gap_until: Time(0),
            again: None,
        }
    }

    /// What this node wants, of which it tells its peer.
    fn wish(&self, works: bool, options: &Options) -> Speed {
        let looks = options.plan_ahead > Span::ZERO && options.min_rate > 0;
        if works && looks { self.speed } else { Speed::FULL }
    }

    fn slice(&self) -> Span {
        let wanted = self.all.mean().or(self.base).map_or(SLICE_MIN, |mean| mean.times(2));
        wanted.max(SLICE_MIN).min(SLICE_MAX)
    }

    fn cycle(&self, options: &Options) -> Span {
        Span(options.plan_ahead.0 / 5).max(self.slice().times(SLICES))
    }

    /// How many bytes may be in flight now, or when to look again.
    fn window(
        &mut self,
        now: Time,
        works: bool,
        most: u64,
        options: &Options,
    ) -> Result<u64, Time> {
        if options.plan_ahead == Span::ZERO {
            return if self.rate_until > now { Err(self.rate_until) } else { Ok(most) };
        }
        let speed = self.wish(works, options).min(self.peer);
        if speed < Speed::FULL {
            let (cycle, slice) = (self.cycle(options), self.slice());
            let into = now.since(self.cycle_began);
            if into < cycle && into + slice >= cycle {
                return Err(self.cycle_began + cycle);
            }
            if into >= cycle {
                self.end_cycle(now);
            }
        }
        let wait = self.rate_until.max(if speed < Speed::GAPLESS { self.gap_until } else { now });
        if wait > now {
            return Err(wait);
        }
        let aimed = match options.fill_target {
            0 => self.delay_window,
            bytes => bytes,
        };
        Ok(most.min(aimed.max(REQUEST_MIN)).min(speed.window()))
    }

    /// The largest request at this pace: several are in flight, but for the lowest speeds.
    fn request(window: u64, largest: u64) -> u64 {
        let quarter = (window / 4).max(REQUEST_MIN);
        quarter.min(largest) / types::BLOCK_BYTES * types::BLOCK_BYTES
    }

    fn asked(&mut self, now: Time, bytes: u64, options: &Options) {
        self.disturbed = now;
        let rate = match (options.plan_ahead, options.max_rate) {
            (Span::ZERO, 0) => options.rate,
            (Span::ZERO, most) => options.rate.min(most),
            (_, most) => most,
        };
        if rate > 0 {
            let from = self.rate_until.max(Time(now.0.saturating_sub(BURST.0)));
            self.rate_until = from + time_of(bytes, rate);
        }
    }

    /// What was asked for is written.
    fn written(&mut self, now: Time, since: Time, bytes: u64, most: u64, options: &Options) {
        let took = now.since(since);
        self.disturbed = now;
        let window = self.delay_window.min(most);
        self.delay_window = match took > options.delay_target {
            true => (window / 2).max(REQUEST_MIN),
            false => (window + bytes / 4).min(most),
        };
        let longest = match options.min_rate {
            0 => Span::ZERO,
            rate => Span(time_of(bytes, rate).0.saturating_sub(took.0)),
        };
        let gap = self.speed.min(self.peer).gap(took).min(longest);
        self.gap_until = now + gap;
    }

    /// A client of this node was answered.
    fn answered(&mut self, now: Time, since: Time, open: bool, options: &Options) {
        let took = now.since(since);
        self.all.add(took);
        if !open && self.disturbed < since {
            self.quiet.add(took);
        }
        if now.since(self.cycle_began) >= self.cycle(options) {
            self.end_cycle(now);
        }
    }

    /// The pace follows what was measured.
    fn end_cycle(&mut self, now: Time) {
        self.cycle_began = now;
        if let Some(quiet) = self.quiet.mean() {
            let smooth = |base: Span| Span((base.0 * 3 + quiet.0) / 4);
            self.base = Some(self.base.map_or(quiet, smooth));
        }
        if let (Some(base), Some(all)) = (self.base, self.all.mean()) {
            self.speed = match all.0 * 100 / base.0.max(1) {
                300.. => self.speed.slower(2),
                150.. => self.speed.slower(1),
                125.. => self.speed,
                _ => self.speed.faster(),
            };
        }
        self.quiet = Times::default();
        self.all = Times::default();
    }
}

/// How long so many bytes take at so many in a second.
fn time_of(bytes: u64, rate: u64) -> Span {
    Span((u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))) as u64)
}

impl Volume {
    /// Whether there is something that the pace is about: a resync, or a verify.
    fn is_paced(&self) -> bool {
        self.sync.is_some() || self.verify.is_some()
    }

    /// Whether anything of that is under way here.
    fn is_disturbed(&self) -> bool {
        !self.locks.is_empty()
            || self.sync.as_ref().is_some_and(super::resync::Sync::is_open)
            || self.verify.as_ref().is_some_and(super::verify::Verify::is_open)
    }
}

impl Engine {
    /// Whether clients of this node work.
    fn clients_work(&self) -> bool {
        self.last_client.is_some_and(|last| self.now.since(last) < LOAD_MEMORY)
    }

    /// The speed that this node wants for the resync, or the verify, of a volume, of which its peer is told.
    pub(super) fn wanted_speed(&self, v: usize) -> Speed {
        let vol = &self.volumes[v];
        let works = self.clients_work() && vol.is_paced();
        vol.pace.wish(works, self.config.options.pace_of(vol.id))
    }

    /// How much more may be asked for, and in requests of what size; nothing if not now.
    pub(super) fn resync_room(&mut self, v: usize, open: u64) -> Option<(u64, u64)> {
        let (now, works) = (self.now, self.clients_work());
        let options = &self.config.options;
        let vol = &mut self.volumes[v];
        let most = options.resync_window;
        match vol.pace.window(now, works, most, options.pace_of(vol.id)) {
            Ok(window) => {
                let room = window.saturating_sub(open);
                (room > 0).then(|| (room, Pace::request(window, options.resync_request)))
            }
            Err(again) => {
                vol.pace.again = Some(again);
                None
            }
        }
    }

    pub(super) fn resync_asked(&mut self, v: usize, range: ByteRange) {
        let vol = &mut self.volumes[v];
        vol.pace.asked(self.now, range.len, self.config.options.pace_of(vol.id));
    }

    pub(super) fn resync_written(&mut self, v: usize, range: ByteRange, since: Time) {
        let options = &self.config.options;
        let (vol, most) = (&mut self.volumes[v], options.resync_window);
        vol.pace.written(self.now, since, range.len, most, options.pace_of(vol.id));
    }

    /// The source has read, or the target written: clients felt it until now.
    pub(super) fn resync_disturbs(&mut self, v: usize) {
        self.volumes[v].pace.disturbed = self.now;
    }

    /// A client was answered: all resyncs of the resource share its disks and its link.
    pub(super) fn client_answered(&mut self, since: Time) {
        self.last_client = Some(self.now);
        let now = self.now;
        for vol in self.volumes.iter_mut().filter(|vol| vol.is_paced()) {
            let open = vol.is_disturbed();
            vol.pace.answered(now, since, open, self.config.options.pace_of(vol.id));
        }
    }

    /// When the pace of a resync wants to be looked at again.
    pub(super) fn pace_deadline(&self, v: usize) -> Option<Time> {
        let vol = &self.volumes[v];
        if !vol.is_paced() || !vol.joined() {
            return None;
        }
        let idle = self.last_client.map(|last| last + LOAD_MEMORY);
        let idle = idle.filter(|_| vol.control.told_speed() < Speed::FULL);
        vol.pace.again.into_iter().chain(idle).min()
    }

    pub(super) fn pump_pace_timer(&mut self, v: usize) {
        if self.pace_deadline(v).is_some_and(|at| at <= self.now) {
            self.volumes[v].pace.again = None;
            self.touch(v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn options() -> Options {
        Options::default()
    }

    fn at(millis: u64) -> Time {
        Time(0) + Span::secs(100) + Span::millis(millis)
    }

    /// Cycles in which a request takes so long with the resync, and so long without it.
    fn cycles(pace: &mut Pace, count: u64, busy: Span, quiet: Span) {
        for cycle in 0..count {
            let began = at(cycle * 400);
            for i in 0..20 {
                let since = began + Span::millis(i * 10);
                pace.answered(since + busy, since, true, &options());
            }
            pace.disturbed = began + Span::millis(300);
            for i in 0..10 {
                let since = began + Span::millis(320 + i);
                pace.answered(since + quiet, since, false, &options());
            }
            pace.end_cycle(began + Span::millis(400));
        }
    }

    #[test]
    fn nobody_works_and_all_is_allowed() {
        let mut pace = Pace::new();
        assert_eq!(pace.window(at(0), false, 8 * MIB, &options()), Ok(8 * MIB));
    }

    #[test]
    fn clients_begin_to_work_and_little_is_in_flight() {
        let mut pace = Pace::new();
        pace.cycle_began = at(0);
        assert_eq!(pace.window(at(1), true, 8 * MIB, &options()), Ok(MIB / 4));
    }

    #[test]
    fn the_peer_s_wish_counts_too() {
        let mut pace = Pace::new();
        pace.cycle_began = at(0);
        pace.peer = Speed::GAPLESS;
        assert_eq!(pace.window(at(1), false, 8 * MIB, &options()), Ok(REQUEST_MIN));
    }

    #[test]
    fn what_costs_clients_little_gets_faster_and_what_costs_them_much_slower() {
        let mut pace = Pace::new();
        cycles(&mut pace, 10, Span::millis(1), Span::millis(1));
        assert_eq!(pace.speed, Speed(Speed::FULL.0 - 1));
        cycles(&mut pace, 3, Span::millis(2), Span::millis(1));
        assert_eq!(pace.speed, Speed(Speed::FULL.0 - 4));
        cycles(&mut pace, 20, Span::millis(9), Span::millis(1));
        assert_eq!(pace.speed, Speed(0));
        cycles(&mut pace, 3, Span::millis(1), Span::millis(1));
        assert_eq!(pace.speed, Speed(3));
    }

    /// However much a request suffers that meets the resync: with pauses few do, and it gets on.
    #[test]
    fn what_slowness_does_not_make_better_does_not_make_it_slower() {
        let mut pace = Pace::new();
        for cycle in 0..50 {
            // Of 40 requests so many meet it.
            let meet = 40 >> Speed::FULL.0.saturating_sub(pace.speed.0).min(5);
            for i in 0..40 {
                let since = at(cycle * 400 + i * 10);
                let took = if i < meet { Span::millis(9) } else { Span::millis(1) };
                pace.disturbed = if i < meet { since } else { at(0) };
                pace.answered(since + took, since, i < meet, &options());
            }
            pace.end_cycle(at(cycle * 400 + 400));
        }
        assert!(pace.speed > Speed(7), "{:?}", pace.speed);
    }

    #[test]
    fn the_slowest_pace_is_c_min_rate() {
        let mut pace = Pace::new();
        pace.cycle_began = at(0);
        pace.speed = Speed(0);
        let options = options();
        pace.written(at(100), at(0), REQUEST_MIN, 8 * MIB, &options);
        let wait = pace.window(at(101), true, 8 * MIB, &options);
        // A request each 256 ms, with the time that it took.
        let longest = time_of(REQUEST_MIN, options.min_rate);
        assert_eq!(longest, Span::millis(256));
        assert_eq!(wait, Err(at(0) + longest));
        // Slower than that by itself: no pause at all.
        pace.written(at(100), at(0), REQUEST_MIN, 8 * MIB, &Options { min_rate: MIB, ..options });
        assert!(pace.window(at(101), true, 8 * MIB, &options).is_ok());
    }

    #[test]
    fn each_cycle_ends_with_a_moment_of_rest() {
        let mut pace = Pace::new();
        pace.cycle_began = at(0);
        let cycle = pace.cycle(&options());
        assert_eq!(cycle, Span::millis(400));
        assert!(pace.window(at(359), true, MIB, &options()).is_ok());
        assert_eq!(pace.window(at(361), true, MIB, &options()), Err(at(400)));
        assert!(pace.window(at(400), true, MIB, &options()).is_ok());
    }

    #[test]
    fn c_max_rate_bounds_it() {
        let mut pace = Pace::new();
        let options = Options { max_rate: MIB, ..options() };
        let mut now = at(0);
        let mut bytes = 0;
        while now < at(10_000) {
            match pace.window(now, false, 8 * MIB, &options) {
                Ok(_) => {
                    pace.asked(now, MIB / 4, &options);
                    bytes += MIB / 4;
                }
                Err(again) => now = again,
            }
        }
        assert!((10 * MIB..=11 * MIB).contains(&bytes), "{bytes} bytes in 10 s");
    }

    #[test]
    fn without_the_controller_it_goes_at_resync_rate_whoever_works() {
        let mut pace = Pace::new();
        pace.peer = Speed(0);
        let options = Options { plan_ahead: Span::ZERO, rate: 4 * MIB, ..options() };
        assert_eq!(pace.window(at(0), true, 8 * MIB, &options), Ok(8 * MIB));
        pace.asked(at(0), 4 * MIB, &options);
        assert_eq!(pace.window(at(0), true, 8 * MIB, &options), Err(at(900)));
    }

    #[test]
    fn a_slow_link_has_no_more_in_flight_than_c_delay_target() {
        let mut pace = Pace::new();
        for i in 0..10 {
            pace.written(at(i * 3000), at(i * 3000 - i.min(1) * 2000), MIB, 8 * MIB, &options());
        }
        assert!(pace.window(at(40_000), false, 8 * MIB, &options()).unwrap() < MIB);
    }
}
