//! Reloads of the TLS files and the end of the certificate, as metrics: an expired certificate stops every client at
//! once, and nobody reads logs while all is well.

use std::fmt::Debug;
use std::sync::Arc;

use common::clock::Clock;
use common::tls::ServerTls;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What the metrics are read from when scraped.
trait Certificate: Debug + Send + Sync + 'static {
    /// How often new files were taken up, and how often refused.
    fn reloads_and_refusals(&self) -> (u64, u64);
    /// Seconds since the Unix epoch.
    fn not_after(&self) -> Option<i64>;
}

impl Certificate for ServerTls {
    fn reloads_and_refusals(&self) -> (u64, u64) {
        (self.reloads(), self.refusals())
    }

    fn not_after(&self) -> Option<i64> {
        ServerTls::not_after(self)
    }
}

#[derive(Debug)]
struct TlsCollector<C> {
    certificate: Option<Arc<C>>,
    clock: Arc<dyn Clock>,
}

impl<C: Certificate> Collector for TlsCollector<C> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let certificate = self.certificate.as_deref();
        let (reloads, refusals) = certificate.map_or((0, 0), C::reloads_and_refusals);
        for (name, help, value) in [
            ("goproxy_tls_reloads", "Times new TLS files were taken up", reloads),
            ("goproxy_tls_refused_reloads", "Times new TLS files could not be used", refusals),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let expiry = encoder.encode_descriptor(
            "goproxy_tls_certificate_expiry_seconds",
            "Seconds until the certificate in use, or one of its chain, ends; negative after that",
            None,
            MetricType::Gauge,
        )?;
        // Without TLS the metric has no sample: there is nothing that could end.
        match certificate.and_then(C::not_after) {
            Some(not_after) => ConstGauge::new(not_after - self.clock.now_us() / 1_000_000).encode(expiry),
            None => Ok(()),
        }
    }
}

/// Registers them; without `tls` the counters stay at zero.
pub(crate) fn register(registry: &mut Registry, tls: Option<Arc<ServerTls>>, clock: Arc<dyn Clock>) {
    registry.register_collector(Box::new(TlsCollector { certificate: tls, clock }));
}

#[cfg(test)]
mod tests {
    use common::clock::ManualClock;

    use super::*;

    #[derive(Debug)]
    struct EndsAt(i64);

    impl Certificate for EndsAt {
        fn reloads_and_refusals(&self) -> (u64, u64) {
            (3, 4)
        }

        fn not_after(&self) -> Option<i64> {
            Some(self.0)
        }
    }

    fn exposed(certificate: Option<EndsAt>, clock: &Arc<ManualClock>) -> String {
        let mut registry = Registry::default();
        let (certificate, clock) = (certificate.map(Arc::new), Arc::clone(clock) as _);
        registry.register_collector(Box::new(TlsCollector { certificate, clock }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_time_left_shrinks_and_goes_below_nothing() {
        let clock = Arc::new(ManualClock::new(1_000_000_000));
        let text = exposed(Some(EndsAt(1_500)), &clock);
        for line in [
            "goproxy_tls_reloads_total 3",
            "goproxy_tls_refused_reloads_total 4",
            "goproxy_tls_certificate_expiry_seconds 500",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        clock.set_wall(1_600_000_000);
        let text = exposed(Some(EndsAt(1_500)), &clock);
        assert!(text.contains("\ngoproxy_tls_certificate_expiry_seconds -100\n"), "{text}");
    }

    #[test]
    fn without_tls_nothing_can_end() {
        let text = exposed(None, &Arc::new(ManualClock::new(0)));
        assert!(text.contains("goproxy_tls_reloads_total 0\n"), "{text}");
        assert!(text.contains("# TYPE goproxy_tls_certificate_expiry_seconds gauge\n"), "{text}");
        assert!(!text.contains("\ngoproxy_tls_certificate_expiry_seconds "), "{text}");
    }
}
