//! `AdmitNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, check_secret};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Certificate, Node, NodeState, Record};
use crate::text::Hash;

/// A staged data node has joined and gets its certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitNode {
    /// Its name.
    pub name: NodeName,
    /// The hash of the secret that it showed.
    pub secret: Hash,
    /// The certificate that it gets.
    pub certificate: Certificate,
}

impl AdmitNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let NodeState::Staged(invitation) = &node.state else {
            return Err(Refusal::WrongState {
                kind: Kind::Node,
                name: self.name.to_string(),
                state: node.state.name(),
                wanted: "a secret is good once, while the node is staged",
            });
        };
        check_secret(invitation, &self.secret, context.now, Kind::Node, &self.name)?;
        context.check_certificate(&self.certificate)?;
        let admitted =
            Node { certificate: Some(self.certificate.clone()), ..context.moved(node, NodeState::Joining) };
        let effect = Effect::new(Answer::Node { incarnation: node.incarnation }, &self.name);
        Ok(effect.put(Record::Node(admitted)).was("staged").is("joining"))
    }
}
