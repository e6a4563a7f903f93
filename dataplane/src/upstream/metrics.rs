//! Owns what is counted about fetching. No module names: labels are the chain's own entries and fixed words.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::breaker::BreakerState;
use super::error::{FetchError, OriginId};
use super::kind::Kind;

/// Seconds to a response head. From 5 ms (an origin in the same rack) by doublings to the head timeout of a minute: the
/// public mirror answers warm files in tens of milliseconds and cold ones in tens of seconds.
const HEAD_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 60.0];

/// What is counted; cheap to clone, every clone counts into the same place.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    requests: Family<RequestLabels, Counter>,
    head_seconds: Family<OriginLabels, Histogram, fn() -> Histogram>,
    received: Family<OriginLabels, Counter>,
    retries: Family<OriginLabels, Counter>,
    resumes: Family<OriginLabels, Counter>,
    breaker: Family<OriginLabels, Gauge>,
    negative_hits: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    origin: String,
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginLabels {
    origin: String,
}

impl OriginLabels {
    fn of(origin: &OriginId) -> Self {
        Self { origin: origin.as_str().to_owned() }
    }
}

impl Default for UpstreamMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            head_seconds: Family::new_with_constructor(|| Histogram::new(HEAD_SECONDS)),
            received: Family::default(),
            retries: Family::default(),
            resumes: Family::default(),
            breaker: Family::default(),
            negative_hits: Counter::default(),
        }
    }
}

impl UpstreamMetrics {
    /// Makes the families known to `registry`, which gives them their prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Files asked of an origin, by how it ended", self.requests.clone());
        registry.register_with_unit(
            "head",
            "Time from sending a request to its response head",
            Unit::Seconds,
            self.head_seconds.clone(),
        );
        registry.register_with_unit(
            "received",
            "Body bytes read from an origin",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register("retries", "Requests repeated after a failure", self.retries.clone());
        registry.register("resumes", "Zips taken up again after the connection broke", self.resumes.clone());
        registry.register("breaker", "Circuit breaker: 0 closed, 1 half open, 2 open", self.breaker.clone());
        registry.register(
            "negative_hits",
            "Fetches answered from the memory of recent failures",
            self.negative_hits.clone(),
        );
    }

    /// Makes the series of an origin, so that they stand at zero before anything happens.
    pub(super) fn introduce(&self, origin: &OriginId) {
        let labels = OriginLabels::of(origin);
        for family in [&self.received, &self.retries, &self.resumes] {
            drop(family.get_or_create(&labels));
        }
        drop(self.head_seconds.get_or_create(&labels));
        self.breaker(origin, BreakerState::Closed);
    }

    pub(super) fn finished<T>(&self, origin: &OriginId, kind: Kind, result: &Result<T, FetchError>) {
        let outcome = result.as_ref().map_or_else(outcome, |_| "ok");
        let labels = RequestLabels { origin: origin.as_str().to_owned(), kind: kind.label(), outcome };
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn head(&self, origin: &OriginId, took: Duration) {
        self.head_seconds.get_or_create(&OriginLabels::of(origin)).observe(took.as_secs_f64());
    }

    pub(super) fn received(&self, origin: &OriginId, bytes: u64) {
        self.received.get_or_create(&OriginLabels::of(origin)).inc_by(bytes);
    }

    pub(super) fn retried(&self, origin: &OriginId) {
        self.retries.get_or_create(&OriginLabels::of(origin)).inc();
    }

    pub(super) fn resumed(&self, origin: &OriginId) {
        self.resumes.get_or_create(&OriginLabels::of(origin)).inc();
    }

    pub(super) fn breaker(&self, origin: &OriginId, state: BreakerState) {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.breaker.get_or_create(&OriginLabels::of(origin)).set(value);
    }

    pub(super) fn negative_hit(&self) {
        self.negative_hits.inc();
    }
}

fn outcome(error: &FetchError) -> &'static str {
    match error {
        FetchError::NotFound { .. } => "not_found",
        FetchError::Refused { .. } => "refused",
        FetchError::RateLimited { .. } => "rate_limited",
        FetchError::Unavailable { .. } => "unavailable",
        FetchError::Timeout { .. } => "timeout",
        FetchError::TooLarge { .. } => "too_large",
        FetchError::Malformed { .. } => "malformed",
        FetchError::Changed { .. } => "changed",
        FetchError::BadRedirect { .. } => "bad_redirect",
        FetchError::NoOtherOrigin
        | FetchError::Off
        | FetchError::DirectUnavailable
        | FetchError::NoRepository
        | FetchError::NotSmall => "not_asked",
    }
}
