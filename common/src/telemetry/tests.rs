//! Log lines as they come out, and spans as an OTLP receiver of our own gets them.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tracing::field::Empty;
use tracing::{debug, info, info_span, warn};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(format: LogFormat, directives: &str) -> TelemetryOptions {
    TelemetryOptions { format, colours: false, directives: directives.parse().unwrap(), otlp: None }
}

/// What `work` logs under `options`.
fn logged(options: &TelemetryOptions, work: impl FnOnce()) -> String {
    let written = Written::default();
    let (dispatch, telemetry) = Telemetry::build(options, written.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, work);
    drop((dispatch, telemetry));
    let bytes = written.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_json_line_has_the_event_and_the_request_it_belongs_to() {
    let line = logged(&options(LogFormat::Json, "warn"), || {
        let request = info_span!("request", request_id = "r-1", path = Empty, status = Empty).entered();
        request.record("path", "/a \"b\"").record("status", 404);
        let empty = info_span!("empty", late = Empty).entered();
        empty.record("late", true);
        let _fetch = info_span!("fetch").entered();
        info!("not at this level");
        warn!(status = 502, "upstream is away");
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("exactly one line of JSON");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "upstream is away");
    assert_eq!(line["status"], 502);
    assert_eq!(line["target"], "common::telemetry::tests");
    assert!(line["timestamp"].is_string());
    let spans = &line["spans"];
    assert_eq!((&spans[0]["request_id"], &spans[0]["name"]), (&"r-1".into(), &"request".into()));
    assert_eq!((&spans[0]["path"], &spans[0]["status"]), (&"/a \"b\"".into(), &404.into()));
    assert_eq!((&spans[1]["late"], &spans[2]["name"]), (&true.into(), &"fetch".into()));
}

#[test]
fn directives_choose_by_target_and_text_has_no_colours_unless_asked() {
    let text = logged(&options(LogFormat::Text, "off,common=debug"), || {
        debug!("seen");
        debug!(target: "other", "unseen");
    });
    assert!(text.contains("DEBUG common::telemetry::tests: seen"), "{text}");
    assert!(!text.contains("unseen") && !text.contains('\u{1b}'), "{text}");
}

/// A writer that is stuck until the test lets go.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_writer_drops_lines_and_never_holds_up_the_program() {
    let (release, stuck): (SyncSender<()>, _) = sync_channel(1);
    let (dispatch, telemetry) = Telemetry::build(&options(LogFormat::Json, "info"), Stuck(stuck)).unwrap();
    let counters = telemetry.counters();
    tracing::dispatcher::with_default(&dispatch, || {
        for number in 0..BUFFERED_LINES_MAX + 10 {
            info!(number, "line");
        }
    });
    // The writer's thread holds one line and perhaps a few more that it had taken out of the buffer.
    assert!((1..=10).contains(&counters.dropped_lines()), "{}", counters.dropped_lines());
    drop(release);
}

/// An OTLP receiver that passes on every span it gets, with its resource attributes.
struct Collector(mpsc::UnboundedSender<(Span, Vec<(String, String)>)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource_spans in request.into_inner().resource_spans {
            let attributes = resource_spans.resource.unwrap_or_default().attributes;
            let attributes: Vec<_> = attributes
                .into_iter()
                .map(|attribute| match attribute.value.and_then(|value| value.value) {
                    Some(Value::StringValue(text)) => (attribute.key, text),
                    other => (attribute.key, format!("{other:?}")),
                })
                .collect();
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.0.send((span, attributes.clone()));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

fn otlp(endpoint: String, sample_ratio: f64) -> TelemetryOptions {
    let otlp = OtlpOptions {
        endpoint,
        sample_ratio,
        service_name: "goproxyd".to_owned(),
        resource: vec![("service.instance.id", "node-1".to_owned())],
    };
    TelemetryOptions { otlp: Some(otlp), ..options(LogFormat::Json, "info") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_at_the_receiver_with_parents_and_resource() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut spans) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Collector(sender));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );

    let (dispatch, telemetry) = Telemetry::build(&otlp(endpoint, 1.0), io::sink()).unwrap();
    let counters = telemetry.counters();
    tracing::dispatcher::with_default(&dispatch, || {
        let _request = info_span!("request", request_id = "r-2").entered();
        let _fetch = info_span!("fetch", module = "example.com/m").entered();
        let _transport = info_span!(target: "h2::client", "not exported").entered();
    });
    telemetry.shutdown(Duration::from_secs(10)).await;

    let mut got = Vec::new();
    while let Ok(span) = spans.try_recv() {
        got.push(span);
    }
    got.sort_by_key(|(span, _)| span.start_time_unix_nano);
    let names: Vec<_> = got.iter().map(|(span, _)| span.name.as_str()).collect();
    assert_eq!(names, ["request", "fetch"]);
    assert_eq!(got[1].0.parent_span_id, got[0].0.span_id);
    assert!(got[1].0.attributes.iter().any(|attribute| attribute.key == "module"));
    assert!(got[0].1.contains(&("service.name".to_owned(), "goproxyd".to_owned())));
    assert!(got[0].1.contains(&("service.instance.id".to_owned(), "node-1".to_owned())));
    assert_eq!((counters.exports().exported_spans(), counters.exports().failed_spans()), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_trace_is_continued_and_what_is_none_is_not() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut spans) = mpsc::unbounded_channel();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Collector(sender)))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    // The ratio of nothing shows that the caller's word to sample is taken.
    let (dispatch, telemetry) = Telemetry::build(&otlp(endpoint, 0.0), io::sink()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        for traceparent in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-01",
            "nonsense \u{e9}",
            "",
        ] {
            let request = info_span!("request", traceparent);
            continue_trace(traceparent, &request);
            drop(request.entered());
        }
    });
    telemetry.shutdown(Duration::from_secs(10)).await;

    let (span, _) = spans.try_recv().unwrap();
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(spans.try_recv().is_err(), "the others are this process's own traces, none of which is kept");
}

/// An OTLP receiver that passes on the names of the metrics in each request.
struct MetricsCollector(mpsc::UnboundedSender<Vec<String>>);

#[tonic::async_trait]
impl MetricsService for MetricsCollector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let names = scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect();
        let _ = self.0.send(names);
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: None }))
    }
}

#[tokio::test]
async fn metrics_are_pushed_at_intervals_and_once_more_at_the_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let options = otlp(format!("http://{}", listener.local_addr().unwrap()), 0.0).otlp.unwrap();
    let (sender, mut pushed) = mpsc::unbounded_channel();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(MetricsCollector(sender)))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let scrape = || "# TYPE app_open gauge\napp_open 3\n# EOF\n".to_owned();
    let stop = CancellationToken::new();
    let pusher = tokio::spawn(push_metrics(options.clone(), Duration::from_millis(1), scrape, stop.clone()));
    assert_eq!(pushed.recv().await.unwrap(), ["app_open"]);
    stop.cancel();
    pusher.await.unwrap();
    while pushed.try_recv().is_ok() {}

    push_metrics(options, Duration::from_hours(1), scrape, stop).await;
    assert_eq!(pushed.try_recv().unwrap(), ["app_open"], "what happened since the last interval is not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_costs_its_spans_and_one_warning() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (dispatch, telemetry) = Telemetry::build(&otlp(endpoint, 1.0), io::sink()).unwrap();
    let counters = telemetry.counters();
    tracing::dispatcher::with_default(&dispatch, || drop(info_span!("request").entered()));
    telemetry.shutdown(Duration::from_secs(10)).await;
    assert_eq!((counters.exports().exported_spans(), counters.exports().failed_spans()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_ratio_of_nothing_no_span_is_exported() {
    let (dispatch, telemetry) =
        Telemetry::build(&otlp("http://127.0.0.1:9".to_owned(), 0.0), io::sink()).unwrap();
    let counters = telemetry.counters();
    tracing::dispatcher::with_default(&dispatch, || drop(info_span!("request").entered()));
    telemetry.shutdown(Duration::from_secs(10)).await;
    assert_eq!((counters.exports().exported_spans(), counters.exports().failed_spans()), (0, 0));
}
