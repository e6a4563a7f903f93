//! The one response body type: nothing, bytes that are there, or bytes that a [`ByteSource`] yields.
//!
//! Its length is always known before the head is sent, and a source that ends early is an error, never a
//! short 200. What must live as long as the body is being sent (the in-flight permit, the access-log entry)
//! rides in its [`Guard`], which leaves with the last [`Piece`].

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::guard::Guard;
use super::piece::Piece;
use super::streams;
use crate::serve::tag::Tag;

/// Yields the bytes of a body in order.
pub trait ByteSource: Send {
    /// The next piece, never empty; `None` after the last. Pieces are bounded by the store's chunk size.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;
}

/// Why a body stopped before its end. The connection is closed, so that the client sees a short body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes could not be read or did not verify.
    #[error("the content could not be read to its end: {0}")]
    Source(String),
    /// The source ended before the announced length.
    #[error("the content ended {missing} bytes early")]
    Short {
        /// Bytes announced but not yielded.
        missing: u64,
    },
}

/// A response body of known length.
pub struct Body {
    /// What is at hand.
    held: Bytes,
    /// Where the rest comes from.
    source: Option<Box<dyn ByteSource>>,
    remaining: u64,
    tag: Tag,
    guard: Guard,
}

impl Body {
    /// No bytes.
    pub fn empty(tag: Tag) -> Self {
        Self { held: Bytes::new(), source: None, remaining: 0, tag, guard: Guard::default() }
    }

    /// Bytes in memory.
    pub fn full(bytes: Bytes, tag: Tag) -> Self {
        let remaining = bytes.len() as u64;
        Self { held: bytes, source: None, remaining, tag, guard: Guard::default() }
    }

    /// `length` bytes that `source` will yield.
    pub fn stream(source: Box<dyn ByteSource>, length: u64, tag: Tag) -> Self {
        let source = (length > 0).then_some(source);
        Self { held: Bytes::new(), source, remaining: length, tag, guard: Guard::default() }
    }

    /// What the answer is, for metrics and the access log.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Bytes still to be sent.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether bytes are yielded over time rather than there at once.
    pub fn is_stream(&self) -> bool {
        self.source.is_some()
    }

    /// What lives and is settled with this body.
    pub fn guard_mut(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

impl http_body::Body for Body {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let this = &mut *self;
        if this.held.is_empty() {
            let Some(source) = &mut this.source else { return Poll::Ready(None) };
            match source.poll_next(cx) {
                Poll::Pending => {
                    streams::had_none();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(piece))) => this.held = piece,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(this.fail(error)))),
                Poll::Ready(None) => {
                    let missing = this.remaining;
                    return Poll::Ready(Some(Err(this.fail(BodyError::Short { missing }))));
                }
            }
        }
        let most = this.guard.piece_bytes_max();
        let bytes =
            if this.held.len() <= most { std::mem::take(&mut this.held) } else { this.held.split_to(most) };
        let length = bytes.len() as u64;
        this.remaining = this.remaining.saturating_sub(length);
        this.guard.sent(length);
        let piece = if this.remaining == 0 {
            this.source = None;
            Piece::last(bytes, std::mem::take(&mut this.guard))
        } else {
            Piece::new(bytes)
        };
        streams::gave();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

impl Body {
    fn fail(&mut self, error: BodyError) -> BodyError {
        self.source = None;
        self.guard.failed();
        error
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("remaining", &self.remaining)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::collections::VecDeque;

    struct Pieces(VecDeque<Bytes>);

    impl ByteSource for Pieces {
        fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn stream(pieces: &[&'static str], length: u64) -> Body {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        Body::stream(Box::new(Pieces(pieces)), length, Tag::default())
    }

    #[tokio::test]
    async fn a_stream_of_the_announced_length_ends_well() {
        let body = stream(&["ab", "cde"], 5).collect().await.unwrap().to_bytes();
        assert_eq!(body, "abcde");
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error() {
        let error = stream(&["ab"], 5).collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Short { missing: 3 }));
    }

    #[tokio::test]
    async fn an_empty_body_is_at_its_end_at_once() {
        let body = Body::full(Bytes::new(), Tag::default());
        assert!(http_body::Body::is_end_stream(&body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "");
    }
}
