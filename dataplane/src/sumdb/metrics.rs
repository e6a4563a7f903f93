//! Owns what is counted about the checksum database. No module names.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::SumDbError;

/// What is counted; cheap to clone, every clone counts into the same place.
#[derive(Debug, Clone, Default)]
pub struct SumDbMetrics {
    outcomes: Family<OutcomeLabels, Counter>,
    tree_size: Gauge<u64, AtomicU64>,
    fork_alarm: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    request: &'static str,
    outcome: &'static str,
}

impl SumDbMetrics {
    /// Makes the families known to `registry`, which gives them their prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests to the checksum database, this server's own and its clients', by how they ended",
            self.outcomes.clone(),
        );
        registry.register("tree_size", "Records under the newest verified tree head", self.tree_size.clone());
        registry.register(
            "fork_alarm",
            "1 while two contradicting tree heads are known and no operator has cleared it",
            self.fork_alarm.clone(),
        );
    }

    pub(super) fn finished<T>(&self, request: &'static str, result: &Result<T, SumDbError>) {
        let outcome = result.as_ref().map_or_else(SumDbError::label, |_| "ok");
        self.outcomes.get_or_create(&OutcomeLabels { request, outcome }).inc();
    }

    pub(super) fn head(&self, size: u64) {
        self.tree_size.set(size);
    }

    pub(super) fn alarm(&self, raised: bool) {
        self.fork_alarm.set(i64::from(raised));
    }
}
