//! `MoveMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Member, Record};
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
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.id)?;
        let name = || member.name.to_string();
        if !member.state.is_in_group() {
            return Err(Refusal::WrongState {
                kind: Kind::Member,
                name: name(),
                state: member.state.name(),
                wanted: "only a member that has joined has an address",
            });
        }
        if member.rpc.as_ref() == Some(&self.rpc) {
            return Err(Refusal::AlreadyThere { kind: Kind::Member, name: name(), state: "at this address" });
        }
        context.check_member_address(self.id, &self.rpc)?;
        let before = member.rpc.as_ref().map(ToString::to_string).unwrap_or_default();
        let moved = Member { rpc: Some(self.rpc.clone()), ..member.clone() };
        let effect = Effect::new(Answer::Member { id: self.id }, format!("{} {}", member.name, self.id));
        Ok(effect.put(Record::Member(moved)).was(before).is(&self.rpc))
    }
}
