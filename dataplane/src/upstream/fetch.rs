//! Owns the repeating of requests and the fetch of one file from one proxy.
//!
//! Invariants: a repetition is paid for from the budget that all origins share, and starts only within the window after
//! the first attempt; however many attempts a request took, its origin's breaker hears of one failure.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gomod::Request;
use http::HeaderMap;
use parking_lot::Mutex;

use super::bodies::Room;
use super::error::FetchError;
use super::exchange::{HttpOrigin, Wire};
use super::failure::{Again, Blame, End, Failure};
use super::kind::{Kind, Unbelievable, check_small, check_sumdb};
use super::limit::Share;
use super::retry::{ATTEMPTS_MAX, RETRY_WINDOW, RetryBudget, backoff};
use super::zip::HttpZip;

/// What every fetch shares.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) wire: Wire,
    budget: Mutex<RetryBudget>,
}

/// The attempts at one request of one origin.
#[derive(Debug)]
pub(super) struct Attempts {
    made: u32,
    since: Instant,
    /// What the last attempt that went out has to blame the origin for.
    blame: Option<Blame>,
}

impl Attempts {
    pub(super) fn begin(wire: &Wire) -> Self {
        Self { made: 1, since: wire.clock.monotonic(), blame: None }
    }

    fn note(&mut self, end: End) {
        match end {
            End::Answered => self.blame = None,
            End::Failed(blame) => self.blame = Some(blame),
            // What the attempt before ended with is still the last that is known of the origin.
            End::Unasked => {}
        }
    }

    /// Opens the window anew, after a request that went well for a while.
    pub(super) fn restart(&mut self, wire: &Wire) {
        self.since = wire.clock.monotonic();
        self.made = self.made.min(ATTEMPTS_MAX - 1);
    }
}

impl Shell {
    pub(super) fn new(wire: Wire) -> Self {
        let budget = Mutex::new(RetryBudget::new(wire.clock.monotonic()));
        Self { wire, budget }
    }

    /// The first request of a fetch: pays into the budget.
    fn begin(&self) -> Attempts {
        self.budget.lock().deposit(self.wire.clock.monotonic());
        Attempts::begin(&self.wire)
    }

    /// Waits before the next attempt, or gives the error back if there is to be none.
    pub(super) async fn pause(
        &self,
        site: &HttpOrigin,
        attempts: &mut Attempts,
        failure: Failure,
    ) -> Result<(), FetchError> {
        let now = self.wire.clock.monotonic();
        let in_time = now.saturating_duration_since(attempts.since) <= RETRY_WINDOW;
        if failure.again == Again::No || attempts.made >= ATTEMPTS_MAX || !in_time {
            return Err(self.give_up(site, attempts, failure));
        }
        if !self.budget.lock().withdraw(now) {
            tracing::debug!(origin = %site.id, "no retry: the budget is used up");
            return Err(self.give_up(site, attempts, failure));
        }
        attempts.note(failure.end);
        attempts.made += 1;
        let pause = match failure.again {
            Again::After(pause) => pause,
            Again::No | Again::Soon => backoff(attempts.made, rand::random::<f64>()),
        };
        self.wire.metrics.retried(&site.id);
        tracing::debug!(origin = %site.id, error = %failure.error, ?pause, "repeating a request");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The end of a request that failed: what there is to blame the origin for is told to its breaker.
    pub(super) fn give_up(&self, site: &HttpOrigin, attempts: &mut Attempts, failure: Failure) -> FetchError {
        attempts.note(failure.end);
        if let Some(blame) = attempts.blame.take() {
            site.failed(&self.wire, blame);
        }
        failure.error
    }

    /// A small file of a module.
    pub(super) async fn small(&self, site: &HttpOrigin, request: &Request) -> Result<Bytes, FetchError> {
        let kind = Kind::of(request);
        let path = request.to_string();
        let mut attempts = self.begin();
        let result = loop {
            let judged = self.small_once(site, kind, &path).await.and_then(|(body, _room)| {
                check_small(request, &body).map_err(|unbelievable| malformed(site, unbelievable))?;
                Ok(body)
            });
            match judged {
                Ok(body) => break Ok(body),
                Err(failure) => {
                    if let Err(error) = self.pause(site, &mut attempts, failure).await {
                        break Err(error);
                    }
                }
            }
        };
        self.wire.metrics.finished(&site.id, kind, &result);
        result
    }

    /// An answer of a checksum database, which the caller judges but for its being one at all.
    pub(super) async fn plain(&self, site: &HttpOrigin, path: &str) -> Result<Bytes, FetchError> {
        let (kind, mut attempts) = (Kind::Sumdb, self.begin());
        let result = loop {
            let judged = self.small_once(site, kind, path).await.and_then(|(body, _room)| {
                check_sumdb(path, &body).map_err(|unbelievable| malformed(site, unbelievable))?;
                Ok(body)
            });
            match judged {
                Ok(body) => break Ok(body),
                Err(failure) => {
                    if let Err(error) = self.pause(site, &mut attempts, failure).await {
                        break Err(error);
                    }
                }
            }
        };
        self.wire.metrics.finished(&site.id, kind, &result);
        result
    }

    async fn small_once(&self, site: &HttpOrigin, kind: Kind, path: &str) -> Result<(Bytes, Room), Failure> {
        let live = site.open(&self.wire, Share::Small, path, HeaderMap::new()).await?;
        site.read_small(&self.wire, live, kind.bytes_max()).await
    }

    /// A zip whose first bytes have come.
    pub(super) async fn zip(
        self: &Arc<Self>,
        site: &Arc<HttpOrigin>,
        path: &str,
    ) -> Result<HttpZip, FetchError> {
        let mut attempts = self.begin();
        let result = loop {
            match HttpZip::open(self, site, path).await {
                Ok(zip) => break Ok(zip),
                Err(failure) => {
                    if let Err(error) = self.pause(site, &mut attempts, failure).await {
                        break Err(error);
                    }
                }
            }
        };
        self.wire.metrics.finished(&site.id, Kind::Zip, &result);
        result
    }
}

fn malformed(site: &HttpOrigin, unbelievable: Unbelievable) -> Failure {
    Failure::last(FetchError::Malformed {
        expected: unbelievable.expected,
        detail: unbelievable.detail,
        origin: site.id.clone(),
    })
}
