//! How old what this node goes by may be: since when no control node has said that it is the latest.
//!
//! Read when it is scraped. Invariant: it is nothing from a word of a control node on while that one is followed, and grows from the last word
//! after that; after a start, from the start, since nobody wrote down when the word before was heard. News are a word, and that there are none;
//! a whole state is none, since who sends it may be behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clock::Clock;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

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
    /// Whether the control node that said so is followed still.
    is_followed: bool,
}

impl ViewAge {
    /// Of a node that belongs to no cluster yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, heard: Arc::default() }
    }

    /// The node belongs to a cluster, and has heard nothing of it since its start.
    pub fn begin(&self) {
        let now = self.clock.monotonic();
        self.heard.lock().last.get_or_insert(now);
    }

    /// A control node says that this is the latest, and will say when it is no more.
    pub fn confirm(&self) {
        let last = Some(self.clock.monotonic());
        *self.heard.lock() = Heard { last, is_followed: true };
    }

    /// Nobody is followed any more.
    pub fn broke_off(&self) {
        self.heard.lock().is_followed = false;
    }

    fn age(&self) -> Duration {
        let now = self.clock.monotonic();
        let heard = self.heard.lock();
        let since = heard.last.filter(|_| !heard.is_followed);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
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
        age.begin();
        assert_eq!(later(7), "7", "since the start");
        age.begin();
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
}
