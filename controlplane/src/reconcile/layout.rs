//! When a layout is applied by itself: a node has joined that was added for it, one is there and holds nothing, or one drains or is dead
//! and still holds slots. A pure plan.

use cluster::command::ApplyLayout;
use cluster::record::{Node, NodeState};
use cluster::{Command, NodeName, Note, Tables};

use crate::placement::{Waiting, current, next};

/// What is to be proposed. While slots move, only the death of a node that they move to is a reason for yet another layout, or that nobody but
/// nodes that drain is waited for: the move would never end.
pub(crate) fn plan(tables: &Tables) -> Option<Command> {
    let transition = tables.transition.as_ref();
    if transition.is_some_and(|transition| transition.paused) {
        return None;
    }
    let moves = transition.is_some_and(|transition| transition.previous.is_some());
    let why = reason(tables, moves)?;
    let planned = match next(tables, Waiting::ApplyOnJoin, None) {
        Ok(planned) => planned,
        Err(error) => {
            // Nobody is left to take the slots; `drain` says so to whoever asks.
            tracing::debug!(error = %common::error_chain::ErrorChain::new(&error), "no layout could be planned");
            return None;
        }
    };
    planned.changes_anything().then(|| {
        Command::ApplyLayout(ApplyLayout {
            expect_epoch: planned.base,
            layout: planned.layout,
            note: Note::lossy(&why),
            sets_replication: false,
        })
    })
}

/// Whether a plan may give a node slots.
fn takes(node: &Node) -> bool {
    node.addresses.is_some() && node.weight > 0
}

/// Why there should be another layout.
fn reason(tables: &Tables, moves: bool) -> Option<String> {
    let layout = current(tables);
    let holds = |name| layout.is_some_and(|layout| layout.nodes().contains(name));
    tables.nodes.values().find_map(|node| {
        let name = &node.name;
        match node.state {
            NodeState::Joining if node.apply_on_join && node.addresses.is_some() && !moves => {
                Some(format!("node {name} has joined"))
            }
            // It was dead, or drained, and is there again. Where it is to have nothing, it is cordoned.
            NodeState::Active if takes(node) && !holds(name) && !moves => {
                Some(format!("node {name} holds nothing"))
            }
            NodeState::Draining if holds(name) && (!moves || is_late_only_where_drained(tables)) => {
                Some(format!("node {name} drains"))
            }
            NodeState::Down { .. } if holds(name) => Some(format!("node {name} is taken for dead")),
            NodeState::Removing if holds(name) => Some(format!("node {name} is removed by force")),
            NodeState::Staged(_)
            | NodeState::Joining
            | NodeState::Active
            | NodeState::Cordoned
            | NodeState::Draining
            | NodeState::Down { .. }
            | NodeState::Removing
            | NodeState::Removed => None,
        }
    })
}

/// Whether a move waits for nobody but nodes that drain. What they still have to take in, another layout gives to others; and one of them may
/// not be able to take it in.
fn is_late_only_where_drained(tables: &Tables) -> bool {
    let Some(layout) = current(tables) else { return false };
    let is_late = |name: &&NodeName| tables.syncs.get(*name).is_none_or(|sync| sync.epoch < layout.epoch());
    let drains =
        |name: &NodeName| tables.nodes.get(name).is_some_and(|node| node.state == NodeState::Draining);
    layout.nodes().iter().filter(is_late).all(drains)
}

#[cfg(test)]
mod tests {
    use cluster::Epoch;
    use cluster::record::{Before, Sync};

    use super::super::bed::{layout, node, tables};
    use super::*;

    /// The reason and the nodes of what is to be applied.
    fn planned(tables: &Tables) -> Option<(String, Vec<String>)> {
        let Command::ApplyLayout(apply) = plan(tables)? else { panic!("not a layout") };
        let nodes = apply.layout.nodes().iter().map(ToString::to_string).collect();
        Some((apply.note.map(|note| note.to_string()).unwrap_or_default(), nodes))
    }

    /// Two nodes in a layout that nothing moves to, and one that holds nothing.
    fn with_spare(state: NodeState) -> (Tables, NodeName) {
        let mut tables = tables();
        let names = ["a", "b"].map(|name| node(&mut tables, name, NodeState::Active));
        layout(&mut tables, 1, &names);
        let spare = node(&mut tables, "spare", state);
        (tables, spare)
    }

    #[test]
    fn a_node_that_is_there_again_gets_its_share_back() {
        let (mut tables, spare) = with_spare(NodeState::Down { before: Before::Active });
        assert_eq!(planned(&tables), None);
        tables.nodes.get_mut(&spare).unwrap().state = NodeState::Active;
        let all = ["a", "b", "spare"].map(str::to_owned).to_vec();
        assert_eq!(planned(&tables), Some(("node spare holds nothing".to_owned(), all)));
        // One move after the other.
        let before = tables.layouts[&Epoch::new(1)].layout.nodes().to_vec();
        layout(&mut tables, 2, &before);
        assert_eq!(planned(&tables), None);
    }

    #[test]
    fn who_is_to_have_nothing_is_left_alone() {
        for state in [NodeState::Cordoned, NodeState::Draining, NodeState::Down { before: Before::Cordoned }]
        {
            let (tables, _) = with_spare(state);
            assert_eq!(planned(&tables), None);
        }
        let (mut tables, spare) = with_spare(NodeState::Active);
        tables.nodes.get_mut(&spare).unwrap().weight = 0;
        assert_eq!(planned(&tables), None);
        let (mut tables, _) = with_spare(NodeState::Active);
        tables.transition.as_mut().unwrap().paused = true;
        assert_eq!(planned(&tables), None);
    }

    #[test]
    fn a_node_that_drains_leaves_a_move_that_waits_for_nobody_else() {
        let (mut tables, late) = with_spare(NodeState::Active);
        let others = ["a", "b"].map(|name| NodeName::parse(name).unwrap());
        let all: Vec<_> = others.iter().cloned().chain([late.clone()]).collect();
        layout(&mut tables, 2, &all);
        tables.nodes.get_mut(&late).unwrap().state = NodeState::Draining;
        for (number, name) in others.iter().enumerate() {
            assert_eq!(planned(&tables), None, "{number} others are in sync");
            let (epoch, at) = (Epoch::new(2), cluster::Timestamp::default());
            tables.syncs.insert(name.clone(), Sync { node: name.clone(), epoch, at });
        }
        let left = others.iter().map(ToString::to_string).collect();
        assert_eq!(planned(&tables), Some(("node spare drains".to_owned(), left)));
        tables.nodes.get_mut(&late).unwrap().state = NodeState::Active;
        assert_eq!(planned(&tables), None, "it may still come");
    }

    #[test]
    fn what_would_change_nothing_is_not_applied() {
        // So light that its share is no slot.
        let (mut tables, spare) = with_spare(NodeState::Active);
        for name in ["a", "b"].map(|name| NodeName::parse(name).unwrap()) {
            tables.nodes.get_mut(&name).unwrap().weight = 1_000_000;
        }
        tables.nodes.get_mut(&spare).unwrap().weight = 1;
        assert_eq!(planned(&tables), None);
    }
}
