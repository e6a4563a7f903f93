//! `ReplaceNode`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{Epoch, NodeName};
use crate::outcome::Refusal;

/// Makes a layout in which one data node stands wherever another stood, and drains that one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceNode {
    /// Who is replaced.
    pub name: NodeName,
    /// Who takes the place. It holds nothing yet.
    pub by: NodeName,
    /// The current layout's epoch, as whoever decided knew it.
    pub expect_epoch: Epoch,
}

impl ReplaceNode {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
