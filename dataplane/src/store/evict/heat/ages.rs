//! How far the clock can be believed: pure. One that is set far ahead makes everything old at once, and what is removed for its
//! age does not come back when the clock is put right.

use std::time::{Duration, Instant};

/// Nothing in use is without a sign of it for longer: a clock that says so may be wrong.
const GAP_MAX_US: i64 = 7 * 24 * 3_600_000_000;
/// A clock that was not set for so long is believed all the same: what was switched off for long is to be cleaned in the end.
const STEADY: Duration = Duration::from_hours(6);
/// One that was not set for so long is right, and not one that has still to catch up.
const RIGHT: Duration = Duration::from_hours(7 * 24);
/// The clocks part by more than this only when one is set.
const DRIFT_MAX_US: u64 = 10 * 60_000_000;

/// What can be believed of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// Nothing: it may be far ahead.
    Nothing,
    /// What it says of ages. Times that it has not reached may be right: perhaps it is behind.
    Ages,
    /// That it is right, and whatever comes later is not.
    All,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Ages {
    /// The latest time that is known to have been: what is stored tells of it, or a clock that was believed.
    known_us: i64,
    /// Wall and monotonic clock when they began to go together.
    since: (i64, Instant),
}

impl Ages {
    /// At a start; `newest_us` is the latest time that is stored.
    pub(super) fn new(newest_us: Option<i64>, now_us: i64, monotonic: Instant) -> Self {
        Self { known_us: newest_us.unwrap_or(now_us), since: (now_us, monotonic) }
    }

    /// Takes note of the clocks.
    pub(super) fn look(&mut self, now_us: i64, monotonic: Instant) -> Belief {
        let (began_us, began) = self.since;
        let mut went = monotonic.saturating_duration_since(began);
        let went_us = i64::try_from(went.as_micros()).unwrap_or(i64::MAX);
        if now_us.saturating_sub(began_us).abs_diff(went_us) > DRIFT_MAX_US {
            self.since = (now_us, monotonic);
            went = Duration::ZERO;
        }
        let ahead_us = now_us.saturating_sub(self.known_us);
        if went < STEADY && ahead_us > GAP_MAX_US {
            return Belief::Nothing;
        }
        if went >= STEADY || ahead_us > 0 {
            self.known_us = now_us;
        }
        if went < RIGHT { Belief::Ages } else { Belief::All }
    }
}

#[cfg(test)]
mod tests {
    use super::Belief::{Ages as Aged, All, Nothing};
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;
    const DAY_US: i64 = 24 * HOUR_US;

    /// Starts on day 1000 with a wall clock that is so far off; each look is so many hours later, with the wall clock so far off.
    fn looks(newest_us: Option<i64>, off_us: i64, looks: &[(u32, i64)]) -> Vec<Belief> {
        let (start_us, start) = (1000 * DAY_US, Instant::now());
        let mut ages = Ages::new(newest_us, start_us + off_us, start);
        let look = |&(hours, off_us): &(u32, i64)| {
            let now_us = start_us + i64::from(hours) * HOUR_US + off_us;
            ages.look(now_us, start + Duration::from_hours(hours.into()))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn ages_hold_at_once_after_a_short_stop() {
        let at = [(0, 0), (1, 0), (7 * 24, 0)];
        assert_eq!(looks(Some(999 * DAY_US), 0, &at), [Aged, Aged, All]);
        assert_eq!(looks(None, 0, &at), [Aged, Aged, All], "nothing is stored");
        assert_eq!(looks(Some(1100 * DAY_US), 0, &at), [Aged, Aged, All], "the clock was ahead before");
    }

    #[test]
    fn ages_hold_after_a_long_stop_when_the_clock_was_steady_for_hours() {
        let at = [(0, 0), (5, 0), (6, 0), (7, 0)];
        assert_eq!(looks(Some(900 * DAY_US), 0, &at), [Nothing, Nothing, Aged, Aged]);
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_is_believed_when_it_is_put_right() {
        let ahead = 100 * DAY_US;
        let at = [(0, ahead), (1, ahead), (2, 0), (3, 0)];
        assert_eq!(looks(Some(999 * DAY_US), ahead, &at), [Nothing, Nothing, Aged, Aged]);
    }

    #[test]
    fn a_clock_that_is_behind_at_the_start_is_believed_when_it_is_put_right() {
        let behind = -1000 * DAY_US;
        let at = [(0, behind), (5, behind), (6, 0)];
        assert_eq!(looks(Some(999 * DAY_US), behind, &at), [Aged, Aged, Aged]);
    }

    #[test]
    fn a_clock_that_is_set_far_ahead_is_not_believed_for_hours() {
        let ahead = 100 * DAY_US;
        let at = [(0, 0), (9, 0), (10, ahead), (15, ahead), (16, ahead)];
        assert_eq!(looks(None, 0, &at), [Aged, Aged, Nothing, Nothing, Aged]);
        let at = [(0, 0), (1, DAY_US), (2, -ahead), (3, -ahead)];
        assert_eq!(looks(None, 0, &at), [Aged; 4], "a little, and back");
    }
}
