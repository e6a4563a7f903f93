//! `RotateToken`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::TokenId;
use crate::outcome::Refusal;
use crate::text::Hash;
use crate::time::Timestamp;

/// Gives a credential another secret; the old one may stay good for a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateToken {
    /// Its number.
    pub id: TokenId,
    /// The hash of the new secret.
    pub hash: Hash,
    /// Until when the old secret stays good; no longer, if none.
    pub previous_until: Option<Timestamp>,
}

impl RotateToken {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
