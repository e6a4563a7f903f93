//! `SwitchAuthority`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::Generation;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Authority, AuthorityState, Record};

/// Lets the next authority sign; the current one is trusted until nobody has a certificate of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchAuthority {
    /// The generation of the next one, as whoever decided knew it.
    pub to: Generation,
}

impl SwitchAuthority {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let next = context.authority(self.to)?;
        if next.state != AuthorityState::Next {
            return Err(Refusal::WrongState {
                kind: Kind::Authority,
                name: self.to.to_string(),
                state: next.state.name(),
                wanted: "only the next authority is switched to",
            });
        }
        let changed = |authority: &Authority, state| {
            Record::Authority(Authority { state, since: context.now, ..authority.clone() })
        };
        let mut authorities = context.tables.authorities.values();
        let current = authorities.find(|authority| authority.state == AuthorityState::Current);
        let effect = Effect::new(Answer::Authority { generation: self.to }, self.to);
        let effect = match current {
            Some(current) => {
                let before = format!("{} current", current.generation);
                effect.put(changed(current, AuthorityState::Retiring)).was(before)
            }
            None => effect,
        };
        Ok(effect.put(changed(next, AuthorityState::Current)).is(format!("{} current", self.to)))
    }
}

impl Context<'_> {
    pub(super) fn authority(&self, generation: Generation) -> Result<&Authority, Refusal> {
        let missing = || Refusal::NotFound { kind: Kind::Authority, name: generation.to_string() };
        self.tables.authorities.get(&generation).ok_or_else(missing)
    }
}
