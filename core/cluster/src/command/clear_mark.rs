//! `ClearMark`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Key, MarkKind, Marked};

/// Takes back what was said of a module or a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearMark {
    /// What it was about.
    pub about: Marked,
    /// What was said.
    pub kind: MarkKind,
}

impl ClearMark {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let key = (self.kind, self.about.clone());
        if !context.tables.marks.contains_key(&key) {
            let name = format!("that {} is {}", self.about, self.kind.name());
            return Err(Refusal::NotFound { kind: Kind::Mark, name });
        }
        let effect = Effect::new(Answer::Done, &self.about).was(self.kind.name());
        Ok(effect.delete(Key::Mark(key.0, key.1)))
    }
}
