//! `RevertLayout`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::Epoch;
use crate::outcome::Refusal;

/// Puts a former layout in force again, under a new epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertLayout {
    /// The current layout's epoch, as whoever decided knew it.
    pub expect_epoch: Epoch,
    /// The epoch of the former layout.
    pub to: Epoch,
}

impl RevertLayout {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
