//! `DrainNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{JobKind, NodeName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, NodeState, Record};

/// A data node is to give away what it has, by the next layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// Its name.
    pub name: NodeName,
}

impl DrainNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let state = match node.state {
            NodeState::Active | NodeState::Cordoned => NodeState::Draining,
            NodeState::Down { before: Before::Active | Before::Cordoned } => {
                NodeState::Down { before: Before::Draining }
            }
            NodeState::Draining | NodeState::Down { before: Before::Draining } => {
                let name = self.name.to_string();
                return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "draining" });
            }
            NodeState::Staged(_) | NodeState::Joining | NodeState::Removing | NodeState::Removed => {
                return Err(Refusal::WrongState {
                    kind: Kind::Node,
                    name: self.name.to_string(),
                    state: node.state.name(),
                    wanted: "it holds nothing that could be drained, or loses it already",
                });
            }
        };
        context.check_taker(&self.name)?;
        let mut work = Work::new(context);
        work.begin_once(JobKind::DRAIN, self.name.as_str());
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name()).is("draining");
        Ok(effect.put(Record::Node(context.moved(node, state))).working(&work))
    }
}
