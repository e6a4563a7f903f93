//! `AdmitMember`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, check_secret};
use crate::ids::{LogId, MemberId};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Certificate, Member, MemberState, Record};
use crate::text::{Address, Hash};

/// A staged control node has joined: it follows the log as a learner.
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
}

impl AdmitMember {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let member = context.member(self.id)?;
        let MemberState::Staged(invitation) = &member.state else {
            return Err(Refusal::WrongState {
                kind: Kind::Member,
                name: member.name.to_string(),
                state: member.state.name(),
                wanted: "a secret is good once, while the member is staged",
            });
        };
        check_secret(invitation, &self.secret, context.now, Kind::Member, &member.name)?;
        context.check_certificate(&self.certificate)?;
        context.check_member_address(self.id, &self.rpc)?;
        let admitted = Member {
            rpc: Some(self.rpc.clone()),
            log: Some(self.log),
            state: MemberState::Learner,
            certificate: Some(self.certificate.clone()),
            since: context.now,
            reason: context.proposal.why.clone(),
            ..member.clone()
        };
        let effect = Effect::new(Answer::Member { id: self.id }, format!("{} {}", member.name, self.id));
        Ok(effect.put(Record::Member(admitted)).was("staged").is(format!("learner at {}", self.rpc)))
    }
}
