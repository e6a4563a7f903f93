//! `ApplyLayout`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::Epoch;
use crate::layout::Layout;
use crate::outcome::Refusal;
use crate::text::Note;

/// Puts a layout in force. It was planned by the leader; here it is only checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyLayout {
    /// The current layout's epoch, which it was planned from.
    pub expect_epoch: Epoch,
    /// The layout, with the next epoch.
    #[serde(with = "crate::record::in_base64")]
    pub layout: Arc<Layout>,
    /// What is said about it.
    pub note: Option<Note>,
}

impl ApplyLayout {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
