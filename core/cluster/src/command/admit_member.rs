//! `AdmitMember`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::Refusal;
use crate::record::Certificate;
use crate::text::{Address, Hash};

/// A staged control node has joined: it follows the log as a learner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitMember {
    /// Its number.
    pub id: MemberId,
    /// The hash of the secret that it showed.
    pub secret: Hash,
    /// Where it is reached.
    pub rpc: Address,
    /// The certificate that it gets.
    pub certificate: Certificate,
}

impl AdmitMember {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
