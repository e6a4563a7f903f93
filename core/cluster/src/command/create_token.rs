//! `CreateToken`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::TokenName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::proposal::Role;
use crate::record::{Record, TOKEN_GROUPS_MAX, TOKENS_MAX, Token};
use crate::text::{Hash, Name};
use crate::time::Timestamp;

/// Makes an operator's credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Its name.
    pub name: TokenName,
    /// What its bearer may do.
    pub role: Role,
    /// The hash of its secret.
    pub hash: Hash,
    /// When it ceases to be good; never, if none.
    pub expires: Option<Timestamp>,
    /// Groups whose rules apply to its bearer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<Name>,
}

impl CreateToken {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        if let Some(expires) = self.expires {
            context.check_future("the end of the credential", expires)?;
        }
        if self.groups.len() > TOKEN_GROUPS_MAX {
            return Err(invalid(format!(
                "{} groups are over the limit of {TOKEN_GROUPS_MAX}",
                self.groups.len()
            )));
        }
        context.check_fresh_secret(&self.hash)?;
        let tokens = || context.tables.tokens.values().filter(|token| token.revoked.is_none());
        let before = tokens().find(|token| token.name == self.name);
        if before.is_some_and(|token| token.is_good(context.now)) {
            let name = self.name.to_string();
            return Err(Refusal::AlreadyThere { kind: Kind::Token, name, state: "good" });
        }
        if before.is_none() && tokens().count() >= TOKENS_MAX {
            return Err(Refusal::Limit { kind: Kind::Token, max: TOKENS_MAX });
        }
        // Its name goes to the new one, and with it goes the last sign of who ran the cluster.
        let admin = |token: &Token| token.role == Role::Admin;
        if self.role != Role::Admin
            && before.is_some_and(admin)
            && tokens().filter(|token| admin(token)).count() == 1
        {
            let name = self.name.to_string();
            return Err(Refusal::Last { kind: Kind::Token, name, what: "admin credential" });
        }
        let mut counters = context.counters.clone();
        let id = counters.next_token;
        counters.next_token = id.next();
        let token = Token {
            id,
            name: self.name.clone(),
            role: self.role,
            hash: self.hash,
            created: context.now,
            by: context.by(),
            expires: self.expires,
            previous: None,
            revoked: None,
            groups: self.groups.clone(),
        };
        let effect = Effect::new(Answer::Token { id }, &self.name).counting(counters).is(self.role.name());
        // An expired credential leaves its name to the new one.
        let effect = match before {
            Some(expired) => effect.with(context.revoke(expired)).was("expired"),
            None => effect,
        };
        Ok(effect.put(Record::Token(token)))
    }
}
