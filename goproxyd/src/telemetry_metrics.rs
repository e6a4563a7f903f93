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
        let exports = self.0.exports();
        for (name, help, value) in [
            (
                "goproxy_log_dropped_lines",
                "Log lines dropped because the log was not read fast enough",
                self.0.dropped_lines(),
            ),
            ("goproxy_otlp_exported_spans", "Spans that the OTLP receiver took", exports.exported_spans()),
            (
                "goproxy_otlp_failed_spans",
                "Spans lost because the OTLP receiver was away or refused them",
                exports.failed_spans(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

/// Registers the counters, and what was built.
pub(crate) fn register(registry: &mut Registry, counters: TelemetryCounters) {
    let built = vec![
        ("version", BUILD.version),
        ("commit", BUILD.commit),
        ("rocksdb", BUILD.rocksdb),
        ("rustc", BUILD.rustc),
    ];
    registry.register("goproxy_build", "What this binary was built from", Info::new(built));
    registry.register_collector(Box::new(TelemetryCollector(counters)));
}

#[cfg(test)]
mod tests {
    use std::io;

    use common::telemetry::{LogFormat, Telemetry, TelemetryOptions};

    use super::*;

    #[test]
    fn losses_and_the_build_are_exposed_from_the_start() {
        let directives = "info".parse().unwrap();
        let options = TelemetryOptions { format: LogFormat::Json, colours: false, directives, otlp: None };
        let (_dispatch, telemetry) = Telemetry::build(&options, io::sink()).unwrap();
        let mut registry = Registry::default();
        register(&mut registry, telemetry.counters());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "goproxy_log_dropped_lines_total 0",
            "goproxy_otlp_exported_spans_total 0",
            "goproxy_otlp_failed_spans_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.contains("goproxy_build_info{version="), "{text}");
    }
}
