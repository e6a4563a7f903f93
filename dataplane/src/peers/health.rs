//! Which nodes are left alone for a while because they could not be reached.
//!
//! Pure: time is handed in. A node that failed is left alone for a second, then for twice as long each time up to half a
//! minute; after that one request finds out whether it is back, while the others still pass it over. Invariant: never more than
//! half of the nodes that are taken for living, this one among them, are left alone, so that a fault of our own network does not look
//! like the end of everybody else.
//!
//! A node that starts greets the others, and is there for them from then on, before the control plane knows of it: nodes that
//! disagree on who is there fetch the same thing twice.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Greeted this node since it last heard of them from the control plane.
    greeted: BTreeSet<NodeName>,
    /// When each greeted this node last: what was asked of it before says nothing of how it is now.
    back: BTreeMap<NodeName, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    until: Instant,
    /// Who is finding out.
    probe: Option<Probe>,
}

/// What finds out whether a node is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// A request, which may have begun before the node was back.
    Request,
    /// An answer to its greeting.
    Greeting,
}

impl Health {
    /// Whether `node` may be asked at `now`.
    pub fn may_ask(&self, node: &NodeName, now: Instant) -> bool {
        self.left_alone.get(node).is_none_or(|pause| now >= pause.until)
    }

    /// `node` says at `now` that it is there. Tells whether to find out if it can be reached; nobody else does so then.
    pub fn greeted(&mut self, node: &NodeName, now: Instant) -> bool {
        self.greeted.insert(node.clone());
        self.back.insert(node.clone(), now);
        let is_due = |pause: &Pause| pause.probe != Some(Probe::Greeting) || now >= pause.until;
        let finds_out = self.left_alone.get(node).is_some_and(is_due);
        if finds_out {
            self.probe(node, Probe::Greeting, now);
        }
        finds_out
    }

    /// `node`, which has greeted this one, answered. Tells whether it was left alone before.
    pub fn found(&mut self, node: &NodeName) -> bool {
        self.greeted.insert(node.clone());
        self.answered(node)
    }

    /// Whether `node` is there although the control plane takes it for dead.
    pub fn is_there(&self, node: &NodeName) -> bool {
        self.greeted.contains(node)
    }

    /// `node` is being asked at `now`. If it was left alone before, that finds out for the others, who wait for it.
    pub fn asked(&mut self, node: &NodeName, now: Instant) {
        self.probe(node, Probe::Request, now);
    }

    fn probe(&mut self, node: &NodeName, probe: Probe, now: Instant) {
        if let Some(pause) = self.left_alone.get_mut(node) {
            (pause.until, pause.probe) = (now + PROBE, Some(probe));
        }
    }

    /// `node` could not be reached at `now` by who asked it at `begun`; `others` are all that might be asked, it among them unless
    /// nobody asks it any more. Tells whether it is left alone from now on, and was not before.
    pub fn failed(
        &mut self,
        node: &NodeName,
        others: &BTreeSet<NodeName>,
        begun: Instant,
        now: Instant,
    ) -> bool {
        // It was starting then, and its socket took connections that it did not serve yet.
        if self.back.get(node).is_some_and(|back| begun < *back) {
            return false;
        }
        self.greeted.remove(node);
        if let Some(pause) = self.left_alone.get_mut(node) {
            // Requests that were under way together fail together: only that of who found out counts again.
            if pause.probe.is_some() {
                pause.length = (pause.length * 2).min(PAUSE_MAX);
                (pause.until, pause.probe) = (now + pause.length, None);
            }
            return false;
        }
        if !others.contains(node) || self.left_alone_of(others).count() >= half(others) {
            return false;
        }
        self.left_alone
            .insert(node.clone(), Pause { length: PAUSE_MIN, until: now + PAUSE_MIN, probe: None });
        true
    }

    /// `node` answered. Tells whether it was left alone before.
    pub fn answered(&mut self, node: &NodeName) -> bool {
        self.left_alone.remove(node).is_some()
    }

    /// The control plane has said something new of who is alive: that counts from now on, and `others` are all that might be asked.
    /// Of those whom it takes for dead only greetings are kept, since it hears of who comes back a little later.
    pub fn told(
        &mut self,
        others: &BTreeSet<NodeName>,
        is_alive: impl Fn(&NodeName) -> bool,
        is_dead: impl Fn(&NodeName) -> bool,
    ) {
        self.greeted.retain(|node| is_dead(node));
        self.back.retain(|node, _| is_alive(node) || is_dead(node));
        self.left_alone.retain(|node, _| is_alive(node) || self.greeted.contains(node));
        // Where fewer live than before, those that failed least are asked again.
        let mut left_alone: Vec<_> =
            self.left_alone_of(others).map(|(node, pause)| (pause.length, node.clone())).collect();
        left_alone.sort();
        let above = left_alone.len().saturating_sub(half(others));
        for (_, node) in left_alone.into_iter().take(above) {
            self.left_alone.remove(&node);
        }
    }

    /// Those of `others` that are left alone. Who was taken for dead, and greeted since, is kept in mind, and takes nobody's place.
    fn left_alone_of<'a>(
        &'a self,
        others: &'a BTreeSet<NodeName>,
    ) -> impl Iterator<Item = (&'a NodeName, &'a Pause)> {
        self.left_alone.iter().filter(move |(node, _)| others.contains(*node))
    }

    /// How many are left alone.
    pub fn left_alone(&self) -> usize {
        self.left_alone.len()
    }
}

/// How many of `others` may be left alone: half of all nodes, this one counted, which always is there for itself. Of two nodes that is the
/// other one, and of two zones that are alike it is one.
fn half(others: &BTreeSet<NodeName>) -> usize {
    usize::midpoint(others.len(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn names<const N: usize>(texts: [&str; N]) -> BTreeSet<NodeName> {
        texts.map(name).into()
    }

    #[test]
    fn one_request_finds_out_whether_a_node_is_back() {
        let (mut health, start, a) = (Health::default(), Instant::now(), name("a"));
        let others = names(["a", "b", "c"]);
        assert!(health.may_ask(&a, start));
        health.asked(&a, start);
        assert!(health.failed(&a, &others, start, start));
        assert!(!health.may_ask(&a, start + PAUSE_MIN / 2));
        let later = start + PAUSE_MIN;
        assert!(health.may_ask(&a, later) && health.may_ask(&a, later), "the probe");
        health.asked(&a, later);
        assert!(!health.may_ask(&a, later), "nobody else");
        assert!(!health.failed(&a, &others, later, later), "it was left alone before");
        assert!(!health.may_ask(&a, later + PAUSE_MIN), "for longer now");
        assert!(health.may_ask(&a, later + PAUSE_MIN * 2));
        assert!(health.answered(&a));
        assert!(health.may_ask(&a, later) && health.may_ask(&a, later));
    }

    #[test]
    fn a_node_that_greets_is_there_at_once() {
        let (mut health, start, a) = (Health::default(), Instant::now(), name("a"));
        assert!(!health.greeted(&a, start), "it was not left alone");
        assert!(health.is_there(&a));
        health.failed(&a, &names(["a", "b", "c"]), start, start);
        assert!(!health.is_there(&a));
        assert!(health.greeted(&a, start), "found out before its pause is over");
        assert!(!health.greeted(&a, start), "that is being done");
        assert!(health.answered(&a));
        assert!(health.may_ask(&a, start) && health.is_there(&a));
    }

    #[test]
    fn a_request_that_began_before_a_node_was_back_does_not_say_that_it_is_away() {
        let (mut health, start, a) = (Health::default(), Instant::now(), name("a"));
        let others = names(["a", "b", "c"]);
        health.failed(&a, &others, start, start);
        let asked = start + PAUSE_MIN;
        health.asked(&a, asked);
        let back = asked + PAUSE_MIN;
        assert!(health.greeted(&a, back), "found out beside the request");
        assert!(!health.failed(&a, &others, asked, back));
        assert!(health.found(&a));
        assert!(!health.failed(&a, &others, asked, back), "nor later");
        assert!(health.may_ask(&a, back) && health.is_there(&a));
        assert!(health.failed(&a, &others, back, back), "asked since");
    }

    #[test]
    fn what_the_control_plane_says_counts_but_it_hears_of_who_comes_back_later() {
        let (mut health, start) = (Health::default(), Instant::now());
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let others = names(["a", "b", "c", "d", "e", "f"]);
        health.failed(&a, &others, start, start);
        health.failed(&b, &others, start, start);
        health.greeted(&b, start);
        health.failed(&c, &others, start, start);
        // a and b are dead.
        let living = names(["c", "d", "e", "f"]);
        health.told(&living, |node| *node == c, |node| *node != c);
        assert!(health.may_ask(&a, start) && !health.may_ask(&b, start) && !health.may_ask(&c, start));
        assert!(health.is_there(&b));
        // b is back.
        health.told(&names(["b", "c", "d", "e", "f"]), |node| *node != a, |node| *node == a);
        assert!(!health.is_there(&b));
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let (mut health, now, a) = (Health::default(), Instant::now(), name("a"));
        for _ in 0..20 {
            health.failed(&a, &names(["a", "b", "c"]), now, now);
        }
        assert!(health.may_ask(&a, now + PAUSE_MIN));
    }

    #[test]
    fn the_pause_is_bounded() {
        let (mut health, mut now, a) = (Health::default(), Instant::now(), name("a"));
        let others = names(["a", "b", "c"]);
        health.failed(&a, &others, now, now);
        for _ in 0..20 {
            now += PAUSE_MAX;
            assert!(health.may_ask(&a, now), "within the bound");
            health.asked(&a, now);
            health.failed(&a, &others, now, now);
        }
    }

    #[test]
    fn never_more_than_half_are_left_alone() {
        let now = Instant::now();
        for count in 1..10_usize {
            let mut health = Health::default();
            let others: BTreeSet<_> = (0..count).map(|number| name(&format!("n{number}"))).collect();
            for node in &others {
                health.failed(node, &others, now, now);
            }
            assert_eq!(health.left_alone(), count.div_ceil(2), "of {count} and itself");
        }
    }

    #[test]
    fn when_fewer_live_than_before_fewer_are_left_alone() {
        let (mut health, start) = (Health::default(), Instant::now());
        let (a, b) = (name("a"), name("b"));
        let all = names(["a", "b", "c", "d"]);
        assert!(health.failed(&a, &all, start, start) && health.failed(&b, &all, start, start));
        // It was asked once more, in vain.
        let later = start + PAUSE_MIN;
        health.asked(&a, later);
        health.failed(&a, &all, later, later);
        // c and d are dead.
        let living = names(["a", "b"]);
        health.told(&living, |node| living.contains(node), |node| !living.contains(node));
        assert!(!health.may_ask(&a, later) && health.may_ask(&b, start));
        assert!(!health.failed(&b, &living, later, later), "one of two is left alone already");
    }

    #[test]
    fn the_dead_count_neither_among_the_others_nor_among_those_left_alone() {
        let now = Instant::now();
        let (a, b, dead) = (name("a"), name("b"), name("dead"));
        let (before, living) = (names(["a", "b", "dead"]), names(["a", "b"]));
        // It was left alone, and may be back, when the control plane takes it for dead.
        let mut health = Health::default();
        assert!(health.failed(&dead, &before, now, now));
        health.greeted(&dead, now);
        health.told(&living, |node| *node != dead, |node| *node == dead);
        assert!(!health.may_ask(&dead, now) && health.left_alone() == 1);
        assert!(health.failed(&a, &living, now, now), "one of two that live");
        assert!(!health.failed(&b, &living, now, now), "not the other as well");
        assert!(health.may_ask(&b, now));
        // Nobody asks one that is dead, so that nobody has to leave it alone.
        assert!(!Health::default().failed(&dead, &living, now, now));
    }
}
