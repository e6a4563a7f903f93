//! How old what this node goes by may be: since when no control node has said that it is the latest.
//!
//! Read when it is scraped, and where a policy document bounds it. Invariant: it is nothing from a word of a control node on while that one is
//! followed, and grows from the last word after that, also while the node is not running: the time of the last word is written down once a
//! minute, so that after a start it is up to a minute too much and never too little. News are a word, and that there are none; a whole state is
//! none, since who sends it may be behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::Clock;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// Between two times that the last word is written down.
const WRITTEN_EVERY: Duration = Duration::from_mins(1);

/// See the head of this file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ViewAge {
    clock: Arc<dyn Clock>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    /// When a control node last said that this is the latest, or when this node began to ask; none before it belongs to a cluster.
    last: Option<Instant>,
    /// How old it was then.
    before: Duration,
    /// Whether the control node that said so is followed still.
    is_followed: bool,
    /// When a word was last handed out to be written down.
    written: Option<Instant>,
}

impl ViewAge {
    /// Of a node that belongs to no cluster yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, heard: Arc::default() }
    }

    /// The node belongs to a cluster, and has heard nothing of it since its start. `last_word_us` is when it did before that, in microseconds since
    /// the Unix epoch, as [`Self::confirm`] gave it; a time that is still to come is now.
    pub fn begin(&self, last_word_us: Option<i64>) {
        let now_us = self.clock.now_us();
        let before = last_word_us.map_or(0, |last| now_us.saturating_sub(last).max(0));
        let now = self.clock.monotonic();
        let mut heard = self.heard.lock();
        if heard.last.is_none() {
            heard.last = Some(now);
            heard.before = Duration::from_micros(u64::try_from(before).unwrap_or_default());
        }
    }

    /// A control node says that this is the latest, and will say when it is no more. Gives the time, if it is to be written down.
    pub fn confirm(&self) -> Option<i64> {
        let now = self.clock.monotonic();
        let mut heard = self.heard.lock();
        let is_due =
            heard.written.is_none_or(|written| now.saturating_duration_since(written) >= WRITTEN_EVERY);
        let written = if is_due { Some(now) } else { heard.written };
        *heard = Heard { last: Some(now), before: Duration::ZERO, is_followed: true, written };
        is_due.then(|| self.clock.now_us())
    }

    /// Nobody is followed any more.
    pub fn broke_off(&self) {
        self.heard.lock().is_followed = false;
    }

    /// See the head of this file.
    pub fn age(&self) -> Duration {
        let now = self.clock.monotonic();
        let heard = self.heard.lock();
        let since = heard.last.filter(|_| !heard.is_followed);
        since
            .map_or(Duration::ZERO, |since| heard.before.saturating_add(now.saturating_duration_since(since)))
    }
}

impl EncodeMetric for ViewAge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&i64::try_from(self.age().as_secs()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use common::clock::ManualClock;
    use prometheus_client::registry::Registry;

    use super::*;

    fn exposed(age: &ViewAge) -> String {
        let mut registry = Registry::default();
        registry.register("age_seconds", "Age", age.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().find_map(|line| line.strip_prefix("age_seconds ")).unwrap().to_owned()
    }

    #[test]
    fn it_grows_while_nobody_is_followed() {
        let clock = Arc::new(ManualClock::new(0));
        let age = ViewAge::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let later = |seconds: u64| {
            clock.advance(Duration::from_secs(seconds));
            exposed(&age)
        };
        assert_eq!(later(5), "0", "it belongs to no cluster");
        age.begin(None);
        assert_eq!(later(7), "7", "since the start");
        age.begin(Some(0));
        assert_eq!(later(1), "8", "joining took more than one attempt");
        age.confirm();
        assert_eq!(later(5), "0", "it is followed");
        age.broke_off();
        assert_eq!(later(60), "65", "since the last word");
        age.broke_off();
        assert_eq!(later(60), "125", "another attempt failed, or nobody made sure of anything yet");
        age.confirm();
        assert_eq!(later(0), "0");
    }

    #[test]
    fn it_grows_while_the_node_is_not_running() {
        const SECOND_US: i64 = 1_000_000;
        let clock = Arc::new(ManualClock::new(1_000 * SECOND_US));
        let of_start = |last_word_us| {
            let age = ViewAge::new(Arc::clone(&clock) as Arc<dyn Clock>);
            age.begin(last_word_us);
            age
        };
        let age = of_start(Some(900 * SECOND_US));
        assert_eq!(age.age(), Duration::from_secs(100));
        clock.advance(Duration::from_secs(20));
        assert_eq!(age.age(), Duration::from_mins(2));
        age.confirm();
        age.broke_off();
        assert_eq!(age.age(), Duration::ZERO, "what was before counts no more");
        assert_eq!(of_start(Some(5_000 * SECOND_US)).age(), Duration::ZERO, "the clock was set back");
        assert_eq!(of_start(Some(i64::MIN)).age(), Duration::from_micros(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn a_word_is_written_down_once_a_minute() {
        let clock = Arc::new(ManualClock::new(7));
        let age = ViewAge::new(Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!(age.confirm(), Some(7));
        clock.advance(Duration::from_secs(59));
        assert_eq!(age.confirm(), None);
        age.broke_off();
        clock.advance(Duration::from_secs(1));
        assert_eq!(age.confirm(), Some(60_000_007));
    }
}
