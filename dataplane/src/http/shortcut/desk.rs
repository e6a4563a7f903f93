//! Answers of what is in memory, written as they leave. They say what the stack's answers to the same requests say.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::super::inbound::RequestIds;
use super::super::metrics::HttpFamilies;
use super::super::respond::{content_type, for_ever};
use super::super::router::Router;
use crate::serve::tag::{Cache, Tag};
use crate::serve::{Lifetime, Ready};

/// Longer content takes the way through the stack: a client that does not take it holds it, and requests are counted there.
const BYTES_MAX: u64 = 64 * 1024;
/// Longer content is not copied to leave with its head.
const COPIED_BYTES_MAX: usize = 8 * 1024;
/// For how long a written date is used again.
const DATE_LIFETIME: Duration = Duration::from_millis(500);

/// Everything that an answer needs.
pub struct Desk {
    /// Finds it.
    pub router: Router,
    /// Names requests.
    pub ids: Arc<RequestIds>,
    /// Counts answers.
    pub metrics: Arc<HttpFamilies>,
    /// `Strict-Transport-Security` for answers over TLS.
    pub hsts: Option<HeaderValue>,
}

impl Desk {
    /// Writes the answer for `path` to the end of `out`, and gives what comes after that; nothing when there is no answer to be had at once.
    pub(super) fn answer(&self, path: &str, tls: bool, out: &mut Vec<u8>) -> Option<Bytes> {
        let now = Instant::now();
        let hit = self.router.short_hit(path, BYTES_MAX, now)?;
        let content = hit.content.slice()?;
        self.head(&hit, content.len(), tls, now, out);
        let length = content.len();
        let after = if length <= COPIED_BYTES_MAX {
            out.extend_from_slice(content);
            Bytes::new()
        } else {
            hit.content.bytes()?
        };
        let tag = Tag { kind: hit.kind, cache: Cache::Hit };
        self.metrics.answered(tag, StatusCode::OK, now.elapsed().as_secs_f64(), length as u64);
        Some(after)
    }

    fn head(&self, ready: &Ready, length: usize, tls: bool, now: Instant, out: &mut Vec<u8>) {
        let own = ready.headers.as_deref();
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        let media = own.map_or_else(|| content_type(ready.kind), |own| own.content_type);
        put(&[b"HTTP/1.1 200 OK\r\ncontent-type: ", media.as_bytes(), b"\r\ncache-control: "]);
        match &ready.lifetime {
            Lifetime::Immutable => {
                put(&[for_ever(ready.private).as_bytes(), b"\r\naccept-ranges: bytes"]);
            }
            Lifetime::Until(until) => {
                let lists = &self.router.responder().lists;
                let control = own.map_or_else(|| lists.of(ready.private), |own| &own.cache_control);
                let age_seconds = self.router.now_us().saturating_sub(until.fetched_us).max(0) / 1_000_000;
                let age = itoa::Buffer::new().format(age_seconds).to_owned();
                put(&[control.as_bytes(), b"\r\nage: ", age.as_bytes()]);
            }
        }
        put(&[b"\r\netag: ", &ready.etag.text(), b"\r\nx-cache: ", Cache::Hit.as_str().as_bytes()]);
        if let (true, Some(hsts)) = (tls, &self.hsts) {
            put(&[b"\r\nstrict-transport-security: ", hsts.as_bytes()]);
        }
        let mut digits = itoa::Buffer::new();
        let length = digits.format(length).as_bytes();
        put(&[b"\r\nx-request-id: ", &self.ids.fresh_text(), b"\r\ncontent-length: ", length]);
        with_date(now, || self.router.now_us(), |date| put(&[b"\r\ndate: ", date.as_bytes(), b"\r\n\r\n"]));
    }
}

thread_local! {
    /// A date as a header has it, and when it was written.
    static DATE: RefCell<(Option<Instant>, String)> = const { RefCell::new((None, String::new())) };
}

/// The date (RFC 9110 section 6.6.1), written anew twice a second.
fn with_date(now: Instant, now_us: impl FnOnce() -> i64, then: impl FnOnce(&str)) {
    DATE.with_borrow_mut(|(written, text)| {
        if written.is_none_or(|written| now.saturating_duration_since(written) >= DATE_LIFETIME) {
            let since_epoch = Duration::from_micros(u64::try_from(now_us()).unwrap_or(0));
            *text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch);
            *written = Some(now);
        }
        then(text);
    });
}
