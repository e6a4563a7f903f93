//! The IO of a connection, wrapped so that its [`ConnectionState`] stays current.
//!
//! The wrapper also refuses a bare LF in what a client sends over HTTP/1.1. Requests to this server have no
//! bodies, so every inbound byte belongs to a request head, and a head's lines end in CRLF (RFC 9112 section 2.2
//! permits a lone LF; two parsers that disagree on it is how requests are smuggled).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pages::Pages;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{ConnectionState, Framing};
use super::outlet::{self, Outlet};

/// Wraps a connection's stream.
pub(crate) struct WatchedIo<T> {
    inner: T,
    state: Arc<ConnectionState>,
    framing: Framing,
    last_byte: u8,
    pages: Option<Arc<Pages>>,
}

impl<T> WatchedIo<T> {
    /// Watches `inner` on behalf of `state`.
    pub(crate) fn new(inner: T, state: Arc<ConnectionState>, framing: Framing) -> Self {
        Self { inner, state, framing, last_byte: 0, pages: None }
    }

    /// Sends what is in `pages` without copying it, where that can be.
    pub(crate) fn sending_from(self, pages: Option<Arc<Pages>>) -> Self {
        Self { pages, ..self }
    }
}

/// Whether every LF in `bytes` follows a CR; `before` is the byte that came before them.
fn lines_end_in_crlf(before: u8, bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).all(|at| {
        let previous = at.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(before);
        previous == b'\r'
    })
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let Some(last) = fresh.last().copied() else { return result };
        if this.framing == Framing::Lines {
            if !lines_end_in_crlf(this.last_byte, fresh) {
                // An error comes without bytes, by the contract of poll_read.
                buf.set_filled(before);
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "bare LF in a request head",
                )));
            }
            this.last_byte = last;
            this.state.read_some();
        }
        result
    }
}

impl<T: Outlet> AsyncWrite for WatchedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.state.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let result = outlet::poll_send(Pin::new(&mut this.inner), cx, bufs, this.pages.as_ref());
        self.state.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.state.flushed(&result);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Phase;
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use tokio::io::AsyncReadExt as _;

    #[test]
    fn a_bare_line_feed_is_seen_across_reads() {
        assert!(lines_end_in_crlf(0, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(lines_end_in_crlf(b'\r', b"\nHost: a\r\n"));
        assert!(!lines_end_in_crlf(0, b"\nHost: a\r\n"));
        assert!(!lines_end_in_crlf(0, b"GET / HTTP/1.1\nHost: a\r\n\r\n"));
        assert!(!lines_end_in_crlf(0, b"GET / HTTP/1.1\r\nHost: a\r\n\n"));
    }

    #[tokio::test]
    async fn a_head_begins_with_its_first_byte_and_a_bare_lf_breaks_it() {
        let tick = Arc::new(AtomicU32::new(7));
        let state = Arc::new(ConnectionState::new(Arc::clone(&tick)));
        drop(state.answering(Framing::Frames));
        tick.store(9, Relaxed);
        let inbound: &[u8] = b"GET / HTTP/1.1\nX: y\r\n";
        let mut io =
            WatchedIo::new(tokio::io::join(inbound, tokio::io::sink()), Arc::clone(&state), Framing::Lines);
        let mut all = Vec::new();
        let error = io.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let inbound: &[u8] = b"G";
        let mut io =
            WatchedIo::new(tokio::io::join(inbound, tokio::io::sink()), Arc::clone(&state), Framing::Lines);
        io.read_to_end(&mut all).await.unwrap();
        assert_eq!(state.phase(), (Phase::Head, 9));
    }
}
