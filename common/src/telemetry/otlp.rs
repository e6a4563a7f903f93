//! Sending spans to an OTLP receiver over gRPC.
//!
//! A receiver that is away costs nothing but its spans: they wait in a bounded queue and are dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as Export,
};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;

/// Spans that may wait for export.
const QUEUED_SPANS_MAX: usize = 8_192;
/// Spans in one request to the receiver.
const BATCH_SPANS_MAX: usize = 512;
/// The longest a span waits for its batch to fill.
const BATCH_DELAY: Duration = Duration::from_secs(2);
/// The longest that one request to the receiver may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The exporter's own transport: tracing it would make spans of the sending of spans.
const TRANSPORT_TARGETS: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];

/// Where spans are sent, and how many of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpOptions {
    /// The receiver, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Share of traces kept, 0.0 to 1.0, unless the caller's trace context has decided already.
    pub sample_ratio: f64,
    /// `service.name` of every span.
    pub service_name: String,
    /// Further resource attributes, such as `service.instance.id`.
    pub resource: Vec<(&'static str, String)>,
}

/// What became of the spans handed to the exporter.
#[derive(Clone, Debug, Default)]
pub struct ExportCounters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

impl ExportCounters {
    /// Spans that the receiver took.
    pub fn exported_spans(&self) -> u64 {
        self.0.exported.load(Ordering::Relaxed)
    }

    /// Spans lost because the receiver was away or refused them.
    pub fn failed_spans(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    fn record(&self, spans: u64, result: &OTelSdkResult) {
        match result {
            Ok(()) => {
                self.0.exported.fetch_add(spans, Ordering::Relaxed);
                if self.0.failing.swap(false, Ordering::Relaxed) {
                    info!("spans are exported again");
                }
            }
            Err(error) => {
                self.0.failed.fetch_add(spans, Ordering::Relaxed);
                // Once per outage, not once per batch.
                if !self.0.failing.swap(true, Ordering::Relaxed) {
                    warn!(%error, "failed to export spans, they are dropped until the receiver is back");
                }
            }
        }
    }
}

pub(super) fn provider(
    options: &OtlpOptions,
    counters: ExportCounters,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&options.endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(TelemetryError::Exporter)?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUED_SPANS_MAX)
        .with_max_export_batch_size(BATCH_SPANS_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let exporter = Counted { exporter, counters };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let attributes = options.resource.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
    let resource = Resource::builder_empty()
        .with_service_name(options.service_name.clone())
        .with_attributes(attributes)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample_ratio))))
        .with_resource(resource)
        .build())
}

/// The layer that turns `tracing` spans into exported ones.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let tracer = provider.tracer("goproxyd");
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_filter(filter_fn(is_exported).with_max_level_hint(LevelFilter::INFO))
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= LevelFilter::INFO && !TRANSPORT_TARGETS.iter().any(|target| root.starts_with(target))
}

/// Counts what the exporter says of each batch.
#[derive(Debug)]
struct Counted {
    exporter: SpanExporter,
    counters: ExportCounters,
}

impl Export for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        self.counters.record(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
