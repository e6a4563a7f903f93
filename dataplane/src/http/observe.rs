//! The outermost layer: names the request, times it, counts it and writes the access log.
//!
//! An answer from memory is settled when its head is made; a streamed one when its body is gone, by the
//! [`Transfer`] that rides in the body's guard.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::body::Body;
use super::inbound::{Asked, Inbound, X_REQUEST_ID};
use super::metrics::HttpFamilies;
use crate::private::{Private, REDACTED};
use crate::serve::tag::{Cache, Kind, Tag};

/// What a line has of a path and of a method, in bytes. Lines wait in memory while whoever takes them is slow, and a client can send long paths for
/// next to nothing.
const LOGGED_PATH_MAX: usize = 512;
const LOGGED_METHOD_MAX: usize = 16;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Which answers are written to the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// None.
    Off,
    /// All but fresh hits and health checks: what cost something or went wrong.
    #[default]
    Misses,
    /// Every answer.
    All,
}

impl AccessLog {
    fn wants(self, tag: Tag, status: StatusCode) -> bool {
        match self {
            AccessLog::Off => false,
            AccessLog::Misses => {
                !(tag.kind == Kind::Health || (tag.cache == Cache::Hit && !status.is_server_error()))
            }
            AccessLog::All => true,
        }
    }
}

/// What the layer needs; shared by all connections.
#[derive(Debug)]
pub struct Observer {
    /// Where answers are counted.
    pub metrics: Arc<HttpFamilies>,
    /// Which answers are logged.
    pub access_log: AccessLog,
    /// Whose names are logged at DEBUG only.
    pub private: Private,
    /// `Strict-Transport-Security` for answers over TLS (RFC 6797).
    pub hsts: Option<HeaderValue>,
}

impl Observer {
    /// Counts and logs the answer to a head that could not be read.
    pub(super) fn unread(
        &self,
        request_id: &str,
        peer: SocketAddr,
        tag: Tag,
        status: StatusCode,
        bytes: u64,
    ) {
        self.metrics.answered(tag, status, 0.0, bytes);
        if self.access_log.wants(tag, status) {
            let status = status.as_u16();
            tracing::info!(target: "access", request_id, %peer, status, bytes, "a head that cannot be read");
        }
    }
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer(pub Arc<Observer>);

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, observer: Arc::clone(&self.0) }
    }
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    observer: Arc<Observer>,
}

impl<S> Service<Inbound> for Observe<S>
where
    S: Service<Inbound, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        // Otherwise an answer that is worth a line brings what was asked with it.
        let line = (self.observer.access_log == AccessLog::All).then(|| inbound.asked());
        ObserveFuture {
            id: inbound.id.clone(),
            started: inbound.received,
            tls: inbound.tls,
            line,
            observer: Arc::clone(&self.observer),
            inner: self.inner.call(inbound),
        }
    }
}

pin_project! {
    /// Finishes the answer's headers and settles or hands on its account.
    pub struct ObserveFuture<F> {
        #[pin]
        inner: F,
        observer: Arc<Observer>,
        id: HeaderValue,
        started: Instant,
        tls: bool,
        line: Option<Asked>,
    }
}

impl<F, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let tag = response.body().tag();
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(X_CACHE, HeaderValue::from_static(tag.cache.as_str()));
        if let (true, Some(hsts)) = (*this.tls, &this.observer.hsts) {
            headers.insert(http::header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        let length = response.body().remaining();
        let asked = response.extensions_mut().remove::<Asked>();
        let line = this.line.take().or(asked).filter(|_| this.observer.access_log.wants(tag, status));
        if line.is_some() || response.body().is_stream() {
            let transfer = Transfer {
                observer: Arc::clone(this.observer),
                id: this.id.clone(),
                started: *this.started,
                tag,
                status,
                line,
                length,
                sent: 0,
                failed: false,
            };
            response.body_mut().guard_mut().hold_transfer(Box::new(transfer));
        } else {
            this.observer.metrics.answered(tag, status, this.started.elapsed().as_secs_f64(), length);
        }
        response.headers_mut().insert(X_REQUEST_ID, std::mem::replace(this.id, HeaderValue::from_static("")));
        Poll::Ready(Ok(response))
    }
}

/// The account of an answer whose body is on its way.
pub struct Transfer {
    observer: Arc<Observer>,
    id: HeaderValue,
    started: Instant,
    tag: Tag,
    status: StatusCode,
    line: Option<Asked>,
    length: u64,
    sent: u64,
    failed: bool,
}

impl Transfer {
    /// Counts bytes handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Takes back bytes that were handed over and never left.
    pub fn unsent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_sub(bytes);
    }

    /// The answer was broken off on our side.
    pub fn failed(&mut self) {
        self.failed = true;
    }
}

fn clip(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.observer.metrics.answered(self.tag, self.status, elapsed.as_secs_f64(), self.sent);
        if self.failed {
            self.observer.metrics.broken.inc();
        }
        let Some(line) = &self.line else { return };
        let outcome = match (self.failed, self.sent == self.length) {
            (true, _) => "broken",
            (false, true) => "complete",
            (false, false) => "client gone",
        };
        let private = self.observer.private.is_named_by(line.target.path());
        let path = clip(line.target.path(), LOGGED_PATH_MAX);
        if private {
            let request_id = self.id.to_str().unwrap_or_default();
            tracing::debug!(target: "access", request_id, path, "private request");
        }
        tracing::info!(
            target: "access",
            request_id = self.id.to_str().unwrap_or_default(),
            peer = %line.peer,
            method = clip(line.method.as_str(), LOGGED_METHOD_MAX),
            path = if private { REDACTED } else { path },
            status = self.status.as_u16(),
            cache = self.tag.cache.as_str(),
            bytes = self.sent,
            ms = elapsed.as_millis() as u64,
            outcome,
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_more_of_a_path_than_people_read() {
        assert_eq!(clip("/example.com/a/@v/list", LOGGED_PATH_MAX), "/example.com/a/@v/list");
        let long = "é".repeat(LOGGED_PATH_MAX);
        assert_eq!(clip(&long, LOGGED_PATH_MAX - 1).len(), LOGGED_PATH_MAX - 2, "no half of a character");
        assert_eq!(clip(&long, LOGGED_PATH_MAX).len(), LOGGED_PATH_MAX);
    }
}
