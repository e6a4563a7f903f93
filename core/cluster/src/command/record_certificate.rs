//! `RecordCertificate`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::{MemberId, NodeName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Certificate, Member, Node, Record};

/// A member or node has a new certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCertificate {
    /// Who has it.
    pub holder: Holder,
    /// The certificate.
    pub certificate: Certificate,
}

/// Who has a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A control node.
    Member(MemberId),
    /// A data node.
    Node(NodeName),
}

impl RecordCertificate {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_certificate(&self.certificate)?;
        let certificate = Some(self.certificate.clone());
        let wrong = |kind, name: &NodeName, state| {
            let wanted = "only who has joined has a certificate";
            Err(Refusal::WrongState { kind, name: name.to_string(), state, wanted })
        };
        let serial = |certificate: Option<&Certificate>| {
            certificate.map(|certificate| certificate.serial.to_string()).unwrap_or_default()
        };
        let (name, before, record) = match &self.holder {
            Holder::Member(id) => {
                let member = context.member(*id)?;
                if !member.state.is_in_group() {
                    return wrong(Kind::Member, &member.name, member.state.name());
                }
                let before = serial(member.certificate.as_ref());
                (&member.name, before, Record::Member(Member { certificate, ..member.clone() }))
            }
            Holder::Node(name) => {
                let node = context.node(name)?;
                if !node.state.is_admitted() {
                    return wrong(Kind::Node, name, node.state.name());
                }
                let before = serial(node.certificate.as_deref());
                let certificate = certificate.map(Box::new);
                (&node.name, before, Record::Node(Node { certificate, ..node.clone() }))
            }
        };
        let effect = Effect::new(Answer::Done, name).put(record);
        Ok(effect.was(before).is(&self.certificate.serial))
    }
}
