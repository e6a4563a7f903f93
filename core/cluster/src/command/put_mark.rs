//! `PutMark`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{MARKS_MAX, Mark, MarkKind, Marked, Record};

/// Says something of a module or a version: that it is to be kept, or not to be served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutMark {
    /// What it is about.
    pub about: Marked,
    /// What is said.
    pub kind: MarkKind,
}

impl PutMark {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let marks = &context.tables.marks;
        if marks.contains_key(&(self.kind, self.about.clone())) {
            let (name, state) = (self.about.to_string(), self.kind.name());
            return Err(Refusal::AlreadyThere { kind: Kind::Module, name, state });
        }
        if marks.len() >= MARKS_MAX {
            return Err(Refusal::Limit { kind: Kind::Mark, max: MARKS_MAX });
        }
        let mark = Mark {
            about: self.about.clone(),
            kind: self.kind,
            since: context.now,
            by: context.by(),
            why: context.proposal.why.clone(),
        };
        Ok(Effect::new(Answer::Done, &self.about).is(self.kind.name()).put(Record::Mark(mark)))
    }
}
