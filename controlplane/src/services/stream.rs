//! Answers that go on: a value now, and again whenever it has changed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::control::Control;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Between two answers, at least.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// The interval that a client asks for, within bounds.
pub(super) fn interval(asked: Option<Duration>) -> Duration {
    asked.unwrap_or(INTERVAL_DEFAULT).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// What a look at the state came to.
pub(super) enum Look<T> {
    /// This, and it may change.
    Now(T),
    /// This, and it is the last.
    Last(T),
}

/// Looks again and again, and answers with what differs from the answer before.
pub(super) fn watch<T, F>(
    control: Arc<Control>,
    every: Duration,
    mut look: impl FnMut(Arc<Control>) -> F + Send + 'static,
) -> Answers<T>
where
    T: Clone + PartialEq + Send + 'static,
    F: Future<Output = Result<Look<T>, Status>> + Send,
{
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut last: Option<T> = None;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // The client is gone.
                () = answers.closed() => return,
            }
            let (value, is_last) = match look(Arc::clone(&control)).await {
                Ok(Look::Now(value)) => (value, false),
                Ok(Look::Last(value)) => (value, true),
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            if last.as_ref() != Some(&value) {
                last = Some(value.clone());
                if answers.send(Ok(value)).await.is_err() {
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(stream))
}
