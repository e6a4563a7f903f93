//! Every error becomes an answer here and nowhere else: at most two lines of text/plain that the go command
//! can show a developer (protocol.md 56-69), and the status that makes it walk on or stop.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::body::Body;
use super::inbound::{Failure, Inbound};
use super::router::kind_of;
use crate::serve::ServeError;
use crate::serve::tag::{Kind, Tag};

/// The go command shows at most 648 bytes and drops a text with control characters whole (protocol.md 63).
const TEXT_BYTES_MAX: usize = 600;

/// See the head of this file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner }
    }
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct Rescue<S> {
    inner: S,
}

impl<S> Service<Inbound> for Rescue<S>
where
    S: Service<Inbound, Response = Response<Body>, Error = Failure>,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // INVARIANT: nothing below this layer holds a request back; what is too much is shed with an answer.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        RescueFuture { inner: self.inner.call(inbound) }
    }
}

pin_project! {
    /// Turns the inner service's error into an answer.
    pub struct RescueFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<Body>, Failure>>,
{
    type Output = Result<Response<Body>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match ready!(self.project().inner.poll(cx)) {
            Ok(response) => response,
            Err(Failure { error, asked }) => {
                let kind = kind_of(asked.target.path());
                let mut response = rescue(&error, kind, asked.method == Method::HEAD);
                response.extensions_mut().insert(*asked);
                response
            }
        }))
    }
}

/// The answer that tells of `error`.
pub(crate) fn rescue(error: &ServeError, kind: Kind, head_only: bool) -> Response<Body> {
    let text = text(error);
    let tag = Tag::uncached(kind);
    let length = text.len();
    let body = if head_only { Body::empty(tag) } else { Body::full(Bytes::from(text), tag) };
    let mut response = Response::new(body);
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    let lasts = matches!(error, ServeError::NotFound { .. } | ServeError::Gone { .. });
    // As long again as it may be remembered here: a minute altogether.
    let lifetime = if lasts { "public, max-age=30" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(lifetime));
    match error {
        ServeError::MethodRefused => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        ServeError::BodyRefused => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        ServeError::RangeRefused { size } => {
            if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
                headers.insert(CONTENT_RANGE, range);
            }
        }
        ServeError::Malformed { .. }
        | ServeError::NotFound { .. }
        | ServeError::NotHeld { .. }
        | ServeError::Gone { .. }
        | ServeError::Refused { .. }
        | ServeError::BadContent { .. }
        | ServeError::Unverified { .. }
        | ServeError::OriginUnavailable { .. }
        | ServeError::OriginTimeout { .. }
        | ServeError::OriginBusy { .. }
        | ServeError::Unavailable { .. }
        | ServeError::Overloaded
        | ServeError::PreconditionFailed
        | ServeError::Internal { .. } => {}
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Two lines at most: what and why, then what to do. Foreign text in them loses what is not graphic: the go command shows nothing of
/// a text that has one such character in it (its `web.HTTPError`).
pub(super) fn text(error: &ServeError) -> String {
    let mut text = one_line(&error.to_string(), TEXT_BYTES_MAX - 200);
    text.push('\n');
    if let Some(hint) = error.hint() {
        text.push_str(&one_line(&hint, 198));
        text.push('\n');
    }
    text
}

fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line: String = text.chars().map(|c| if is_graphic(c) { c } else { ' ' }).collect();
    if line.len() > bytes_max {
        let end = (0..=bytes_max - 3).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line.push_str("...");
    }
    line
}

/// As Go's `unicode.IsGraphic` has it: letters, marks, numbers, punctuation, symbols and spaces.
fn is_graphic(char: char) -> bool {
    match char.general_category_group() {
        GeneralCategoryGroup::Letter
        | GeneralCategoryGroup::Mark
        | GeneralCategoryGroup::Number
        | GeneralCategoryGroup::Punctuation
        | GeneralCategoryGroup::Symbol => true,
        GeneralCategoryGroup::Separator => char.general_category() == GeneralCategory::SpaceSeparator,
        GeneralCategoryGroup::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt as _;

    #[test]
    fn what_the_go_command_would_not_show_is_left_out() {
        let text = "a\u{200d}b\u{ad}c\u{2060}d\u{e000}e\u{2028}f\u{85}g\u{378}h";
        assert_eq!(one_line(text, 100), "a b c d e f g h");
        let fine = "malware \u{1f3f4}, se\u{301}curite\u{301} \u{4e16}\u{754c} \u{a0}1\u{2082} - $";
        assert_eq!(one_line(fine, 100), fine);
    }

    #[tokio::test]
    async fn foreign_text_is_clipped_and_cleaned() {
        let error =
            ServeError::NotFound { what: "a.example/m@v1.0.0".into(), why: "x\u{1b}[31m\n\n".repeat(300) };
        let response = rescue(&error, Kind::Info, false);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
        assert!(text.lines().count() <= 2);
        assert!(text.starts_with("not found: a.example/m@v1.0.0"));
        assert!(!text.trim_end_matches('\n').replace('\n', "").chars().any(char::is_control));
    }

    #[test]
    fn head_tells_the_length_it_would_have() {
        let error = ServeError::NotFound { what: "a.example/m".into(), why: "no".into() };
        let response = rescue(&error, Kind::List, true);
        assert_ne!(response.headers()[http::header::CONTENT_LENGTH], "0");
        assert_eq!(response.body().remaining(), 0);
    }
}
