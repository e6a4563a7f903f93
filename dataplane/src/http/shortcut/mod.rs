//! What is in memory is answered before hyper hears of it.
//!
//! Most requests ask for a small file or zip that is in memory, in the same few words. Between a socket and hyper,
//! [`Shortcut`] reads each head as it comes: what the [`Desk`] can answer is written at once, and hyper, which still waits
//! for its next request, sees nothing of it. All else goes up to hyper untouched.
//!
//! Whose turn it is must never be in doubt, or an answer goes to the wrong question. So a shortcut is taken only while
//! hyper has nothing: it was last handed one whole head without a body, its answer's body is gone, and all it wrote
//! was flushed. On a connection where anything else was seen once, no shortcut is taken any more.
//!
//! What hyper answers to a head that it cannot read passes here, too ([`Unread`]).

mod desk;
mod head;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use desk::Desk;
use head::{Begins, begins};

use super::connection::ConnectionState;
use super::outlet::Outlet;
use super::unread::Unread;
use super::watched::WatchedIo;

/// Answers that are gathered before they are written.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Where answers are put together, so that a connection holds only what it could not send.
    static ANSWERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What hyper has of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    /// Nothing: it waits for a request.
    Nothing,
    /// One whole request.
    Request,
    /// What cannot be told any more.
    Unknown,
}

/// See the head of this file.
pub(super) struct Shortcut<T> {
    io: WatchedIo<T>,
    state: Arc<ConnectionState>,
    desk: Option<Arc<Desk>>,
    unread: Unread,
    above: Above,
    unsent: Unsent,
}

/// What of answers the client has not taken yet.
#[derive(Default)]
struct Unsent {
    /// Heads and content, and how many bytes of them are sent.
    copied: Vec<u8>,
    sent: usize,
    /// Content that comes after those.
    content: Bytes,
}

impl Unsent {
    /// What is to be sent next; empty when there is nothing.
    fn next(&self) -> &[u8] {
        match self.copied.get(self.sent..) {
            None | Some([]) => &self.content,
            Some(rest) => rest,
        }
    }

    /// So many bytes of [`Unsent::next`] were sent.
    fn advance(&mut self, count: usize) {
        if self.sent < self.copied.len() {
            self.sent += count;
        } else {
            self.content.advance(count.min(self.content.len()));
        }
    }
}

impl<T: Outlet> Shortcut<T> {
    /// Between `io`, whose state is `state`, and hyper. Without a `desk` everything goes up.
    pub(super) fn new(
        io: WatchedIo<T>,
        state: Arc<ConnectionState>,
        desk: Option<Arc<Desk>>,
        unread: Unread,
    ) -> Self {
        let above = if desk.is_some() { Above::Nothing } else { Above::Unknown };
        Self { io, state, desk, unread, above, unsent: Unsent::default() }
    }

    /// Whether hyper is to believe that it has written `bytes`, in whose place something else leaves. Nothing is unsent before.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        let Some(instead) = self.unread.instead_of(bytes) else { return false };
        self.unsent.copied = instead;
        true
    }

    /// Writes what is left of answers.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.next().is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, self.unsent.next()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.unsent.advance(written),
            }
            if self.unsent.next().is_empty() {
                self.unsent = Unsent::default();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Answers what `fresh` begins with, as far as it can; how many bytes were answered.
    fn take(&mut self, cx: &mut Context<'_>, fresh: &[u8]) -> io::Result<usize> {
        let Some(desk) = self.desk.clone() else { return Ok(0) };
        ANSWERS.with_borrow_mut(|answers| {
            answers.clear();
            let (mut taken, mut content) = (0, Bytes::new());
            while content.is_empty()
                && let Some(rest) = fresh.get(taken..).filter(|_| answers.len() < ANSWERS_BYTES_MAX)
                && let Begins::Plain { path, length } = begins(rest)
                && let Some(after) = desk.answer(path, self.unread.tls, answers)
            {
                taken += length;
                content = after;
            }
            if taken > 0 {
                self.state.rest();
                self.write(cx, answers, content)?;
            }
            Ok(taken)
        })
    }

    /// Writes `answers` and then `content`, and keeps what the client does not take now. Nothing is unsent before.
    fn write(&mut self, cx: &mut Context<'_>, answers: &[u8], mut content: Bytes) -> io::Result<()> {
        let io = Pin::new(&mut self.io);
        let written = if content.is_empty() {
            io.poll_write(cx, answers)
        } else {
            io.poll_write_vectored(cx, &[IoSlice::new(answers), IoSlice::new(&content)])
        };
        let written = match written {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unsent.copied.extend_from_slice(answers.get(written..).unwrap_or_default());
        content.advance(written.saturating_sub(answers.len()).min(content.len()));
        self.unsent.content = content;
        Ok(())
    }
}

impl<T: Outlet> AsyncRead for Shortcut<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_unsent(cx))?;
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let fresh = buf.filled().get(before..).unwrap_or_default();
            if this.above != Above::Nothing {
                this.above = Above::Unknown;
                return Poll::Ready(Ok(()));
            }
            let taken = this.take(cx, fresh)?;
            let rest = fresh.get(taken..).unwrap_or_default();
            if rest.is_empty() && taken > 0 {
                buf.set_filled(before);
                continue;
            }
            this.above = match begins(rest) {
                Begins::Plain { length, .. } | Begins::Bodiless { length } if length == rest.len() => {
                    Above::Request
                }
                Begins::Plain { .. } | Begins::Bodiless { .. } | Begins::Other => Above::Unknown,
            };
            let length = rest.len();
            if taken > 0 {
                let from = before + taken;
                buf.filled_mut().copy_within(from.., before);
                buf.set_filled(before + length);
                // Those bytes are a head that has begun.
                this.state.read_some();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl<T: Outlet> AsyncWrite for Shortcut<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        if self.replaces(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(cx))?;
        if let [whole] = bufs
            && self.replaces(whole)
        {
            return Poll::Ready(Ok(whole.len()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes when it has written all it had.
        if self.above == Above::Request && self.state.is_at_rest() {
            self.above = Above::Nothing;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
