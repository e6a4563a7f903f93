//! `ReplaceNode`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use super::work::Work;
use crate::ids::{Epoch, JobKind, NodeName};
use crate::layout::Layout;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, Node, NodeState, Record};

/// Makes a layout in which one data node stands wherever another stood, and drains that one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceNode {
    /// Who is replaced.
    pub name: NodeName,
    /// Who takes the place. It holds nothing yet.
    pub by: NodeName,
    /// The current layout's epoch, as whoever decided knew it.
    pub expect_epoch: Epoch,
}

impl ReplaceNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_epoch(self.expect_epoch)?;
        let (old, new) = (context.node(&self.name)?, context.node(&self.by)?);
        let current = context.current_layout().filter(|record| holds(&record.layout, &self.name));
        let Some(current) = current else {
            return Err(wrong(old, "it holds nothing that another could take over"));
        };
        let fresh = matches!(new.state, NodeState::Joining | NodeState::Active) && new.addresses.is_some();
        if !fresh || new.weight == 0 || context.tables.slots_held(&self.by) > 0 {
            return Err(wrong(new, "only a node that has joined and holds nothing takes over"));
        }
        let layout = Layout::from_fn(current.layout.epoch().next(), current.layout.replication(), |slot| {
            let replace = |name: &NodeName| if *name == self.name { &self.by } else { name }.clone();
            current.layout.replicas(slot).iter().map(replace).collect()
        });
        let layout = layout.map_err(|error| invalid(error.to_string()))?;
        let epoch = layout.epoch();
        let mut work = Work::new(context);
        let changes = context.install(Arc::new(layout), context.proposal.why.clone(), &mut work)?;
        work.begin_once(JobKind::DRAIN, self.name.as_str());
        let drained = match old.state {
            NodeState::Down { .. } => NodeState::Down { before: Before::Draining },
            NodeState::Removing => NodeState::Removing,
            NodeState::Staged(_)
            | NodeState::Joining
            | NodeState::Active
            | NodeState::Cordoned
            | NodeState::Draining
            | NodeState::Removed => NodeState::Draining,
        };
        let state = NodeState::Active;
        let placed = Node { replaces: Some(self.name.clone()), ..context.moved(new, state) };
        let effect = Effect::new(Answer::Layout { epoch }, format!("{} by {}", self.name, self.by));
        Ok(effect
            .with(changes)
            .working(&work)
            .put(Record::Node(context.moved(old, drained)))
            .put(Record::Node(placed))
            .was(format!("epoch {}", self.expect_epoch))
            .is(format!("epoch {epoch}")))
    }
}

fn holds(layout: &Layout, node: &NodeName) -> bool {
    layout.nodes().binary_search(node).is_ok()
}

fn wrong(node: &Node, wanted: &'static str) -> Refusal {
    Refusal::WrongState { kind: Kind::Node, name: node.name.to_string(), state: node.state.name(), wanted }
}
