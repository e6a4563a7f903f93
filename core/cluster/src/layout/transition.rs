//! Two layouts while slots move from one to the other: both are in force until every node has what the new one gives it.
//!
//! Invariant: what is written is written wherever either layout looks for it.

use std::sync::Arc;

use super::slot::Slot;
use super::table::Layout;
use crate::ids::{Epoch, NodeName};

/// The layout in force, and the one that it takes over from while slots are moving.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    old: Option<Arc<Layout>>,
    new: Arc<Layout>,
}

/// Why two layouts do not follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransitionError {
    /// The new one is not newer.
    #[error("layout {new} does not come after layout {old}")]
    Order {
        /// The epoch to move from.
        old: Epoch,
        /// The epoch to move to.
        new: Epoch,
    },
}

impl Transition {
    /// One layout, nothing moving.
    pub fn settled(layout: Arc<Layout>) -> Self {
        Self { old: None, new: layout }
    }

    /// From one layout to a newer one.
    pub fn between(old: Arc<Layout>, new: Arc<Layout>) -> Result<Self, TransitionError> {
        if new.epoch() <= old.epoch() {
            return Err(TransitionError::Order { old: old.epoch(), new: new.epoch() });
        }
        Ok(Self { old: Some(old), new })
    }

    /// The layout that slots move to, or have moved to.
    pub fn new_layout(&self) -> &Arc<Layout> {
        &self.new
    }

    /// The layout that slots move from.
    pub fn old_layout(&self) -> Option<&Arc<Layout>> {
        self.old.as_ref()
    }

    /// The end of it: the new layout alone.
    #[must_use]
    pub fn retired(self) -> Self {
        Self { old: None, ..self }
    }

    /// Who fetches for a slot: its owner in the new layout, so that there is one.
    pub fn owner(&self, slot: Slot) -> Option<&NodeName> {
        self.new.replicas(slot).owner()
    }

    /// Where to look for what is in a slot, and in which order: the new replicas, then those of the old that are no new ones.
    pub fn reads(&self, slot: Slot) -> impl Iterator<Item = &NodeName> + Clone {
        let new = self.new.replicas(slot);
        let old = self.old.as_deref().map(|old| old.replicas(slot).iter()).into_iter().flatten();
        new.iter().chain(old.filter(move |name| !new.contains(name)))
    }

    /// Where to write what belongs to a slot: the same nodes, since either layout may be asked for it.
    pub fn writes(&self, slot: Slot) -> impl Iterator<Item = &NodeName> + Clone {
        self.reads(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::ReplicationFactor;

    #[test]
    fn both_layouts_are_in_force_until_the_old_one_retires() {
        let layout = |epoch, names: [&str; 2]| {
            let names = names.map(|name| NodeName::parse(name).unwrap()).to_vec();
            let layout =
                Layout::from_fn(Epoch::new(epoch), ReplicationFactor::new(2).unwrap(), |_| names.clone());
            Arc::new(layout.unwrap())
        };
        let (old, new) = (layout(4, ["a", "b"]), layout(5, ["b", "c"]));
        let transition = Transition::between(old.clone(), new.clone()).unwrap();
        let slot = Slot::new(0).unwrap();
        let names = |transition: &Transition| {
            let names = transition.writes(slot).map(NodeName::as_str).collect::<Vec<_>>().join(" ");
            assert_eq!(transition.reads(slot).map(NodeName::as_str).collect::<Vec<_>>().join(" "), names);
            names
        };
        assert_eq!(names(&transition), "b c a");
        assert_eq!(transition.owner(slot).unwrap().as_str(), "b");
        assert_eq!(transition.old_layout(), Some(&old));
        let retired = transition.retired();
        assert_eq!((names(&retired).as_str(), &retired), ("b c", &Transition::settled(new.clone())));
        let order = TransitionError::Order { old: Epoch::new(5), new: Epoch::new(4) };
        assert_eq!(Transition::between(new, old), Err(order));
    }
}
