//! Log output and the export of traces and metrics: one subscriber for the process, set up once by the binary.
//!
//! Log lines go through a bounded buffer to a thread of their own, so that a slow terminal or disk never holds up
//! a request; lines that do not fit are dropped and counted. Spans go to an OTLP receiver only when asked.
//! This module does not decide what is logged; that is each caller's.

mod directives;
mod exposition;
mod otlp;
mod push;
mod span_fields;
#[cfg(test)]
mod tests;
mod trace_context;

use std::fmt;
use std::io::Write;
use std::time::Duration;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as text};

pub use directives::{DirectivesError, LogDirectives};
pub use otlp::{ExportCounters, OtlpOptions};
pub use push::{PUSH_INTERVAL, push_metrics};
use span_fields::SpanFields;
pub use trace_context::continue_trace;

/// Log lines that may wait to be written; at 300 bytes a line this is about 5 MB.
const BUFFERED_LINES_MAX: usize = 16_384;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What the process logs and exports.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// Text or JSON.
    pub format: LogFormat,
    /// Colours in text lines; only for a terminal.
    pub colours: bool,
    /// Which events are logged.
    pub directives: LogDirectives,
    /// Where spans are sent, if anywhere.
    pub otlp: Option<OtlpOptions>,
}

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The exporter refused its options.
    #[error("set up the OTLP exporter")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber was set before.
    #[error("set the process's subscriber")]
    AlreadySet(#[source] tracing::dispatcher::SetGlobalDefaultError),
}

/// Keeps logging and export alive; dropping it writes the lines still buffered.
pub struct Telemetry {
    counters: TelemetryCounters,
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
    // Last, so that what the export says while it ends is still written.
    _lines: WorkerGuard,
}

/// What got lost on the way out, for the metrics endpoint.
#[derive(Clone, Debug)]
pub struct TelemetryCounters {
    lines: ErrorCounter,
    exports: ExportCounters,
}

impl Telemetry {
    /// Sets up logging to `writer` and, when asked, export. With OTLP it needs a multi-threaded tokio runtime.
    pub fn install(
        options: &TelemetryOptions,
        writer: impl Write + Send + 'static,
    ) -> Result<Self, TelemetryError> {
        let (dispatch, telemetry) = Self::build(options, writer)?;
        tracing::dispatcher::set_global_default(dispatch).map_err(TelemetryError::AlreadySet)?;
        Ok(telemetry)
    }

    /// As [`Telemetry::install`], but the subscriber is returned and not made the process's.
    pub fn build(
        options: &TelemetryOptions,
        writer: impl Write + Send + 'static,
    ) -> Result<(Dispatch, Self), TelemetryError> {
        let (lines, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(BUFFERED_LINES_MAX)
            .lossy(true)
            .thread_name("log-writer")
            .finish(writer);
        let counters = TelemetryCounters { lines: lines.error_counter(), exports: ExportCounters::default() };
        let provider = match &options.otlp {
            Some(otlp) => Some(otlp::provider(otlp, counters.exports.clone())?),
            None => None,
        };
        let log = log_layer(options, lines).with_filter(
            // Spans stay on at every log level: a warning without its request id is of little use. With the hint, whatever is
            // below both filters is off for good, instead of being judged at every frame of HTTP/2.
            filter_fn(is_span_of_interest)
                .with_max_level_hint(LevelFilter::INFO)
                .or(options.directives.filter()),
        );
        let subscriber = Registry::default().with(log).with(provider.as_ref().map(otlp::layer));
        Ok((Dispatch::new(subscriber), Self { counters, provider, _lines: guard }))
    }

    /// A handle for reading the counters, good for as long as the process lives.
    pub fn counters(&self) -> TelemetryCounters {
        self.counters.clone()
    }

    /// Sends the spans and writes the lines that are still buffered, taking at most `bound` for the spans.
    pub async fn shutdown(self, bound: Duration) {
        let Some(provider) = self.provider.clone() else { return };
        // It blocks while the runtime's other threads do the sending.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(bound));
        if !matches!(tokio::time::timeout(bound, flush).await, Ok(Ok(Ok(())))) {
            tracing::warn!("some spans were not exported before the end");
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl TelemetryCounters {
    /// Log lines dropped because the buffer was full.
    pub fn dropped_lines(&self) -> u64 {
        self.lines.dropped_lines() as u64
    }

    /// What became of spans handed to the exporter.
    pub fn exports(&self) -> &ExportCounters {
        &self.exports
    }
}

fn log_layer<S>(options: &TelemetryOptions, lines: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = text::layer().with_writer(lines).log_internal_errors(false);
    match options.format {
        LogFormat::Text => layer.with_ansi(options.colours).boxed(),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(true);
            layer.fmt_fields(SpanFields::default()).boxed()
        }
    }
}

fn is_span_of_interest(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= LevelFilter::INFO
}
