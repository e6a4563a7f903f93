//! `RevokeToken`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::TokenId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::proposal::Role;
use crate::record::{Change, Key, Record, TOKENS_REVOKED_MAX, Token};
use crate::text::Hash;

/// Makes a credential no longer good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Its number.
    pub id: TokenId,
}

impl RevokeToken {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let token = context.token(self.id)?;
        let name = || token.name.to_string();
        if token.revoked.is_some() {
            return Err(Refusal::AlreadyThere { kind: Kind::Token, name: name(), state: "revoked" });
        }
        let mut others = context.tables.tokens.values().filter(|other| other.id != self.id);
        let admin = |token: &Token| token.role == Role::Admin && token.is_good(context.now);
        if token.role == Role::Admin && !others.any(admin) {
            return Err(Refusal::Last { kind: Kind::Token, name: name(), what: "good admin credential" });
        }
        let effect = Effect::new(Answer::Token { id: self.id }, &token.name);
        Ok(effect.with(context.revoke(token)).was(token.role.name()).is("revoked"))
    }
}

impl Context<'_> {
    pub(super) fn token(&self, id: TokenId) -> Result<&Token, Refusal> {
        let missing = || Refusal::NotFound { kind: Kind::Token, name: id.to_string() };
        self.tables.tokens.get(&id).ok_or_else(missing)
    }

    pub(super) fn good_token(&self, id: TokenId) -> Result<&Token, Refusal> {
        let token = self.token(id)?;
        if token.is_good(self.now) {
            return Ok(token);
        }
        let state = if token.revoked.is_some() { "revoked" } else { "expired" };
        let wanted = "create another one";
        Err(Refusal::WrongState { kind: Kind::Token, name: token.name.to_string(), state, wanted })
    }

    /// Refuses a secret that some credential has: it would not be known whose it is.
    pub(super) fn check_fresh_secret(&self, hash: &Hash) -> Result<(), Refusal> {
        let has = |token: &Token| {
            token.hash == *hash || token.previous.as_ref().is_some_and(|previous| previous.hash == *hash)
        };
        let taken = self.tables.tokens.values().any(|token| token.revoked.is_none() && has(token));
        if taken { Err(invalid("the secret is used already")) } else { Ok(()) }
    }

    /// The changes that revoke a credential; the one that was revoked first is forgotten.
    pub(super) fn revoke(&self, token: &Token) -> Vec<Change> {
        let revoked = Token { revoked: Some(self.now), previous: None, ..token.clone() };
        let mut former: Vec<&Token> =
            self.tables.tokens.values().filter(|token| token.revoked.is_some()).collect();
        former.sort_by_key(|token| (token.revoked, token.id));
        let over = (former.len() + 1).saturating_sub(TOKENS_REVOKED_MAX);
        let forgotten = former.into_iter().take(over).map(|token| Change::Delete(Key::Token(token.id)));
        forgotten.chain([Change::Put(Record::Token(revoked))]).collect()
    }
}
