//! `StartJob`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::JobKind;
use crate::outcome::Refusal;
use crate::text::Name;

/// Begins long work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartJob {
    /// What it does.
    pub kind: JobKind,
    /// What it does it to.
    pub target: Name,
}

impl StartJob {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
