//! `StageMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::NodeName;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Invitation, MEMBERS_MAX, Member, MemberState, Record};
use crate::text::Hash;
use crate::time::Timestamp;

/// Lets a control node join, once, with a secret. Staged anew before it has joined, it keeps its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageMember {
    /// Its name.
    pub name: NodeName,
    /// The hash of the secret.
    pub secret: Hash,
    /// When the secret ceases to be good.
    pub expires: Timestamp,
}

impl StageMember {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_future("the end of the secret", self.expires)?;
        let invitation = Invitation { secret: self.secret, expires: self.expires };
        let live = || context.tables.members.values().filter(|member| member.state != MemberState::Removed);
        let before = live().find(|member| member.name == self.name);
        let mut counters = context.counters.clone();
        let (id, created) = match before {
            Some(Member { id, state: MemberState::Staged(_), created, .. }) => (*id, *created),
            Some(member) => {
                let name = self.name.to_string();
                return Err(Refusal::AlreadyThere { kind: Kind::Member, name, state: member.state.name() });
            }
            None if live().count() >= MEMBERS_MAX => {
                return Err(Refusal::Limit { kind: Kind::Member, max: MEMBERS_MAX });
            }
            None => {
                let id = counters.next_member;
                counters.next_member = id.next();
                (id, context.now)
            }
        };
        let member = Member {
            id,
            name: self.name.clone(),
            rpc: None,
            log: None,
            state: MemberState::Staged(invitation),
            certificate: None,
            created,
            since: context.now,
            reason: context.proposal.why.clone(),
            redeemed: None,
        };
        let effect = Effect::new(Answer::Member { id }, format!("{} {id}", self.name));
        Ok(effect.put(Record::Member(member)).counting(counters).is("staged"))
    }
}
