//! `AdvanceJob`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::JobId;
use crate::outcome::Refusal;
use crate::record::Progress;
use crate::text::Note;

/// Says how far a job has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvanceJob {
    /// Its number.
    pub id: JobId,
    /// How far.
    pub progress: Progress,
    /// What it says.
    pub message: Option<Note>,
}

impl AdvanceJob {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
