//! What the server sends to an OTLP receiver beside its spans, and as whom.

use std::sync::Arc;
use std::time::Duration;

use common::telemetry::{OtlpOptions, PUSH_INTERVAL, continue_trace, push_metrics};
use dataplane::http::TraceParent;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::build::BUILD;
use crate::settings::Settings;

/// The longest that the last metrics may take to be sent.
const LAST_PUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where to, and who sends; `None` when nothing is sent.
pub(crate) fn options(settings: &Settings) -> Option<OtlpOptions> {
    let endpoint = settings.otlp_endpoint.clone()?;
    let resource = vec![
        ("service.version", BUILD.version.to_owned()),
        ("service.instance.id", settings.name.clone()),
        ("cloud.region", settings.datacenter.clone()),
        ("cloud.availability_zone", settings.zone.clone()),
    ];
    let (sample_ratio, service_name) = (settings.otlp_sample_ratio, "goproxyd".to_owned());
    Some(OtlpOptions { endpoint, sample_ratio, service_name, resource })
}

/// Continues the traces of clients; `None` when nothing is sent.
pub(crate) fn trace_parent(settings: &Settings) -> Option<TraceParent> {
    settings.otlp_endpoint.is_some().then(|| Arc::new(continue_trace) as TraceParent)
}

/// Metrics on their way to the receiver at intervals.
#[derive(Debug)]
pub(crate) struct MetricsPush {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl MetricsPush {
    /// Begins to send what `exposition` writes.
    pub(crate) fn start(options: OtlpOptions, exposition: impl Fn() -> String + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(push_metrics(options, PUSH_INTERVAL, exposition, stop.clone()));
        Self { stop, task }
    }

    /// Sends a last time, so that what the drain did is not lost.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_PUSH_TIMEOUT, self.task).await.is_err() {
            warn!("the last metrics were not sent before the end");
        }
    }
}
