//! `UncordonNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{JobKind, NodeName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Before, JobState, NodeState, Record};
use crate::text::Note;

/// A data node that was cordoned or draining takes its share again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UncordonNode {
    /// Its name.
    pub name: NodeName,
}

impl UncordonNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let state = match node.state {
            NodeState::Cordoned | NodeState::Draining => NodeState::Active,
            NodeState::Down { before: Before::Cordoned | Before::Draining } => {
                NodeState::Down { before: Before::Active }
            }
            NodeState::Active | NodeState::Down { before: Before::Active } => {
                let name = self.name.to_string();
                return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: "active" });
            }
            NodeState::Staged(_) | NodeState::Joining | NodeState::Removing | NodeState::Removed => {
                return Err(Refusal::WrongState {
                    kind: Kind::Node,
                    name: self.name.to_string(),
                    state: node.state.name(),
                    wanted: "only a cordoned or draining node is uncordoned",
                });
            }
        };
        let mut work = Work::new(context);
        let of_it = |target: &str| target == self.name.as_str();
        let why = context.proposal.why.as_ref().map(Note::as_str);
        let why = why.unwrap_or("the node is to take its share again");
        work.end_those(JobKind::DRAIN, of_it, JobState::Cancelled, why);
        let effect = Effect::new(Answer::Done, &self.name).was(node.state.name()).is("active");
        Ok(effect.put(Record::Node(context.moved(node, state))).working(&work))
    }
}
