//! `RemoveMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Change, Key, MEMBERS_REMOVED_MAX, Member, MemberState, Record};

/// Removes a control node for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// Its number.
    pub id: MemberId,
}

impl RemoveMember {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.id)?;
        let name = || member.name.to_string();
        let members = || context.tables.members.values();
        match member.state {
            MemberState::Removed => {
                return Err(Refusal::AlreadyThere { kind: Kind::Member, name: name(), state: "removed" });
            }
            MemberState::Voter
                if members().filter(|other| other.state == MemberState::Voter).count() == 1 =>
            {
                return Err(Refusal::Last { kind: Kind::Member, name: name(), what: "voter" });
            }
            MemberState::Staged(_) | MemberState::Learner | MemberState::Voter => {}
        }
        let effect = Effect::new(Answer::Member { id: self.id }, format!("{} {}", member.name, self.id));
        Ok(effect.with(context.gone([member])).was(member.state.name()).is("removed"))
    }
}

impl Context<'_> {
    /// What becomes of members that go for good. Those that went first are forgotten when they are too many: a number that nobody
    /// remembers is as good as removed, since numbers are not given out again.
    pub(super) fn gone<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> Vec<Change> {
        let removed = |member: &Member| {
            Change::Put(Record::Member(Member {
                rpc: None,
                state: MemberState::Removed,
                certificate: None,
                redeemed: None,
                since: self.now,
                reason: self.proposal.why.clone(),
                ..member.clone()
            }))
        };
        let mut changes: Vec<Change> = members.into_iter().map(removed).collect();
        let members = self.tables.members.values();
        let mut former: Vec<&Member> = members.filter(|other| other.state == MemberState::Removed).collect();
        former.sort_by_key(|member| (member.since, member.id));
        let over = (former.len() + changes.len()).saturating_sub(MEMBERS_REMOVED_MAX);
        changes.extend(former.into_iter().take(over).map(|member| Change::Delete(Key::Member(member.id))));
        changes
    }
}
