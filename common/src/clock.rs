//! Time as a collaborator: whoever needs the time gets a [`Clock`], so that tests and simulations own it.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Tells wall-clock time (for records and ages) and monotonic time (for timeouts).
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall-clock time in microseconds since the Unix epoch.
    fn now_us(&self) -> i64;
    /// Monotonic time; never goes back when the wall clock is set.
    fn monotonic(&self) -> Instant;
}

/// The machine's own clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
        }
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(i64, Instant)>,
}

impl ManualClock {
    /// Starts at `now_us` microseconds since the Unix epoch.
    pub fn new(now_us: i64) -> Self {
        Self { now: Mutex::new((now_us, Instant::now())) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock();
        now.0 = now.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
        now.1 += by;
    }

    /// Sets the wall clock alone, as an operator or NTP may at any moment.
    pub fn set_wall(&self, now_us: i64) {
        self.now.lock().0 = now_us;
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.now.lock().0
    }

    fn monotonic(&self) -> Instant {
        self.now.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_leaves_the_monotonic_one_alone() {
        let clock = ManualClock::new(1_000);
        let before = clock.monotonic();
        clock.set_wall(-5);
        assert_eq!((clock.now_us(), clock.monotonic()), (-5, before));
        clock.advance(Duration::from_micros(7));
        assert_eq!((clock.now_us(), clock.monotonic() - before), (2, Duration::from_micros(7)));
    }
}
