//! Owns the circuit breaker of one origin: after too many failures it is left alone for a while, then probed.
//!
//! Pure: time is an argument. "Not found" and refusals are answers, so the caller reports them as success.
//! Invariant: while open nothing passes; while half open at most one request is out as a probe.

use std::time::{Duration, Instant};

/// Length of one slot of the window in which failures are counted.
const SLOT: Duration = Duration::from_secs(1);
/// Slots in the window: failures older than this many seconds are forgotten.
const SLOTS: usize = 10;
/// Fewer requests than this in the window say nothing.
const REQUESTS_MIN: u32 = 20;
/// Failures per cent from which the circuit opens.
const FAILURES_PERCENT: u32 = 50;
/// How long the circuit stays open at first; doubles with each failed probe.
const OPEN_FIRST: Duration = Duration::from_secs(2);
/// How long it stays open at most, also when the origin itself asked for more.
pub const OPEN_MAX: Duration = Duration::from_mins(1);
/// A probe that never reported (its task was dropped) is given up after this time.
const PROBE_LOST: Duration = Duration::from_mins(2);

/// What to show of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// One request passes, to see whether the origin is back.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// Counts outcomes and decides whether the next request may go out.
#[derive(Debug)]
pub struct Breaker {
    slots: [Slot; SLOTS],
    slot_number: u64,
    epoch: Instant,
    gate: Gate,
    open_for: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    requests: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
enum Gate {
    Closed,
    Open { until: Instant },
    Probing { since: Instant },
}

impl Breaker {
    /// A closed circuit without history.
    pub fn new(now: Instant) -> Self {
        Self {
            slots: [Slot::default(); SLOTS],
            slot_number: 0,
            epoch: now,
            gate: Gate::Closed,
            open_for: OPEN_FIRST,
        }
    }

    /// Whether a request may go out; otherwise how long nothing will. After `Ok` exactly one of
    /// [`Breaker::succeeded`], [`Breaker::failed`] and [`Breaker::abandoned`] is to be called.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.gate {
            Gate::Closed => Ok(()),
            Gate::Open { until } if now < until => Err(until.saturating_duration_since(now)),
            Gate::Probing { since } if now.saturating_duration_since(since) < PROBE_LOST => Err(OPEN_FIRST),
            Gate::Open { .. } | Gate::Probing { .. } => {
                self.gate = Gate::Probing { since: now };
                Ok(())
            }
        }
    }

    /// The origin answered.
    pub fn succeeded(&mut self, now: Instant) {
        match self.gate {
            Gate::Closed => self.count(now, false),
            Gate::Probing { .. } => {
                self.gate = Gate::Closed;
                self.open_for = OPEN_FIRST;
                self.slots = [Slot::default(); SLOTS];
            }
            // An answer to a request from before the circuit opened.
            Gate::Open { .. } => {}
        }
    }

    /// The origin was not reached, broke off, timed out or answered 5xx.
    pub fn failed(&mut self, now: Instant) {
        match self.gate {
            Gate::Closed => {
                self.count(now, true);
                let (requests, failures) =
                    self.slots.iter().fold((0, 0), |(r, f), slot| (r + slot.requests, f + slot.failures));
                if requests >= REQUESTS_MIN && failures * 100 >= requests * FAILURES_PERCENT {
                    self.gate = Gate::Open { until: now + self.open_for };
                }
            }
            Gate::Probing { .. } => {
                self.open_for = (self.open_for * 2).min(OPEN_MAX);
                self.gate = Gate::Open { until: now + self.open_for };
            }
            Gate::Open { .. } => {}
        }
    }

    /// The request was given up by the caller and says nothing about the origin.
    pub fn abandoned(&mut self, now: Instant) {
        if let Gate::Probing { .. } = self.gate {
            self.gate = Gate::Open { until: now };
        }
    }

    /// The origin asked to be left alone for `pause` (429 with Retry-After); bounded by [`OPEN_MAX`].
    pub fn hold_off(&mut self, now: Instant, pause: Duration) {
        let until = now + pause.min(OPEN_MAX);
        match self.gate {
            Gate::Open { until: already } if already >= until => {}
            Gate::Open { .. } | Gate::Closed | Gate::Probing { .. } => self.gate = Gate::Open { until },
        }
    }

    /// What to show.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.gate {
            Gate::Closed => BreakerState::Closed,
            Gate::Open { until } if now < until => BreakerState::Open,
            Gate::Open { .. } | Gate::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    fn count(&mut self, now: Instant, failure: bool) {
        let number = now.saturating_duration_since(self.epoch).as_secs() / SLOT.as_secs();
        let passed = number.saturating_sub(self.slot_number).min(SLOTS as u64);
        for step in 1..=passed {
            let index = ((self.slot_number + step) % SLOTS as u64) as usize;
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = Slot::default();
            }
        }
        self.slot_number = self.slot_number.max(number);
        let index = (self.slot_number % SLOTS as u64) as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.requests = slot.requests.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(failure));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        for _ in 0..REQUESTS_MIN {
            breaker.admit(now).unwrap();
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn opens_at_half_failures_of_enough_requests_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..REQUESTS_MIN - 1 {
            breaker.failed(now);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Err(OPEN_FIRST));

        let mut mixed = Breaker::new(now);
        for _ in 0..100 {
            mixed.succeeded(now);
            mixed.succeeded(now);
            mixed.failed(now);
        }
        assert_eq!(mixed.state(now), BreakerState::Closed, "a third of failures");
    }

    #[test]
    fn old_failures_are_forgotten() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..REQUESTS_MIN - 1 {
            breaker.failed(now);
        }
        breaker.failed(now + SLOT * (SLOTS as u32));
        assert_eq!(breaker.state(now + SLOT * (SLOTS as u32)), BreakerState::Closed);
    }

    #[test]
    fn one_probe_passes_and_decides() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + OPEN_FIRST;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "a second probe");
        breaker.failed(later);
        assert_eq!(breaker.admit(later), Err(OPEN_FIRST * 2));
        let again = later + OPEN_FIRST * 2;
        breaker.admit(again).unwrap();
        breaker.succeeded(again);
        assert_eq!(breaker.state(again), BreakerState::Closed);
        breaker.failed(again);
        assert_eq!(breaker.state(again), BreakerState::Closed, "history is cleared");
    }

    #[test]
    fn an_abandoned_probe_frees_the_place_and_a_lost_one_does_in_time() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + OPEN_FIRST;
        breaker.admit(later).unwrap();
        breaker.abandoned(later);
        breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err());
        assert!(breaker.admit(later + PROBE_LOST).is_ok());
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_bound() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.hold_off(now, Duration::from_hours(24));
        assert_eq!(breaker.admit(now), Err(OPEN_MAX));
        breaker.hold_off(now, Duration::from_secs(1));
        assert_eq!(breaker.admit(now), Err(OPEN_MAX), "a shorter wish does not shorten");
        assert!(breaker.admit(now + OPEN_MAX).is_ok());
    }

    proptest! {
        /// However outcomes and time mix: the circuit is never shut for longer than its bound, and after a
        /// successful probe everything passes.
        #[test]
        fn it_always_comes_back(events in prop::collection::vec((0_u8..5, 0_u64..5_000), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(now);
            for (event, gap_ms) in events {
                now += Duration::from_millis(gap_ms);
                match event {
                    0 => breaker.succeeded(now),
                    1 | 2 => breaker.failed(now),
                    3 => drop(breaker.admit(now)),
                    _ => breaker.hold_off(now, Duration::from_millis(gap_ms)),
                }
                if let Err(wait) = breaker.admit(now) {
                    prop_assert!(wait <= OPEN_MAX);
                }
            }
            let later = now + OPEN_MAX + PROBE_LOST;
            prop_assert!(breaker.admit(later).is_ok());
            breaker.succeeded(later);
            prop_assert_eq!(breaker.state(later), BreakerState::Closed);
        }
    }
}
