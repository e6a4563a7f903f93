//! A layout: for each slot the nodes that hold it, as one numbered state of the cluster.
//!
//! Invariant: names are those that hold something, each once, in order; every seat names one of them. Whether the replicas of a
//! slot are different, enough and well spread is what [`super::check()`] finds out.

use std::collections::BTreeSet;

use super::candidate::NODES_MAX;
use super::seats::{REPLICAS_MAX, ReplicationFactor, Seats};
use super::slot::{SLOTS, Slot};
use crate::ids::{Epoch, NodeName};

/// Which nodes hold each slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    epoch: Epoch,
    replication: ReplicationFactor,
    nodes: Vec<NodeName>,
    seats: Vec<Seats>,
}

/// Why slots with these replicas are no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// A slot with more than [`REPLICAS_MAX`].
    #[error("slot {slot} has more than {REPLICAS_MAX} replicas")]
    TooManyReplicas {
        /// The first such slot.
        slot: Slot,
    },
    /// More than [`NODES_MAX`] nodes.
    #[error("{nodes} nodes are over the limit of {NODES_MAX}")]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
    },
}

/// Where a module is.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    /// The module's slot.
    pub slot: Slot,
    /// Who holds it.
    pub replicas: Replicas<'a>,
}

/// The nodes that hold a slot, the owner first.
#[derive(Clone, Copy, Debug)]
pub struct Replicas<'a> {
    nodes: &'a [NodeName],
    seats: &'a [u16],
}

impl Layout {
    /// The layout in which each slot has the replicas that `replicas_of` names for it.
    pub fn from_fn(
        epoch: Epoch,
        replication: ReplicationFactor,
        replicas_of: impl FnMut(Slot) -> Vec<NodeName>,
    ) -> Result<Self, LayoutError> {
        let replicas: Vec<Vec<NodeName>> = Slot::all().map(replicas_of).collect();
        let names: BTreeSet<_> = replicas.iter().flatten().collect();
        if names.len() > NODES_MAX {
            return Err(LayoutError::TooManyNodes { nodes: names.len() });
        }
        let nodes: Vec<NodeName> = names.into_iter().cloned().collect();
        let mut seats = Vec::with_capacity(SLOTS);
        for (slot, replicas) in Slot::all().zip(&replicas) {
            let mut taken = Seats::default();
            for name in replicas {
                let at = nodes.binary_search(name).unwrap_or_default();
                if !taken.push(at as u16) {
                    return Err(LayoutError::TooManyReplicas { slot });
                }
            }
            seats.push(taken);
        }
        Ok(Self { epoch, replication, nodes, seats })
    }

    /// The layout with these seats, which name nodes by their position in `nodes`. Names without a seat are left out.
    pub(super) fn from_seats(
        epoch: Epoch,
        replication: ReplicationFactor,
        nodes: Vec<NodeName>,
        mut seats: Vec<Seats>,
    ) -> Self {
        let mut used = vec![false; nodes.len()];
        for at in seats.iter().flat_map(Seats::iter) {
            if let Some(used) = used.get_mut(at) {
                *used = true;
            }
        }
        let moved: Vec<usize> = used
            .iter()
            .scan(0, |next, &used| {
                let at = *next;
                *next += usize::from(used);
                Some(at)
            })
            .collect();
        for seats in &mut seats {
            let mut renamed = Seats::default();
            for &at in seats.iter().filter_map(|at| moved.get(at)).collect::<Vec<_>>() {
                renamed.push(at as u16);
            }
            *seats = renamed;
        }
        let nodes = nodes.into_iter().zip(used).filter_map(|(name, used)| used.then_some(name)).collect();
        Self { epoch, replication, nodes, seats }
    }

    /// Its number.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The same placement under another number: what an operator goes back to gets a number of its own.
    #[must_use]
    pub fn renumbered(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// How many replicas each slot was to have.
    pub fn replication(&self) -> ReplicationFactor {
        self.replication
    }

    /// The nodes that hold something, by name.
    pub fn nodes(&self) -> &[NodeName] {
        &self.nodes
    }

    /// Who holds a module.
    pub fn locate(&self, module_path: &str) -> Located<'_> {
        let slot = Slot::of(module_path);
        Located { slot, replicas: self.replicas(slot) }
    }

    /// Who holds a slot.
    pub fn replicas(&self, slot: Slot) -> Replicas<'_> {
        let seats = self.seats.get(slot.index()).map(Seats::as_slice).unwrap_or_default();
        Replicas { nodes: &self.nodes, seats }
    }

    /// Seats by slot, as positions in [`Self::nodes`].
    pub(super) fn seats(&self) -> &[Seats] {
        &self.seats
    }
}

impl<'a> Replicas<'a> {
    /// Who fetches for the slot; `None` if nobody holds it.
    pub fn owner(self) -> Option<&'a NodeName> {
        self.iter().next()
    }

    /// All of them, the owner first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a NodeName> + Clone {
        self.seats.iter().filter_map(move |&at| self.nodes.get(usize::from(at)))
    }

    /// Whether a node is among them.
    pub fn contains(self, node: &NodeName) -> bool {
        self.iter().any(|name| name == node)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.seats.len()
    }

    /// Whether nobody holds the slot.
    pub fn is_empty(self) -> bool {
        self.seats.is_empty()
    }

    /// The names, to keep.
    pub fn to_vec(self) -> Vec<NodeName> {
        self.iter().cloned().collect()
    }
}

impl PartialEq for Replicas<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Replicas<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    #[test]
    fn a_module_is_found_where_its_slot_is() {
        let layout = Layout::from_fn(Epoch::new(3), ReplicationFactor::new(2).unwrap(), |slot| {
            if slot.number() % 2 == 0 { vec![name("b"), name("a")] } else { vec![name("c")] }
        })
        .unwrap();
        assert_eq!(layout.nodes(), [name("a"), name("b"), name("c")]);
        let located = layout.locate("abc");
        assert_eq!((located.slot.number(), located.replicas.owner()), (0xba7, Some(&name("c"))));
        let replicas = layout.replicas(Slot::new(2).unwrap());
        assert_eq!(replicas.to_vec(), [name("b"), name("a")]);
        assert!(replicas.contains(&name("a")) && !replicas.contains(&name("c")));
        assert_eq!(layout.renumbered(Epoch::new(9)).epoch().get(), 9);
    }

    #[test]
    fn bounds_hold() {
        let replication = ReplicationFactor::ONE;
        let eight = Layout::from_fn(Epoch::new(1), replication, |_| vec![name("a"); REPLICAS_MAX + 1]);
        assert_eq!(eight, Err(LayoutError::TooManyReplicas { slot: Slot::new(0).unwrap() }));
        let many = Layout::from_fn(Epoch::new(1), replication, |slot| vec![name(&format!("n{slot}"))]);
        assert_eq!(many, Err(LayoutError::TooManyNodes { nodes: SLOTS }));
    }
}
