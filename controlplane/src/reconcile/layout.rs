//! When a layout is applied by itself: a node has joined that was added for it, or one drains or is dead and still holds slots.
//! A pure plan.

use cluster::command::ApplyLayout;
use cluster::record::NodeState;
use cluster::{Command, Note, Tables};

use crate::placement::{Waiting, current, next};

/// What is to be proposed. While slots move, only the death of a node that they move to is a reason for yet another layout: the
/// move would never end.
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
        })
    })
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
            NodeState::Draining if holds(name) && !moves => Some(format!("node {name} drains")),
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
