//! Making sure once for many who ask at about the same time: a thousand watches that were told of the same change are silent for the same
//! time after it.

use std::time::{Duration, Instant};

use proto::Fault;
use tokio::sync::Mutex;

/// How the last attempt ended, and when.
#[derive(Debug, Default)]
pub(crate) struct Assurance(Mutex<Option<(Instant, Result<(), Fault>)>>);

impl Assurance {
    /// What came of the last attempt, if that ended at most `age_max` ago or while this waited for its turn; else of `attempt`.
    pub(crate) async fn get(
        &self,
        age_max: Duration,
        attempt: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let asked = Instant::now();
        // Held while one attempts it, so that the others have what comes of it.
        let mut last = self.0.lock().await;
        if let Some((ended, result)) = &*last
            && (*ended >= asked || asked.saturating_duration_since(*ended) <= age_max)
        {
            return result.clone();
        }
        let result = attempt.await;
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn who_asks_together_has_one_attempt_whatever_comes_of_it() {
        let fault = || Fault::new(proto::ErrorCode::NoQuorum, "nobody else is there");
        for outcome in [Ok(()), Err(fault())] {
            let (assurance, attempts) = (Assurance::default(), AtomicU32::new(0));
            let ask = || {
                assurance.get(Duration::ZERO, async {
                    attempts.fetch_add(1, Relaxed);
                    tokio::task::yield_now().await;
                    outcome.clone()
                })
            };
            let answers = futures_util::future::join_all((0..100).map(|_| ask())).await;
            assert!(answers.iter().all(|answer| *answer == outcome));
            assert_eq!(attempts.load(Relaxed), 1);
            // waits for: nothing; the clock has to move on, so that what was learnt is old.
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(ask().await, outcome);
            assert_eq!(attempts.load(Relaxed), 2);
            assert_eq!(assurance.get(Duration::from_mins(1), async { unreachable!() }).await, outcome);
        }
    }
}
