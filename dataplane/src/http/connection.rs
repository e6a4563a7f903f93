//! One client connection as the [`Reaper`](super::reaper::Reaper) sees it, and the IO wrapper that keeps
//! that view current with a few relaxed stores and no timers.
//!
//! The wrapper also refuses a bare LF in what a client sends over HTTP/1.1. Requests to this server have no
//! bodies, so every inbound byte belongs to a request head, and a head's lines end in CRLF (RFC 9112 section 2.2
//! permits a lone LF; two parsers that disagree on it is how requests are smuggled).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Between requests.
    Idle = 0,
    /// The handshake or a request head has begun and is not complete.
    Head = 1,
    /// Requests are being answered.
    Answer = 2,
}

/// Shared between a connection's task, its requests' bodies and the reaper. Times are the reaper's ticks.
#[derive(Debug)]
pub struct ConnectionState {
    tick: Arc<AtomicU32>,
    phase: AtomicU8,
    since: AtomicU32,
    written: AtomicU64,
    write_blocked: AtomicBool,
    /// Requests that are being answered: at most one over HTTP/1.1.
    answers: AtomicU32,
}

impl ConnectionState {
    /// A new connection, its first head under way.
    pub fn new(tick: Arc<AtomicU32>) -> Self {
        let now = tick.load(Relaxed);
        Self {
            tick,
            phase: AtomicU8::new(Phase::Head as u8),
            since: AtomicU32::new(now),
            written: AtomicU64::new(0),
            write_blocked: AtomicBool::new(false),
            answers: AtomicU32::new(0),
        }
    }

    /// A complete request head has arrived; dropping what is returned says that its answer is over.
    pub fn answering(self: &Arc<Self>) -> Answering {
        if self.answers.fetch_add(1, AcqRel) == 0 {
            self.enter(Phase::Answer);
        }
        Answering(Arc::clone(self))
    }

    /// The phase and the tick it began at.
    pub fn phase(&self) -> (Phase, u32) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Answer,
        };
        (phase, self.since.load(Relaxed))
    }

    /// Bytes written so far, and whether the client is not taking more just now.
    pub fn progress(&self) -> (u64, bool) {
        (self.written.load(Relaxed), self.write_blocked.load(Relaxed))
    }

    fn enter(&self, phase: Phase) {
        self.since.store(self.tick.load(Relaxed), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    fn read_some(&self) {
        if self.phase.load(Relaxed) == Phase::Idle as u8 {
            self.enter(Phase::Head);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.written.fetch_add(*bytes as u64, Relaxed);
                if self.write_blocked.load(Relaxed) {
                    self.write_blocked.store(false, Relaxed);
                }
            }
            Poll::Pending => self.write_blocked.store(true, Relaxed),
            Poll::Ready(Err(_)) => {}
        }
    }
}

/// A request that is being answered, until its body is gone, or its stream before there was one.
#[derive(Debug)]
pub struct Answering(Arc<ConnectionState>);

impl Drop for Answering {
    fn drop(&mut self) {
        if self.0.answers.fetch_sub(1, AcqRel) == 1 {
            self.0.enter(Phase::Idle);
        }
    }
}

/// Which rules the inbound bytes are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1 heads: CRLF only.
    Lines,
    /// HTTP/2 frames.
    Frames,
}

/// Wraps a connection's stream.
pub(crate) struct WatchedIo<T> {
    inner: T,
    state: Arc<ConnectionState>,
    framing: Framing,
    last_byte: u8,
}

impl<T> WatchedIo<T> {
    /// Watches `inner` on behalf of `state`.
    pub(crate) fn new(inner: T, state: Arc<ConnectionState>, framing: Framing) -> Self {
        Self { inner, state, framing, last_byte: 0 }
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

impl<T: AsyncWrite + Unpin> AsyncWrite for WatchedIo<T> {
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
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.state.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        drop(state.answering());
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
