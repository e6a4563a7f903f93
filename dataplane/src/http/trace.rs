//! The span of a request that is not answered from memory: what it asks for, how it ended, and whose trace it is
//! part of. Log lines written inside carry its fields.
//!
//! Knows nothing of how traces are exported; who does hands in a [`TraceParent`].

use std::sync::Arc;

use http::Response;
use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use super::body::Body;
use super::inbound::Inbound;
use super::router::kind_of;
use crate::serve::ServeError;
use crate::serve::tag::Kind;

/// Makes a new span, not yet entered, part of the trace that the value of a `traceparent` header names (W3C Trace
/// Context). What is no such value it leaves alone.
pub type TraceParent = Arc<dyn Fn(&str, &Span) + Send + Sync>;

/// A span for `inbound`; none for health checks, which come by the second. Its path is added by [`record_path`] by whoever
/// knows that it may be shown.
pub(crate) fn request_span(inbound: &Inbound, trace_parent: Option<&TraceParent>) -> Span {
    if kind_of(inbound.head.uri.path()) == Kind::Health {
        return Span::none();
    }
    let span = info_span!(
        "request",
        request_id = inbound.id.to_str().unwrap_or_default(),
        method = %inbound.head.method,
        path = Empty,
        status = Empty,
        otel.status_code = Empty,
    );
    let header = inbound.head.headers.get("traceparent").and_then(|header| header.to_str().ok());
    if let (Some(trace_parent), Some(header)) = (trace_parent, header) {
        trace_parent(header, &span);
    }
    span
}

/// Adds what is asked for to the current span.
pub(crate) fn record_path(path: &str) {
    Span::current().record("path", path);
}

/// Adds the answer's status to the current span. The span ends with the answer's head, not its last byte.
pub(crate) fn record_status(answered: &Result<Response<Body>, ServeError>) {
    let status = match answered {
        Ok(response) => response.status(),
        Err(error) => error.status(),
    };
    let span = Span::current();
    span.record("status", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", display("ERROR"));
    }
}
