//! `RevertLayout`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{Epoch, NodeName};
use crate::layout::Layout;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, Change, Node, NodeState, Record};
use crate::text::Note;

/// Why nodes are cordoned, unless the operator says.
const REVERTED: &str = "the layout was reverted";

/// Puts a former layout in force again, under a new epoch, with as many replicas as there were. Nodes that it takes everything from are
/// cordoned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertLayout {
    /// The current layout's epoch, as whoever decided knew it.
    pub expect_epoch: Epoch,
    /// The epoch of the former layout.
    pub to: Epoch,
}

impl RevertLayout {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_epoch(self.expect_epoch)?;
        let (kind, name) = (Kind::Layout, self.to.to_string());
        if self.to == context.transition.current {
            return Err(Refusal::AlreadyThere { kind, name, state: "current" });
        }
        let tables = context.tables;
        let former = tables.layouts.get(&self.to).or_else(|| tables.layout_history.get(&self.to));
        let former = former.ok_or(Refusal::NotFound { kind, name })?;
        let epoch = self.expect_epoch.next();
        let note = Note::lossy(&format!("as epoch {}", self.to));
        let layout = Arc::new(former.layout.renumbered(epoch));
        let mut work = Work::new(context);
        let changes = context.install_with_replication(Arc::clone(&layout), note, &mut work)?;
        let effect = Effect::new(Answer::Layout { epoch }, format!("epoch {epoch}"))
            .with(changes)
            .with(left_out(context, &layout))
            .working(&work);
        let after = format!("epoch {epoch} as {}{}", self.to, context.other_replication(&layout));
        Ok(effect.was(format!("epoch {}", self.expect_epoch)).is(after))
    }
}

/// The nodes that have a share by the current layout and none by the former one are cordoned: the leader gives slots to active nodes that
/// hold nothing, and would undo what was asked for.
fn left_out(context: &Context<'_>, former: &Layout) -> Vec<Change> {
    let Some(current) = context.current_layout() else { return Vec::new() };
    let is_left_out = |node: &&Node| holds(&current.layout, &node.name) && !holds(former, &node.name);
    let nodes = context.tables.nodes.values().filter(is_left_out);
    nodes.filter_map(|node| cordoned(context, node)).map(|node| Change::Put(Record::Node(node))).collect()
}

fn cordoned(context: &Context<'_>, node: &Node) -> Option<Node> {
    let state = match node.state {
        NodeState::Active => NodeState::Cordoned,
        NodeState::Down { before: Before::Active } => NodeState::Down { before: Before::Cordoned },
        NodeState::Staged(_)
        | NodeState::Joining
        | NodeState::Cordoned
        | NodeState::Draining
        | NodeState::Down { before: Before::Cordoned | Before::Draining }
        | NodeState::Removing
        | NodeState::Removed => return None,
    };
    let reason = context.proposal.why.clone().or_else(|| Note::lossy(REVERTED));
    Some(Node { reason, ..context.moved(node, state) })
}

fn holds(layout: &Layout, node: &NodeName) -> bool {
    layout.nodes().binary_search(node).is_ok()
}
