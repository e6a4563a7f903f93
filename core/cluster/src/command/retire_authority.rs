//! `RetireAuthority`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::{Generation, JobKind};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{AuthorityState, Certificate, JobState, Key};

/// Ends the trust in an authority of which nobody has a certificate any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireAuthority {
    /// Its generation.
    pub generation: Generation,
}

impl RetireAuthority {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let authority = context.authority(self.generation)?;
        let wrong = |wanted| {
            let (name, state) = (self.generation.to_string(), authority.state.name());
            Err(Refusal::WrongState { kind: Kind::Authority, name, state, wanted })
        };
        if authority.state != AuthorityState::Retiring {
            return wrong("only an authority that another took over from is retired");
        }
        let members = context.tables.members.values().filter_map(|member| member.certificate.as_ref());
        let nodes = context.tables.nodes.values().filter_map(|node| node.certificate.as_deref());
        let in_use = |certificate: &Certificate| {
            certificate.authority == self.generation && certificate.expires > context.now
        };
        if members.chain(nodes).any(in_use) {
            return wrong("somebody still has a certificate of it");
        }
        // The change to an authority has ended when none is left that came before it.
        let left = |generation: &&Generation| **generation != self.generation;
        let oldest = context.tables.authorities.keys().find(left).copied();
        let of_it = |target: &str| {
            target.parse::<Generation>().is_ok_and(|to| oldest.is_none_or(|oldest| to <= oldest))
        };
        let mut work = Work::new(context);
        work.end_those(JobKind::AUTHORITY, of_it, JobState::Done, "nobody needs the former one any more");
        let effect = Effect::new(Answer::Authority { generation: self.generation }, self.generation);
        Ok(effect
            .working(&work)
            .delete(Key::Authority(self.generation))
            .was("retiring")
            .is("no longer trusted"))
    }
}
