//! `ReportSync`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{Epoch, NodeName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Record, Sync, TransitionRecord};

/// A data node has everything that a layout gives it. When all have, the layout before is retired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSync {
    /// The node.
    pub node: NodeName,
    /// The layout's epoch.
    pub epoch: Epoch,
}

impl ReportSync {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.node)?;
        let TransitionRecord { current, previous, .. } = context.transition;
        if !node.state.is_admitted() {
            return Err(Refusal::WrongState {
                kind: Kind::Node,
                name: self.node.to_string(),
                state: node.state.name(),
                wanted: "only a node that has joined reports",
            });
        }
        if self.epoch > current {
            return Err(Refusal::WrongEpoch { expected: self.epoch, current });
        }
        let said =
            |name: &NodeName| context.tables.syncs.get(name).map(|sync| sync.epoch).unwrap_or_default();
        if said(&self.node) >= self.epoch {
            return Ok(Effect::new(Answer::Sync { retired: false }, &self.node));
        }
        let sync = Sync { node: self.node.clone(), epoch: self.epoch, at: context.now };
        let has_all = |name: &NodeName| {
            let epoch = if *name == self.node { self.epoch } else { said(name) };
            epoch >= current
        };
        let layout = context.current_layout().map(|record| &record.layout);
        // Every one must have reported, also one that is down: what it was to hold may be nowhere else but where the layout
        // before has it. A layout without that node takes its place when it does not come back.
        let all = layout.is_some_and(|layout| layout.nodes().iter().all(has_all));
        let retired = previous.filter(|_| all);
        let answer = Answer::Sync { retired: retired.is_some() };
        let effect =
            Effect::new(answer, &self.node).put(Record::Sync(sync)).is(format!("epoch {}", self.epoch));
        Ok(match retired {
            Some(previous) => {
                let mut work = Work::new(context);
                let changes = context.retire(previous, &mut work);
                effect.with(changes).working(&work)
            }
            None => effect,
        })
    }
}
