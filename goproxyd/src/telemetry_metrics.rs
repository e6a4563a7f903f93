//! What telemetry itself loses, as metrics: a slow log or trace sink must not slow serving, so it drops and counts.

use common::telemetry::TelemetryCounters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::build::BUILD;

#[derive(Debug)]
struct TelemetryCollector(TelemetryCounters);

impl Collector for TelemetryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let dropped = ConstCounter::new(self.0.dropped_lines());
        let help = "Log lines dropped because the log was not read fast enough";
        dropped.encode(encoder.encode_descriptor("goproxy_log_dropped_lines", help, None, dropped.metric_type())?)
    }
}

/// Registers the counters, and what was built.
pub(crate) fn register(registry: &mut Registry, counters: TelemetryCounters) {
    let built = vec![("version", BUILD.version), ("commit", BUILD.commit), ("rocksdb", BUILD.rocksdb), ("rustc", BUILD.rustc)];
    registry.register("goproxy_build", "What this binary was built from", Info::new(built));
    registry.register_collector(Box::new(TelemetryCollector(counters)));
}
