//! Sending metrics to an OTLP receiver over gRPC, at intervals and once more at the end.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use super::OtlpOptions;
use super::exposition::{Span, attribute, metrics};
use crate::clock::{Clock, SystemClock};

/// How often metrics are sent; the interval of most collectors.
pub const PUSH_INTERVAL: Duration = Duration::from_mins(1);

/// The longest that one sending may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what `scrape` gives, in the OpenMetrics text format, every `interval`, and a last time at `stop`. Run it as a
/// task of its own. A receiver that is away is warned of once; cumulative values make up for what it missed.
pub async fn push_metrics(
    options: OtlpOptions,
    interval: Duration,
    scrape: impl Fn() -> String + Send,
    stop: CancellationToken,
) {
    let endpoint = match Endpoint::from_shared(options.endpoint.clone()) {
        Ok(endpoint) => endpoint.timeout(PUSH_TIMEOUT).connect_timeout(PUSH_TIMEOUT),
        Err(error) => return warn!(%error, "metrics are not sent, the receiver's address is no URL"),
    };
    let mut client = MetricsServiceClient::new(endpoint.connect_lazy());
    let start = now();
    let mut failing = false;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset(); // the first sending is worth it only after something has happened
    loop {
        let last = stop.run_until_cancelled(ticks.tick()).await.is_none();
        let sent = send(&mut client, &options, &scrape(), start).await;
        match (&sent, failing) {
            (Err(error), false) => warn!(%error, "failed to send metrics to the OTLP receiver"),
            (Ok(()), true) => info!("metrics are sent again"),
            _ => {}
        }
        failing = sent.is_err();
        if last {
            return;
        }
    }
}

async fn send(
    client: &mut MetricsServiceClient<Channel>,
    options: &OtlpOptions,
    text: &str,
    start: u64,
) -> Result<(), tonic::Status> {
    let mut attributes = vec![attribute("service.name", &options.service_name)];
    attributes.extend(options.resource.iter().map(|(name, value)| attribute(name, value)));
    let scope =
        ScopeMetrics { metrics: metrics(text, Span { start, now: now() }), ..ScopeMetrics::default() };
    let resource = Some(Resource { attributes, ..Resource::default() });
    let metrics = ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() };
    client.export(ExportMetricsServiceRequest { resource_metrics: vec![metrics] }).await?;
    Ok(())
}

fn now() -> u64 {
    u64::try_from(SystemClock.now_us()).unwrap_or(0).saturating_mul(1_000)
}
