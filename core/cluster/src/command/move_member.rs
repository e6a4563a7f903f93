//! `MoveMember`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::Refusal;
use crate::text::Address;

/// A control node is reached elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveMember {
    /// Its number.
    pub id: MemberId,
    /// Where it is reached.
    pub rpc: Address,
}

impl MoveMember {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
