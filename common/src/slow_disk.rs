//! Whether a disk is slow, by how long it took to put something on stable storage, one time after the other.

use std::time::Duration;

/// So many that took long, one after the other, make a disk slow …
const SLOW_IN_A_ROW: u32 = 3;
/// … and so many others make it one that is not.
const FAST_IN_A_ROW: u32 = 6;
/// One that is not over after so long needs no others to tell.
pub const HANGS: Duration = Duration::from_secs(10);

/// What it comes to so far. A disk of which nothing is known is not slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowDisk {
    long: Duration,
    is_slow: bool,
    /// The last ones that say otherwise.
    against: u32,
}

impl SlowDisk {
    /// Of a disk of which nothing is known. What takes `long` or longer is slow.
    pub const fn new(long: Duration) -> Self {
        Self { long, is_slow: false, against: 0 }
    }

    /// Whether it is slow.
    pub const fn is_slow(self) -> bool {
        self.is_slow
    }

    /// After one more that took so long.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        let enough = if self.is_slow { FAST_IN_A_ROW } else { SLOW_IN_A_ROW };
        match (took >= self.long) == self.is_slow {
            true => Self { against: 0, ..self },
            false if took >= HANGS || self.against + 1 >= enough => {
                Self { is_slow: !self.is_slow, against: 0, ..self }
            }
            false => Self { against: self.against + 1, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_slow_after(times_ms: &[u64]) -> bool {
        let took = times_ms.iter().map(|took| Duration::from_millis(*took));
        took.fold(SlowDisk::new(Duration::from_millis(400)), SlowDisk::after).is_slow()
    }

    #[test]
    fn a_disk_is_slow_when_it_stays_slow_and_until_it_is_not_for_longer() {
        assert!(!is_slow_after(&[500, 500, 20, 500, 500]));
        assert!(is_slow_after(&[400, 400, 400]));
        assert!(!is_slow_after(&[399, 399, 399]));
        assert!(is_slow_after(&[500, 500, 500, 20, 20, 20, 20, 20]));
        assert!(is_slow_after(&[500, 500, 500, 20, 20, 20, 500, 20, 20, 20]));
        assert!(!is_slow_after(&[500, 500, 500, 20, 20, 20, 20, 20, 20]));
        assert!(is_slow_after(&[20, 10_000]), "it hangs");
    }
}
