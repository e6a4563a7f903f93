//! Which published versions go with a node: those that no other node has that is up.

use std::collections::BTreeSet;

use cluster::layout::{SLOTS, Slot};
use cluster::record::{Marked, NodeState};
use cluster::{Layout, NodeName, Tables};

/// Versions that are named; of the others only the number is told.
const NAMED_MAX: usize = 100;
/// Of those, the ones that stand in a text for people.
const SHOWN_MAX: usize = 10;
/// Said where that was the reason: no node is to blame for what nobody was asked about.
const OUT_OF_TIME: &str =
    "not all that was published could be looked at in time: give more with --timeout, at most 1m";

/// What only one node has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LastCopies {
    /// `MODULE@VERSION`, the first of them in the order of their names.
    pub(crate) named: Vec<String>,
    /// How many there are.
    pub(crate) count: u64,
    /// Who is up, was asked for them, and did not answer: these may have some of them.
    pub(crate) silent: Vec<NodeName>,
    /// Who has others of those that were looked for.
    pub(crate) keepers: BTreeSet<NodeName>,
    /// Whether the node itself is up and did not answer: all that it may have is among them.
    pub(crate) is_silent: bool,
    /// Whether time ran out before all were looked for: those that were not are among them.
    pub(crate) out_of_time: bool,
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
        let versions = list(self.named.iter().map(String::as_str), self.count);
        let who = if self.silent.is_empty() {
            "no other node that is up".to_owned()
        } else {
            let silent = list(self.silent.iter().map(NodeName::as_str), self.silent.len() as u64);
            format!("no other node that answers ({silent} did not)")
        };
        if self.is_silent {
            return format!(
                "it does not say what it has; {who} is known to have what was published as {versions}"
            );
        }
        if self.out_of_time {
            return format!("{OUT_OF_TIME}; {who} is known to have what was published as {versions}");
        }
        format!("{who} has what was published as {versions}")
    }
}

/// The first of so many.
fn list<'a>(all: impl Iterator<Item = &'a str>, count: u64) -> String {
    let shown: Vec<_> = all.take(SHOWN_MAX).collect();
    let more = count.saturating_sub(shown.len() as u64);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("{}{more}", shown.join(", "))
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
    use cluster::record::Sync;
    use cluster::{Epoch, Timestamp};

    use super::*;
    use crate::reconcile::bed::{layout, node, publish, tables};

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

    #[test]
    fn who_did_not_answer_is_named() {
        let silent = ["data-2", "data-3"].map(|name| NodeName::parse(name).unwrap()).into();
        let version = Marked::parse("example.com/m@v1.0.0").unwrap();
        let only = LastCopies { silent, ..LastCopies::new([&version]) };
        assert_eq!(
            only.text(),
            "no other node that answers (data-2, data-3 did not) has what was published as example.com/m@v1.0.0"
        );
    }

    #[test]
    fn a_node_that_does_not_say_what_it_has_is_told_of() {
        let version = Marked::parse("example.com/m@v1.0.0").unwrap();
        let only = LastCopies { is_silent: true, ..LastCopies::new([&version]) };
        assert_eq!(
            only.text(),
            "it does not say what it has; no other node that is up is known to have what was published as example.com/m@v1.0.0"
        );
    }

    #[test]
    fn that_time_ran_out_is_said_before_what_was_not_found() {
        let version = Marked::parse("example.com/m@v1.0.0").unwrap();
        let only = LastCopies { out_of_time: true, ..LastCopies::new([&version]) };
        assert_eq!(
            only.text(),
            "not all that was published could be looked at in time: give more with --timeout, at most 1m; \
             no other node that is up is known to have what was published as example.com/m@v1.0.0"
        );
        assert_eq!(LastCopies { out_of_time: true, ..LastCopies::default() }.text(), "");
    }
}
