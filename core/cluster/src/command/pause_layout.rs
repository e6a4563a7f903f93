//! `PauseLayout`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::outcome::Refusal;

/// Halts the moving of slots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseLayout {}

impl PauseLayout {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
