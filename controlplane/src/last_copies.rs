//! Which published versions go with a node: those that no other node has that is up.

use cluster::layout::{SLOTS, Slot};
use cluster::record::{Marked, NodeState};
use cluster::{Layout, NodeName, Tables};

/// Versions that are named; of the others only the number is told.
const NAMED_MAX: usize = 100;
/// Of those, the ones that stand in a text for people.
const SHOWN_MAX: usize = 10;

/// What only one node has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LastCopies {
    /// `MODULE@VERSION`, the first of them in the order of their names.
    pub(crate) named: Vec<String>,
    /// How many there are.
    pub(crate) count: u64,
}

impl LastCopies {
    /// What only `node` is known to have, by the layouts in force and what nodes have reported.
    pub(crate) fn of(tables: &Tables, node: &NodeName) -> Self {
        let mut only_there = [false; SLOTS];
        for (slot, only) in Slot::all().zip(&mut only_there) {
            let mut holders = tables.layouts.values().flat_map(|record| record.layout.replicas(slot).iter());
            *only = holders.any(|holder| holder == node)
                && !tables.layouts.values().any(|record| has_another(tables, &record.layout, slot, node));
        }
        Self::new(tables.bindings.keys().filter(|version| {
            let slot = usize::from(Slot::of(version.module()).number());
            only_there.get(slot).is_some_and(|only| *only)
        }))
    }

    /// These.
    pub(crate) fn new<'a>(versions: impl IntoIterator<Item = &'a Marked>) -> Self {
        let mut copies = Self::default();
        for version in versions {
            copies.count += 1;
            if copies.named.len() < NAMED_MAX {
                copies.named.push(version.to_string());
            }
        }
        copies
    }

    /// As it ends a sentence; empty if there are none.
    pub(crate) fn text(&self) -> String {
        if self.count == 0 {
            return String::new();
        }
        let shown = self.named.iter().take(SHOWN_MAX);
        let more = self.count.saturating_sub(shown.len() as u64);
        let list = shown.map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        format!("no other node that is up has what was published as {list}{more}")
    }
}

/// Whether a layout gives the slot to another node that is up and has all of it.
fn has_another(tables: &Tables, layout: &Layout, slot: Slot, node: &NodeName) -> bool {
    let is_first = tables.layouts.keys().next() == Some(&layout.epoch());
    let mut others = layout.replicas(slot).iter().filter(|holder| *holder != node);
    others.any(|holder| {
        let is_up = tables.nodes.get(holder).is_some_and(|holder| {
            matches!(holder.state, NodeState::Active | NodeState::Cordoned | NodeState::Draining)
        });
        // The layout that was in force before this one was retired when all had what it gives them; the next is when they say so.
        let has_all =
            || is_first || tables.syncs.get(holder).is_some_and(|sync| sync.epoch >= layout.epoch());
        is_up && has_all()
    })
}

#[cfg(test)]
mod tests {
    use cluster::record::{Binding, Sync};
    use cluster::{Epoch, Hash, Name, Timestamp};

    use super::*;
    use crate::reconcile::bed::{layout, node, tables};

    fn publish(tables: &mut Tables, text: &str) {
        let version = Marked::parse(text).unwrap();
        let hash = Hash::from_bytes([1; 32]);
        let by = Name::parse("ci").unwrap();
        let binding = Binding {
            version: version.clone(),
            zip_h1: hash,
            go_mod_h1: hash,
            since: Timestamp::default(),
            by,
        };
        tables.bindings.insert(version, binding);
    }

    #[test]
    fn what_another_node_that_is_up_has_is_no_last_copy() {
        let mut tables = tables();
        let [a, b] = ["a", "b"].map(|name| node(&mut tables, name, NodeState::Active));
        layout(&mut tables, 1, std::slice::from_ref(&a));
        assert_eq!(LastCopies::of(&tables, &a), LastCopies::default());
        publish(&mut tables, "example.com/one@v1.0.0");
        publish(&mut tables, "example.com/two@v1.0.0");
        let only = LastCopies::of(&tables, &a);
        assert_eq!((only.count, only.named.len()), (2, 2));
        assert_eq!(
            only.text(),
            "no other node that is up has what was published as example.com/one@v1.0.0, example.com/two@v1.0.0"
        );
        assert_eq!(LastCopies::of(&tables, &b).text(), "", "it holds no slot");
        // The next layout has another node, which has nothing before it says so.
        layout(&mut tables, 2, std::slice::from_ref(&b));
        assert_eq!(LastCopies::of(&tables, &a).count, 2);
        tables
            .syncs
            .insert(b.clone(), Sync { node: b.clone(), epoch: Epoch::new(2), at: Timestamp::default() });
        assert_eq!(LastCopies::of(&tables, &a).count, 0);
        tables.nodes.get_mut(&b).unwrap().state = NodeState::Down { before: cluster::record::Before::Active };
        assert_eq!(LastCopies::of(&tables, &a).count, 2);
    }

    #[test]
    fn many_are_counted() {
        let mut tables = tables();
        let a = node(&mut tables, "a", NodeState::Active);
        layout(&mut tables, 1, std::slice::from_ref(&a));
        for number in 0..150 {
            publish(&mut tables, &format!("example.com/m{number:03}@v1.0.0"));
        }
        let only = LastCopies::of(&tables, &a);
        assert_eq!((only.count, only.named.len()), (150, 100));
        assert!(only.text().ends_with("example.com/m009@v1.0.0, and 140 more"), "{}", only.text());
    }
}
