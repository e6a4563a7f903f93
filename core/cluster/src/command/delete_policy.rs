//! `DeletePolicy`.

use serde::{Deserialize, Serialize};

use super::{Context, Effect};
use crate::ids::{Generation, PolicyName};
use crate::outcome::Refusal;

/// Takes a policy document out of force. Its history stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletePolicy {
    /// Its name.
    pub name: PolicyName,
    /// The generation that there is, as whoever decided knew it.
    pub expect_generation: Generation,
}

impl DeletePolicy {
    pub(super) fn apply(&self, _context: &Context<'_>) -> Result<Effect, Refusal> {
        Err(Refusal::Invalid { problems: vec!["not written yet".to_owned()] })
    }
}
