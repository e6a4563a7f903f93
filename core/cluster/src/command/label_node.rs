//! `LabelNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::{LabelKey, NodeName, Zone};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{LABELS_MAX, Node, NodeState, Record};
use crate::text::Name;

/// Changes what a data node is to be found by, its zone or its weight. Zone and weight count from the next layout on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelNode {
    /// Its name.
    pub name: NodeName,
    /// Labels to put, or to take away.
    pub labels: BTreeMap<LabelKey, Option<Name>>,
    /// Another zone.
    pub zone: Option<Zone>,
    /// Another weight.
    pub weight: Option<u32>,
}

impl LabelNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        if node.state == NodeState::Removed {
            return Err(Refusal::WrongState {
                kind: Kind::Node,
                name: self.name.to_string(),
                state: "removed",
                wanted: "stage it anew",
            });
        }
        let mut after = node.clone();
        for (key, value) in &self.labels {
            match value {
                Some(value) => drop(after.labels.insert(key.clone(), value.clone())),
                None => drop(after.labels.remove(key)),
            }
        }
        if after.labels.len() > LABELS_MAX {
            return Err(invalid(format!("{} labels are over the limit of {LABELS_MAX}", after.labels.len())));
        }
        after.zone = self.zone.clone().unwrap_or(after.zone);
        after.weight = self.weight.unwrap_or(after.weight);
        let effect = Effect::new(Answer::Done, &self.name).was(describe(node)).is(describe(&after));
        Ok(if after == *node { effect } else { effect.put(Record::Node(after)) })
    }
}

fn describe(node: &Node) -> String {
    let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("zone {} weight {} {}", node.zone, node.weight, labels.join(","))
}
