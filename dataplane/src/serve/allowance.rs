//! How many bytes may be fetched that nobody has asked for yet. Pure.
//!
//! A build takes the zips of the versions whose `.info` it asked for. Who only looks for updates asks for thousands of `.info`s and takes
//! none: that must neither fill the disk nor keep the link busy. A large module graph is well within the allowance, however fast it comes.

use std::time::{Duration, Instant};

/// What zips may take at once: those of several large module graphs; and how fast what was spent is given back.
const ZIPS_MAX: u64 = 2 << 30;
const ZIPS_PER_SECOND: u64 = 8 << 20;
/// The same for small files: a large module graph has some MB of them, but a go.mod may have 16 MiB.
const SMALL_MAX: u64 = 64 << 20;
const SMALL_PER_SECOND: u64 = 1 << 20;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Allowance {
    bytes_max: u64,
    bytes_per_second: u64,
    spent: u64,
    at: Option<Instant>,
}

impl Allowance {
    /// Nothing of it is spent yet.
    pub(crate) fn for_zips() -> Self {
        Self { bytes_max: ZIPS_MAX, bytes_per_second: ZIPS_PER_SECOND, spent: 0, at: None }
    }

    /// Nothing of it is spent yet.
    pub(crate) fn for_small_files() -> Self {
        Self { bytes_max: SMALL_MAX, bytes_per_second: SMALL_PER_SECOND, spent: 0, at: None }
    }

    /// Whether anything is left at `now`.
    pub(crate) fn is_left(&mut self, now: Instant) -> bool {
        self.give_back(now);
        self.spent < self.bytes_max
    }

    /// So many bytes came. It may be more than was left: how large a file is shows when it comes.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.give_back(now);
        self.spent = self.spent.saturating_add(bytes);
    }

    fn give_back(&mut self, now: Instant) {
        let since = self.at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let bytes = since.as_micros().saturating_mul(u128::from(self.bytes_per_second)) / 1_000_000;
        self.spent = self.spent.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back_with_time() {
        for new in [Allowance::for_zips, Allowance::for_small_files] {
            comes_back(new());
        }
    }

    fn comes_back(mut allowance: Allowance) {
        let (max, second, now) = (allowance.bytes_max, allowance.bytes_per_second, Instant::now());
        allowance.spend(max - 1, now);
        assert!(allowance.is_left(now));
        allowance.spend(second + 1, now);
        assert!(!allowance.is_left(now));
        assert!(!allowance.is_left(now + Duration::from_millis(900)));
        assert!(allowance.is_left(now + Duration::from_secs(2)));
        let later = now + Duration::from_hours(1);
        allowance.spend(max - 1, later);
        assert!(allowance.is_left(later), "all of it came back");
        allowance.spend(1, later);
        assert!(!allowance.is_left(later), "and no more than all of it");
    }
}
