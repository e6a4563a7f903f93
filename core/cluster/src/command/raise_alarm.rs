//! `RaiseAlarm`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::AlarmCode;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{ALARMS_MAX, Alarm, AlarmSeverity, Record};
use crate::text::{Name, Note};

/// Says that something needs an operator. Raised again, it takes the new severity and message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaiseAlarm {
    /// What it is about.
    pub code: AlarmCode,
    /// Whom it is about.
    pub subject: Name,
    /// How bad it is.
    pub severity: AlarmSeverity,
    /// What to know and to do.
    pub message: Note,
}

impl RaiseAlarm {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let before = context.tables.alarms.get(&(self.code.clone(), self.subject.clone()));
        if before.is_none() && context.tables.alarms.len() >= ALARMS_MAX {
            return Err(Refusal::Limit { kind: Kind::Alarm, max: ALARMS_MAX });
        }
        let alarm = Alarm {
            code: self.code.clone(),
            subject: self.subject.clone(),
            severity: self.severity,
            since: before.map_or(context.now, |alarm| alarm.since),
            message: self.message.clone(),
        };
        let was = before.map(|alarm| alarm.message.to_string()).unwrap_or_default();
        let effect = Effect::new(Answer::Done, format!("{} {}", self.code, self.subject));
        let effect = effect.was(was).is(&self.message);
        Ok(if before == Some(&alarm) { effect } else { effect.put(Record::Alarm(alarm)) })
    }
}
