//! Which nodes are left alone for a while because they could not be reached.
//!
//! Pure: time is handed in. A node that failed is left alone for a second, then for twice as long each time up to half a
//! minute; after that one request finds out whether it is back, while the others still pass it over. Invariant: never more than
//! half of the nodes are left alone, so that a fault of our own network does not look like the end of everybody else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::NodeName;

/// How long a node is left alone after its first failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long the request that finds out has for it.
const PROBE: Duration = Duration::from_secs(2);

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Health {
    left_alone: BTreeMap<NodeName, Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    until: Instant,
    /// One request is finding out.
    is_probed: bool,
}

impl Health {
    /// Whether `node` may be asked at `now`.
    pub fn may_ask(&self, node: &NodeName, now: Instant) -> bool {
        self.left_alone.get(node).is_none_or(|pause| now >= pause.until)
    }

    /// `node` is being asked at `now`. If it was left alone before, that finds out for the others, who wait for it.
    pub fn asked(&mut self, node: &NodeName, now: Instant) {
        if let Some(pause) = self.left_alone.get_mut(node) {
            (pause.until, pause.is_probed) = (now + PROBE, true);
        }
    }

    /// `node` could not be reached at `now`; there are `others` nodes that might be asked, this one included. Tells whether it
    /// is left alone from now on, and was not before.
    pub fn failed(&mut self, node: &NodeName, others: usize, now: Instant) -> bool {
        if let Some(pause) = self.left_alone.get_mut(node) {
            // Requests that were under way together fail together: only that of who found out counts again.
            if pause.is_probed {
                pause.length = (pause.length * 2).min(PAUSE_MAX);
                (pause.until, pause.is_probed) = (now + pause.length, false);
            }
            return false;
        }
        if self.left_alone.len() + 1 > others.div_ceil(2) {
            return false;
        }
        self.left_alone
            .insert(node.clone(), Pause { length: PAUSE_MIN, until: now + PAUSE_MIN, is_probed: false });
        true
    }

    /// `node` answered. Tells whether it was left alone before.
    pub fn answered(&mut self, node: &NodeName) -> bool {
        self.left_alone.remove(node).is_some()
    }

    /// Forgets nodes that are no more.
    pub fn retain(&mut self, stays: impl Fn(&NodeName) -> bool) {
        self.left_alone.retain(|node, _| stays(node));
    }

    /// How many are left alone.
    pub fn left_alone(&self) -> usize {
        self.left_alone.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    #[test]
    fn one_request_finds_out_whether_a_node_is_back() {
        let (mut health, start, a) = (Health::default(), Instant::now(), name("a"));
        assert!(health.may_ask(&a, start));
        health.asked(&a, start);
        assert!(health.failed(&a, 3, start));
        assert!(!health.may_ask(&a, start + PAUSE_MIN / 2));
        let later = start + PAUSE_MIN;
        assert!(health.may_ask(&a, later) && health.may_ask(&a, later), "the probe");
        health.asked(&a, later);
        assert!(!health.may_ask(&a, later), "nobody else");
        assert!(!health.failed(&a, 3, later), "it was left alone before");
        assert!(!health.may_ask(&a, later + PAUSE_MIN), "for longer now");
        assert!(health.may_ask(&a, later + PAUSE_MIN * 2));
        assert!(health.answered(&a));
        assert!(health.may_ask(&a, later) && health.may_ask(&a, later));
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let (mut health, now, a) = (Health::default(), Instant::now(), name("a"));
        for _ in 0..20 {
            health.failed(&a, 3, now);
        }
        assert!(health.may_ask(&a, now + PAUSE_MIN));
    }

    #[test]
    fn the_pause_is_bounded() {
        let (mut health, mut now, a) = (Health::default(), Instant::now(), name("a"));
        health.failed(&a, 3, now);
        for _ in 0..20 {
            now += PAUSE_MAX;
            assert!(health.may_ask(&a, now), "within the bound");
            health.asked(&a, now);
            health.failed(&a, 3, now);
        }
    }

    #[test]
    fn never_more_than_half_are_left_alone() {
        let now = Instant::now();
        for others in 1..10_usize {
            let mut health = Health::default();
            let names: Vec<_> = (0..others).map(|number| name(&format!("n{number}"))).collect();
            for node in &names {
                health.failed(node, others, now);
            }
            assert_eq!(health.left_alone(), others.div_ceil(2), "{others}");
        }
    }
}
