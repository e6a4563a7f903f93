//! `CordonNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, NodeState, Record};

/// A data node is to get nothing new.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CordonNode {
    /// Its name.
    pub name: NodeName,
}

impl CordonNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let state = match node.state {
            NodeState::Active => NodeState::Cordoned,
            NodeState::Down { before: Before::Active } => NodeState::Down { before: Before::Cordoned },
            NodeState::Cordoned | NodeState::Down { before: Before::Cordoned } => {
                let name = self.name.to_string();
                return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "cordoned" });
            }
            NodeState::Staged(_)
            | NodeState::Joining
            | NodeState::Draining
            | NodeState::Down { before: Before::Draining }
            | NodeState::Removing
            | NodeState::Removed => {
                return Err(Refusal::WrongState {
                    kind: Kind::Node,
                    name: self.name.to_string(),
                    state: node.state.name(),
                    wanted: "only an active node is cordoned",
                });
            }
        };
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name()).is("cordoned");
        Ok(effect.put(Record::Node(context.moved(node, state))))
    }
}
