//! `DeletePolicy`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::{Generation, PolicyName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{PolicyRecord, Record};

/// Takes a policy document out of force. Its history stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletePolicy {
    /// Its name.
    pub name: PolicyName,
    /// The generation that there is, as whoever decided knew it.
    pub expect_generation: Generation,
}

impl DeletePolicy {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let record = context.tables.policies.get(&self.name).filter(|record| record.document.is_some());
        let missing = || Refusal::NotFound { kind: Kind::Policy, name: self.name.to_string() };
        let before = record.ok_or_else(missing)?;
        context.check_policy(&self.name, self.expect_generation)?;
        let generation = before.generation.next();
        let record = PolicyRecord {
            name: self.name.clone(),
            generation,
            document: None,
            made: context.now,
            by: context.by(),
            note: context.proposal.why.clone(),
        };
        let effect = Effect::new(Answer::Policy { generation }, &self.name);
        let effect = effect.with(context.policy_history(&self.name)).put(Record::Policy(record));
        Ok(effect.was(format!("generation {}", before.generation)).is("deleted"))
    }
}
