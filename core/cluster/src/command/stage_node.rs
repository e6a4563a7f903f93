//! `StageNode`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::{Incarnation, LabelKey, NodeName, Zone};
use crate::layout::NODES_MAX;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Invitation, LABELS_MAX, Node, NodeState, Record};
use crate::text::{Hash, Name};
use crate::time::Timestamp;

/// Lets a data node join, once, with a secret. One that has not joined may be staged anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageNode {
    /// Its name.
    pub name: NodeName,
    /// What it fails together with.
    pub zone: Zone,
    /// Its share in proportion to the weights of the others.
    pub weight: u32,
    /// Whatever it is to be found by.
    pub labels: BTreeMap<LabelKey, Name>,
    /// Whether it is taken into the layout as soon as it has joined.
    pub apply_on_join: bool,
    /// The hash of the secret.
    pub secret: Hash,
    /// When the secret ceases to be good.
    pub expires: Timestamp,
}

impl StageNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_future("the end of the secret", self.expires)?;
        if self.labels.len() > LABELS_MAX {
            return Err(invalid(format!("{} labels are over the limit of {LABELS_MAX}", self.labels.len())));
        }
        let before = context.tables.nodes.get(&self.name);
        let incarnation = match before {
            Some(Node { state: NodeState::Staged(_) | NodeState::Removed, incarnation, .. }) => *incarnation,
            Some(node) => {
                let name = self.name.to_string();
                return Err(Refusal::AlreadyThere { kind: Kind::Node, name, state: node.state.name() });
            }
            None => Incarnation::default(),
        };
        let others = context.tables.nodes.values();
        let live = others.filter(|node| node.state != NodeState::Removed && node.name != self.name);
        if live.count() >= NODES_MAX {
            return Err(Refusal::Limit { kind: Kind::Node, max: NODES_MAX });
        }
        let node = Node {
            name: self.name.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            labels: self.labels.clone(),
            state: NodeState::Staged(Invitation { secret: self.secret, expires: self.expires }),
            apply_on_join: self.apply_on_join,
            addresses: None,
            incarnation,
            certificate: None,
            created: context.now,
            since: context.now,
            reason: context.proposal.why.clone(),
            joined: None,
            replaces: None,
            redeemed: None,
        };
        let after = format!("staged in zone {} with weight {}", self.zone, self.weight);
        let effect = Effect::new(Answer::Node { incarnation }, &self.name);
        let before = before.map(|node| node.state.name()).unwrap_or_default();
        Ok(effect.put(Record::Node(node)).was(before).is(after))
    }
}
