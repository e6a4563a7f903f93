//! `AdmitMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, check_secret};
use crate::ids::{LogId, MemberId};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Certificate, Member, MemberState, Record, Redeemed};
use crate::text::{Address, Hash};

/// A staged control node has joined: it follows the log as a learner. Again, should it not have heard the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmitMember {
    /// Its number.
    pub id: MemberId,
    /// The hash of the secret that it showed.
    pub secret: Hash,
    /// Where it is reached.
    pub rpc: Address,
    /// The log that it made.
    pub log: LogId,
    /// The certificate that it gets.
    pub certificate: Certificate,
    /// The hash of the public key that is certified; none from releases that did not remember it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Hash>,
}

impl AdmitMember {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.id)?;
        let staged =
            if let MemberState::Staged(invitation) = &member.state { Some(invitation) } else { None };
        // With another log it would be another member.
        let is_same = member.state.is_in_group() && member.log == Some(self.log);
        let again = member.redeemed.as_ref().filter(|before| is_same && Some(before.key) == self.key);
        let invitation = staged.or(again.map(|before| &before.invitation)).ok_or_else(|| {
            let (name, state) = (member.name.to_string(), member.state.name());
            let wanted = "a secret is good once, while the member is staged";
            Refusal::WrongState { kind: Kind::Member, name, state, wanted }
        })?;
        check_secret(invitation, &self.secret, context.now, Kind::Member, &member.name)?;
        context.check_certificate(&self.certificate)?;
        context.check_member_address(self.id, &self.rpc)?;
        let joined = if staged.is_some() {
            Member {
                state: MemberState::Learner,
                since: context.now,
                reason: context.proposal.why.clone(),
                ..member.clone()
            }
        } else {
            member.clone()
        };
        let admitted = Member {
            rpc: Some(self.rpc.clone()),
            log: Some(self.log),
            certificate: Some(self.certificate.clone()),
            redeemed: self.key.map(|key| Box::new(Redeemed { invitation: invitation.clone(), key })),
            ..joined
        };
        let effect = Effect::new(Answer::Member { id: self.id }, format!("{} {}", member.name, self.id));
        let effect = effect.was(member.state.name());
        let effect = effect.is(format!("{} at {}", admitted.state.name(), self.rpc));
        Ok(effect.put(Record::Member(admitted)))
    }
}
