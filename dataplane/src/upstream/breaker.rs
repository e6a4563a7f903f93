//! Owns the circuit breaker of one origin: after too many failures it is left alone for a while, then probed.
//!
//! Pure: time is an argument. "Not found" and refusals are answers, so the caller reports them as success.
//! Invariants: while open nothing passes; while probed a few requests pass every few seconds, whatever became of those
//! before, and as soon as the origin answers one of them all pass, so that no slow answer keeps anybody out.

use std::time::{Duration, Instant};

use super::window::{Fault, Window};

/// Fewer requests than this in the window say nothing.
const REQUESTS_MIN: u32 = 20;
/// Failures per cent from which the circuit opens.
const FAILURES_PERCENT: u32 = 50;
/// How long the circuit stays open at first; doubles until the origin does what it is asked.
const OPEN_FIRST: Duration = Duration::from_secs(2);
/// How long it stays open at most, also when the origin itself asked for more.
pub const OPEN_MAX: Duration = Duration::from_mins(1);
/// Requests that pass as probes …
const PROBES: u32 = 3;
/// … in each such time. The one that happens to be first may be for a module that the origin has to fetch itself, which
/// takes a minute.
const PROBES_EVERY: Duration = Duration::from_secs(3);

/// What to show of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// A few requests pass, to see whether the origin is back; or all do, since it answers, but has only said so far that
    /// it cannot help.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// Counts outcomes and decides whether the next request may go out.
#[derive(Debug)]
pub struct Breaker {
    window: Window,
    gate: Gate,
    /// How long the circuit stays open when it opens next.
    open_next: Duration,
    /// Counts openings.
    openings: u32,
}

/// That a request may go out; a failure of it is told with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// What failed with an earlier number went out before the circuit opened, and says nothing of what came after.
    openings: u32,
}

/// That no request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shut {
    /// For how long.
    pub retry_in: Duration,
    /// Whether the origin asked for it, which is no failure.
    pub is_asked_for: bool,
}

#[derive(Debug, Clone, Copy)]
enum Gate {
    Closed,
    Open {
        until: Instant,
        is_asked_for: bool,
    },
    Probing {
        since: Instant,
        passed: u32,
    },
    /// There is an origin, which has answered nothing but 5xx since the circuit was open.
    Answering,
}

impl Breaker {
    /// A closed circuit without history.
    pub fn new(now: Instant) -> Self {
        Self { window: Window::new(now), gate: Gate::Closed, open_next: OPEN_FIRST, openings: 0 }
    }

    /// Whether a request may go out; otherwise how long nothing will.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Shut> {
        match self.gate {
            Gate::Closed | Gate::Answering => {}
            Gate::Open { until, is_asked_for } if now < until => {
                return Err(Shut { retry_in: until.saturating_duration_since(now), is_asked_for });
            }
            Gate::Probing { since, passed } if now < since + PROBES_EVERY => {
                if passed >= PROBES {
                    let retry_in = (since + PROBES_EVERY).saturating_duration_since(now);
                    return Err(Shut { retry_in, is_asked_for: false });
                }
                self.gate = Gate::Probing { since, passed: passed + 1 };
            }
            Gate::Open { .. } | Gate::Probing { .. } => self.gate = Gate::Probing { since: now, passed: 1 },
        }
        Ok(Pass { openings: self.openings })
    }

    /// The origin did what it was asked, or said why not.
    pub fn succeeded(&mut self, now: Instant) {
        match self.gate {
            Gate::Closed => {}
            Gate::Answering => self.gate = Gate::Closed,
            Gate::Probing { .. } => {
                self.gate = Gate::Closed;
                self.window.clear();
            }
            // An answer to a request from before the circuit opened.
            Gate::Open { .. } => return,
        }
        self.open_next = OPEN_FIRST;
        self.window.succeeded(now);
    }

    /// The origin answered 5xx, so it is there. Whether that counts is told by [`Breaker::failed`] when nobody asks again.
    pub fn erred(&mut self) {
        match self.gate {
            Gate::Probing { .. } => {
                self.gate = Gate::Answering;
                self.window.clear();
            }
            Gate::Closed | Gate::Answering | Gate::Open { .. } => {}
        }
    }

    /// A request failed for good; `pass` is what its last attempt went out with.
    pub fn failed(&mut self, pass: Pass, fault: Fault, now: Instant) {
        if pass.openings != self.openings {
            return;
        }
        match self.gate {
            Gate::Closed | Gate::Answering => {
                self.window.failed(fault, now);
                let (requests, failures) = self.window.totals();
                if requests >= REQUESTS_MIN && failures * 100 >= requests * FAILURES_PERCENT {
                    self.open(now);
                }
            }
            Gate::Probing { .. } => self.open(now),
            Gate::Open { .. } => {}
        }
    }

    /// The origin asked to be left alone for `pause` (429 with Retry-After); bounded by [`OPEN_MAX`].
    pub fn hold_off(&mut self, now: Instant, pause: Duration) {
        let until = now + pause.min(OPEN_MAX);
        match self.gate {
            Gate::Open { until: already, .. } if already >= until => {}
            Gate::Open { .. } | Gate::Closed | Gate::Probing { .. } | Gate::Answering => {
                self.gate = Gate::Open { until, is_asked_for: true };
                self.openings = self.openings.wrapping_add(1);
            }
        }
    }

    /// What to show.
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.gate {
            Gate::Closed => BreakerState::Closed,
            Gate::Open { until, .. } if now < until => BreakerState::Open,
            Gate::Open { .. } | Gate::Probing { .. } | Gate::Answering => BreakerState::HalfOpen,
        }
    }

    fn open(&mut self, now: Instant) {
        self.gate = Gate::Open { until: now + self.open_next, is_asked_for: false };
        self.open_next = (self.open_next * 2).min(OPEN_MAX);
        self.openings = self.openings.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
