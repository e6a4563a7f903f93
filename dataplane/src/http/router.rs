//! From a path to an answer: what is in memory at once, everything else through the serving ladder.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use common::error_chain::ErrorChain;
use futures_util::future::{Either, Ready as ReadyFuture, ready};
use gomod::{REQUEST_BYTES_MAX, Request};
use http::header::IF_MATCH;
use http::request::Parts;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use tower::Service;
use tracing::Instrument as _;

use super::body::Body;
use super::inbound::{Asked, Failure, Inbound};
use super::respond::{Responder, asks_for_range, uncached};
use super::trace::{TraceParent, record_path, record_status, request_span};
use crate::client::Client;
use crate::private::Private;
use crate::serve::tag::{Cache, Kind};
use crate::serve::{Answer, Asker, Freshness, Mode, Proxy, Ready, ServeError};

/// Prefix under which nothing is ever fetched (protocol.md 99).
pub(crate) const CACHED_ONLY: &str = "cached-only/";
/// The longest path that is looked at, decoded: a request and what stands before it.
const PATH_BYTES_MAX: usize = 1 + CACHED_ONLY.len() + REQUEST_BYTES_MAX;

type Answered = Result<Response<Body>, ServeError>;
type Outcome = Result<Response<Body>, Failure>;

/// The innermost service.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    proxy: Arc<Proxy>,
    responder: Responder,
    private: Private,
    trace_parent: Option<TraceParent>,
}

impl Router {
    /// Answers from `proxy`; `trace_parent` continues the traces of clients, which hear of nothing `private`.
    pub fn new(
        proxy: Arc<Proxy>,
        responder: Responder,
        private: Private,
        trace_parent: Option<TraceParent>,
    ) -> Self {
        Self { inner: Arc::new(Inner { proxy, responder, private, trace_parent }) }
    }
}

impl Router {
    /// What is at exactly this path, public, in memory, fresh and at most `bytes_max` long; counts as a use of it. What is private takes
    /// the way through the stack, where it is asked who wants it.
    pub(super) fn short_hit(&self, path: &str, bytes_max: u64, now: Instant) -> Option<Arc<Ready>> {
        let hit = self.inner.proxy.in_memory(path)?;
        let short = hit.content.slice().is_some_and(|bytes| bytes.len() as u64 <= bytes_max);
        // What is in memory is known by decoded paths, and this one has not been decoded; nor has a fragment been cut off.
        let is_encoded = memchr::memchr2(b'%', b'#', path.as_bytes()).is_some();
        if !short || is_encoded || hit.private || hit.freshness(now) != Freshness::Fresh {
            return None;
        }
        self.inner.proxy.touch(path, &hit);
        Some(hit)
    }

    /// Makes answers of what was found.
    pub(super) fn responder(&self) -> &Responder {
        &self.inner.responder
    }

    /// Wall-clock time in µs since the Unix epoch.
    pub(super) fn now_us(&self) -> i64 {
        self.inner.proxy.now_us()
    }
}

impl Service<Inbound> for Router {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Either<ReadyFuture<Outcome>, Pin<Box<dyn Future<Output = Outcome> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        if let Some(answered) = self.inner.at_once(&inbound) {
            return Either::Left(ready(match answered {
                Ok(response) if response.body().tag().cache == Cache::Hit => Ok(response),
                answered => tell(answered, inbound.asked()),
            }));
        }
        let (inner, asked) = (Arc::clone(&self.inner), inbound.asked());
        let client = Client::of(inbound.peer.ip());
        // Only here: a hit in memory is too cheap for a span to be worth it.
        let span = request_span(&inbound, inner.trace_parent.as_ref());
        let answering = async move {
            let answered = inner.answer(inbound).await;
            record_status(&answered);
            tell(answered, asked)
        };
        Either::Right(Box::pin(client.served(answering.instrument(span))))
    }
}

/// Hands on what was asked, for whoever logs the answer or makes one of an error.
fn tell(answered: Answered, asked: Asked) -> Outcome {
    match answered {
        Ok(mut response) => {
            response.extensions_mut().insert(asked);
            Ok(response)
        }
        Err(error) => Err(Failure { error, asked: Box::new(asked) }),
    }
}

impl Inner {
    /// An answer that is in memory and fresh. Keys in memory are canonical paths, so a path that equals one
    /// needs no parsing.
    fn at_once(&self, inbound: &Inbound) -> Option<Answered> {
        let path = decode(inbound.head.uri.path()).ok()?;
        let hit = self.proxy.in_memory(&path)?;
        let cache = match hit.freshness(inbound.received) {
            Freshness::Fresh => Cache::Hit,
            Freshness::Resting => Cache::Stale,
            Freshness::Revalidate | Freshness::Expired => return None,
        };
        // The first chunk is read before the head is sent, so that damage is met while it can still be told.
        if !self.proxy.begins_in_memory(&hit) {
            return None;
        }
        self.proxy.touch(&path, &hit);
        Some(self.responder.respond(&inbound.head, &hit, cache, || self.proxy.now_us()))
    }

    async fn answer(&self, inbound: Inbound) -> Answered {
        let path = decode(inbound.head.uri.path())?;
        let Some(path) = path.strip_prefix('/') else {
            return Err(ServeError::Malformed { why: "the target is not a path".to_owned() });
        };
        let head_only = inbound.head.method == Method::HEAD;
        let (path, prefixed) = match path.strip_prefix(CACHED_ONLY) {
            Some(rest) => (rest, true),
            None => (path, false),
        };
        let mode = if prefixed || disables_fetch(&inbound.head) { Mode::CachedOnly } else { Mode::Fetch };
        let private = self.private.is_named_by(path);
        if !private {
            record_path(path);
        }
        if let Some(rest) = path.strip_prefix("sumdb/") {
            let answer = self.proxy.sumdb(rest, mode).await?;
            return self.respond(&inbound, path, &answer, private);
        }
        match path {
            "" => {
                return Ok(uncached(
                    Kind::Other,
                    "text/plain; charset=utf-8",
                    Bytes::from_static(WELCOME),
                    head_only,
                ));
            }
            "healthz" => {
                return Ok(uncached(
                    Kind::Health,
                    "text/plain; charset=utf-8",
                    Bytes::from_static(b"ok\n"),
                    head_only,
                ));
            }
            "readyz" => {
                let text = self.proxy.readiness()?;
                return Ok(uncached(
                    Kind::Health,
                    "text/plain; charset=utf-8",
                    text.into_owned().into(),
                    head_only,
                ));
            }
            "index" => {
                let text = self.proxy.index(inbound.head.uri.query().unwrap_or_default()).await?;
                return Ok(uncached(Kind::Index, "application/json", text, head_only));
            }
            _ => {}
        }
        let request = Request::parse(path).map_err(|error| malformed(path, &error, private))?;
        // A range can only be cut from content that is all there, what its ETag is is known by then, and an answer without a body has no
        // end to withhold until what came is known to be right.
        let head = &inbound.head;
        let needs_whole =
            asks_for_range(head) || head.headers.contains_key(IF_MATCH) || head.method == Method::HEAD;
        let answer = self.proxy.answer(request, mode, needs_whole, Asker::Client).await?;
        self.respond(&inbound, path, &answer, private)
    }

    fn respond(&self, inbound: &Inbound, path: &str, answer: &Answer, private: bool) -> Answered {
        match answer {
            Answer::Ready { ready, cache } => {
                match cache {
                    Cache::Miss | Cache::Peer => self.proxy.touch_fetched(path, ready),
                    Cache::Hit | Cache::Stale | Cache::None => self.proxy.touch(path, ready),
                }
                self.responder.respond(&inbound.head, ready, *cache, || self.proxy.now_us())
            }
            Answer::Live { spool, length, cache } => {
                // It may have failed by now: then there is still time to say so instead of breaking off.
                if let Some(error) = spool.failure() {
                    return Err(error);
                }
                Ok(self.responder.respond_live(&inbound.head, spool, *length, *cache, private))
            }
        }
    }
}

const WELCOME: &[u8] =
    b"This is a Go module proxy. Set GOPROXY to this address; see https://go.dev/ref/mod#module-proxy\n";

/// The header by which clients of the public mirror ask for what is cached only (protocol.md 99).
fn disables_fetch(head: &Parts) -> bool {
    head.headers
        .get("disable-module-fetch")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Percent-decodes a path. What is not UTF-8 afterwards cannot be a request.
///
/// A branch may have a `%` in its name (protocol.md 9), which is sent as `%25`. But to whoever decodes a path once more it means the same:
/// what it decodes to has no escape in it, so that no hop is led elsewhere. A branch named `5%2f` cannot be asked for.
fn decode(path: &str) -> Result<Cow<'_, str>, ServeError> {
    let refused = |why: &str| ServeError::Malformed { why: why.to_owned() };
    let is_encoded = memchr::memchr(b'%', path.as_bytes()).is_some();
    let too_long = || refused("the path is too long");
    if path.len() > if is_encoded { 3 * PATH_BYTES_MAX } else { PATH_BYTES_MAX } {
        return Err(too_long());
    }
    if !is_encoded {
        return Ok(Cow::Borrowed(path));
    }
    check_escapes(path.as_bytes()).map_err(refused)?;
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| refused("the path is not UTF-8"))?;
    let bytes = decoded.as_bytes();
    if memchr::memchr_iter(b'%', bytes).any(|at| escaped_at(bytes, at).is_some()) {
        return Err(refused("the path is encoded twice"));
    }
    if bytes.len() > PATH_BYTES_MAX {
        return Err(too_long());
    }
    Ok(decoded)
}

/// An encoded `/` or `\\` lets two hops disagree on what a path is, and a `%` that begins no escape is another spelling of `%25`; no client
/// of ours sends either.
fn check_escapes(path: &[u8]) -> Result<(), &'static str> {
    for at in memchr::memchr_iter(b'%', path) {
        let Some(code) = escaped_at(path, at) else {
            return Err("the path has a % that begins no escape");
        };
        if [b"2f", b"5c"].iter().any(|separator| code.eq_ignore_ascii_case(*separator)) {
            return Err("the path has an encoded separator");
        }
    }
    Ok(())
}

/// The two hexadecimal digits of the escape that begins at this `%`, if one does.
fn escaped_at(path: &[u8], at: usize) -> Option<&[u8]> {
    path.get(at + 1..at + 3).filter(|code| code.iter().all(u8::is_ascii_hexdigit))
}

/// What has the form of no request is "not found" to the go command, which probes many prefixes of an
/// import path, unless it could only come from something that is not the go command. Below a private prefix nothing is ever
/// "not found": the go command would take the name to its next proxy.
fn malformed(path: &str, error: &gomod::RequestError, private: bool) -> ServeError {
    let why = ErrorChain::new(error).to_string();
    if private {
        return ServeError::Refused {
            what: "no such path".into(),
            why,
            next: Cow::Borrowed(
                "check the module path; see https://go.dev/ref/mod#goproxy-protocol for what a module proxy answers",
            ),
        };
    }
    if path.bytes().any(|b| b.is_ascii_control() || b == b'\\') || path.contains("..") {
        return ServeError::Malformed { why };
    }
    ServeError::NotFound { what: "no such path".into(), why }
}

/// The kind of a request by its path alone, for answers that are errors.
pub(crate) fn kind_of(path: &str) -> Kind {
    if path.starts_with("/sumdb/") {
        return Kind::Sumdb;
    }
    match path.rsplit_once('/').map_or(path, |(_, last)| last) {
        "list" => Kind::List,
        "@latest" => Kind::Latest,
        "index" => Kind::Index,
        "healthz" | "readyz" => Kind::Health,
        last => match last.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "info" => Kind::Info,
            "mod" => Kind::Mod,
            "zip" => Kind::Zip,
            _ => Kind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_end_of_the_path() {
        for (path, kind) in [
            ("/a.b/c/@v/list", Kind::List),
            ("/a.b/c/@latest", Kind::Latest),
            ("/a.b/c/@v/v1.0.0.info", Kind::Info),
            ("/a.b/c/@v/v1.0.0.mod", Kind::Mod),
            ("/a.b/c/@v/v1.0.0.zip", Kind::Zip),
            ("/sumdb/sum.golang.org/lookup/a.b/c@v1.0.0", Kind::Sumdb),
            ("/readyz", Kind::Health),
            ("/", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(decode("/github.com/%21azure/x").unwrap(), "/github.com/!azure/x");
        assert_eq!(decode("/a.b/c/@v/50%25-off.info").unwrap(), "/a.b/c/@v/50%-off.info");
        assert_eq!(decode("/a%25").unwrap(), "/a%");
        for refused in [
            "/a%2Fb",
            "/a%5cb",
            "/%ff",
            // What another decoding would make something else of.
            "/a%252fb",
            "/a%25%32%66b",
            "/a%2541",
            "/a%2525",
            // Another spelling of a `%`.
            "/a%",
            "/a%b",
            "/50%-off",
        ] {
            assert!(decode(refused).is_err(), "{refused}");
        }
        assert!(decode(&"/a".repeat(2000)).is_err());
        assert!(decode(&"/%61".repeat(1100)).is_err());
        // As the go command writes capitals, of which a path may be made.
        let path = format!("/a.example/{}/@v/list", "!a".repeat(700));
        assert_eq!(decode(&path.replace('!', "%21")).unwrap(), path);
    }
}
