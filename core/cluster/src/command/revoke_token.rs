//! `RevokeToken`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::TokenId;
use crate::outcome::Refusal;

/// Makes a credential no longer good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Its number.
    pub id: TokenId,
}

impl RevokeToken {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
