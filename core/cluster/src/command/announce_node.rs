//! `AnnounceNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Addresses, Node, Record};

/// A data node was started and says where it listens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceNode {
    /// Its name.
    pub name: NodeName,
    /// Where it listens.
    pub addresses: Addresses,
}

impl AnnounceNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        if !node.state.is_admitted() {
            return Err(Refusal::WrongState {
                kind: Kind::Node,
                name: self.name.to_string(),
                state: node.state.name(),
                wanted: "only a node that has joined says where it listens",
            });
        }
        if self.addresses.http == self.addresses.rpc {
            return Err(invalid("both addresses are one"));
        }
        context.check_node_address(&self.name, &self.addresses.http)?;
        context.check_node_address(&self.name, &self.addresses.rpc)?;
        let incarnation = node.incarnation.next();
        let announced = Node { addresses: Some(self.addresses.clone()), incarnation, ..node.clone() };
        let text = |addresses: &Addresses| format!("{} {}", addresses.http, addresses.rpc);
        let before = node.addresses.as_ref().map(text).unwrap_or_default();
        let effect = Effect::new(Answer::Node { incarnation }, &self.name);
        Ok(effect.put(Record::Node(announced)).was(before).is(text(&self.addresses)))
    }
}
