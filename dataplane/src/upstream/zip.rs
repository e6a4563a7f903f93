//! Owns a zip on its way from an origin: limits, pace, and taking it up again when the connection breaks.
//!
//! Does not verify the zip (that is the store's and gomod's business). Invariants: the bytes handed out are a prefix of
//! one file, never a seam of two; the end is reported only if the announced length is reached; time counts only while
//! the origin is waited for, so a slow consumer is never taken for a slow origin.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::chain::FallThrough;
use super::error::{FetchError, OriginId, Phase, Unavailability};
use super::exchange::{HttpOrigin, Live, header_text};
use super::failure::{Again, Failure};
use super::fetch::{Attempts, Shell};
use super::file::FileZip;
use super::kind::Kind;
use super::limit::Share;
use super::limits::{RESUMES_MAX, ZIP_BYTES_MAX};
use super::rate::RateFloor;

/// A zip that is being fetched; dropping it gives the fetch up.
#[derive(Debug)]
pub struct ZipStream {
    /// Its size in bytes, if the origin announced it.
    pub length: Option<u64>,
    /// Who sends it.
    pub origin: OriginId,
    /// Which of its errors let the chain's next entry be asked instead, by the chain's rule.
    pub then: FallThrough,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Http(Box<HttpZip>),
    File(FileZip),
}

impl ZipStream {
    pub(super) fn http(zip: HttpZip, then: FallThrough) -> Self {
        Self { length: zip.length, origin: zip.site.id.clone(), then, source: Source::Http(Box::new(zip)) }
    }

    pub(super) fn file(zip: FileZip, origin: OriginId, then: FallThrough) -> Self {
        Self { length: Some(zip.length()), origin, then, source: Source::File(zip) }
    }

    /// The next bytes, never none at all; `None` at the end. After an error the stream is of no further use.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        match &mut self.source {
            Source::Http(zip) => zip.next().await,
            Source::File(zip) => zip.next().await,
        }
    }
}

/// What a second request must agree with, so that it is about the same file.
#[derive(Debug)]
enum Identity {
    /// The origin gave a strong validator and serves ranges (RFC 9110 sections 8.8.1 and 13.1.5).
    Validator(HeaderValue),
    /// It gave none, so the bytes handed out are hashed and compared with those of the second answer.
    Prefix(Box<Sha256>),
}

/// A zip from a proxy.
#[derive(Debug)]
pub(super) struct HttpZip {
    shell: Arc<Shell>,
    site: Arc<HttpOrigin>,
    path: String,
    length: Option<u64>,
    live: Option<Live>,
    /// Read but not handed out yet.
    pending: Option<Bytes>,
    /// Handed out so far.
    received: u64,
    identity: Identity,
    pace: RateFloor,
    resumes: u32,
    attempts: Attempts,
    /// What broke the connection, to be told if it cannot be taken up again.
    fault: Option<Failure>,
    ended: bool,
}

impl HttpZip {
    /// Asks `site` for a zip and waits for its first bytes.
    pub(super) async fn open(
        shell: &Arc<Shell>,
        site: &Arc<HttpOrigin>,
        path: &str,
    ) -> Result<Self, Failure> {
        let live = site.open(&shell.wire, Share::Zip, path, HeaderMap::new()).await?;
        let headers = live.response.headers();
        let length = live.response.content_length();
        if length.is_some_and(|length| length > ZIP_BYTES_MAX) {
            return Err(Failure::last(site.too_large(ZIP_BYTES_MAX)));
        }
        let identity = match validator(headers) {
            Some(validator) => Identity::Validator(validator),
            None => Identity::Prefix(Box::new(Sha256::new())),
        };
        let limits = &shell.wire.limits;
        let mut zip = Self {
            shell: Arc::clone(shell),
            site: Arc::clone(site),
            path: path.to_owned(),
            length,
            live: Some(live),
            pending: None,
            received: 0,
            identity,
            pace: RateFloor::new(limits.bytes_per_second_min, limits.pace_window),
            resumes: 0,
            attempts: Attempts::begin(&shell.wire),
            fault: None,
            ended: false,
        };
        let Some(first) = zip.read().await? else {
            let unbelievable =
                super::kind::Unbelievable { expected: "a zip file", detail: "it is empty".to_owned() };
            return Err(Failure::last(malformed(site, unbelievable)));
        };
        Kind::check_zip_start(&first).map_err(|unbelievable| Failure::last(malformed(site, unbelievable)))?;
        zip.pending = Some(first);
        Ok(zip)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            if let Some(chunk) = self.pending.take() {
                return self.hand_out(chunk).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            if self.live.is_none() {
                self.resume().await?;
                continue;
            }
            match self.read().await {
                Ok(Some(chunk)) => self.pending = Some(chunk),
                Ok(None) if self.length.is_none_or(|length| length == self.received) => {
                    // Gives the place back: what follows asks nothing of the origin.
                    self.live = None;
                    self.ended = true;
                }
                Ok(None) => self.broke_off(Failure::soon(self.truncated())),
                Err(failure) => self.broke_off(failure),
            }
        }
    }

    fn hand_out(&mut self, chunk: Bytes) -> Result<Bytes, FetchError> {
        self.received += chunk.len() as u64;
        if self.received > ZIP_BYTES_MAX {
            return Err(self.site.too_large(ZIP_BYTES_MAX));
        }
        if self.length.is_some_and(|length| self.received > length) {
            return Err(FetchError::Changed { origin: self.site.id.clone() });
        }
        if let Identity::Prefix(hash) = &mut self.identity {
            hash.update(&chunk);
        }
        Ok(chunk)
    }

    /// The next non-empty part of the current response.
    async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(live) = &mut self.live else { return Ok(None) };
        let wire = &self.shell.wire;
        loop {
            let asked_at = tokio::time::Instant::now();
            let next = tokio::time::timeout(wire.limits.idle, live.response.chunk()).await;
            let chunk = next.map_err(|_| Failure::soon(self.site.timeout(Phase::Body)))?;
            let chunk = chunk.map_err(|error| Failure::soon(self.site.broken(error)))?;
            let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
            self.site.received(wire, bytes);
            if !self.pace.received(bytes, asked_at.elapsed()) {
                return Err(Failure::last(self.site.timeout(Phase::Body)));
            }
            match chunk {
                Some(chunk) if chunk.is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    fn truncated(&self) -> FetchError {
        self.site.unavailable(Unavailability::Truncated, String::new(), None)
    }

    fn broke_off(&mut self, failure: Failure) {
        // Gives the place back before another one is asked for.
        self.live = None;
        self.fault = Some(failure);
    }

    /// Opens the same file again and goes to where the old connection broke.
    async fn resume(&mut self) -> Result<(), FetchError> {
        let failure = self.fault.take().unwrap_or_else(|| Failure::soon(self.truncated()));
        if self.resumes == RESUMES_MAX || failure.again == Again::No {
            return Err(self.shell.give_up(&self.site, &mut self.attempts, failure));
        }
        // Kept until the resumption has worked, in case this future is dropped in the middle.
        self.fault = Some(failure.clone());
        self.attempts.restart(&self.shell.wire);
        self.shell.pause(&self.site, &mut self.attempts, failure).await?;
        self.resumes += 1;
        self.shell.wire.metrics.resumed(&self.site.id);
        tracing::debug!(origin = %self.site.id, received = self.received, "resuming a zip");
        match self.reopen().await {
            Ok(()) => {
                self.fault = None;
                Ok(())
            }
            Err(failure) if failure.again == Again::No => {
                Err(self.shell.give_up(&self.site, &mut self.attempts, failure))
            }
            Err(failure) => {
                self.broke_off(failure);
                Ok(())
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        if let Identity::Validator(validator) = &self.identity {
            let range = format!("bytes={}-", self.received);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(header::RANGE, range);
                headers.insert(header::IF_RANGE, validator.clone());
            }
        }
        let live = match self.site.open(&self.shell.wire, Share::Zip, &self.path, headers).await {
            Ok(live) => live,
            // The file is shorter now than what was handed out of it (416), or not there.
            Err(Failure {
                error: FetchError::Refused { status: 416, .. } | FetchError::NotFound { .. },
                ..
            }) => {
                return Err(Failure::last(self.changed()));
            }
            Err(failure) => return Err(failure),
        };
        let partial = live.response.status() == StatusCode::PARTIAL_CONTENT;
        if partial {
            self.check_range(live.response.headers())?;
            self.live = Some(live);
            return Ok(());
        }
        let same_length = match (self.length, live.response.content_length()) {
            (Some(before), Some(now)) => before == now,
            _ => true,
        };
        let same_validator = match &self.identity {
            Identity::Validator(before) => validator(live.response.headers()).as_ref() == Some(before),
            Identity::Prefix(_) => true,
        };
        if !same_length || !same_validator {
            return Err(Failure::last(self.changed()));
        }
        self.live = Some(live);
        let skipped = self.skip().await;
        if skipped.is_err() {
            self.live = None;
        }
        skipped
    }

    /// Reads what was handed out already and compares it.
    async fn skip(&mut self) -> Result<(), Failure> {
        let mut left = self.received;
        let mut hash = Sha256::new();
        let mut rest = Bytes::new();
        while left > 0 {
            let Some(mut chunk) = self.read().await? else {
                return Err(Failure::soon(self.truncated()));
            };
            let here = (chunk.len() as u64).min(left);
            rest = chunk.split_off(here as usize);
            left -= here;
            if matches!(self.identity, Identity::Prefix(_)) {
                hash.update(&chunk);
            }
        }
        if let Identity::Prefix(before) = &self.identity
            && before.as_ref().clone().finalize() != hash.finalize()
        {
            return Err(Failure::last(self.changed()));
        }
        self.pending = (!rest.is_empty()).then_some(rest);
        Ok(())
    }

    /// A 206 must go on exactly where we are, in a file of the same length and, if it names one, the same validator: not
    /// every origin heeds `If-Range`.
    fn check_range(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let range = header_text(headers, &header::CONTENT_RANGE).and_then(content_range);
        let other_file = match (&self.identity, headers.get(header::ETAG)) {
            (Identity::Validator(before), Some(now)) => before != now,
            (Identity::Validator(_) | Identity::Prefix(_), _) => false,
        };
        match range {
            Some((from, total))
                if !other_file
                    && from == self.received
                    && self.length.is_none_or(|length| length == total) =>
            {
                Ok(())
            }
            _ => Err(Failure::last(self.changed())),
        }
    }

    fn changed(&self) -> FetchError {
        FetchError::Changed { origin: self.site.id.clone() }
    }
}

fn malformed(site: &HttpOrigin, unbelievable: super::kind::Unbelievable) -> FetchError {
    FetchError::Malformed {
        expected: unbelievable.expected,
        detail: unbelievable.detail,
        origin: site.id.clone(),
    }
}

/// What `If-Range` may carry, if ranges are served at all: a strong entity tag. A date is not taken, because it is strong
/// only under conditions about the origin's clock that cannot be checked from here.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    if !header_text(headers, &header::ACCEPT_RANGES).is_some_and(|units| units.eq_ignore_ascii_case("bytes"))
    {
        return None;
    }
    let tag = headers.get(header::ETAG)?;
    tag.as_bytes().starts_with(b"\"").then(|| tag.clone())
}

/// Start and complete length of `bytes FIRST-LAST/LENGTH`; `None` if it is anything else.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (first <= last && last.checked_add(1) == Some(total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_a_strong_tag_with_ranges_is_a_validator() {
        let ranges = (header::ACCEPT_RANGES, "bytes");
        assert!(validator(&headers(&[ranges.clone(), (header::ETAG, "\"x\"")])).is_some());
        assert!(validator(&headers(&[(header::ETAG, "\"x\"")])).is_none());
        assert!(validator(&headers(&[ranges.clone(), (header::ETAG, "W/\"x\"")])).is_none());
        assert!(validator(&headers(&[ranges])).is_none());
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for bad in [
            "bytes 5-8/10",
            "bytes 9-5/10",
            "bytes */10",
            "bytes 5-9/*",
            "items 5-9/10",
            "bytes 5-18446744073709551615/0",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
