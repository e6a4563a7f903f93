//! `Bootstrap`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::add_authority::authority_problems;
use super::context::Effect;
use crate::ids::{
    ClusterId, Datacenter, Epoch, Generation, JobId, LogId, MemberId, NodeName, TokenId, TokenName,
};
use crate::outcome::{Answer, Refusal};
use crate::proposal::{Proposal, Role};
use crate::record::{
    Authority, AuthorityState, Certificate, Cluster, Counters, Member, MemberState, Record, Settings, Token,
    TransitionRecord,
};
use crate::text::{Address, Blob, Hash};
use crate::time::Timestamp;

/// The number of the first authority.
const FIRST: Generation = Generation::new(1);
/// The number of the first member.
const FIRST_MEMBER: MemberId = MemberId::ONE;
/// The number of the first credential.
const FIRST_TOKEN: TokenId = TokenId::new(1);

/// Makes the cluster: its first member, authority and credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// What tells the cluster from every other.
    pub cluster: ClusterId,
    /// The region that it is in.
    pub datacenter: Datacenter,
    /// How it is set.
    pub settings: Settings,
    /// The name of the first member, which votes.
    pub member: NodeName,
    /// Where that member is reached.
    pub rpc: Address,
    /// The log that it made.
    pub log: LogId,
    /// Its certificate; of authority 1.
    pub certificate: Certificate,
    /// The certificate of the first authority (DER).
    pub authority: Blob,
    /// The private key of that authority, sealed.
    pub sealed_key: Blob,
    /// The name of the first credential, an admin's.
    pub token: TokenName,
    /// The hash of its secret.
    pub token_hash: Hash,
}

impl Bootstrap {
    pub(crate) fn apply(&self, proposal: &Proposal) -> Result<Effect, Refusal> {
        let now = proposal.at;
        let mut problems = self.settings.problems();
        problems.extend(authority_problems(&self.authority, &self.sealed_key));
        if self.certificate.authority != FIRST {
            problems.push("the certificate is not of the first authority".to_owned());
        }
        if self.certificate.expires <= now {
            problems.push("the end of the certificate has passed".to_owned());
        }
        if !problems.is_empty() {
            return Err(Refusal::Invalid { problems });
        }
        let id = FIRST_MEMBER;
        let counters = Counters {
            clock: now,
            next_member: id.next(),
            next_token: FIRST_TOKEN.next(),
            next_job: JobId::new(1),
            removals: BTreeMap::new(),
        };
        let cluster = Cluster {
            id: self.cluster,
            datacenter: self.datacenter.clone(),
            created: now,
            settings: self.settings,
            recovery: Generation::default(),
        };
        let transition =
            TransitionRecord { current: Epoch::default(), previous: None, paused: false, since: now };
        let effect = Effect::new(Answer::Member { id }, self.cluster).is("made");
        Ok(effect
            .put(Record::Cluster(cluster))
            .put(Record::Member(self.member(id, proposal)))
            .put(Record::Transition(transition))
            .put(Record::Token(self.token(proposal)))
            .put(Record::Authority(self.authority(now)))
            .counting(counters))
    }

    fn member(&self, id: MemberId, proposal: &Proposal) -> Member {
        Member {
            id,
            name: self.member.clone(),
            rpc: Some(self.rpc.clone()),
            log: Some(self.log),
            state: MemberState::Voter,
            certificate: Some(self.certificate.clone()),
            created: proposal.at,
            since: proposal.at,
            reason: proposal.why.clone(),
            redeemed: None,
        }
    }

    fn token(&self, proposal: &Proposal) -> Token {
        Token {
            id: FIRST_TOKEN,
            name: self.token.clone(),
            role: Role::Admin,
            hash: self.token_hash,
            created: proposal.at,
            by: proposal.actor.name.clone(),
            expires: None,
            previous: None,
            revoked: None,
            groups: BTreeSet::new(),
        }
    }

    fn authority(&self, now: Timestamp) -> Authority {
        Authority {
            generation: FIRST,
            state: AuthorityState::Current,
            certificate: self.authority.clone(),
            sealed_key: Some(self.sealed_key.clone()),
            created: now,
            since: now,
        }
    }
}
