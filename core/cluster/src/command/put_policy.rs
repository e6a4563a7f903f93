//! `PutPolicy`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::{Generation, PolicyName};
use crate::outcome::{Answer, Kind, Refusal};
use crate::policy::{Document, PROBLEMS_MAX};
use crate::record::{Change, Key, POLICIES_MAX, POLICY_HISTORY_MAX, PolicyRecord, Record};
use crate::text::Note;

/// Puts a policy document in force, in place of the one with its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutPolicy {
    /// Its name.
    pub name: PolicyName,
    /// The generation that there is, as whoever decided knew it; 0 for none.
    pub expect_generation: Generation,
    /// What it says.
    pub document: Document,
    /// What is said about it.
    pub note: Option<Note>,
}

impl PutPolicy {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let problems: Vec<String> =
            self.document.check().iter().take(PROBLEMS_MAX).map(ToString::to_string).collect();
        if !problems.is_empty() {
            return Err(Refusal::Invalid { problems });
        }
        let before = context.tables.policies.get(&self.name);
        context.check_policy(&self.name, self.expect_generation)?;
        let forgotten = if before.is_none() { context.policy_room()? } else { Vec::new() };
        let generation = before.map(|record| record.generation).unwrap_or_default().next();
        let record = PolicyRecord {
            name: self.name.clone(),
            generation,
            document: Some(self.document.clone()),
            made: context.now,
            by: context.by(),
            note: self.note.clone(),
        };
        let effect = Effect::new(Answer::Policy { generation }, &self.name).with(forgotten);
        let effect = effect.with(context.policy_history(&self.name)).put(Record::Policy(record));
        Ok(effect.was(describe(before)).is(format!("generation {generation}")))
    }
}

impl Context<'_> {
    /// Refuses what was decided for another generation than the current one. A deleted document has a generation, and is none.
    pub(super) fn check_policy(&self, name: &PolicyName, expected: Generation) -> Result<(), Refusal> {
        let record = self.tables.policies.get(name);
        let current = record.map(|record| record.generation).unwrap_or_default();
        let absent = record.is_none_or(|record| record.document.is_none());
        if expected == current || absent && expected == Generation::default() {
            return Ok(());
        }
        Err(Refusal::WrongGeneration { kind: Kind::Policy, name: name.to_string(), expected, current })
    }

    /// The changes that move a document from those in force to those that were.
    pub(super) fn policy_history(&self, name: &PolicyName) -> Vec<Change> {
        let Some(record) = self.tables.policies.get(name) else { return Vec::new() };
        let mut changes = vec![Change::Put(Record::PolicyHistory(record.clone()))];
        let former = self.tables.generations_of(name);
        let over = (former.len() + 1).saturating_sub(POLICY_HISTORY_MAX);
        let oldest = former.into_iter().take(over);
        changes.extend(oldest.map(|generation| Change::Delete(Key::PolicyHistory(name.clone(), generation))));
        changes
    }

    /// The changes that make room for another document: the one that was deleted first is forgotten.
    fn policy_room(&self) -> Result<Vec<Change>, Refusal> {
        if self.tables.policies.len() < POLICIES_MAX {
            return Ok(Vec::new());
        }
        let deleted = self.tables.policies.values().filter(|record| record.document.is_none());
        let oldest = deleted.min_by_key(|record| (record.made, &record.name));
        let Some(oldest) = oldest else {
            return Err(Refusal::Limit { kind: Kind::Policy, max: POLICIES_MAX });
        };
        let name = &oldest.name;
        let former = self.tables.generations_of(name).into_iter();
        let history = former.map(|generation| Key::PolicyHistory(name.clone(), generation));
        Ok(history.chain([Key::Policy(name.clone())]).map(Change::Delete).collect())
    }
}

fn describe(record: Option<&PolicyRecord>) -> String {
    record.map(|record| format!("generation {}", record.generation)).unwrap_or_default()
}
