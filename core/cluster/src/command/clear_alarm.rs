//! `ClearAlarm`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::AlarmCode;
use crate::outcome::Refusal;
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
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
