//! `RecordCertificate`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{MemberId, NodeName};
use crate::outcome::Refusal;
use crate::record::Certificate;

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
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
