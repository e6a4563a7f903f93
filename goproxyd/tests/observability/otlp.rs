//! Traces and metrics of one request, as an OTLP receiver gets them, and the log lines beside them.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::bed::{MOD, Server};
use super::receiver::{self, attribute};

/// A caller's span, sampled by the caller.
const TRACEPARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const CALLER: u64 = 0xb7ad_6b71_6920_3331;

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_its_fetch_arrive_as_one_trace_and_its_counters_too() {
    let (address, received) = receiver::start().await;
    let endpoint = format!("--otlp-endpoint=http://{address}");
    // Only what the caller wants sampled is.
    let server = Server::start(&[&endpoint, "--otlp-sample-ratio=0", "--sumdb=off"]);
    let headers = format!("X-Request-Id: r-1\r\n{TRACEPARENT}");
    assert_eq!(server.get(MOD, &headers), 200);
    assert_eq!(server.get(MOD, &headers), 200, "from memory");
    assert_eq!(server.get("/example.com/none/@v/list", &headers), 404);
    assert_eq!(server.get("/healthz", &headers), 200);
    server.stop();

    let spans = received.spans();
    let requests = named(&spans, "request");
    assert_eq!(requests.len(), 2, "hits in memory and health checks have no span: {spans:?}");
    let request = requests[0];
    assert_eq!(request.trace_id, TRACE.to_be_bytes());
    assert_eq!(request.parent_span_id, CALLER.to_be_bytes());
    for (key, value) in [("request_id", "r-1"), ("method", "GET"), ("path", &MOD[1..]), ("status", "200")] {
        assert_eq!(attribute(&request.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&requests[1].attributes, "status").as_deref(), Some("404"));

    let fetches = named(&spans, "fetch");
    assert_eq!(fetches.len(), 2, "{spans:?}");
    for (request, fetch) in requests.iter().zip(fetches) {
        assert_eq!(fetch.trace_id, TRACE.to_be_bytes());
        assert_eq!(fetch.parent_span_id, request.span_id);
    }

    // The last sending comes after the drain, so all answers are in it.
    let Some(Data::Sum(sum)) = received.metric("goproxy_http_requests").unwrap().data else {
        unreachable!("a counter is a sum")
    };
    let count = |class: &str| -> f64 {
        let points = sum.data_points.iter();
        let of_class = points.filter(|point| attribute(&point.attributes, "class").as_deref() == Some(class));
        of_class.map(|point| if let Some(Value::AsDouble(value)) = point.value { value } else { 0.0 }).sum()
    };
    assert!((count("2xx") - 3.0).abs() < 0.1 && (count("4xx") - 1.0).abs() < 0.1, "{sum:?}");
    assert!(received.metric("goproxy_store_records").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_node_sends_its_metrics_too() {
    let (address, received) = receiver::start().await;
    let server = Server::start_control(&[&format!("--otlp-endpoint=http://{address}")]);
    server.stop();
    for name in ["goproxy_control_members", "process_threads"] {
        assert!(received.metric(name).is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_callers_trace_the_ratio_decides() {
    let (address, received) = receiver::start().await;
    let endpoint = format!("--otlp-endpoint=http://{address}");
    for (ratio, traced) in [("0", 0), ("1", 1)] {
        let server = Server::start(&[&endpoint, &format!("--otlp-sample-ratio={ratio}"), "--sumdb=off"]);
        assert_eq!(server.get(MOD, ""), 200);
        server.stop();
        assert_eq!(named(&received.spans(), "request").len(), traced, "{ratio}");
    }
}

#[test]
fn log_lines_of_a_fetch_name_the_request_that_began_it() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let sumdb = format!("--sumdb=sum.golang.org http://{closed}");
    let server = Server::start(&[&sumdb, "--sumdb-unavailable=serve"]);
    assert_eq!(server.get(MOD, "X-Request-Id: r-2\r\n"), 200);
    let log = server.stop();
    let line = log.iter().find(|line| line.contains("could not vouch for")).expect("a warning");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["spans"][0]["name"], "request");
    assert_eq!(line["spans"][0]["request_id"], "r-2");
    assert_eq!(line["spans"][0]["path"], MOD[1..]);
    assert_eq!(line["spans"][1]["name"], "fetch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_span_of_a_request_for_a_private_module_does_not_name_it() {
    let (address, received) = receiver::start().await;
    let endpoint = format!("--otlp-endpoint=http://{address}");
    let server = Server::start(&[&endpoint, "--sumdb=off", "--private=example.com"]);
    assert_eq!(server.get(MOD, TRACEPARENT), 503);
    server.stop();
    let spans = received.spans();
    assert_eq!(attribute(&named(&spans, "request")[0].attributes, "status").as_deref(), Some("503"));
    assert!(!format!("{spans:?}").contains("example.com"), "{spans:?}");
}
