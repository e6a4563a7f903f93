//! `RecoverCluster`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Cluster, Counters, MEMBERS_MAX, Member, MemberState, Record};

/// The cluster goes on from one member, whose word alone counts from now on: every other one is gone for good.
///
/// It is carried out on the directory of that member while it is stopped, and never through a log that others have a vote in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverCluster {
    /// The member that is left.
    pub member: MemberId,
}

impl RecoverCluster {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.member)?;
        if !member.state.is_in_group() {
            return Err(Refusal::WrongState {
                kind: Kind::Member,
                name: member.name.to_string(),
                state: member.state.name(),
                wanted: "only a member that follows the log has what the cluster agreed on",
            });
        }
        let others = context.tables.members.values();
        let others = others.filter(|other| other.id != self.member && other.state != MemberState::Removed);
        let others: Vec<&Member> = others.collect();
        let recovery = context.cluster.recovery.next();
        let before: Vec<String> = others
            .iter()
            .map(|other| format!("{} {} {}", other.name, other.id, other.state.name()))
            .collect();
        let left = Member {
            state: MemberState::Voter,
            since: context.now,
            reason: context.proposal.why.clone(),
            ..member.clone()
        };
        // The others may have given out numbers that this member never heard of.
        let next_member = (0..MEMBERS_MAX).fold(context.counters.next_member, |next, _| next.next());
        let effect = Effect::new(Answer::Member { id: self.member }, context.cluster.id);
        Ok(effect
            .put(Record::Cluster(Cluster { recovery, ..context.cluster.clone() }))
            .put(Record::Member(left))
            .with(context.gone(others))
            .counting(Counters { next_member, ..context.counters.clone() })
            .was(format!("with {}", before.join(", ")))
            .is(format!("{} {} alone, recovery {recovery}", member.name, self.member)))
    }
}
