//! What a node has still to fetch for the layout in force, and from whom.
//!
//! Pure. A slot is in sync when everybody who may hold something of it, and lives, has been asked since it came here.

use std::collections::BTreeMap;

use cluster::NodeName;
use cluster::layout::{Slot, Transition};

use super::slots::SlotSet;

/// The slots that `me` holds by the layout in force.
pub(super) fn held(placement: &Transition, me: &NodeName) -> SlotSet {
    Slot::all().filter(|slot| placement.new_layout().replicas(*slot).contains(me)).collect()
}

/// The slots that `me` owns, and that others leave while nobody comes in their place. What a leaving node alone holds is the owner's to take:
/// where somebody comes, that one takes it.
pub(super) fn left(placement: &Transition, me: &NodeName) -> SlotSet {
    let Some(old) = placement.old_layout() else { return SlotSet::default() };
    let is_left = |slot: &Slot| {
        let (before, now) = (old.replicas(*slot), placement.new_layout().replicas(*slot));
        now.iter().next() == Some(me)
            && now.iter().all(|name| before.contains(name))
            && before.iter().any(|name| !now.contains(name))
    };
    Slot::all().filter(is_left).collect()
}

/// Whom to ask for which of the slots in `missing`: all who hold them by either layout, and are `up`.
pub(super) fn sources(
    placement: &Transition,
    me: &NodeName,
    missing: &SlotSet,
    up: impl Fn(&NodeName) -> bool,
) -> BTreeMap<NodeName, SlotSet> {
    let mut sources: BTreeMap<NodeName, SlotSet> = BTreeMap::new();
    for slot in missing.iter() {
        for name in placement.reads(slot).filter(|name| *name != me && up(name)) {
            sources.entry(name.clone()).or_default().insert(slot);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster::Epoch;
    use cluster::layout::{Layout, ReplicationFactor};

    use super::*;

    #[test]
    fn a_slot_that_comes_is_asked_of_all_who_may_hold_it() {
        let name = |name: &str| NodeName::parse(name).unwrap();
        let layout = |epoch, even: [&str; 2], odd: [&str; 2]| {
            let two = ReplicationFactor::new(2).unwrap();
            let of = |slot: Slot| if slot.number().is_multiple_of(2) { even } else { odd };
            let names = |slot| of(slot).map(|text| NodeName::parse(text).unwrap()).to_vec();
            Arc::new(Layout::from_fn(Epoch::new(epoch), two, names).unwrap())
        };
        let (old, new) = (layout(1, ["a", "b"], ["a", "c"]), layout(2, ["a", "d"], ["a", "c"]));
        let moving = Transition::between(old, new).unwrap();
        let me = name("d");
        let missing = held(&moving, &me);
        assert_eq!(missing.len(), 2048);
        let from = sources(&moving, &me, &missing, |_| true);
        assert_eq!(from.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(from.values().all(|slots| *slots == missing));
        let from = sources(&moving, &me, &missing, |node| node.as_str() != "a");
        assert_eq!(from.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["b"]);
        assert!(sources(&moving, &me, &SlotSet::default(), |_| true).is_empty());
        assert!(
            left(&moving, &name("a")).is_empty(),
            "another one comes in the place of the one that leaves"
        );
    }

    #[test]
    fn what_a_leaving_node_holds_is_taken_by_the_owner_if_nobody_comes() {
        let name = |name: &str| NodeName::parse(name).unwrap();
        let layout = |epoch, replicas: &[&str]| {
            let names = |_| replicas.iter().map(|text| NodeName::parse(text).unwrap()).collect::<Vec<_>>();
            let factor = ReplicationFactor::new(u8::try_from(replicas.len()).unwrap()).unwrap();
            Arc::new(Layout::from_fn(Epoch::new(epoch), factor, names).unwrap())
        };
        let moving = Transition::between(layout(1, &["a", "b", "c"]), layout(2, &["b", "c"])).unwrap();
        assert_eq!(left(&moving, &name("b")).len(), 4096);
        assert!(left(&moving, &name("c")).is_empty() && left(&moving, &name("a")).is_empty());
        let same = Transition::between(layout(1, &["a", "b"]), layout(2, &["b", "a"])).unwrap();
        assert!(left(&same, &name("b")).is_empty(), "nobody leaves");
    }
}
