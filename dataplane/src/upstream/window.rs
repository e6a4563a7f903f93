//! Owns the count of how requests to one origin ended within the last seconds.
//!
//! Pure: time is an argument. Invariants: what may be one module's fault counts once for it, so that no single module makes
//! an origin look broken, however often it is asked for; bounded in memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Length of one slot of the window.
const SLOT: Duration = Duration::from_secs(1);
/// Slots in the window: what is older than this many seconds is forgotten.
const SLOTS: usize = 10;
/// Subjects remembered. Beyond so many within the window it matters little whether one is counted twice.
const SUBJECTS_MAX: usize = 64;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection came about: it would have failed whatever was asked for.
    Unreached,
    /// The origin answered 5xx, broke off or took too long, which may be for what was asked for: a hash of that.
    Over(u32),
}

/// Counts over the last seconds.
#[derive(Debug)]
pub struct Window {
    slots: [Slot; SLOTS],
    slot_number: u64,
    epoch: Instant,
    /// What failed within the window, the oldest first.
    subjects: VecDeque<Subject>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    requests: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Subject {
    hash: u32,
    slot_number: u64,
}

impl Window {
    /// Nothing counted yet.
    pub fn new(now: Instant) -> Self {
        Self { slots: [Slot::default(); SLOTS], slot_number: 0, epoch: now, subjects: VecDeque::new() }
    }

    /// Forgets what was counted.
    pub fn clear(&mut self) {
        self.slots = [Slot::default(); SLOTS];
        self.subjects.clear();
    }

    /// A request ended well.
    pub fn succeeded(&mut self, now: Instant) {
        self.count(now, false);
    }

    /// A request failed.
    pub fn failed(&mut self, fault: Fault, now: Instant) {
        self.advance(now);
        if let Fault::Over(hash) = fault {
            if self.subjects.iter().any(|subject| subject.hash == hash) {
                return;
            }
            if self.subjects.len() == SUBJECTS_MAX {
                self.subjects.pop_front();
            }
            self.subjects.push_back(Subject { hash, slot_number: self.slot_number });
        }
        self.count(now, true);
    }

    /// Requests that ended, and those of them that failed.
    pub fn totals(&self) -> (u32, u32) {
        self.slots
            .iter()
            .fold((0, 0), |(requests, failures), slot| (requests + slot.requests, failures + slot.failures))
    }

    fn count(&mut self, now: Instant, failure: bool) {
        self.advance(now);
        let index = (self.slot_number % SLOTS as u64) as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.requests = slot.requests.saturating_add(1);
            slot.failures = slot.failures.saturating_add(u32::from(failure));
        }
    }

    fn advance(&mut self, now: Instant) {
        let number = now.saturating_duration_since(self.epoch).as_secs() / SLOT.as_secs();
        let passed = number.saturating_sub(self.slot_number).min(SLOTS as u64);
        for step in 1..=passed {
            let index = ((self.slot_number + step) % SLOTS as u64) as usize;
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = Slot::default();
            }
        }
        self.slot_number = self.slot_number.max(number);
        let now_number = self.slot_number;
        self.subjects.retain(|subject| now_number - subject.slot_number < SLOTS as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_secs(SLOTS as u64);

    #[test]
    fn what_is_old_is_forgotten() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.failed(Fault::Unreached, now);
        window.succeeded(now + SLOT);
        assert_eq!(window.totals(), (2, 1));
        window.succeeded(now + WHOLE);
        assert_eq!(window.totals(), (2, 0));
        window.failed(Fault::Unreached, now + 10 * WHOLE);
        assert_eq!(window.totals(), (1, 1));
        window.clear();
        assert_eq!(window.totals(), (0, 0));
    }

    #[test]
    fn one_subject_counts_once_and_no_connection_each_time() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for _ in 0..5 {
            window.failed(Fault::Over(1), now);
            window.failed(Fault::Over(2), now + SLOT);
        }
        assert_eq!(window.totals(), (2, 2));
        window.failed(Fault::Over(1), now + WHOLE);
        assert_eq!(window.totals(), (2, 2), "the first count of it was forgotten, and it is counted anew");
        window.failed(Fault::Unreached, now + WHOLE);
        window.failed(Fault::Unreached, now + WHOLE);
        assert_eq!(window.totals(), (4, 4));
    }

    #[test]
    fn subjects_are_bounded_in_number() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for hash in 0..10_000 {
            window.failed(Fault::Over(hash), now);
        }
        assert_eq!(window.subjects.len(), SUBJECTS_MAX);
        assert_eq!(window.totals(), (10_000, 10_000));
    }
}
