//! `RemoveMember`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::MemberId;
use crate::outcome::Refusal;

/// Removes a control node for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// Its number.
    pub id: MemberId,
}

impl RemoveMember {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
