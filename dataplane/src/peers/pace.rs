//! How soon nodes begin to answer: which of them is slow, and when it is worth asking a second one.
//!
//! Pure: time is handed in. What counts is how long a node takes to say that it has begun, not how long it takes to have an answer: that
//! may be an origin's fault. A slow node is spared requests that another one can answer from what it holds, for a few seconds; then one
//! request looks again, while it is still spared the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::NodeName;

use super::budget::{Budget, Share};

/// Nobody is slow below this.
const SLOW_MIN: Duration = Duration::from_millis(50);
/// How much slower than the best of the others a slow node is.
const SLOW_FACTOR: u32 = 3;
/// Where no other one is known to compare with, a node is slow above this.
const SLOW_ALONE: Duration = Duration::from_millis(200);
/// How long a slow node is spared.
const SPARED: Duration = Duration::from_secs(5);
/// How long the request that looks again has for it.
const LOOK: Duration = Duration::from_secs(2);
/// The share of the newest sample in the average.
const NEWEST: f64 = 0.2;
/// When a second node is asked: after what about one of fifty answers of nodes that are not slow takes, within these bounds. Sooner, and ordinary
/// jitter would use up what may be asked twice, with nothing left for a node that is in trouble.
const SECOND_MIN: Duration = Duration::from_millis(20);
const SECOND_MAX: Duration = Duration::from_secs(1);
/// By how much a longer answer raises that time, and any other one lowers it: alike where one of fifty is longer (Ma, Muthukrishnan and
/// Sandler, "Frugal Streaming for Estimating Quantiles", 2013, with steps in proportion).
const RISE: f64 = 1.196;
const FALL: f64 = 0.9964;
/// Second requests, and those instead of a slow node that come to nothing, in proportion to first ones; and how many of them may be saved up or
/// owed: so many are there at first, or a node that has just started would know no way around a slow one.
const SECONDS: Share = Share { of_firsts: 0.05, saved_max: 5.0, owed_max: 5.0 };

/// See the head of this file.
#[derive(Debug)]
pub struct Pace {
    nodes: BTreeMap<NodeName, Known>,
    /// What about one of fifty answers takes longer than.
    long: Duration,
    seconds: Budget,
}

impl Default for Pace {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), long: SECOND_MIN, seconds: Budget::new(SECONDS) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    average: Duration,
    spared_until: Option<Instant>,
}

impl Pace {
    /// `node` began to answer after `time`.
    pub fn began(&mut self, node: &NodeName, time: Duration, now: Instant) {
        let best = self.best_but(node);
        let known = self.nodes.entry(node.clone()).or_insert(Known { average: time, spared_until: None });
        known.average = known.average.mul_f64(1.0 - NEWEST) + time.mul_f64(NEWEST);
        let bound = best.map_or(SLOW_ALONE, |best| SLOW_MIN.max(best * SLOW_FACTOR));
        let is_slow = time > bound;
        known.spared_until = is_slow.then(|| now + SPARED);
        if !is_slow {
            let step = if time > self.long { RISE } else { FALL };
            self.long = self.long.mul_f64(step).clamp(SECOND_MIN, SECOND_MAX);
        }
    }

    /// Whether `node` was slow when it was last asked.
    pub fn is_slow(&self, node: &NodeName) -> bool {
        self.nodes.get(node).is_some_and(|known| known.spared_until.is_some())
    }

    /// Whether `node` is spared a request at `now`. If it was slow and is not spared this one, that is the request that looks again. Never more
    /// than half of all nodes are spared, this one counted, which asks itself nothing: of those that are slow the slowest.
    pub fn spares(&mut self, node: &NodeName, now: Instant) -> bool {
        if self.slower_than(node, now) >= usize::midpoint(self.nodes.len(), 1) {
            return false;
        }
        let Some(until) = self.nodes.get_mut(node).and_then(|known| known.spared_until.as_mut()) else {
            return false;
        };
        let spares = now < *until;
        if !spares {
            *until = now + LOOK;
        }
        spares
    }

    /// How long to wait for a node before a second one is asked.
    pub fn patience(&self) -> Duration {
        self.long
    }

    /// What second requests are paid from.
    pub fn seconds(&mut self) -> &mut Budget {
        &mut self.seconds
    }

    /// Forgets nodes that are no more.
    pub fn retain(&mut self, stays: impl Fn(&NodeName) -> bool) {
        self.nodes.retain(|node, _| stays(node));
    }

    /// How many nodes that are spared at `now` are slower than `node`.
    fn slower_than(&self, node: &NodeName, now: Instant) -> usize {
        let Some(average) = self.nodes.get(node).map(|known| known.average) else { return 0 };
        let is_slower = |(name, known): &(&NodeName, &Known)| {
            known.spared_until.is_some_and(|until| now < until) && (known.average, *name) > (average, node)
        };
        self.nodes.iter().filter(is_slower).count()
    }

    fn best_but(&self, node: &NodeName) -> Option<Duration> {
        self.nodes.iter().filter(|(name, _)| *name != node).map(|(_, known)| known.average).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(500);

    #[test]
    fn a_slow_node_is_spared_for_a_while() {
        let name = |text: &str| NodeName::parse(text).unwrap();
        let (mut pace, now, a, b) = (Pace::default(), Instant::now(), name("a"), name("b"));
        pace.began(&a, SLOW_ALONE, now);
        assert!(!pace.spares(&a, now), "slower than whom?");
        pace.began(&a, SLOW, now);
        assert!(pace.spares(&a, now), "slower than anybody should be");
        pace.began(&b, FAST, now);
        pace.began(&a, SLOW, now);
        assert!(pace.spares(&a, now) && !pace.spares(&b, now));
        let later = now + SPARED;
        assert!(!pace.spares(&a, later), "somebody looks again");
        assert!(pace.spares(&a, later) && pace.is_slow(&a), "nobody else does");
        assert!(!pace.spares(&a, later + LOOK), "who looked never came back");
        pace.began(&a, SLOW, later);
        assert!(pace.spares(&a, later));
        pace.began(&a, FAST, later);
        assert!(!pace.spares(&a, later) && !pace.is_slow(&a), "at once, when it is not any more");
        pace.began(&b, SLOW_MIN, now);
        assert!(!pace.is_slow(&b), "nobody is slow below the bound");
    }

    #[test]
    fn never_more_than_half_are_spared() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let names = ["a", "b", "c", "d"].map(|text| NodeName::parse(text).unwrap());
        pace.began(&names[0], FAST, now);
        for (number, name) in names.iter().enumerate().skip(1) {
            pace.began(name, SLOW * number as u32, now);
        }
        let spared = names.each_ref().map(|name| pace.spares(name, now));
        assert_eq!(spared, [false, false, true, true], "of five nodes the two slowest");
    }

    #[test]
    fn a_second_node_is_asked_after_what_few_answers_take() {
        let (mut pace, now, a) = (Pace::default(), Instant::now(), NodeName::parse("a").unwrap());
        assert_eq!(pace.patience(), SECOND_MIN);
        let mut longer = 0;
        for number in 0..20_000_u64 {
            // Evenly from 30 to 130 ms, in no order.
            let time = Duration::from_millis(30 + number * 37 % 101);
            longer += u32::from(number >= 10_000 && time > pace.patience());
            pace.began(&a, time, now);
        }
        assert!((100..=400).contains(&longer), "{longer} of 10 000");
        let before = pace.patience();
        pace.began(&a, SLOW, now);
        assert_eq!(pace.patience(), before, "what a slow node takes is no measure");
    }
}
