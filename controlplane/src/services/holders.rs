//! Who should hold a version, by which layout, and how many of them are enough.

use std::collections::BTreeSet;

use cluster::{Epoch, NodeName, Slot, Zone};
use proto::{ErrorCode, Fault};

use super::Desk;
use crate::placement;

/// See the head of this file.
pub(super) struct Holders {
    pub(super) epoch: Epoch,
    /// Most of these have to have it.
    pub(super) replicas: Vec<(NodeName, Zone)>,
    /// Those of the layout that slots still move from, if they move; they are read as well. Some may be among the others.
    old: Vec<NodeName>,
}

impl Holders {
    pub(super) fn of(desk: &Desk, module: &str) -> Result<Self, Fault> {
        desk.control.shared.read(|state| {
            let tables = state.tables();
            let layout = placement::current(tables).ok_or_else(|| {
                Fault::new(ErrorCode::WrongState, "there is no layout yet, so nobody to hold anything")
                    .hint("`goproxyctl layout apply` puts one in force once a data node has joined")
            })?;
            let slot = Slot::of(module);
            let zone = |name: &NodeName| tables.nodes.get(name).map(|node| (name.clone(), node.zone.clone()));
            let replicas: Vec<_> = layout.replicas(slot).iter().filter_map(zone).collect();
            let previous = tables.transition.and_then(|transition| transition.previous);
            let old = previous.and_then(|epoch| tables.layouts.get(&epoch));
            let old = old.map(|record| record.layout.replicas(slot).to_vec()).unwrap_or_default();
            Ok(Self { epoch: layout.epoch(), replicas, old })
        })
    }

    /// All in one zone.
    #[cfg(test)]
    pub(super) fn of_names(replicas: &[&str], old: &[&str]) -> Self {
        let name = |name: &&str| NodeName::parse(name).unwrap();
        let zone = Zone::parse("z").unwrap();
        let replicas = replicas.iter().map(|replica| (name(replica), zone.clone())).collect();
        Self { epoch: Epoch::new(1), replicas, old: old.iter().map(name).collect() }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &NodeName> {
        let is_new = |name: &NodeName| self.replicas.iter().any(|(replica, _)| replica == name);
        self.replicas.iter().map(|(name, _)| name).chain(self.old.iter().filter(move |name| !is_new(name)))
    }

    /// Whether one of those who have it is of the layout that slots still move from, if they move: where the operator goes back to that layout,
    /// the others copy it from there.
    pub(super) fn reach_back(&self, having: &BTreeSet<NodeName>) -> bool {
        self.old.is_empty() || self.old.iter().any(|name| having.contains(name))
    }

    /// Whether those who have it are enough, so that no loss of fewer nodes than half, or of one zone of several, loses it.
    pub(super) fn are_enough(&self, having: &BTreeSet<NodeName>) -> bool {
        let count = self.replicas.iter().filter(|(name, _)| having.contains(name)).count();
        let zones = |wanted: &dyn Fn(&NodeName) -> bool| -> usize {
            let of = self.replicas.iter().filter(|(name, _)| wanted(name)).map(|(_, zone)| zone);
            of.collect::<BTreeSet<_>>().len()
        };
        count > self.replicas.len() / 2 && zones(&|name| having.contains(name)) >= zones(&|_| true).min(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(replicas: &[(&str, &str)]) -> Holders {
        let of = |(name, zone): &(&str, &str)| (NodeName::parse(name).unwrap(), Zone::parse(zone).unwrap());
        let replicas = replicas.iter().map(of).collect();
        Holders { epoch: Epoch::new(1), replicas, old: Vec::new() }
    }

    fn having(names: &str) -> BTreeSet<NodeName> {
        names.split_whitespace().map(|name| NodeName::parse(name).unwrap()).collect()
    }

    #[test]
    fn while_slots_move_somebody_of_the_layout_before_is_waited_for() {
        let settled = holders(&[("a", "z1"), ("b", "z2"), ("c", "z3")]);
        assert!(settled.reach_back(&having("a b")));
        let moving = Holders { old: having("c old").into_iter().collect(), ..settled };
        assert!(moving.all().map(NodeName::as_str).eq(["a", "b", "c", "old"]));
        assert!(moving.are_enough(&having("a b")) && !moving.reach_back(&having("a b")));
        assert!(moving.reach_back(&having("a b c")) && moving.reach_back(&having("a b old")));
    }

    #[test]
    fn most_replicas_in_two_zones_are_enough() {
        let one = holders(&[("a", "z")]);
        assert!(one.are_enough(&having("a")) && !one.are_enough(&having("b")));
        let two = holders(&[("a", "z1"), ("b", "z2")]);
        assert!(two.are_enough(&having("a b")) && !two.are_enough(&having("a")));
        let three = holders(&[("a", "z1"), ("b", "z1"), ("c", "z2")]);
        assert!(!three.are_enough(&having("a b")), "one zone");
        assert!(three.are_enough(&having("a c")) && three.are_enough(&having("b c")));
        assert!(!three.are_enough(&having("c x y")), "others do not count");
        let one_zone = holders(&[("a", "z"), ("b", "z"), ("c", "z")]);
        assert!(one_zone.are_enough(&having("a b")) && !one_zone.are_enough(&having("a")));
    }
}
