//! Taking up a trace that a caller has begun: the `traceparent` header of W3C Trace Context, level 1.

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The one header that is read; `tracestate` is for vendors between themselves.
const TRACEPARENT: &str = "traceparent";

/// Makes `span` a child of the caller's span that `traceparent` names. It must not have been entered yet. What is no
/// valid header, or comes while nothing is exported, changes nothing.
pub fn continue_trace(traceparent: &str, span: &Span) {
    let caller = TraceContextPropagator::new().extract(&Header(traceparent));
    if caller.span().span_context().is_valid() {
        // Refused only while nothing is exported, or of a span that nobody watches.
        let _ = span.set_parent(caller);
    }
}

struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
