//! How many bytes may be fetched that nobody has asked for yet. Pure.
//!
//! A build takes the zips of the versions whose `.info` it asked for. Who only looks for updates asks for thousands of `.info`s and takes
//! none: that must neither fill the disk nor keep the link busy. A large module graph is well within the allowance, however fast it comes.

use std::time::{Duration, Instant};

/// What may be fetched at once: several large module graphs.
const BYTES_MAX: u64 = 2 << 30;
/// How fast what was spent is given back.
const BYTES_PER_SECOND: u64 = 8 << 20;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    spent: u64,
    at: Option<Instant>,
}

impl Allowance {
    /// Whether anything is left at `now`.
    pub(crate) fn is_left(&mut self, now: Instant) -> bool {
        self.give_back(now);
        self.spent < BYTES_MAX
    }

    /// So many bytes came. It may be more than was left: how large a zip is shows when it comes.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.give_back(now);
        self.spent = self.spent.saturating_add(bytes);
    }

    fn give_back(&mut self, now: Instant) {
        let since = self.at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let bytes = since.as_micros().saturating_mul(u128::from(BYTES_PER_SECOND)) / 1_000_000;
        self.spent = self.spent.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back_with_time() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.spend(BYTES_MAX - 1, now);
        assert!(allowance.is_left(now));
        allowance.spend(BYTES_PER_SECOND + 1, now);
        assert!(!allowance.is_left(now));
        assert!(!allowance.is_left(now + Duration::from_millis(900)));
        assert!(allowance.is_left(now + Duration::from_secs(2)));
        let later = now + Duration::from_hours(1);
        allowance.spend(BYTES_MAX - 1, later);
        assert!(allowance.is_left(later), "all of it came back");
        allowance.spend(1, later);
        assert!(!allowance.is_left(later), "and no more than all of it");
    }
}
