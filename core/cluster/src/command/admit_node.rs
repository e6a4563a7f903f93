//! `AdmitNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::Refusal;
use crate::record::Certificate;
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
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
