//! Owns when and how soon a request to an origin is repeated: jittered exponential backoff under a budget.
//!
//! Pure: time and randomness are arguments. Invariant: over time at most one request in ten is a repetition, so that
//! an origin in trouble is not buried by those who wish it well.

use std::time::{Duration, Instant};

/// Attempts at one request of one origin, the first included.
pub const ATTEMPTS_MAX: u32 = 3;
/// Longest time since the first attempt after which another one is still started.
pub const RETRY_WINDOW: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is waited for; a longer one fails at once, and with 429 opens the breaker for that time.
pub const RETRY_AFTER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest pause before the second attempt; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause before any attempt.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Share of a repetition that each request pays into the budget.
const DEPOSIT: f64 = 0.1;
/// Repetitions that a quiet server earns per second, so that it is not without any.
const TRICKLE_PER_SECOND: f64 = 0.1;
/// Most repetitions that can be saved up.
const SAVED_MAX: f64 = 20.0;

/// The pause before attempt `attempt` (2 is the first repetition). `unit` is random in `0.0..1.0`: the pause lies
/// between half and the whole of the exponential step, so that callers that failed together do not return together.
pub fn backoff(attempt: u32, unit: f64) -> Duration {
    let doublings = attempt.saturating_sub(2).min(16);
    let step = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    step.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
}

/// A token bucket of repetitions, filled by requests.
#[derive(Debug)]
pub struct RetryBudget {
    saved: f64,
    filled_at: Instant,
}

impl RetryBudget {
    /// A full budget.
    pub fn new(now: Instant) -> Self {
        Self { saved: SAVED_MAX, filled_at: now }
    }

    /// A request (not a repetition) goes out.
    pub fn deposit(&mut self, now: Instant) {
        self.trickle(now);
        self.saved = (self.saved + DEPOSIT).min(SAVED_MAX);
    }

    /// Takes one repetition out; false if there is none left.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.trickle(now);
        if self.saved < 1.0 {
            return false;
        }
        self.saved -= 1.0;
        true
    }

    fn trickle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        self.saved = (self.saved + passed.as_secs_f64() * TRICKLE_PER_SECOND).min(SAVED_MAX);
    }
}

/// Reads `Retry-After` in either form (RFC 9110 section 10.2.3): seconds, or a date judged against `now_us`
/// (microseconds since the Unix epoch). A date in the past is no wait at all.
pub fn retry_after(value: &str, now_us: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = time::PrimitiveDateTime::parse(value, format).ok()?.assume_utc();
    let seconds = date.unix_timestamp().saturating_sub(now_us.div_euclid(1_000_000));
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backoff_grows_and_is_jittered() {
        assert_eq!(backoff(2, 0.0), Duration::from_millis(50));
        assert_eq!(backoff(2, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(4, 1.0), Duration::from_millis(400));
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
    }

    #[test]
    fn a_burst_of_failures_is_repeated_at_most_in_one_case_of_ten() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        let repeated = (0..10_000)
            .filter(|_| {
                budget.deposit(now);
                budget.withdraw(now)
            })
            .count();
        assert!((1_000..=1_020).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_quiet_server_earns_repetitions_slowly() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        while budget.withdraw(now) {}
        assert!(!budget.withdraw(now + Duration::from_secs(9)));
        assert!(budget.withdraw(now + Duration::from_secs(11)));
        assert!(!budget.withdraw(now + Duration::from_secs(11)));
    }

    #[test]
    fn retry_after_has_two_forms() {
        let now_us = 784_111_770_000_000;
        assert_eq!(retry_after(" 7 ", now_us), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now_us), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now_us), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now_us), None);
        assert_eq!(retry_after("-3", now_us), None);
    }

    proptest! {
        #[test]
        fn the_budget_never_pays_more_than_it_got(steps in prop::collection::vec((any::<bool>(), 0_u64..50), 0..400)) {
            let start = Instant::now();
            let mut now = start;
            let mut budget = RetryBudget::new(now);
            let (mut requests, mut repeated) = (0_u32, 0_u32);
            for (deposit, gap_ms) in steps {
                now += Duration::from_millis(gap_ms);
                if deposit {
                    requests += 1;
                    budget.deposit(now);
                } else if budget.withdraw(now) {
                    repeated += 1;
                }
            }
            let earned = SAVED_MAX + f64::from(requests) * DEPOSIT
                + (now - start).as_secs_f64() * TRICKLE_PER_SECOND;
            prop_assert!(f64::from(repeated) <= earned + 1e-6);
        }

        #[test]
        fn no_header_panics(value in "\\PC{0,40}", now_us in any::<i64>()) {
            let _ = retry_after(&value, now_us);
        }
    }
}
