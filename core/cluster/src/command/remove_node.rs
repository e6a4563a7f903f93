//! `RemoveNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Change, Key, NODES_REMOVED_MAX, Node, NodeState, Record};

/// Removes a data node that holds nothing. Its name may be staged again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Its name.
    pub name: NodeName,
}

impl RemoveNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        if node.state == NodeState::Removed {
            let name = self.name.to_string();
            return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "removed" });
        }
        let slots = context.slots_held(&self.name);
        if slots > 0 {
            return Err(Refusal::WouldLoseData { name: self.name.clone(), slots });
        }
        let removed = Node { addresses: None, certificate: None, ..context.moved(node, NodeState::Removed) };
        let nodes = context.tables.nodes.values();
        let mut former: Vec<&Node> = nodes.filter(|other| other.state == NodeState::Removed).collect();
        former.sort_by_key(|node| (node.since, &node.name));
        let over = (former.len() + 1).saturating_sub(NODES_REMOVED_MAX);
        let forgotten =
            former.into_iter().take(over).map(|node| Change::Delete(Key::Node(node.name.clone())));
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name()).is("removed");
        Ok(effect.put(Record::Node(removed)).delete(Key::Sync(self.name.clone())).with(forgotten))
    }
}
