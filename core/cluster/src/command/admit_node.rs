//! `AdmitNode`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, check_secret};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Certificate, Node, NodeState, Record, Redeemed};
use crate::text::Hash;

/// A staged data node has joined and gets its certificate; again, should it not have heard the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitNode {
    /// Its name.
    pub name: NodeName,
    /// The hash of the secret that it showed.
    pub secret: Hash,
    /// The certificate that it gets.
    pub certificate: Certificate,
    /// The hash of the public key that is certified; none from releases that did not remember it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Hash>,
}

impl AdmitNode {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let node = context.node(&self.name)?;
        let staged = if let NodeState::Staged(invitation) = &node.state { Some(invitation) } else { None };
        let again = node.redeemed.as_ref();
        let again = again.filter(|before| node.state.is_admitted() && Some(before.key) == self.key);
        let invitation = staged.or(again.map(|before| &before.invitation)).ok_or_else(|| {
            let (name, state) = (self.name.to_string(), node.state.name());
            let wanted = "a secret is good once, while the node is staged";
            Refusal::WrongState { kind: Kind::Node, name, state, wanted }
        })?;
        check_secret(invitation, &self.secret, context.now, Kind::Node, &self.name)?;
        context.check_certificate(&self.certificate)?;
        let joined = if staged.is_some() {
            Node { joined: Some(context.now), ..context.moved(node, NodeState::Joining) }
        } else {
            node.clone()
        };
        let admitted = Node {
            certificate: Some(Box::new(self.certificate.clone())),
            redeemed: self.key.map(|key| Box::new(Redeemed { invitation: invitation.clone(), key })),
            ..joined
        };
        let effect = Effect::new(Answer::Node { incarnation: node.incarnation }, &self.name);
        let effect = effect.was(node.state.name()).is(admitted.state.name());
        Ok(effect.put(Record::Node(admitted)))
    }
}
