//! `FinishJob`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::JobId;
use crate::outcome::Refusal;
use crate::record::JobState;
use crate::text::Note;

/// Ends a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishJob {
    /// Its number.
    pub id: JobId,
    /// How it ended; not running.
    pub state: JobState,
    /// What there is to say, or why it failed.
    pub message: Option<Note>,
}

impl FinishJob {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
