//! The request path, outermost layer first.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tower::{Service as _, ServiceBuilder};

use super::body::Body;
use super::connection::{Answering, ConnectionState, Framing};
use super::inbound::{Inbound, RequestIds, X_REQUEST_ID};
use super::limits::{Form, FormLayer, InFlight, InFlightLayer};
use super::observe::{Observe, ObserveFuture, ObserveLayer, Observer};
use super::rescue::{Rescue, RescueFuture, RescueLayer};
use super::router::Router;

/// The whole stack as one type, so that a hit is answered without a box or a dynamic call.
pub(crate) type Stack = Observe<Rescue<InFlight<Form<Router>>>>;
type StackFuture = ObserveFuture<RescueFuture<<InFlight<Form<Router>> as tower::Service<Inbound>>::Future>>;

/// Builds the stack around `router`.
pub fn stack(observer: Arc<Observer>, max_in_flight: usize, router: Router) -> Stack {
    let metrics = Arc::clone(&observer.metrics);
    ServiceBuilder::new()
        // Outermost: every answer, errors and refusals included, is named, timed, counted and logged.
        .layer(ObserveLayer(observer))
        // Everything below speaks in errors; this is the only place that turns them into answers.
        .layer(RescueLayer)
        // Shed before any work is done. Below the rescue, since shedding is an answer too.
        .layer(InFlightLayer::new(max_in_flight, metrics))
        // Refused for its form alone, before its path is looked at.
        .layer(FormLayer)
        .service(router)
}

/// One connection's entrance to the stack.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// The stack.
    pub stack: Stack,
    /// Names requests.
    pub ids: Arc<RequestIds>,
    /// The client.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The connection, as the reaper sees it.
    pub connection: Arc<ConnectionState>,
    /// Which protocol it speaks.
    pub framing: Framing,
}

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = EntranceFuture;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (head, body) = request.into_parts();
        let has_body = announces_body(&head.headers) || !hyper::body::Body::is_end_stream(&body);
        let answering = Some(self.connection.answering(self.framing));
        let inbound = Inbound {
            id: self.ids.name(head.headers.get(X_REQUEST_ID)),
            has_body,
            peer: self.peer,
            tls: self.tls,
            received: Instant::now(),
            head,
        };
        EntranceFuture { inner: self.stack.clone().call(inbound), answering }
    }
}

pin_project_lite::pin_project! {
    /// Ties the answer's body to the connection's phase.
    pub struct EntranceFuture {
        #[pin]
        inner: StackFuture,
        answering: Option<Answering>,
    }
}

impl Future for EntranceFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let this = self.project();
        let mut response = std::task::ready!(this.inner.poll(cx))?;
        if let Some(answering) = this.answering.take() {
            response.body_mut().guard_mut().hold_answering(answering);
        }
        std::task::Poll::Ready(Ok(response))
    }
}

/// A length of zero announces nothing; any transfer coding does, whatever it is called.
fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0")
}
