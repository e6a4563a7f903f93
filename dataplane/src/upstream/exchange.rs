//! Owns one request to one proxy: a place at the origin, its circuit breaker, the response head, the status.
//!
//! Does not repeat anything (see [`super::fetch`]) and does not judge content (see [`super::kind`]).
//! Invariants: each phase has its own time limit; credentials go to this origin alone and into no text.

use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use bytes::{Bytes, BytesMut};
use common::clock::Clock;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::bodies::{Bodies, Room, UNCOUNTED_BYTES};
use super::breaker::{Breaker, Pass, Shut};
use super::client::{ClientError, Clients};
use super::error::{Cause, FetchError, OriginId, Phase, Unavailability};
use super::failure::{Again, Blame, End, Failure};
use super::limit::{self, Gate, NoPlace, Place, Share};
use super::limits::Limits;
use super::metrics::UpstreamMetrics;
use super::redirect::RedirectRefused;
use super::retry::{RETRY_AFTER_WAIT_MAX, retry_after};
use super::text::{DETAIL_BYTES_MAX, first_line, is_plain_text};
use super::window::Fault;
use crate::client::Client;

/// What of a canonical request path has to be percent-encoded in a URL. `!`, `@` and `+` travel as they are.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// Time for the text of an error answer; it is a courtesy, not the answer.
const DETAIL_TIMEOUT: Duration = Duration::from_secs(2);

/// Another module proxy (or a checksum database), with what this server remembers of it.
#[derive(Debug)]
pub(super) struct HttpOrigin {
    pub(super) id: OriginId,
    client: reqwest::Client,
    /// Without credentials.
    base: Url,
    /// Marked sensitive, so that `Debug` does not show it.
    authorization: Option<HeaderValue>,
    breaker: Mutex<Breaker>,
    gate: Gate,
}

/// A response whose head is good; holds its place at the origin until it is dropped.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) response: reqwest::Response,
    _place: Place,
}

/// What requests need beside the origin.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) clients: Clients,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: UpstreamMetrics,
    pub(super) limits: Limits,
    pub(super) bodies: Bodies,
}

impl HttpOrigin {
    pub(super) fn new(entry: u16, url: &Url, wire: &Wire) -> Result<Self, ClientError> {
        let host = url.host_str().unwrap_or_default();
        let label = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut bare = url.clone();
        let id = OriginId::new(entry, &label);
        wire.metrics.introduce(&id);
        // Cannot fail for http and https, which are all that a chain lets through.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        Ok(Self {
            id,
            client: wire.clients.of(url, limit::zips(wire.limits.places))?,
            base: bare,
            authorization: authorization(url),
            breaker: Mutex::new(Breaker::new(wire.clock.monotonic())),
            gate: Gate::new(&wire.limits),
        })
    }

    /// Asks for `path` (canonical, not percent-encoded) and waits for a good head: 200, or 206 if `headers` ask for a
    /// range.
    pub(super) async fn open(
        &self,
        wire: &Wire,
        share: Share,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Live, Failure> {
        let ranged = headers.contains_key(header::RANGE);
        let pass = self.admit(wire)?;
        let place = self.gate.enter(share, Client::current()).await;
        let place = place.map_err(|no_place| self.no_place(no_place))?;
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{}", utf8_percent_encode(path, PATH)));
        let mut request = self.client.get(url).headers(headers);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let asked_at = wire.clock.monotonic();
        let sent = tokio::time::timeout(wire.limits.head, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let failure = self.transport(error, pass, Fault::Over(subject(path)));
                if failure.end == End::Answered {
                    self.tell(wire, Breaker::succeeded);
                }
                return Err(failure);
            }
            Err(_) => {
                let failure = Failure::soon(self.timeout(Phase::Head));
                return Err(failure.blaming(pass, Fault::Over(subject(path))));
            }
        };
        self.gate.progressed();
        wire.metrics.head(&self.id, wire.clock.monotonic().saturating_duration_since(asked_at));
        let status = response.status();
        if status.is_server_error() {
            self.tell(wire, |breaker, _| breaker.erred());
            let failure = self.status(wire, response).await;
            return Err(failure.blaming(pass, Fault::Over(subject(path))));
        }
        self.tell(wire, Breaker::succeeded);
        if status == StatusCode::OK || (ranged && status == StatusCode::PARTIAL_CONTENT) {
            self.check_encoding(&response)?;
            return Ok(Live { response, _place: place });
        }
        Err(self.status(wire, response).await)
    }

    /// Reads a whole body of at most `limit` bytes, which takes up room until that is dropped.
    pub(super) async fn read_small(
        &self,
        wire: &Wire,
        mut live: Live,
        limit: u64,
    ) -> Result<(Bytes, Room), Failure> {
        let announced = live.response.content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(Failure::last(self.too_large(limit)));
        }
        let deadline = tokio::time::Instant::now() + wire.limits.small_body;
        let mut room = self.room(wire, announced.unwrap_or(0), deadline).await?;
        // The announced length is a claim, but there is room for what it claims.
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0) as usize);
        let reading = async {
            loop {
                let next = tokio::time::timeout(wire.limits.idle, live.response.chunk()).await;
                let chunk = next.map_err(|_| Failure::soon(self.timeout(Phase::Body)))?;
                let Some(chunk) = chunk.map_err(|error| Failure::soon(self.broken(error)))? else {
                    return Ok(());
                };
                self.gate.progressed();
                let (before, after) = (body.len() as u64, body.len() as u64 + chunk.len() as u64);
                if after > limit {
                    return Err(Failure::last(self.too_large(limit)));
                }
                if announced.is_none() && before <= UNCOUNTED_BYTES && after > UNCOUNTED_BYTES {
                    room = self.room(wire, limit, deadline).await?;
                }
                body.extend_from_slice(&chunk);
            }
        };
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(read) => read?,
            Err(_) => return Err(Failure::soon(self.timeout(Phase::Body))),
        }
        wire.metrics.received(&self.id, body.len() as u64);
        if announced.is_some_and(|length| length != body.len() as u64) {
            return Err(Failure::soon(self.unavailable(Unavailability::Truncated, String::new(), None)));
        }
        Ok((body.freeze(), room))
    }

    async fn room(&self, wire: &Wire, bytes: u64, deadline: tokio::time::Instant) -> Result<Room, Failure> {
        let room = tokio::time::timeout_at(deadline, wire.bodies.room(bytes)).await;
        room.map_err(|_| Failure::last(self.timeout(Phase::Queue)))
    }

    /// Bytes of a zip came.
    pub(super) fn received(&self, wire: &Wire, bytes: u64) {
        self.gate.progressed();
        wire.metrics.received(&self.id, bytes);
    }

    pub(super) fn timeout(&self, phase: Phase) -> FetchError {
        FetchError::Timeout { phase, origin: self.id.clone() }
    }

    pub(super) fn too_large(&self, limit: u64) -> FetchError {
        FetchError::TooLarge { limit, origin: self.id.clone() }
    }

    pub(super) fn unavailable(
        &self,
        why: Unavailability,
        detail: String,
        source: Option<Cause>,
    ) -> FetchError {
        FetchError::Unavailable { origin: self.id.clone(), why, detail, source }
    }

    /// The connection broke while a body was read.
    pub(super) fn broken(&self, error: reqwest::Error) -> FetchError {
        self.unavailable(Unavailability::Broken, String::new(), Some(Arc::new(error.without_url())))
    }

    /// A request whose last attempt is to blame on the origin is not repeated any more.
    pub(super) fn failed(&self, wire: &Wire, blame: Blame) {
        self.tell(wire, |breaker, now| breaker.failed(blame.pass, blame.fault, now));
    }

    fn admit(&self, wire: &Wire) -> Result<Pass, Failure> {
        self.breaker.lock().admit(wire.clock.monotonic()).map_err(|Shut { retry_in, is_asked_for }| {
            Failure::unasked(if is_asked_for {
                let detail = format!("it asked not to be asked for {} s", retry_in.as_secs().max(1));
                FetchError::RateLimited { retry_after: Some(retry_in), detail, origin: self.id.clone() }
            } else {
                self.unavailable(Unavailability::CircuitOpen { retry_in }, String::new(), None)
            })
        })
    }

    fn tell(&self, wire: &Wire, tell: impl FnOnce(&mut Breaker, Instant)) {
        let now = wire.clock.monotonic();
        let mut breaker = self.breaker.lock();
        let before = breaker.state(now);
        tell(&mut breaker, now);
        let after = breaker.state(now);
        drop(breaker);
        if before != after {
            wire.metrics.breaker(&self.id, after);
            tracing::warn!(origin = %self.id, from = ?before, to = ?after, "circuit breaker changed");
        }
    }

    fn no_place(&self, no_place: NoPlace) -> Failure {
        Failure::unasked(match no_place {
            NoPlace::QueueFull => self.unavailable(Unavailability::QueueFull, String::new(), None),
            NoPlace::TooLong => self.timeout(Phase::Queue),
        })
    }

    /// `over` is what to blame the origin for unless it could not be reached at all.
    fn transport(&self, error: reqwest::Error, pass: Pass, over: Fault) -> Failure {
        let refused = cause_in::<RedirectRefused>(&error);
        if error.is_redirect() || refused.is_some() {
            let detail = refused.map_or_else(|| "to a bad address".to_owned(), ToString::to_string);
            return Failure::last(FetchError::BadRedirect { detail, origin: self.id.clone() });
        }
        if error.is_builder() {
            // A redirect to something that is no web address at all.
            let detail = "to a bad address".to_owned();
            return Failure::last(FetchError::BadRedirect { detail, origin: self.id.clone() });
        }
        if error.is_connect() && error.is_timeout() {
            return Failure::soon(self.timeout(Phase::Connect)).blaming(pass, Fault::Unreached);
        }
        let error = error.without_url();
        if error.is_connect() {
            // Why not is what a person needs: no such host, refused, an untrusted certificate.
            let detail = first_line(root_cause(&error).to_string().as_bytes());
            let error = self.unavailable(Unavailability::Connect, detail, Some(Arc::new(error)));
            return Failure::soon(error).blaming(pass, Fault::Unreached);
        }
        let error = self.unavailable(Unavailability::Broken, String::new(), Some(Arc::new(error)));
        Failure::soon(error).blaming(pass, over)
    }

    /// Lengths and hashes are of the file itself; an encoded one was not asked for.
    fn check_encoding(&self, response: &reqwest::Response) -> Result<(), Failure> {
        if is_unencoded(response.headers()) {
            return Ok(());
        }
        Err(Failure::last(FetchError::Malformed {
            expected: "an unencoded file",
            detail: "it has a content encoding that was not asked for".to_owned(),
            origin: self.id.clone(),
        }))
    }

    /// Turns an answer that is not the file into an error.
    async fn status(&self, wire: &Wire, response: reqwest::Response) -> Failure {
        let status = response.status();
        let pause = header_text(response.headers(), &header::RETRY_AFTER)
            .and_then(|value| retry_after(value, wire.clock.now_us()));
        let detail = detail(response).await;
        let origin = self.id.clone();
        let error = match status {
            StatusCode::NOT_FOUND => {
                return Failure::last(FetchError::NotFound { gone: false, detail, origin });
            }
            StatusCode::GONE => return Failure::last(FetchError::NotFound { gone: true, detail, origin }),
            StatusCode::TOO_MANY_REQUESTS => FetchError::RateLimited { retry_after: pause, detail, origin },
            _ if status.is_server_error() => {
                self.unavailable(Unavailability::Status(status.as_u16()), detail, None)
            }
            _ if status.is_client_error() => {
                return Failure::last(FetchError::Refused { status: status.as_u16(), detail, origin });
            }
            _ => {
                let detail = format!("status {} instead of 200", status.as_u16());
                return Failure::last(FetchError::Malformed { expected: "a file", detail, origin });
            }
        };
        let again = match pause {
            Some(pause) if pause > RETRY_AFTER_WAIT_MAX => {
                // 429 is about who asks. A 503 may be about what was asked for, and others ask for something else.
                if status == StatusCode::TOO_MANY_REQUESTS {
                    self.hold_off(wire, pause);
                }
                Again::No
            }
            Some(pause) => Again::After(pause),
            None if matches!(
                status,
                StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED
            ) =>
            {
                Again::No
            }
            None => Again::Soon,
        };
        Failure { error, again, end: End::Answered }
    }

    /// The origin wants to be left alone.
    fn hold_off(&self, wire: &Wire, pause: Duration) {
        let now = wire.clock.monotonic();
        let mut breaker = self.breaker.lock();
        breaker.hold_off(now, pause);
        wire.metrics.breaker(&self.id, breaker.state(now));
    }
}

/// Stands for what `path` is about: a module with all its versions and files, or a piece of a checksum database.
fn subject(path: &str) -> u32 {
    let about = path.split_once('@').map_or(path, |(about, _)| about);
    let mut hasher = DefaultHasher::new();
    about.hash(&mut hasher);
    hasher.finish() as u32
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The first line of an error answer, if it is text for people.
async fn detail(mut response: reqwest::Response) -> String {
    let headers = response.headers();
    if !is_plain_text(header_text(headers, &header::CONTENT_TYPE)) || !is_unencoded(headers) {
        return String::new();
    }
    let mut start = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = (4 * DETAIL_BYTES_MAX).saturating_sub(start.len());
            start.extend(chunk.iter().take(room));
            if chunk.len() >= room {
                break;
            }
        }
    };
    // What came in time is shown, the rest is not waited for.
    let _ = tokio::time::timeout(DETAIL_TIMEOUT, reading).await;
    first_line(&start)
}

fn is_unencoded(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The end of the chain of causes.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last
}

/// The first error of type `E` in the chain of causes.
pub(super) fn cause_in<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_hidden_header() {
        let url: Url = "https://us%40er:p%3Aw@a.example/".parse().unwrap();
        let value = authorization(&url).unwrap();
        assert_eq!(value, format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("us@er:p:w")));
        assert!(!format!("{value:?}").contains("Basic"));
        assert!(authorization(&"https://a.example/".parse().unwrap()).is_none());
    }

    #[test]
    fn canonical_paths_travel_as_they_are() {
        let encoded = |path| utf8_percent_encode(path, PATH).to_string();
        assert_eq!(
            encoded("github.com/!azure/x/@v/v1.0.0+incompatible.info"),
            "github.com/!azure/x/@v/v1.0.0+incompatible.info"
        );
        assert_eq!(encoded("a.b/c/@v/x y%?#.info"), "a.b/c/@v/x%20y%25%3F%23.info");
    }

    #[test]
    fn all_files_of_a_module_are_about_it() {
        assert_eq!(subject("a.b/c/@v/v1.0.0.info"), subject("a.b/c/@latest"));
        assert_ne!(subject("a.b/c/@v/v1.0.0.info"), subject("a.b/c/d/@v/v1.0.0.info"));
        let lookup = |spec: &str| subject(&format!("sumdb/sum.test/lookup/{spec}"));
        assert_eq!(lookup("a.b/c@v1.0.0"), lookup("a.b/c@v1.1.0"));
        assert_ne!(subject("sumdb/sum.test/tile/8/0/000"), subject("sumdb/sum.test/tile/8/0/001"));
    }
}
