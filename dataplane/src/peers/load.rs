//! How much each node is asked at once by this one, and when that is its share.
//!
//! Pure: time is handed in. The owner of a slot is asked first, until it answers more than 1.5 times what those who hold the slot
//! answer on average; then another one that holds it is asked for a copy (Mirrokni, Thorup and Zadimoghaddam, "Consistent
//! Hashing with Bounded Loads", 2016). Who had no copy is not asked to share for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::NodeName;

/// The bound in halves of the average.
const BOUND_HALVES: u64 = 3;
/// For how long a node that had no copy is not asked to share.
const SPARED: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Load {
    nodes: BTreeMap<NodeName, Known>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    under_way: u64,
    spared_until: Option<Instant>,
}

impl Load {
    /// `node` is asked something.
    pub fn begun(&mut self, node: &NodeName) {
        self.nodes.entry(node.clone()).or_default().under_way += 1;
    }

    /// It is asked that no more.
    pub fn ended(&mut self, node: &NodeName) {
        if let Some(known) = self.nodes.get_mut(node) {
            known.under_way = known.under_way.saturating_sub(1);
        }
    }

    /// `node` was asked to share at `now`, and had no copy.
    pub fn had_none(&mut self, node: &NodeName, now: Instant) {
        self.nodes.entry(node.clone()).or_default().spared_until = Some(now + SPARED);
    }

    /// Those of `others` who are to be asked at `now` instead of `owner`, the least busy first; none as long as one more is within
    /// the owner's share.
    pub fn instead_of(&self, owner: &NodeName, others: &[&NodeName], now: Instant) -> Vec<NodeName> {
        let all = self.under_way(owner) + others.iter().map(|other| self.under_way(other)).sum::<u64>();
        let bound = (BOUND_HALVES * (all + 1)).div_ceil(2 * (others.len() as u64 + 1));
        if self.under_way(owner) < bound {
            return Vec::new();
        }
        let is_spared = |node: &NodeName| {
            self.nodes.get(node).and_then(|known| known.spared_until).is_some_and(|until| now < until)
        };
        let less = |other: &&&NodeName| self.under_way(other) < self.under_way(owner) && !is_spared(other);
        let mut less: Vec<_> = others.iter().filter(less).map(|other| (*other).clone()).collect();
        less.sort_by_key(|other| self.under_way(other));
        less
    }

    /// Forgets nodes that are no more.
    pub fn retain(&mut self, stays: impl Fn(&NodeName) -> bool) {
        self.nodes.retain(|node, known| known.under_way > 0 || stays(node));
    }

    fn under_way(&self, node: &NodeName) -> u64 {
        self.nodes.get(node).map_or(0, |known| known.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<NodeName> {
        (0..count).map(|number| NodeName::parse(&format!("n{number}")).unwrap()).collect()
    }

    /// Who is asked, if everybody has a copy.
    fn ask(load: &mut Load, names: &[NodeName]) -> NodeName {
        let others: Vec<_> = names[1..].iter().collect();
        let asked = load.instead_of(&names[0], &others, Instant::now()).into_iter().next();
        let asked = asked.unwrap_or_else(|| names[0].clone());
        load.begun(&asked);
        asked
    }

    #[test]
    fn the_owner_alone_is_asked_as_long_as_it_is_little() {
        let (mut load, names) = (Load::default(), names(2));
        for _ in 0..3 {
            assert_eq!(ask(&mut load, &names), names[0]);
        }
        assert_eq!(ask(&mut load, &names), names[1]);
        load.ended(&names[0]);
        assert_eq!(ask(&mut load, &names), names[0]);
    }

    #[test]
    fn an_owner_without_others_is_asked_for_all() {
        let (mut load, names) = (Load::default(), names(1));
        for _ in 0..100 {
            assert_eq!(ask(&mut load, &names), names[0]);
        }
    }

    #[test]
    fn who_had_no_copy_is_spared_for_a_while() {
        let (mut load, names, now) = (Load::default(), names(2), Instant::now());
        for _ in 0..10 {
            load.begun(&names[0]);
        }
        let instead = |load: &Load, now| load.instead_of(&names[0], &[&names[1]], now).len();
        assert_eq!(instead(&load, now), 1);
        load.had_none(&names[1], now);
        assert_eq!(instead(&load, now), 0);
        assert_eq!(instead(&load, now + SPARED), 1);
    }

    proptest! {
        #[test]
        fn the_owner_is_asked_at_most_half_as_much_again_as_the_average(
            count in 1..6_usize,
            ends in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let (mut load, names) = (Load::default(), names(count));
            let mut under_way = Vec::new();
            for end in ends {
                if end && !under_way.is_empty() {
                    load.ended(&under_way.swap_remove(0));
                    continue;
                }
                let asked = ask(&mut load, &names);
                let is_owner = asked == names[0];
                under_way.push(asked);
                let (of_owner, all) = (load.under_way(&names[0]), under_way.len() as u64);
                let bound = (3 * all).div_ceil(2 * count as u64);
                prop_assert!(!is_owner || of_owner <= bound, "{of_owner} of {all}");
            }
        }
    }
}
