//! Runs the streams of HTTP/2 connections, and resets one whose client does not take its body.
//!
//! A stream is judged by its body alone: hyper asks it for the next [`Piece`](super::piece::Piece) when the client has made
//! room for the one before. Windows that open by a byte a second, and pings, are no progress. A stream that waits for us is
//! left alone. What hyper has queued of a body that is all handed over is the
//! [`ConnectionState`](super::connection::ConnectionState)'s to watch.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::metrics::HttpFamilies;

thread_local! {
    /// What the body of the stream that this thread is polling was asked; a stream is polled by one thread at a time.
    static ASKED: Cell<Asked> = const { Cell::new(Asked::Nothing) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Gave,
    HadNone,
}

/// A body has given a piece: what is waited for from now on is the client.
pub(super) fn gave() {
    ASKED.set(Asked::Gave);
}

/// A body has none yet: what is waited for is our own source.
pub(super) fn had_none() {
    ASKED.set(Asked::HadNone);
}

/// Runs a connection's streams, each as a task of its own.
#[derive(Clone)]
pub(crate) struct Streams {
    /// How long a client may take for one piece.
    pub patience: Duration,
    /// Counts the streams that were reset.
    pub metrics: Arc<HttpFamilies>,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Watched { stream, streams: self.clone(), waiting: None, alarm: None });
    }
}

pin_project_lite::pin_project! {
    /// A stream until it is over, or its client has waited too long. Dropping it resets it.
    struct Watched<F> {
        #[pin]
        stream: F,
        streams: Streams,
        // When the client was last given a piece that it has not taken yet.
        waiting: Option<Instant>,
        // Only for a stream that ever waits: an answer that fits the client's window is done at its first poll.
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        ASKED.set(Asked::Nothing);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match ASKED.get() {
            Asked::Nothing => {}
            Asked::Gave => *this.waiting = Some(Instant::now()),
            Asked::HadNone => *this.waiting = None,
        }
        let Some(since) = *this.waiting else { return Poll::Pending };
        let end = since + this.streams.patience;
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                this.streams.metrics.streams_reset.inc();
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Executor as _;

    /// Runs a stream that is polled every few milliseconds, does `on_poll` with the number of the poll, and is over after
    /// 100 of them. Tells at which poll it ended, and how many streams were reset.
    async fn run(patience: Duration, on_poll: impl Fn(usize) + Send + 'static) -> (usize, u64) {
        let streams = Streams { patience, metrics: Arc::default() };
        let (polled, mut polls) = tokio::sync::mpsc::unbounded_channel();
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let mut poll = 0;
        streams.execute(std::future::poll_fn(move |cx| {
            while ticks.poll_tick(cx).is_ready() {
                poll += 1;
                polled.send(poll).unwrap();
                on_poll(poll);
                if poll == 100 {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }));
        let mut last = 0;
        while let Some(poll) = polls.recv().await {
            last = poll;
        }
        (last, streams.metrics.streams_reset.get())
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_reset_however_often_its_stream_wakes() {
        let gave_once = |poll| {
            if poll == 10 {
                gave();
            }
        };
        let (poll, reset) = run(Duration::from_millis(50), gave_once).await;
        assert!(reset == 1 && (10..100).contains(&poll), "{reset} after {poll}");
    }

    #[tokio::test]
    async fn a_client_that_takes_piece_after_piece_is_not() {
        assert_eq!(run(Duration::from_millis(50), |_| gave()).await, (100, 0));
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_us_is_not() {
        assert_eq!(run(Duration::ZERO, |_| {}).await, (100, 0));
        assert_eq!(run(Duration::ZERO, |_| had_none()).await, (100, 0));
    }
}
