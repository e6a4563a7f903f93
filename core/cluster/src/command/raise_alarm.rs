//! `RaiseAlarm`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::AlarmCode;
use crate::outcome::Refusal;
use crate::record::AlarmSeverity;
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
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
