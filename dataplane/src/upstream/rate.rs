//! Owns the slowest pace at which an origin may send a body.
//!
//! Pure. Only time spent waiting for the origin counts, so that a slow consumer is never taken for a slow origin.

use std::time::Duration;

/// Judges a body by the bytes that came within each window of waiting time.
#[derive(Debug, Clone)]
pub struct RateFloor {
    window: Duration,
    bytes_min: u64,
    waited: Duration,
    bytes: u64,
}

impl RateFloor {
    /// At least `bytes_per_second` over each `window` of waiting.
    pub fn new(bytes_per_second: u64, window: Duration) -> Self {
        let bytes_min = bytes_per_second.saturating_mul(window.as_secs().max(1));
        Self { window, bytes_min, waited: Duration::ZERO, bytes: 0 }
    }

    /// `bytes` came after `waited`. False if the window is over and too little came in it.
    #[must_use]
    pub fn received(&mut self, bytes: u64, waited: Duration) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < self.window {
            return true;
        }
        let enough = self.bytes >= self.bytes_min;
        self.waited = Duration::ZERO;
        self.bytes = 0;
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_is_noticed_and_a_slow_line_is_not() {
        let mut drip = RateFloor::new(1_024, Duration::from_mins(1));
        let refused_at = (0..100).find(|_| !drip.received(1, Duration::from_secs(5))).unwrap();
        assert_eq!(refused_at, 11, "sixty seconds of waiting");

        let mut slow = RateFloor::new(1_024, Duration::from_mins(1));
        assert!((0..1_000).all(|_| slow.received(6_000, Duration::from_secs(5))));

        let mut fast = RateFloor::new(1_024, Duration::from_mins(1));
        assert!((0..1_000_000).all(|_| fast.received(1, Duration::ZERO)), "no waiting, no judgement");
    }
}
