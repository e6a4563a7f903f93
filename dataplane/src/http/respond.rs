//! From a ready answer to an HTTP response: headers, HEAD, conditions and ranges.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::{Body, ByteSource};
use super::range::{Wanted, wanted};
use crate::serve::tag::{Cache, Kind, Tag};
use crate::serve::{BlobReader, Content, Lifetime, Ready, ServeError, Spool, SpoolReader};

/// Headers that every answer has are fewer than this, so that the map is allocated once.
const HEADERS: usize = 12;

/// What answers need besides the ready content: how to read blobs, and the time.
pub struct Responder {
    /// Reads chunked content.
    pub blobs: Arc<BlobReader>,
    /// How lists and queries may be reused by caches in front of us.
    pub lists: CacheControl,
}

/// `Cache-Control` of content of one lifetime.
#[derive(Debug, Clone)]
pub struct CacheControl {
    public: HeaderValue,
    private: HeaderValue,
}

impl CacheControl {
    /// What may be reused for `seconds`; of private modules by the client alone.
    pub fn seconds(seconds: u64) -> Self {
        let value = |audience: &str| {
            HeaderValue::try_from(format!("{audience}, max-age={seconds}"))
                .unwrap_or_else(|_| HeaderValue::from_static("no-store"))
        };
        Self { public: value("public"), private: value("private") }
    }

    pub(super) fn of(&self, private: bool) -> &HeaderValue {
        if private { &self.private } else { &self.public }
    }
}

/// `Cache-Control` of what never changes.
pub(super) fn for_ever(private: bool) -> &'static str {
    if private { "private, max-age=31536000, immutable" } else { "public, max-age=31536000, immutable" }
}

impl Responder {
    /// Answers `head` with `ready`, found at `cache`; `now_us` tells the wall clock where an age is due.
    pub fn respond(
        &self,
        head: &Parts,
        ready: &Ready,
        cache: Cache,
        now_us: impl FnOnce() -> i64,
    ) -> Result<Response<Body>, ServeError> {
        let tag = Tag { kind: ready.kind, cache };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        let own = ready.headers.as_deref();
        let media = own.map_or_else(|| content_type(ready.kind), |own| own.content_type);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        match &ready.lifetime {
            Lifetime::Immutable => {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(for_ever(ready.private)));
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            Lifetime::Until(until) => {
                let control = own.map_or(self.lists.of(ready.private), |own| &own.cache_control);
                headers.insert(CACHE_CONTROL, control.clone());
                // Fresh or not: a cache in front must not add its own lifetime to ours (RFC 9111 section 5.1).
                let age_seconds = now_us().saturating_sub(until.fetched_us).max(0) / 1_000_000;
                headers.insert(AGE, HeaderValue::from(age_seconds));
            }
        }
        let etag = ready.etag.header();
        // Several lines are one list (RFC 9110 section 5.3).
        let mut expected = head.headers.get_all(IF_MATCH).iter().peekable();
        let is_other =
            expected.peek().is_some() && !expected.any(|condition| names_exactly(condition, &etag));
        let known = head.headers.get_all(IF_NONE_MATCH).iter().any(|condition| matches_any(condition, &etag));
        headers.insert(ETAG, etag);
        if is_other {
            return Err(ServeError::PreconditionFailed);
        }
        if known {
            return Ok(response(StatusCode::NOT_MODIFIED, headers, Body::empty(tag)));
        }
        let size = ready.content.size();
        let wanted = if ready.lifetime == Lifetime::Immutable {
            Self::wanted(head, ready, size)
        } else {
            Wanted::Whole
        };
        let (status, range) = match wanted {
            Wanted::Whole => (StatusCode::OK, 0..size),
            Wanted::Part(range) => {
                let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                headers.insert(
                    CONTENT_RANGE,
                    HeaderValue::try_from(text).map_err(|_| internal("format a range"))?,
                );
                (StatusCode::PARTIAL_CONTENT, range)
            }
            Wanted::Nothing => return Err(ServeError::RangeRefused { size }),
        };
        if head.method == Method::HEAD {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            return Ok(response(status, headers, Body::empty(tag)));
        }
        let body = match &ready.content {
            Content::Blob(blob) => {
                let length = range.end - range.start;
                Body::stream(self.blobs.stream(blob, range), length, tag)
            }
            Content::Small(_) | Content::Shared(_) => {
                let whole = ready.content.bytes();
                let mut bytes = whole.ok_or_else(|| internal("read an answer in memory"))?;
                if status != StatusCode::OK {
                    bytes = bytes.slice(range.start as usize..range.end as usize);
                }
                Body::full(bytes, tag)
            }
        };
        Ok(response(status, headers, body))
    }

    /// Answers with a zip that is still arriving: no validator yet, since its bytes are not known yet.
    pub fn respond_live(
        &self,
        head: &Parts,
        spool: &Arc<Spool>,
        length: u64,
        cache: Cache,
        private: bool,
    ) -> Response<Body> {
        let tag = Tag { kind: Kind::Zip, cache };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(Kind::Zip)));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(for_ever(private)));
        let body = if head.method == Method::HEAD {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            Body::empty(tag)
        } else {
            let reader: Box<dyn ByteSource> =
                Box::new(SpoolReader::new(Arc::clone(spool), Arc::clone(&self.blobs), 0));
            Body::stream(reader, length, tag)
        };
        response(StatusCode::OK, headers, body)
    }

    /// RFC 9110 section 13.1.5: a range under a validator that no longer holds is ignored.
    fn wanted(head: &Parts, ready: &Ready, size: u64) -> Wanted {
        if !asks_for_range(head) {
            return Wanted::Whole;
        }
        let Some(range) = only(head, RANGE).and_then(|range| range.to_str().ok()) else {
            return Wanted::Whole;
        };
        let holds = only(head, IF_RANGE).is_some_and(|condition| *condition == ready.etag.header());
        if head.headers.contains_key(IF_RANGE) && !holds {
            return Wanted::Whole;
        }
        wanted(range, size)
    }
}

/// Ranges mean something for GET alone (RFC 9110 section 14.2).
pub(crate) fn asks_for_range(head: &Parts) -> bool {
    head.headers.contains_key(RANGE) && head.method == Method::GET
}

/// The value of a header that is no list; none where it comes twice, since then it says nothing certain.
fn only(head: &Parts, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = head.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Text made for this answer alone, such as the index feed.
pub(crate) fn uncached(
    kind: Kind,
    content_type: &'static str,
    text: bytes::Bytes,
    head_only: bool,
) -> Response<Body> {
    let tag = Tag::uncached(kind);
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    response(StatusCode::OK, headers, if head_only { Body::empty(tag) } else { Body::full(text, tag) })
}

/// The types that the go command and browsers expect.
pub(super) fn content_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Info | Kind::Latest => "application/json",
        Kind::Zip => "application/zip",
        Kind::List | Kind::Mod | Kind::Sumdb | Kind::Index | Kind::Health | Kind::Other => {
            "text/plain; charset=utf-8"
        }
    }
}

/// RFC 9110 section 13.1.2, weak comparison: `W/` is ignored.
fn matches_any(condition: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(condition), Ok(etag)) = (condition.to_str(), etag.to_str()) else { return false };
    condition.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// RFC 9110 section 13.1.1, strong comparison: what is marked `W/` is no match.
fn names_exactly(condition: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(condition), Ok(etag)) = (condition.to_str(), etag.to_str()) else { return false };
    condition.split(',').map(str::trim).any(|one| one == "*" || one == etag)
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn internal(what: &str) -> ServeError {
    ServeError::Internal { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_may_list_several_validators() {
        let etag = HeaderValue::from_static("\"a\"");
        for yes in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(matches_any(&HeaderValue::from_static(yes), &etag), "{yes}");
        }
        for no in ["\"b\"", "a", "W/\"b\", \"c\"", ""] {
            assert!(!matches_any(&HeaderValue::from_static(no), &etag), "{no}");
            assert!(!names_exactly(&HeaderValue::from_static(no), &etag), "{no}");
        }
        for (condition, is_exact) in
            [("\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("W/\"a\"", false)]
        {
            assert_eq!(names_exactly(&HeaderValue::from_static(condition), &etag), is_exact, "{condition}");
        }
    }
}
