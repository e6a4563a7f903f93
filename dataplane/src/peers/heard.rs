//! When something last came over a connection. Where many answers share a narrow link, each is silent while others pass: that is no sign that
//! whoever sends them is gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Heard {
    since: Instant,
    last_ms: AtomicU64,
}

impl Heard {
    /// A connection of which nothing has been heard before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, last_ms: AtomicU64::new(0) }
    }

    /// Something came at `now`.
    pub(super) fn note(&self, now: Instant) {
        self.last_ms.fetch_max(self.ms(now), Relaxed);
    }

    /// Whether nothing has come for `time` at `now`.
    pub(super) fn is_silent(&self, time: Duration, now: Instant) -> bool {
        Duration::from_millis(self.ms(now).saturating_sub(self.last_ms.load(Relaxed))) >= time
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_anything_is_not_silent() {
        let start = Instant::now();
        let (heard, second) = (Heard::new(start), Duration::from_secs(1));
        assert!(!heard.is_silent(3 * second, start + 2 * second));
        assert!(heard.is_silent(3 * second, start + 3 * second), "it never said anything");
        heard.note(start + 2 * second);
        assert!(!heard.is_silent(3 * second, start + 4 * second));
        heard.note(start + second);
        assert!(heard.is_silent(3 * second, start + 5 * second), "an older word takes the place of none");
    }
}
