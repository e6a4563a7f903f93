//! `RotateToken`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::TokenId;
use crate::outcome::{Answer, Refusal};
use crate::record::{PreviousSecret, Record, Token};
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
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let token = context.good_token(self.id)?;
        if let Some(until) = self.previous_until {
            context.check_future("the end of the old secret", until)?;
        }
        context.check_fresh_secret(&self.hash)?;
        let previous = self.previous_until.map(|until| PreviousSecret { hash: token.hash, until });
        let rotated = Token { hash: self.hash, previous, ..token.clone() };
        let effect = Effect::new(Answer::Token { id: self.id }, &token.name).put(Record::Token(rotated));
        let after = self.previous_until.map(|until| format!("old secret good until {until}"));
        Ok(effect.was(token.role.name()).is(after.unwrap_or_else(|| "old secret no longer good".to_owned())))
    }
}
