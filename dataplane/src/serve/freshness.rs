//! When an answer that may change is asked for again: a function of its age (RFC 5861's two extensions).

use std::time::{Duration, Instant};

/// Past its lifetime, an answer is still given at once for so long while a newer one is fetched behind it.
pub(crate) const STALE_WHILE_REVALIDATE: Duration = Duration::from_mins(1);
/// After a refresh failed, the old answer is given for so long before the origin is asked again.
pub(crate) const RETRY_AFTER_ERROR: Duration = Duration::from_secs(10);

/// What to do with an answer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Give it.
    Fresh,
    /// Give it, marked stale; the origin failed a moment ago.
    Resting,
    /// Give it, marked stale, and fetch a newer one in the background.
    Revalidate,
    /// Fetch a newer one first; give this one if that fails.
    Expired,
}

/// Judges an answer that is fresh until `fresh_until` and, since a refresh failed, not asked for again before
/// `rest_until`.
pub(crate) fn judge(now: Instant, fresh_until: Instant, rest_until: Instant) -> Freshness {
    if now < fresh_until {
        Freshness::Fresh
    } else if now < rest_until {
        Freshness::Resting
    } else if now < fresh_until + STALE_WHILE_REVALIDATE {
        Freshness::Revalidate
    } else {
        Freshness::Expired
    }
}

/// The moment until which an answer fetched `age` ago is fresh; in the past when it has expired. An age that is
/// negative (the clock was set back) counts as expired: its true age is unknown.
pub(crate) fn fresh_until(now: Instant, age_us: i64, lifetime: Duration) -> Instant {
    match u64::try_from(age_us) {
        Ok(age_us) => {
            let age = Duration::from_micros(age_us);
            match lifetime.checked_sub(age) {
                Some(left) => now + left,
                None => before(now, age.saturating_sub(lifetime)),
            }
        }
        Err(_) => before(now, STALE_WHILE_REVALIDATE * 2),
    }
}

/// `now - by`, or a little before now where the clock does not reach back that far.
fn before(now: Instant, by: Duration) -> Instant {
    now.checked_sub(by.min(STALE_WHILE_REVALIDATE * 2)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ages_through_all_stages() {
        let start = Instant::now();
        let fresh = start + Duration::from_mins(1);
        let at = |seconds| judge(start + Duration::from_secs(seconds), fresh, start);
        assert_eq!(
            [at(0), at(59), at(60), at(119), at(120)],
            [
                Freshness::Fresh,
                Freshness::Fresh,
                Freshness::Revalidate,
                Freshness::Revalidate,
                Freshness::Expired
            ]
        );
        let resting = judge(start + Duration::from_secs(500), fresh, start + Duration::from_secs(505));
        assert_eq!(resting, Freshness::Resting);
    }

    #[test]
    fn a_clock_set_back_makes_nothing_fresh() {
        let now = Instant::now() + Duration::from_secs(1000);
        let lifetime = Duration::from_mins(1);
        assert!(fresh_until(now, -1, lifetime) < now);
        assert_eq!(fresh_until(now, 0, lifetime), now + lifetime);
        assert!(fresh_until(now, i64::MAX, lifetime) < now);
    }
}
