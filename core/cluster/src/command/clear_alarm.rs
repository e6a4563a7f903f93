//! `ClearAlarm`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::AlarmCode;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::Key;
use crate::text::Name;

/// Says that it is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearAlarm {
    /// What it was about.
    pub code: AlarmCode,
    /// Whom it was about.
    pub subject: Name,
}

impl ClearAlarm {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let name = format!("{} {}", self.code, self.subject);
        let Some(alarm) = context.tables.alarms.get(&(self.code.clone(), self.subject.clone())) else {
            return Err(Refusal::NotFound { kind: Kind::Alarm, name });
        };
        let effect = Effect::new(Answer::Done, name).was(&alarm.message).is("cleared");
        Ok(effect.delete(Key::Alarm(self.code.clone(), self.subject.clone())))
    }
}
