//! Two small layers: what is refused for its form, and what is shed for its number.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::header::{CONNECTION, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Response, Version};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::body::Body;
use super::host::is_host;
use super::inbound::{Failure, Inbound};
use super::metrics::HttpFamilies;
use super::rescue::rescue;
use super::router::kind_of;
use crate::client::Client;
use crate::per_client::{Held, PerClient, share};
use crate::serve::ServeError;

/// Refuses methods other than GET and HEAD (protocol.md 12), every request with a body, and requests without their one host or with what is
/// no host. No body of ours has a meaning, and one that one hop skips and the next reads is how requests are smuggled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormLayer;

impl<S> Layer<S> for FormLayer {
    type Service = Form<S>;

    fn layer(&self, inner: S) -> Form<S> {
        Form { inner }
    }
}

/// See [`FormLayer`].
#[derive(Debug, Clone)]
pub struct Form<S> {
    inner: S,
}

impl<S> Service<Inbound> for Form<S>
where
    S: Service<Inbound, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Failure>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        if inbound.head.method != Method::GET && inbound.head.method != Method::HEAD {
            let refused = Failure::new(ServeError::MethodRefused, &inbound);
            return Either::Right(ready(if inbound.has_body { Ok(ended_by(refused)) } else { Err(refused) }));
        }
        if inbound.has_body {
            return Either::Right(ready(Err(Failure::new(ServeError::BodyRefused, &inbound))));
        }
        if let Err(why) = check_host(&inbound.head) {
            let refused = ServeError::Malformed { why: why.to_owned() };
            return Either::Right(ready(Err(Failure::new(refused, &inbound))));
        }
        Either::Left(self.inner.call(inbound))
    }
}

/// The answer to a request with a body that nobody reads: the connection ends with it.
fn ended_by(Failure { error, asked }: Failure) -> Response<Body> {
    let mut response = rescue(&error, kind_of(asked.target.path()), false);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.extensions_mut().insert(*asked);
    response
}

/// RFC 9112 section 3.2: one `Host`, no more, no less, and a valid one. HTTP/1.0 knows none, HTTP/2 has `:authority`, and so
/// has a request line with a whole URI.
fn check_host(head: &Parts) -> Result<(), &'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes(),
        (None, _) if head.version != Version::HTTP_11 => b"",
        (None | Some(_), _) => return Err("a request has one Host"),
    };
    let authority = head.uri.authority().map_or("", Authority::as_str);
    if !is_host(host) || !is_host(authority.as_bytes()) {
        return Err("its Host is no host");
    }
    // RFC 9113 section 8.3.1.
    if head.version == Version::HTTP_2 && !host.is_empty() && !host.eq_ignore_ascii_case(authority.as_bytes())
    {
        return Err("its Host is not its :authority");
    }
    Ok(())
}

/// Bounds the answers being made or sent, all of them and those of one client, but for health checks. The permit rides in the
/// body, so that a streamed zip counts until its last byte has left.
#[derive(Debug, Clone)]
pub(crate) struct InFlightLayer {
    permits: Arc<Semaphore>,
    clients: Arc<PerClient<()>>,
    of_a_client_max: usize,
    metrics: Arc<HttpFamilies>,
}

impl InFlightLayer {
    /// At most `max` answers at once.
    pub(crate) fn new(max: usize, metrics: Arc<HttpFamilies>) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        let (permits, clients) = (Arc::new(Semaphore::new(max)), Arc::default());
        Self { permits, clients, of_a_client_max: share(max), metrics }
    }

    fn permit(&self, client: Client) -> Option<InFlightPermit> {
        let held = self.clients.enter_below(client, self.of_a_client_max, || ())?;
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(InFlightPermit::new(permit, held, &self.metrics))
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight { inner, limit: self.clone() }
    }
}

/// See [`InFlightLayer`].
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    limit: InFlightLayer,
}

impl<S> Service<Inbound> for InFlight<S>
where
    S: Service<Inbound, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Either<Permitted<S::Future>, Ready<Result<Response<Body>, Failure>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        let permit = match self.limit.permit(Client::of(inbound.peer.ip())) {
            Some(permit) => Some(permit),
            // A node that is busy is not down: a balancer that hears nothing would take it out, and overload the rest.
            None if is_health_check(inbound.head.uri.path()) => None,
            None => {
                self.limit.metrics.shed.inc();
                return Either::Right(ready(Err(Failure::new(ServeError::Overloaded, &inbound))));
            }
        };
        Either::Left(Permitted { inner: self.inner.call(inbound), permit })
    }
}

/// What a balancer asks for; answered from nothing but a flag.
fn is_health_check(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// A place among the answers in flight, shown in the gauge as long as it is held.
pub struct InFlightPermit {
    gauge: Gauge,
    _held: Held<()>,
    _permit: OwnedSemaphorePermit,
}

impl InFlightPermit {
    fn new(permit: OwnedSemaphorePermit, held: Held<()>, metrics: &HttpFamilies) -> Self {
        metrics.in_flight.inc();
        Self { gauge: metrics.in_flight.clone(), _permit: permit, _held: held }
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

pin_project_lite::pin_project! {
    /// Moves the permit from the request to the answer's body.
    pub struct Permitted<F> {
        #[pin]
        inner: F,
        permit: Option<InFlightPermit>,
    }
}

impl<F> Future for Permitted<F>
where
    F: Future<Output = Result<Response<Body>, Failure>>,
{
    type Output = Result<Response<Body>, Failure>;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = std::task::ready!(this.inner.poll(cx))?;
        if let Some(permit) = this.permit.take() {
            response.body_mut().guard_mut().hold_permit(permit);
        }
        Poll::Ready(Ok(response))
    }
}
