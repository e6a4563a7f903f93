//! The difference of two layouts: what an operator is shown before it is applied.
//!
//! Invariant: a replica counts as moved if the node did not hold the slot before; a slot whose owner alone changes moves nothing.

use std::collections::BTreeMap;

use super::slot::Slot;
use super::table::Layout;
use crate::ids::{Epoch, NodeName};

/// A slot whose replicas differ, or stand in another order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The slot.
    pub slot: Slot,
    /// Who held it, the owner first.
    pub from: Vec<NodeName>,
    /// Who will hold it, the owner first.
    pub to: Vec<NodeName>,
}

impl Change {
    /// Nodes that come to hold the slot.
    pub fn gained(&self) -> impl Iterator<Item = &NodeName> {
        self.to.iter().filter(|name| !self.from.contains(name))
    }

    /// Nodes that hold it no longer.
    pub fn lost(&self) -> impl Iterator<Item = &NodeName> {
        self.from.iter().filter(|name| !self.to.contains(name))
    }
}

/// What a node gets and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    /// Slots it comes to hold.
    pub slots_in: u32,
    /// Slots it holds no longer.
    pub slots_out: u32,
}

/// What changes from one layout to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diff {
    /// The layout before.
    pub from: Epoch,
    /// The layout after.
    pub to: Epoch,
    /// Slots that differ, in order.
    pub changes: Vec<Change>,
    /// Slots that some node comes to hold.
    pub slots_moved: u32,
    /// Replicas that must be copied: a slot counts once for each node that comes to hold it.
    pub replicas_moved: u32,
    /// Slots that another node owns.
    pub owners_changed: u32,
    /// Nodes that get or give something.
    pub nodes: BTreeMap<NodeName, Flow>,
}

impl Diff {
    /// Whether the two place everything alike.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes to copy, by an estimate of what each slot holds.
    pub fn bytes(&self, slot_bytes: impl Fn(Slot) -> u64) -> u64 {
        self.changes.iter().fold(0, |sum, change| {
            let copies = change.gained().count() as u64;
            sum.saturating_add(slot_bytes(change.slot).saturating_mul(copies))
        })
    }
}

/// Compares two layouts.
pub fn diff(from: &Layout, to: &Layout) -> Diff {
    let mut found = Diff {
        from: from.epoch(),
        to: to.epoch(),
        changes: Vec::new(),
        slots_moved: 0,
        replicas_moved: 0,
        owners_changed: 0,
        nodes: BTreeMap::new(),
    };
    for slot in Slot::all() {
        let (before, after) = (from.replicas(slot), to.replicas(slot));
        if before == after {
            continue;
        }
        let change = Change { slot, from: before.to_vec(), to: after.to_vec() };
        let mut gained = 0;
        for name in change.gained() {
            gained += 1;
            found.nodes.entry(name.clone()).or_default().slots_in += 1;
        }
        for name in change.lost() {
            found.nodes.entry(name.clone()).or_default().slots_out += 1;
        }
        found.slots_moved += u32::from(gained > 0);
        found.replicas_moved += gained;
        found.owners_changed += u32::from(before.owner() != after.owner());
        found.changes.push(change);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ReplicationFactor;

    #[test]
    fn moves_and_changes_of_owner_are_told_apart() {
        let layout = |epoch, special: [&[&str]; 3]| {
            Layout::from_fn(Epoch::new(epoch), ReplicationFactor::new(2).unwrap(), |slot| {
                let names = special.get(usize::from(slot.number())).copied().unwrap_or(&["a", "b"]);
                names.iter().map(|name| NodeName::parse(name).unwrap()).collect()
            })
            .unwrap()
        };
        let before = layout(1, [&["a", "b"], &["a", "b"], &["a", "b"]]);
        let after = layout(2, [&["b", "a"], &["a", "c"], &["c", "d"]]);
        assert!(diff(&before, &before.renumbered(Epoch::new(2))).is_empty());
        let found = diff(&before, &after);
        assert_eq!((found.from.get(), found.to.get(), found.changes.len()), (1, 2, 3));
        assert_eq!((found.slots_moved, found.replicas_moved, found.owners_changed), (2, 3, 2));
        let flow = |name: &str| {
            let flow = found.nodes.get(&NodeName::parse(name).unwrap()).copied().unwrap_or_default();
            (flow.slots_in, flow.slots_out)
        };
        assert_eq!([flow("a"), flow("b"), flow("c"), flow("d")], [(0, 1), (0, 2), (2, 0), (1, 0)]);
        assert_eq!(found.bytes(|slot| 10 + u64::from(slot.number())), 11 + 2 * 12);
        assert_eq!(found.bytes(|_| u64::MAX), u64::MAX);
    }
}
