//! `PromoteMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Member, MemberState, Record, VOTERS_MAX};

/// A learner has caught up: it votes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoteMember {
    /// Its number.
    pub id: MemberId,
}

impl PromoteMember {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.id)?;
        let name = || member.name.to_string();
        match &member.state {
            MemberState::Learner => {}
            MemberState::Voter => {
                return Err(Refusal::AlreadyThere { kind: Kind::Member, name: name(), state: "voter" });
            }
            MemberState::Staged(_) | MemberState::Removed => {
                return Err(Refusal::WrongState {
                    kind: Kind::Member,
                    name: name(),
                    state: member.state.name(),
                    wanted: "only a learner is promoted",
                });
            }
        }
        let voters = context.tables.members.values().filter(|member| member.state == MemberState::Voter);
        if voters.count() >= VOTERS_MAX {
            return Err(Refusal::Limit { kind: Kind::Member, max: VOTERS_MAX });
        }
        let promoted = Member {
            state: MemberState::Voter,
            since: context.now,
            reason: context.proposal.why.clone(),
            ..member.clone()
        };
        let effect = Effect::new(Answer::Member { id: self.id }, format!("{} {}", member.name, self.id));
        Ok(effect.put(Record::Member(promoted)).was("learner").is("voter"))
    }
}
