//! What the HTTP side counts. Labels are kinds and classes, never module paths.

use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::reaper::Verdict;
use crate::serve::tag::{Cache, Kind, Tag};

/// Upper bounds in seconds: a hit takes tens of microseconds, a cold zip through a slow origin minutes.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: &'static str,
    cache: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Counters of one kind of request, looked up once so that a request costs two additions and no hashing.
#[derive(Debug)]
struct KindCounters {
    seconds: Histogram,
    sent_bytes: Counter,
    requests: [[OnceLock<Counter>; CLASSES.len()]; Cache::ALL.len()],
}

/// The HTTP side's metric families.
#[derive(Debug)]
pub struct HttpFamilies {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    sent_bytes: Family<KindLabels, Counter>,
    closed: Family<ReasonLabels, Counter>,
    by_kind: Vec<KindCounters>,
    /// Answers being made or sent.
    pub in_flight: Gauge,
    /// Open client connections.
    pub connections: Gauge,
    /// HTTP/2 streams reset because their client took too little.
    pub streams_reset: Counter,
    /// Requests refused because too many were in flight.
    pub shed: Counter,
    /// Answers that broke off after their head was sent.
    pub broken: Counter,
}

impl Default for HttpFamilies {
    fn default() -> Self {
        let seconds = Family::<KindLabels, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(SECONDS)
        });
        let sent_bytes = Family::<KindLabels, Counter>::default();
        let by_kind = Kind::ALL
            .into_iter()
            .map(|kind| {
                let labels = KindLabels { kind: kind.as_str() };
                KindCounters {
                    seconds: seconds.get_or_create(&labels).clone(),
                    sent_bytes: sent_bytes.get_or_create(&labels).clone(),
                    requests: Default::default(),
                }
            })
            .collect();
        Self {
            requests: Family::default(),
            seconds,
            sent_bytes,
            closed: Family::default(),
            by_kind,
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            streams_reset: Counter::default(),
            shed: Counter::default(),
            broken: Counter::default(),
        }
    }
}

impl HttpFamilies {
    /// Registers everything under the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Answers by kind, where they were found, and status class",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request",
            "Time from a complete request head to the end of the answer (to its head for answers from memory)",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Body bytes handed to clients",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register("in_flight", "Answers being made or sent", self.in_flight.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register(
            "connections_closed",
            "Connections closed by this server, by reason",
            self.closed.clone(),
        );
        registry.register(
            "streams_reset",
            "HTTP/2 streams reset because their client took too little of the answer",
            self.streams_reset.clone(),
        );
        registry.register("shed", "Requests refused because too many were in flight", self.shed.clone());
        registry.register("broken", "Answers that broke off after their head was sent", self.broken.clone());
        for verdict in [Verdict::SlowHead, Verdict::Idle, Verdict::SlowReader, Verdict::MadeRoom] {
            // Looked up once, so that it is exposed as zero before the first one.
            drop(self.closed.get_or_create(&ReasonLabels { reason: reason(verdict) }));
        }
    }

    /// Counts one answer.
    pub fn answered(&self, tag: Tag, status: http::StatusCode, seconds: f64, sent_bytes: u64) {
        let Some(counters) = self.by_kind.get(tag.kind as usize) else { return };
        counters.seconds.observe(seconds);
        counters.sent_bytes.inc_by(sent_bytes);
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        let (Some(slot), Some(name)) =
            (counters.requests.get(tag.cache as usize).and_then(|row| row.get(class)), CLASSES.get(class))
        else {
            return;
        };
        slot.get_or_init(|| {
            let labels = RequestLabels { kind: tag.kind.as_str(), cache: tag.cache.as_str(), class: name };
            self.requests.get_or_create(&labels).clone()
        })
        .inc();
    }

    /// Answers so far to those who ask for modules.
    pub fn answers(&self) -> u64 {
        let kinds = Kind::ALL.into_iter().zip(&self.by_kind).filter(|(kind, _)| *kind != Kind::Health);
        let counters = kinds.flat_map(|(_, counters)| counters.requests.iter().flatten());
        counters.filter_map(OnceLock::get).map(Counter::get).sum()
    }

    /// Counts a connection that was closed for this reason.
    pub fn closed(&self, verdict: Verdict) {
        self.closed.get_or_create(&ReasonLabels { reason: reason(verdict) }).inc();
    }
}

fn reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::SlowHead => "slow_head",
        Verdict::Idle => "idle",
        Verdict::SlowReader => "slow_reader",
        Verdict::MadeRoom => "made_room",
    }
}
